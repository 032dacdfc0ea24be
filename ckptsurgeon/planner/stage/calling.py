"""Ops as written made concrete, for the captures of each step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ckptsurgeon.checkpoints.index_files import load_indices
from ckptsurgeon.errors import (
    CkptSurgeonError,
    ExpressionError,
    PlanError,
    Problem,
    ProblemsError,
    ShapeError,
)
from ckptsurgeon.files import find_below, follow_links
from ckptsurgeon.language.expressions import Value, kind_of, names_in
from ckptsurgeon.language.rows import OfRow
from ckptsurgeon.language.rules import Argument, OpCall, evaluate
from ckptsurgeon.ops import OPS, Op, build
from ckptsurgeon.planner.compiling.compiled import CompiledRule, PlacedOp
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.at_hand import AtHand
from ckptsurgeon.planner.stage.counting import Counts
from ckptsurgeon.planner.stage.grouping import Group
from ckptsurgeon.planner.stage.reading_keys import name_keys


class OpMaker:
    """Makes the ops of one rule, the same for equal captures.

    `counts` says how many tensors those give that leave out their number.
    """

    def __init__(self, rule: CompiledRule, vars: Vars, counts: Counts) -> None:
        self._rule, self._vars, self._counts = rule, vars, counts
        self._at_hand = AtHand(rule, tuple(placed.call.arguments for placed in rule.ops), vars)
        self._makers = [self._maker(placed) for placed in rule.ops]

    def make(self, group: Group) -> list[Op]:
        """The ops for a step; raises ProblemsError at their places."""
        ops: list[Op] = []
        for maker, placed in zip(self._makers, self._rule.ops, strict=True):
            try:
                ops.append(maker(group.values + self._at_hand.values(group.values, group.first)))
            except CkptSurgeonError as error:
                raise at_op(error, placed.call, group) from None
        return ops

    def _maker(self, placed: PlacedOp) -> OfRow[Op]:
        """What makes the op for a step's captures."""
        name, arguments = placed.call.name, placed.call.arguments
        counted = lacks_number(placed.call)

        def make(captures: Mapping[str, Value]) -> Op:
            values = self._parameters(placed, arguments, Scope(captures, self._vars))
            if counted:
                values[counted] = self._counts.of(placed.dim, captures, counted)
            return build(name, values)

        columns = (*self._rule.step_columns, *self._at_hand.names)
        return OfRow({*names_in(arguments), *self._counted_by(placed)}, columns, make)

    def _counted_by(self, placed: PlacedOp) -> frozenset[str]:
        """The captures that say how many an op gives that leaves out its number."""
        return self._counts.names(placed.dim) if lacks_number(placed.call) else frozenset()

    def _parameters(
        self, placed: PlacedOp, arguments: Mapping[str, Argument], scope: Scope
    ) -> dict[str, object]:
        values = {name: evaluate(value, scope) for name, value in arguments.items()}
        if placed.call.name == "take" and isinstance(values.get("file"), str):
            values["indices"] = load_indices(_beside(placed.call, str(values.pop("file"))))
        return values


def lacks_number(call: OpCall) -> str:
    """The parameter by which an op would say how many it gives, where it doesn't."""
    counted = OPS[call.name].counted
    return "" if call.arguments.keys() & {counted, "sizes"} else counted


def at_op(error: CkptSurgeonError, call: OpCall, group: Group) -> ProblemsError:
    """The error of an op at its place; one that has places of its own keeps them."""
    if isinstance(error, ProblemsError):
        return error
    text = f"{name_keys(group.matches)}: {error}"
    return PlanError([Problem(text, call.place, getattr(error, "help", ""))])


def evaluate_number(value: Argument, word: str, scope: Scope) -> int | float:
    """A number of a rule worked out; raises ExpressionError for anything else."""
    number: Value = evaluate(value, scope)  # type: ignore[assignment]
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ExpressionError(f"`{word}` takes a number, found {kind_of(number)} ({number!r})")
    return number


def _beside(call: OpCall, name: str) -> Path:
    """A file that a rule file names: beside it or below, never outside of its folder."""
    try:
        folder = follow_links(call.place.file).parent
        path = find_below(folder, name)
    except OSError:
        raise ShapeError(f"{call.name}: {name!r} is no file name") from None
    if path is None:
        raise ShapeError(f"{call.name}: {name!r} leaves the rule file's folder {folder}")
    return path
