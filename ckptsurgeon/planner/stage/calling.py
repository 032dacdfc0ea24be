"""Ops as written made concrete, and what comes of the tensors of a step.

That is worked out once for all steps whose ops and specs are alike: of a million, few are not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from ckptsurgeon.checkpoints.index_files import load_indices
from ckptsurgeon.errors import (
    CkptSurgeonError,
    ExpressionError,
    PlanError,
    Problem,
    ProblemsError,
    ShapeError,
)
from ckptsurgeon.language.expressions import Value, kind_of, names_in
from ckptsurgeon.language.patterns import Capture, Kind
from ckptsurgeon.language.rows import OfRow, Row
from ckptsurgeon.language.rules import Argument, OpCall, evaluate
from ckptsurgeon.ops import OPS, Arity, Op, build
from ckptsurgeon.ops.joining import Split
from ckptsurgeon.planner.compiling.compiled import CompiledRule, PlacedOp
from ckptsurgeon.planner.compiling.grids import LIST, TARGETS, Grid
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.grouping import Group
from ckptsurgeon.planner.stage.reading_keys import name_keys
from ckptsurgeon.plans.graph import Call, Node, RuleInfo, results
from ckptsurgeon.specs import Specs, TensorSpec


class Course(Struct, frozen=True, gc=False):
    """What happens in a step. Its tensors have numbers: those that it takes, then all results.

    `calls` are ops with the numbers of what goes in, and the specs of what comes out. `placed`
    says what is given: a target's number, the values of captures that only targets have, and the
    tensor's number.
    """

    calls: tuple[tuple[Op, tuple[int, ...], Specs], ...]
    placed: tuple[tuple[int, Row, int], ...]
    ops: tuple[Op, ...] = ()

    def run(self, taken: Sequence[Node], info: RuleInfo) -> Sequence[Node]:
        """All tensors of a step."""
        if not self.calls:
            return taken
        nodes = list(taken)
        for op, inputs, specs in self.calls:
            nodes += results(Call(op, tuple([nodes[at] for at in inputs]), specs, info))
        return nodes


class Courses:
    """The courses of the steps of one rule.

    `find_wanted` gives the destination's spec of what a step gives, for ops that leave out their
    size.
    """

    def __init__(
        self, rule: CompiledRule, vars: Vars, find_wanted: Callable[[Group], TensorSpec | None]
    ) -> None:
        self._rule, self._vars, self._find_wanted = rule, vars, find_wanted
        self._sizes = {TARGETS: len(rule.targets)}
        self._sizes |= {c.name: len(c.words) for c in rule.spread if c.kind is Kind.WORDS}
        self._makers = [self._maker(placed) for placed in rule.ops]
        self._known: dict[Hashable, Course] = {}
        if not rule.ops:
            self._known[()] = Course((), tuple((n, (), 0) for n in range(len(rule.targets))))

    def find(self, group: Group, taken: Sequence[Node]) -> Course:
        """The course of a step.

        Raises ProblemsError at the place of an op, which names the step's keys.
        """
        if not self._makers:
            return self._known[()]
        ops = self._make_ops(group)
        wanted = self._find_wanted(group) if any(op.lacks_size for op in ops) else None
        specs = [node.spec for node in taken]
        alike = (tuple(group.dims), id(wanted), *map(id, ops), *map(id, specs))
        if alike not in self._known:
            self._known[alike] = self._trace(group, ops, wanted, specs)
        return self._known[alike]

    def _make_ops(self, group: Group) -> list[Op]:
        """The ops for a step's captures."""
        ops: list[Op] = []
        for make, placed in zip(self._makers, self._rule.ops, strict=True):
            try:
                ops.append(make(group.values))
            except CkptSurgeonError as error:
                raise _at_op(error, placed.call, group) from None
        return ops

    def _maker(self, placed: PlacedOp) -> OfRow[Op]:
        """What makes the op for a step's captures."""
        name, arguments = placed.call.name, placed.call.arguments

        def make(captures: Mapping[str, Value]) -> Op:
            return build(name, self._parameters(placed, arguments, Scope(captures, self._vars)))

        return OfRow(names_in(arguments), self._rule.step_columns, make)

    def _parameters(
        self, placed: PlacedOp, arguments: Mapping[str, Argument], scope: Scope
    ) -> dict[str, object]:
        values = {name: evaluate(value, scope) for name, value in arguments.items()}
        if OPS[placed.call.name] is Split and "parts" not in values and "sizes" not in values:
            values["parts"] = self._parts(placed)
        if placed.call.name == "take" and isinstance(values.get("file"), str):
            values["indices"] = load_indices(_beside(placed.call, str(values.pop("file"))))
        return values

    def _parts(self, placed: PlacedOp) -> int:
        if placed.dim not in self._sizes:
            raise ShapeError(f"split over `{placed.dim}`: say how many: `parts` or `sizes`")
        return self._sizes[placed.dim]

    # --- tracing ----------------------------------------------------------------------------------

    def _trace(
        self,
        group: Group,
        ops: Sequence[Op],
        wanted: TensorSpec | None,
        specs: Sequence[TensorSpec],
    ) -> Course:
        """The course of a step that takes tensors of these specs."""
        draft, used = _Draft(specs), list[Op]()
        grids: Sequence[Grid] = _lay_out(group)
        for number, (op, placed) in enumerate(zip(ops, self._rule.ops, strict=True)):
            try:
                used.append(self._fit(number, op, wanted))
                grids = self._apply(draft, placed, used[-1], grids)
            except CkptSurgeonError as error:
                raise _at_op(error, placed.call, group) from None
        return Course(tuple(draft.calls), tuple(self._place(grids[0])), tuple(used))

    def _fit(self, number: int, op: Op, wanted: TensorSpec | None) -> Op:
        """The op with the destination's size, unless an op behind it changes the shape again."""
        behind = (OPS[placed.call.name] for placed in self._rule.ops[number + 1 :])
        fits = wanted is not None and op.lacks_size and all(cls.keeps_shape for cls in behind)
        return op.fitted(wanted) if fits and wanted is not None else op

    def _apply(
        self, draft: _Draft, placed: PlacedOp, op: Op, grids: Sequence[Grid]
    ) -> Sequence[Grid]:
        if placed.arity is Arity.EACH:
            return [grid.each(lambda one: draft.call(op, one)[0]) for grid in grids]
        if placed.arity is Arity.SPLIT:
            return [
                grid.split(placed.dim, lambda one: self._split(draft, placed, op, one))
                for grid in grids
            ]
        if placed.dim == LIST:
            return [_join_list(draft, op, grids)]
        return [
            grid.join(placed.dim, lambda ones: draft.call(op, *ones)[0])
            if placed.dim in dict(grid.dims)
            else grid
            for grid in grids
        ]

    def _split(self, draft: _Draft, placed: PlacedOp, op: Op, one: int) -> Sequence[int]:
        parts = draft.call(op, one)
        wanted = self._sizes.get(placed.dim, len(parts))
        if len(parts) != wanted:
            takers = "targets" if placed.dim == TARGETS else f"words of `{placed.dim}`"
            raise ShapeError(f"{op.name}: gives {len(parts)} tensors for {wanted} {takers}")
        return parts

    def _place(self, grid: Grid) -> Iterator[tuple[int, Row, int]]:
        """Each target's number with the values of its own captures, and the tensor for it."""
        numbers: Sequence[int] = range(len(self._rule.targets))
        names = [name for name, _ in grid.dims]
        for coordinates, node in zip(grid.coordinates, grid.nodes, strict=True):
            at = dict(zip(names, coordinates, strict=True))
            spread = tuple(
                _spread_value(capture, at[capture.name]) for capture in self._rule.spread
            )
            chosen = (at[TARGETS],) if TARGETS in at else numbers
            yield from ((number, spread, node) for number in chosen)


