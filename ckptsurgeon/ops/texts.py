"""Ops in words, for people: as one would write them, without what is left at its default."""

from __future__ import annotations

import functools

import msgspec

from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.indexing import index_text
from ckptsurgeon.ops.noise import PlacedNoise


def op_text(op: Op) -> str:
    """An op for reports: its word and the parameters that differ from their defaults."""
    if isinstance(op, PlacedNoise):
        op = op.written
    given = {
        name: value
        for name, default in _defaults(type(op))
        if (value := getattr(op, name)) != default
    }
    if list(given) == ["index"]:
        return f"{op.name}{index_text(given['index'])}"
    shown = ", ".join(f"{name}={_show(value)}" for name, value in given.items())
    return f"{op.name}({shown})" if shown else op.name


@functools.cache
def _defaults(cls: type[Op]) -> tuple[tuple[str, object], ...]:
    """The parameters of an op with their defaults; asking msgspec anew for each op is slow."""
    return tuple((field.name, field.default) for field in msgspec.structs.fields(cls))


def _show(value: object) -> str:
    text = str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 40 else f"{text[:36]}…]"
