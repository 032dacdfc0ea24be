"""Arrows and blocks: the steps of a rule, from the keys that it reads to those that it gives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from ckptsurgeon.language.problems import Folded
from ckptsurgeon.ops.indexing import Index, index_text
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.stage.at_hand import AtHand
from ckptsurgeon.planner.stage.counting import Counts
from ckptsurgeon.planner.stage.courses import Courses
from ckptsurgeon.planner.stage.grouping import Group, group_steps
from ckptsurgeon.planner.stage.reading_keys import slice_of
from ckptsurgeon.planner.stage.state import Done, StageRun
from ckptsurgeon.planner.stage.targets import TargetWriter
from ckptsurgeon.planner.stage.unreadable import leave_unreadable
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.fates import Claim, Fate
from ckptsurgeon.specs import TensorSpec


def run_move(run: StageRun, rule: CompiledRule) -> None:
    """Makes the steps of an arrow or a block."""
    found = run.find_all(rule)
    if not found:
        if all(found.names) and run.alive[rule.group].issuperset(range(len(rule.readers))):
            _tell_no_step(run, rule)
        return
    groups: Sequence[Group] = group_steps(rule, *found, run.vars_of(rule), run.problems)
    if rule.namers and not groups:
        _tell_no_step(run, rule)
    if any(table.has_unreadable for table in run.tables):
        is_optional = rule.options.optional is True
        groups = leave_unreadable(groups, run.info(rule), is_optional=is_optional)
    if rule.where_by_step and not groups and not rule.options.optional:
        place = rule.options.places.get("where", rule.place)
        run.problems.add("`where` leaves out every step", place)
    failures = Folded(run.problems, "step", "of this rule")
    mover = _Mover(run, rule)
    steps = failures.run_each(rule.group, rule.place, mover.step, groups)
    run.said += (Note("shape", text, rule=run.info(rule)) for text in mover.remarks)
    run.note_steps(rule, [step for step in steps if step is not None])
    failures.tell()


def _tell_no_step(run: StageRun, rule: CompiledRule) -> None:
    """Tells a rule whose references and whose `for` have no values in common."""
    if rule.namers and not rule.options.optional:
        names = " and ".join(f"`{reader.text}`" for reader in rule.namers)
        text = f"`for`: no key of {names} has captures that those of the rule have"
        run.problems.add(text, rule.namers[0].place, "`optional: true` lets the rule make no step")


MOST_REMARKS = 2
"""Remarks on the steps of one rule; there may be one for each layer."""


class _Mover:
    """Makes the steps of one rule; what they share is worked out before."""

    def __init__(self, run: StageRun, rule: CompiledRule) -> None:
        self._run, self._rule, vars = run, rule, run.vars_of(rule)
        self._info = run.info(rule)
        self._claim = Claim(Fate.TAKEN, self._info)
        self._slices = [slice_of(reader, vars) for reader in rule.readers]
        self._has_slices = any(reader.index is not None for reader in rule.readers)
        self._at_hand = AtHand(rule, tuple(target.index for target in rule.targets), vars)
        spread = (capture.name for capture in rule.spread)
        columns = (*rule.step_columns, *spread, *self._at_hand.names)
        named = run.compiled.is_named
        self._targets = [
            TargetWriter(target, columns, vars, is_named=named) for target in rule.targets
        ]
        counts = Counts(rule, vars, run.wanted)
        self._courses = Courses(rule, vars, self._find_wanted, counts)

    def step(self, group: Group) -> Done:
        """Takes what a step reads, runs its ops and gives what comes out."""
        run, rule, claim, matches = self._run, self._rule, self._claim, group.matches
        slices: Sequence[Index | None] = ()
        if self._has_slices:
            slices = self._slices_of(group)
            cut = zip(matches, slices, strict=True)
            taken = [run.take(rule, claim, match, index) for match, index in cut]
        else:
            taken = [run.take(rule, claim, match) for match in matches]
        course = self._courses.find(group, taken)
        run.production.count(course.made, rule.place)
        looked = self._at_hand.values(group.values, group.first)
        written = [
            self._targets[number].write(group.values + spread + looked, matches)
            for number, spread, _ in course.placed
        ]
        nodes = course.run(taken, self._info, _address(*written[0]) if written else "")
        products = []
        for (number, _, at), (key, index) in zip(course.placed, written, strict=True):
            if run.give(rule, number, key, index, nodes[at], matches):
                products.append((key, index))
        return Done(matches, products, slices, course.ops)

    @property
    def remarks(self) -> Sequence[str]:
        """What is to be said of the steps, the first few."""
        return list(self._courses.remarks)[:MOST_REMARKS]

    def _slices_of(self, group: Group) -> Sequence[Index | None]:
        """The slices of all keys that a step reads."""
        if len(self._slices) == 1:
            return list(map(self._slices[0], group.matches))
        slices, rest = list[Index | None](), iter(group.matches)
        for of, dims in zip(self._slices, group.dims, strict=True):
            count = math.prod([size for _, size in dims])
            slices += map(of, itertools.islice(rest, count))
        return slices

    def _find_wanted(self, group: Group) -> TensorSpec | None:
        """The destination's spec of what the step gives, where that is one whole key."""
        destination, rule = self._run.destination, self._rule
        if destination is None or rule.spread or rule.targets[0].index is not None:
            return None
        return destination.readable(self._targets[0].key(group.values))


def _address(key: str, index: Index | None) -> str:
    """A target's key with its slice."""
    return key if index is None else key + index_text(index)
