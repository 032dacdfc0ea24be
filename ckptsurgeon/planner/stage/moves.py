"""Arrows and blocks: the steps of a rule, from the keys that it reads to those that it gives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import Capture
from ckptsurgeon.language.problems import Folded
from ckptsurgeon.language.rows import Row
from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.compiling.grids import TARGETS, Grid
from ckptsurgeon.planner.stage.calling import Caller
from ckptsurgeon.planner.stage.grouping import Group, group_steps
from ckptsurgeon.planner.stage.reading_keys import slice_of
from ckptsurgeon.planner.stage.state import Done, StageRun
from ckptsurgeon.planner.stage.targets import TargetWriter
from ckptsurgeon.plans.fates import Claim, Fate
from ckptsurgeon.plans.graph import Node
from ckptsurgeon.specs import TensorSpec

NO_OPS: tuple[Op, ...] = ()


def run_move(run: StageRun, rule: CompiledRule) -> None:
    """Makes the steps of an arrow or a block."""
    found = [run.find(rule, number, reader) for number, reader in enumerate(rule.readers)]
    if not all(found):
        return
    groups = group_steps(rule, found, run.vars_of(rule), run.problems)
    if rule.where_by_step and not groups and not rule.options.optional:
        place = rule.options.places.get("where", rule.place)
        run.problems.add("`where` leaves out every step", place)
    failures = Folded(run.problems, "step", "of this rule")
    steps = failures.run_each(rule.group, rule.place, _Mover(run, rule).step, groups)
    run.note_steps(rule, [step for step in steps if step is not None])
    failures.tell()


class _Mover:
    """Makes the steps of one rule; what they share is worked out before."""

    def __init__(self, run: StageRun, rule: CompiledRule) -> None:
        self._run, self._rule, vars = run, rule, run.vars_of(rule)
        self._claim = Claim(Fate.TAKEN, run.info(rule))
        self._slices = [slice_of(reader, vars) for reader in rule.readers]
        self._has_slices = any(reader.index is not None for reader in rule.readers)
        self._caller = Caller(rule, run.info(rule), vars) if rule.ops else None
        columns = (*rule.step_columns, *(capture.name for capture in rule.spread))
        self._targets = [TargetWriter(target, columns, vars) for target in rule.targets]

    def step(self, group: Group) -> Done:
        """Takes what a step reads, runs its ops and gives what comes out."""
        run, rule, claim, matches = self._run, self._rule, self._claim, group.matches
        slices: Sequence[Index | None] = ()
        if self._has_slices:
            slices = self._slices_of(group)
            cut = zip(matches, slices, strict=True)
            nodes = [run.take(rule, claim, match, index) for match, index in cut]
        else:
            nodes = [run.take(rule, claim, match) for match in matches]
        placed: Iterable[tuple[int, Row, Node]]
        ops, placed = NO_OPS, [(n, group.values, nodes[0]) for n in range(len(self._targets))]
        if self._caller is not None:
            grid, ops = self._call(self._caller, group, nodes)
            placed = self._place(group.values, grid)
        products = []
        for number, values, node in placed:
            key, index = self._targets[number].write(values, matches)
            if run.give(rule, number, key, index, node, matches):
                products.append((key, index))
        return Done(matches, products, slices, ops)

    def _slices_of(self, group: Group) -> Sequence[Index | None]:
        """The slices of all keys that a step reads."""
        counts = (math.prod(size for _, size in dims) for dims in group.dims)
        of_each = (of for of, count in zip(self._slices, counts, strict=True) for _ in range(count))
        return [of(match) for of, match in zip(of_each, group.matches, strict=True)]

    def _call(
        self, caller: Caller, group: Group, nodes: Sequence[Node]
    ) -> tuple[Grid, tuple[Op, ...]]:
        """What the ops make of the tensors that a step takes."""
        grids, taken = [], iter(nodes)
        for dims in group.dims:
            count = math.prod(size for _, size in dims)
            grids.append(Grid(dims, tuple(itertools.islice(taken, count))))
        return caller.run(grids, group.values, group.matches, lambda: self._wanted(group))

    def _wanted(self, group: Group) -> TensorSpec | None:
        """The destination's spec of what the step gives, where that is one whole key."""
        destination, rule = self._run.destination, self._rule
        if destination is None or rule.spread or rule.targets[0].index is not None:
            return None
        return destination.specs.get(self._targets[0].key(group.values))

    def _place(self, values: Row, grid: Grid) -> Iterator[tuple[int, Row, Node]]:
        """Each target's number with the captures' values and the tensor for it."""
        numbers: Sequence[int] = range(len(self._targets))
        names = [name for name, _ in grid.dims]
        for coordinates, node in zip(grid.coordinates, grid.nodes, strict=True):
            at = dict(zip(names, coordinates, strict=True))
            own = (*values, *(_spread_value(one, at[one.name]) for one in self._rule.spread))
            chosen = (at[TARGETS],) if TARGETS in at else numbers
            yield from ((number, own, node) for number in chosen)


def _spread_value(capture: Capture, at: int) -> Value:
    return capture.value(capture.words[at].left) if capture.words else at
