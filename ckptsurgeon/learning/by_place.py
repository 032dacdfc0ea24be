"""What is decided by place: the same rule at another index, the same module's other tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ckptsurgeon.drafting.arrows import arrows_of
from ckptsurgeon.drafting.instances import Instances
from ckptsurgeon.drafting.steps import Degree, Grid, Step, move
from ckptsurgeon.learning.decisions import Decisions


def decide_by_place(decisions: Decisions) -> bool:
    """Whether what is known of other places decided anything."""
    arrows = arrows_of(decisions.steps)
    if not arrows:
        return False
    instances = Instances(arrows)
    waiting = [*decisions.ambiguous, *decisions.open]
    before = len(waiting)
    leaves = _leaves(decisions)
    for target in waiting:
        if decisions.waits(target):
            _try_place(decisions, instances, leaves, target)
    return len(decisions.ambiguous) + len(decisions.open) < before


def _try_place(
    decisions: Decisions, instances: Instances, leaves: Sequence[str], target: str
) -> None:
    """Decides a target by the rule of another index, or of another tensor of its module."""
    for step in instances.steps_for(target):
        if decisions.take(step, target):
            return
    prefix, dot, leaf = target.rpartition(".")
    for other in leaves:
        if other != leaf:
            for step in instances.steps_for(f"{prefix}{dot}{other}"):
                if decisions.take(_with_leaf(step, other, leaf), target):
                    return
                if _take_sibling(decisions, step, target):
                    return


def _leaves(decisions: Decisions) -> list[str]:
    """The last pieces of targets that are decided, each once."""
    targets = (key for step in decisions.steps for key in step.gives)
    return list(dict.fromkeys(key.rpartition(".")[2] for key in targets))


def _with_leaf(step: Step, old: str, new: str) -> Step:
    """The step with another last piece on both sides, where it ended alike."""
    return replace(
        step,
        sources=_ended(step.sources, old, new),
        targets=_ended(step.targets, old, new),
    )


def _ended(grid: Grid, old: str, new: str) -> Grid:
    keys = tuple(
        f"{key.removesuffix(old)}{new}" if key.endswith(f".{old}") else key for key in grid.keys
    )
    return Grid(keys, grid.sizes)


def _take_sibling(decisions: Decisions, step: Step, target: str) -> bool:
    """Takes the only tensor that fits beside the source of the target's neighbour."""
    if not step.is_move:
        return False
    prefix = step.sources.keys[0].rpartition(".")[0]
    beside = [
        key
        for key in decisions.ambiguous.get(target, ())
        if key.rpartition(".")[0] == prefix and key not in decisions.used
    ]
    if len(beside) != 1:
        return False
    degree = max(Degree.SURE, step.degree)
    found = move(beside[0], target, degree, step.remark)
    decisions.settle(found)
    return True
