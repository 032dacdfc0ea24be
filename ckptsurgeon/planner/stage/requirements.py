"""`require`: what a source must hold before anything is planned with it."""

from __future__ import annotations

from collections.abc import Sequence

from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import Require, evaluate
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.reading_keys import Match


def check_requirement(
    rule: CompiledRule, written: Require, found: Sequence[Match], scope: Scope, problems: Problems
) -> None:
    """Tells keys that the source has, and that are not what is required of them."""
    reader = rule.readers[0]
    shape = None if written.shape is None else evaluate(written.shape, scope)
    if shape is not None:
        wanted = f"the shape [{', '.join(map(str, shape))}]" if isinstance(shape, tuple) else ""
        _tell([m for m in found if m.node.spec.shape != shape], wanted, reader, problems)
    if written.dtype is not None:
        others = [m for m in found if m.node.spec.dtype != written.dtype]
        _tell(others, written.dtype, reader, problems)


def _tell(others: Sequence[Match], wanted: str, reader: Reader, problems: Problems) -> None:
    """One problem for all keys that are otherwise."""
    if others:
        first, more = others[0], len(others) - 1
        likewise = f"; {more} more key{'s' * (more > 1)} likewise" if more else ""
        text = f"`{first.name}` is {first.node.spec}, and {wanted} is required"
        problems.add(text + likewise, reader.place)