class _Draft:
    """A course in the making: the specs of all tensors so far, and the calls."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self._specs = list(specs)
        self.calls: list[tuple[Op, tuple[int, ...], Specs]] = []

    def call(self, op: Op, *inputs: int) -> Sequence[int]:
        """The numbers of an op's results; raises ShapeError."""
        specs = op.infer(tuple([self._specs[one] for one in inputs]))
        self.calls.append((op, inputs, specs))
        self._specs += specs
        return range(len(self._specs) - len(specs), len(self._specs))


def _lay_out(group: Group) -> list[Grid]:
    """The tensors that a step takes as grids, one for each reference."""
    numbers = itertools.count()
    counts = [math.prod(size for _, size in dims) for dims in group.dims]
    return [
        Grid(dims, tuple(itertools.islice(numbers, count)))
        for dims, count in zip(group.dims, counts, strict=True)
    ]


def _join_list(draft: _Draft, op: Op, grids: Sequence[Grid]) -> Grid:
    """The references joined place by place, in the order of the list."""
    dims = grids[0].dims
    for grid in grids[1:]:
        if grid.dims != dims:
            raise ShapeError(f"{op.name}: the references have different dims open")
    lines = zip(*(grid.nodes for grid in grids), strict=True)
    return Grid(dims, tuple(draft.call(op, *line)[0] for line in lines))


def _spread_value(capture: Capture, at: int) -> Value:
    return capture.value(capture.words[at].left) if capture.words else at


def _at_op(error: CkptSurgeonError, call: OpCall, group: Group) -> ProblemsError:
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
    folder = Path(call.place.file).resolve().parent
    try:
        path = (folder / name).resolve()
    except (OSError, ValueError):
        raise ShapeError(f"{call.name}: {name!r} is no file name") from None
    if not path.is_relative_to(folder):
        raise ShapeError(f"{call.name}: {name!r} leaves the rule file's folder {folder}")
    return path
