"""Parameters of an op, from plain values to a struct, with an error in words for each that is off.

msgspec checks the types; it is asked field by field, as it would stop at a struct's first error and
speak of JSON.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from ckptsurgeon.errors import ShapeError, nearest
from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.indexing import Index

MAX_INTEGER = 2**63 - 1
"""Largest integer, in size, that any parameter can mean."""

MAX_SHOWN = 60
"""Longest text of a value in an error."""

WANTED: Mapping[object, str] = {
    int: "an integer",
    int | None: "an integer",
    int | float: "a number",
    bool: "true or false",
    str: "text",
    str | None: "text",
    tuple[int, int] | None: "a list of two integers",
    int | tuple[int, int]: "an integer or a list of two",
    int | tuple[int, int] | None: "an integer or a list of two",
    tuple[int | float, ...] | None: "a list of numbers",
    tuple[str, ...]: "a list of words",
    tuple[int, ...]: "a list of integers",
    tuple[int, ...] | None: "a list of integers",
    tuple[tuple[str, int], ...]: "integers by name",
    Index: "an index, a list of integers, [start, stop, step] and `...`",
}
"""What a field of each type must be, in words; choices of words name themselves."""


def make(cls: type[Op], parameters: Mapping[str, object]) -> Op:
    """The op with these parameters; raises ShapeError for one that is missing, unknown or off."""
    given = _gather(cls, parameters)
    fields = {field.name: field for field in msgspec.structs.fields(cls)}
    for name in given:
        if name not in fields:
            hint = nearest(name, fields) or f"it takes {', '.join(fields) or 'none'}"
            raise ShapeError(f"{cls.name}: unknown parameter `{name}`; {hint}")
    for name, field in fields.items():
        if field.required and name not in given:
            raise ShapeError(f"{cls.name}: needs `{name}`, {_wanted(field.type)}")
    return cls(**{name: _value(cls, fields[name], value) for name, value in given.items()})


def _gather(cls: type[Op], parameters: Mapping[str, object]) -> Mapping[str, object]:
    """The parameters by field: those of any other name put into the one field for them."""
    own = set(cls.__struct_fields__)
    place = cls.further
    # A list is the field itself, from a plan; a number belongs to an axis of that very name.
    if place is None or isinstance(parameters.get(place), (list, tuple)):
        return parameters
    own.discard(place)
    further = {name: value for name, value in parameters.items() if name not in own}
    kept = {name: value for name, value in parameters.items() if name in own}
    for name, value in further.items():
        _check(f"{cls.name}: `{name}`", value, int)
    return kept | {place: tuple(sorted(further.items()))}


def _value(cls: type[Op], field: msgspec.structs.FieldInfo, value: object) -> Any:
    return _check(f"{cls.name}: `{field.name}`", value, field.type)


def _check(subject: str, value: object, kind: Any) -> Any:
    """The value as the type has it; raises ShapeError that begins with the subject."""
    try:
        result = msgspec.convert(value, kind)
    except msgspec.ValidationError:
        suggestion = nearest(value, words_of(kind)) if isinstance(value, str) else ""
        hint = f"; {suggestion}" if suggestion else ""
        raise ShapeError(f"{subject} must be {_wanted(kind)}, found {_show(value)}{hint}") from None
    if _beyond(result):
        raise ShapeError(f"{subject} holds an integer beyond 2**63")
    return result


def _wanted(kind: Any) -> str:
    words = words_of(kind)
    return f"one of {', '.join(words)}" if words else WANTED[kind]


def words_of(kind: Any) -> tuple[str, ...]:
    """The words that a field takes, which may be optional; none where it takes no words."""
    choice = kind
    if type(None) in typing.get_args(kind):
        (choice, *_) = typing.get_args(kind)
    return typing.get_args(choice) if typing.get_origin(choice) is typing.Literal else ()


def _beyond(value: object) -> bool:
    if isinstance(value, tuple):
        return any(_beyond(item) for item in value)
    return isinstance(value, int) and abs(value) > MAX_INTEGER


def _show(value: object) -> str:
    """The value as a rule file would have it, cut to a readable length."""
    if _beyond(value):
        return "an integer beyond 2**63"
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
