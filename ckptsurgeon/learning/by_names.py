"""What is decided by names: of the sources that a target's values fit the likest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.drafting.steps import Degree, move
from ckptsurgeon.learning.decisions import Decisions
from ckptsurgeon.learning.doubts import told_of
from ckptsurgeon.learning.likeness import EQUAL, Likeness
from ckptsurgeon.learning.structure import Beside

WIDE = 0.1
"""By how much the likest name must lead for several to be taken at once."""


def decide_by_names(decisions: Decisions) -> bool:
    """Whether names decided any more: those of which they are surest."""
    if not decisions.ambiguous:
        return False
    likeness = decisions.likeness()
    used = set(decisions.used)
    beside = Beside(decisions.steps)
    best = [
        _best(likeness, beside, target, keys, used) for target, keys in decisions.ambiguous.items()
    ]
    best.sort(key=lambda one: (-one.lead, -one.score))
    for one in [one for one in best if one.lead >= WIDE] or best:
        if one.key not in used:
            _settle_best(decisions, one)
            used.add(one.key)
    if not any(one.target not in decisions.ambiguous for one in best):
        _settle_best(decisions, best[0])
    return True


@dataclass(frozen=True, slots=True)
class _Best:
    """The source that is likest to a target, how like it is, and by how much it leads."""

    target: str
    key: str
    score: float
    lead: float


def _best(
    likeness: Likeness,
    beside: Beside,
    target: str,
    keys: Sequence[str],
    used: Collection[str],
) -> _Best:
    is_same = beside.agrees(move(target, target))
    rated = ((likeness.of(key, target, is_same=is_same) - (key in used), key) for key in keys)
    scores = sorted(rated, key=lambda one: -one[0])  # of equal ones the first in the file
    lead = scores[0][0] - scores[1][0] if len(scores) > 1 else scores[0][0]
    return _Best(target, scores[0][1], scores[0][0], lead)


def _settle_best(decisions: Decisions, best: _Best) -> None:
    """Takes what names say: sure where a tensor keeps its name, else likely."""
    same = {best.key, *decisions.tied.get(best.key, ())}
    others = [key for key in decisions.ambiguous[best.target] if key not in same]
    step = move(best.key, best.target, Degree.SURE)
    if not (others or decisions.example.signatures[best.target].constant):
        step = replace(step, degree=Degree.PROVED)
    elif others and best.score < EQUAL - 1:
        step = replace(step, degree=Degree.LIKELY, remark=told_of(others))
    elif not others and not _end_alike(best.key, best.target):
        remark = "it is one number throughout, as new tensors are"
        step = replace(step, degree=Degree.LIKELY, remark=remark)
    decisions.settle(step)


def _end_alike(source: str, target: str) -> bool:
    return source.rpartition(".")[2] == target.rpartition(".")[2]
