"""Of tensors with the same values the one that is meant, by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ckptsurgeon.drafting.steps import Degree, Grid, Step
from ckptsurgeon.learning.decisions import Decisions
from ckptsurgeon.learning.doubts import told_of
from ckptsurgeon.learning.likeness import Likeness, raw_words_of
from ckptsurgeon.suggesting.roles import TWINS


def choose_doubles(decisions: Decisions) -> Iterator[Step]:
    """The steps, of tensors that others equal those with the likest names, and doubted."""
    likeness: Likeness | None = None
    for step in decisions.steps:
        dtype = decisions.example.wanted[step.gives[0]].dtype
        doubles = [decisions.example.matchers[dtype].doubles(key) for key in step.takes]
        if step.is_move or all(len(keys) == 1 for keys in doubles):
            yield step
            continue
        likeness = likeness or decisions.likeness()
        if len(step.takes) == 1 and len(step.gives) > 1 and not step.targets.sizes:
            yield from _spread(step, doubles[0], likeness)
            continue
        chosen = tuple(_likest(likeness, keys, step.gives) for keys in doubles)
        takes = chosen if len(set(chosen)) == len(chosen) else step.takes
        same = {one for key in takes for one in (key, *decisions.tied.get(key, ()))}
        rivals = [key for keys in doubles for key in keys if key not in same]
        step = replace(step, sources=Grid(takes, step.sources.sizes))
        if rivals and step.degree < Degree.LIKELY:
            step = replace(step, degree=Degree.LIKELY, remark=told_of(rivals))
        yield step


def _spread(step: Step, doubles: Sequence[str], likeness: Likeness) -> Iterator[Step]:
    """A step for each of the targets that one tensor gives, each of the equal tensor it is like."""
    left = list(doubles)
    for target in step.gives:
        key = _likest(likeness, left or doubles, [target])
        left = [one for one in left if one != key]
        remark = told_of([one for one in doubles if one != key])
        one = replace(step, sources=Grid((key,)), targets=Grid((target,)))
        yield replace(one, degree=max(step.degree, Degree.LIKELY), remark=step.remark or remark)


def _likest(likeness: Likeness, keys: Sequence[str], targets: Sequence[str]) -> str:
    """The source whose name is likest to those of targets, and no copy's that follows another."""

    def rate(key: str) -> tuple[bool, float]:
        is_twin = not TWINS.isdisjoint(raw_words_of(key))
        return not is_twin, sum(likeness.of(key, target) for target in targets)

    return max(keys, key=rate)
