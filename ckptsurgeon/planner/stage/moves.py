"""Arrows and blocks: the steps of a rule, from the keys that it reads to those that it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import Capture
from ckptsurgeon.language.problems import Folded
from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.compiling.grids import TARGETS, Grid
from ckptsurgeon.planner.stage.calling import Caller
from ckptsurgeon.planner.stage.grouping import Group, Layout, group_steps
from ckptsurgeon.planner.stage.reading_keys import Match, slice_of
from ckptsurgeon.planner.stage.rows import Row
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.targets import TargetWriter
from ckptsurgeon.plans.account import Claim, Fate, Product, Step
from ckptsurgeon.plans.graph import Node, Operand
from ckptsurgeon.specs import TensorSpec

SHOWN_KEYS = 3
"""How many of a step's keys an error names."""


def run_move(run: StageRun, rule: CompiledRule) -> None:
    """Makes the steps of an arrow or a block."""
    found = [run.find(rule, number, reader) for number, reader in enumerate(rule.readers)]
    if not all(found):
        return
    groups = group_steps(rule, found, run.vars_of(rule), run.problems)
    if rule.where_by_step and not groups and not rule.options.optional:
        place = rule.options.places.get("where", rule.place)
        run.problems.add("`where` leaves out every step", place)
    failures, mover = Folded(run.problems, "step", "of this rule"), _Mover(run, rule)
    for group in groups:
        with failures.at(rule.group, rule.place):
            mover.step(group)
    failures.tell()


class _Mover:
    """Makes the steps of one rule."""

    def __init__(self, run: StageRun, rule: CompiledRule) -> None:
        self._run, self._rule, vars = run, rule, run.vars_of(rule)
        self._info = run.info(rule)
        self._claim = Claim(Fate.TAKEN, self._info)
        self._slices = [slice_of(reader, vars) for reader in rule.readers]
        self._caller = Caller(rule, self._info, vars) if rule.ops else None
        columns = (*rule.step_columns, *(capture.name for capture in rule.spread))
        self._targets = [TargetWriter(target, columns, vars) for target in rule.targets]

    def step(self, group: Group) -> None:
        """Takes what a step reads, runs its ops and gives what comes out."""
        grids, operands = [], list[Operand]()
        for slice_of_key, layout in zip(self._slices, group.layouts, strict=True):
            grids.append(self._take(layout, slice_of_key, operands))

        def about() -> str:
            return ", ".join(f"`{operand.key}`" for operand in operands[:SHOWN_KEYS])

        grid, ops = grids[0], tuple[Op, ...]()
        if self._caller is not None:
            grid, ops = self._caller.run(grids, group.values, about, lambda: self._wanted(group))
        matches = [match for layout in group.layouts for match in layout.matches]
        products = []
        for number, values, node in self._place(group.values, grid):
            product = Product(*self._targets[number].write(values, about))
            if self._run.give(self._rule, number, product, node, matches):
                products.append(product)
        step = Step(self._info, tuple(operands), tuple(products), ops)
        self._run.note_step(self._rule, step)

    def _take(
        self,
        layout: Layout,
        slice_of_key: Callable[[Match], Index | None],
        operands: list[Operand],
    ) -> Grid:
        """The tensors of a reference's matches, which are taken by this; adds what they are of."""
        nodes = []
        for match in layout.matches:
            index = slice_of_key(match)
            nodes.append(self._run.take(self._rule, self._claim, match, index))
            operands.append(Operand(match.table.alias, match.key, index))
        return Grid(layout.dims, tuple(nodes))

    def _wanted(self, group: Group) -> TensorSpec | None:
        """The destination's spec of what the step gives, where that is one whole key."""
        destination, rule = self._run.destination, self._rule
        if destination is None or rule.spread or rule.targets[0].index is not None:
            return None
        return destination.specs.get(self._targets[0].key(group.values))

    def _place(self, values: Row, grid: Grid) -> Iterator[tuple[int, Row, Node]]:
        """Each target's number with the captures' values and the tensor for it."""
        numbers: Sequence[int] = range(len(self._targets))
        if not grid.dims:
            yield from ((number, values, grid.nodes[0]) for number in numbers)
            return
        names = [name for name, _ in grid.dims]
        for coordinates, node in zip(grid.coordinates, grid.nodes, strict=True):
            at = dict(zip(names, coordinates, strict=True))
            own = (*values, *(_spread_value(one, at[one.name]) for one in self._rule.spread))
            chosen = (at[TARGETS],) if TARGETS in at else numbers
            yield from ((number, own, node) for number in chosen)


def _spread_value(capture: Capture, at: int) -> Value:
    return capture.value(capture.words[at].left) if capture.words else at
