"""How many keys of the destination a step spreads over, for ops that leave out their number."""

from __future__ import annotations

from collections.abc import Container, Mapping

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import ShapeError
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import (
    Capture,
    Formula,
    Kind,
    Literal,
    Pattern,
    Piece,
    compile_pattern,
)
from ckptsurgeon.language.patterns.pieces import write_piece
from ckptsurgeon.language.rules import At
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.compiling.grids import TARGETS
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.lookups import is_known, readable
from ckptsurgeon.planner.stage.tables import Table
from ckptsurgeon.wording import argument

SHOWN_KEYS = 3


class Counts:
    """How many parts take what a rule spreads: those that words or targets say, or that are there.

    `known` are the numbers that the rule itself tells, by dim. `wanted` are the destination's keys.
    """

    def __init__(self, rule: CompiledRule, vars: Vars, wanted: Table | None = None) -> None:
        self._rule, self._vars, self._wanted = rule, vars, wanted
        self.known = {TARGETS: len(rule.targets)}
        self.known |= {c.name: len(c.words) for c in rule.spread if c.kind is Kind.WORDS}

    def names(self, dim: str) -> frozenset[str]:
        """The captures of a step that the number of a dim may differ by."""
        target = self._target(dim)
        return frozenset() if target is None or dim in self.known else target.pattern.names

    def of(self, dim: str, captures: Mapping[str, Value], parameter: str) -> int:
        """How many parts a step's op gives; raises ShapeError, which names its `parameter`."""
        if dim in self.known:
            return self.known[dim]
        target = self._target(dim)
        if target is None or self._wanted is None:
            into = "" if target is None else f", or give {argument('into', 'DST')}"
            raise ShapeError(f"say how many it gives over `{dim}`: `{parameter}`{into}")
        return self._count(target, dim, captures, self._wanted)

    def _target(self, dim: str) -> At | None:
        """The first target whose keys have a capture."""
        has = (at for at in self._rule.targets if any(c.name == dim for c in at.pattern.captures))
        return next(has, None)

    def _count(self, target: At, dim: str, captures: Mapping[str, Value], wanted: Table) -> int:
        """How many values of a capture the destination's keys have, which run from 0 on."""
        pattern = readable(_filled(target.pattern, captures, self._vars), self._vars)
        matcher = compile_pattern(pattern)
        read, at = matcher.row_reader(), matcher.columns.index(dim)
        keys: dict[Value, str] = {}
        for key in wanted.candidates(matcher):
            row = read(key)
            if row is not None:
                keys.setdefault(row[at], key)
        numbers = sorted(number for number in keys if isinstance(number, int))
        if not numbers:
            text = f"the destination has no key like `{target.text}` to count `{dim}` by"
            raise ShapeError(text)
        lacking = next((at for at, number in enumerate(numbers) if at != number), None)
        if lacking is not None:
            has = list_some((f"`{keys[number]}`" for number in numbers), SHOWN_KEYS)
            text = f"the destination has {has}, and none where `{dim}` is {lacking}"
            raise ShapeError(f"{text}; for those that are there: `for: dst::{target.text}`")
        return len(numbers)


def _filled(pattern: Pattern, captures: Mapping[str, Value], vars: Vars) -> Pattern:
    """A target's pattern with what is known of a step written into it."""
    scope, known = Scope(captures, vars), {*captures, *vars.names()}
    return Pattern(
        tuple(
            Literal(write_piece(piece, scope)) if _is_written(piece, known) else piece
            for piece in pattern.pieces
        )
    )


def _is_written(piece: Piece, known: Container[str]) -> bool:
    """Whether all that a piece needs is known."""
    if isinstance(piece, Formula):
        return all(is_known(name, known) for name in piece.expression.names)
    return isinstance(piece, Capture) and piece.name in known
