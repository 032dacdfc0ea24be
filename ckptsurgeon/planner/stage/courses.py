"""What happens in a step, worked out once for all whose ops and specs are alike.

Of a million steps, few are not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Sequence

from msgspec import Struct

from ckptsurgeon.errors import CkptSurgeonError, ShapeError
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import Capture
from ckptsurgeon.language.rows import Row
from ckptsurgeon.ops import OPS, Arity, Op
from ckptsurgeon.ops.joining import Copies
from ckptsurgeon.ops.noise import Noise, PlacedNoise
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Join, PlacedOp
from ckptsurgeon.planner.compiling.grids import LIST, TARGETS, Grid
from ckptsurgeon.planner.scope import Vars
from ckptsurgeon.planner.stage.at_hand import BlocksAtHand
from ckptsurgeon.planner.stage.calling import OpMaker, at_op
from ckptsurgeon.planner.stage.counting import Counts
from ckptsurgeon.planner.stage.grouping import Group
from ckptsurgeon.planner.stage.production import MAX_TENSORS
from ckptsurgeon.plans.graph import Call, Node, RuleInfo, results
from ckptsurgeon.specs import Specs, TensorSpec


class Course(Struct, frozen=True, gc=False):
    """What happens in a step. Its tensors have numbers: those that it takes, then all results.

    `calls` are ops with the numbers of what goes in, and the specs of what comes out. `placed`
    says what is given: a target's number, the values of captures that only targets have, and the
    tensor's number. `made` counts the results.
    """

    calls: tuple[tuple[Op, tuple[int, ...], Specs], ...]
    placed: tuple[tuple[int, Row, int], ...]
    ops: tuple[Op, ...] = ()
    made: int = 0

    def run(self, taken: Sequence[Node], info: RuleInfo, address: str) -> Sequence[Node]:
        """All tensors of a step; `address` is that of its first output, for noise."""
        if not self.calls:
            return taken
        nodes = list(taken)
        for op, inputs, specs in self.calls:
            own = op.under(address) if isinstance(op, PlacedNoise) else op
            nodes += results(Call(own, tuple([nodes[at] for at in inputs]), specs, info))
        return nodes


class Courses:
    """The courses of the steps of one rule.

    `find_wanted` gives the destination's spec of what a step gives, for ops that leave out their
    size.
    """

    def __init__(
        self,
        rule: CompiledRule,
        vars: Vars,
        find_wanted: Callable[[Group], TensorSpec | None],
        counts: Counts,
    ) -> None:
        self._rule, self._find_wanted, self._counts = rule, find_wanted, counts
        self._ops = OpMaker(rule, vars, counts)
        self._blocks = BlocksAtHand(rule, vars)
        self.remarks: dict[str, None] = {}
        """What is to be said of steps."""
        self._known: dict[Hashable, Course] = {}
        self._plain = Course((), tuple((n, (), 0) for n in range(len(rule.targets))))

    def find(self, group: Group, taken: Sequence[Node]) -> Course:
        """The course of a step; raises ProblemsError at the place of an op."""
        if not self._rule.ops:
            return self._plain
        ops = self._ops.make(group)
        wanted = self._find_wanted(group) if any(op.lacks_size for op in ops) else None
        specs = [node.spec for node in taken]
        alike = (tuple(group.dims), id(wanted), *map(id, ops), *map(id, specs))  # all are kept
        if alike not in self._known:
            self.remarks |= dict.fromkeys(self._blocks.remarks(group))
            self._known[alike] = self._trace(group, ops, wanted, specs)
        return self._known[alike]

    def _trace(
        self,
        group: Group,
        ops: Sequence[Op],
        wanted: TensorSpec | None,
        specs: Sequence[TensorSpec],
    ) -> Course:
        """The course of a step that takes tensors of these specs."""
        draft, used, read, made = _Draft(specs), list[Op](), _lay_out(group), iter(ops)

        def run(join: Join, *, keeps_shape: bool) -> Grid:
            """What comes of a list of `from`; whether nothing behind it changes a shape."""
            grids: Sequence[Grid] = [
                read[part]
                if isinstance(part, int)
                else run(part, keeps_shape=keeps_shape and _keep_shape(join.ops))
                for part in join.parts
            ]
            for number, placed in enumerate(join.ops):
                fits = keeps_shape and _keep_shape(join.ops[number + 1 :])
                try:
                    used.append(_fit(next(made), wanted if fits else None))
                    grids = self._apply(draft, placed, used[-1], grids)
                except CkptSurgeonError as error:
                    raise at_op(error, placed.call, group) from None
            return grids[0]

        given = tuple(self._place(run(self._rule.join, keeps_shape=True)))
        return Course(tuple(draft.calls), given, tuple(used), draft.made)

    def _apply(
        self, draft: _Draft, placed: PlacedOp, op: Op, grids: Sequence[Grid]
    ) -> Sequence[Grid]:
        if isinstance(op, Noise):
            placed_ops = map(op.at, itertools.count())
            return [grid.each(lambda one: draft.call(next(placed_ops), one)[0]) for grid in grids]
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
        parts = [one] * (op.times or 1) if isinstance(op, Copies) else draft.call(op, one)
        wanted = self._counts.known.get(placed.dim, len(parts))
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


def _keep_shape(ops: Sequence[PlacedOp]) -> bool:
    """Whether none of these ops changes a shape."""
    return all(OPS[placed.call.name].keeps_shape for placed in ops)


def _fit(op: Op, wanted: TensorSpec | None) -> Op:
    """The op with the size of the destination, where that is what it gives."""
    return op.fitted(wanted) if wanted is not None and op.lacks_size else op


class _Draft:
    """A course in the making: the specs of all tensors so far, and the calls."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self._specs, self._taken = list(specs), len(specs)
        self.calls: list[tuple[Op, tuple[int, ...], Specs]] = []

    @property
    def made(self) -> int:
        """How many tensors the calls give."""
        return len(self._specs) - self._taken

    def call(self, op: Op, *inputs: int) -> Sequence[int]:
        """The numbers of an op's results; raises ShapeError."""
        specs = op.infer(tuple([self._specs[one] for one in inputs]))
        self.calls.append((op, inputs, specs))
        self._specs += specs
        if len(self._specs) > MAX_TENSORS:
            raise ShapeError(f"{op.name}: more than {MAX_TENSORS} tensors in one step")
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
