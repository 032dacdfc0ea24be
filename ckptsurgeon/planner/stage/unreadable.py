"""Tensors that can't be read, as rules meet them: `drop` takes them, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence

from ckptsurgeon.errors import PlanError
from ckptsurgeon.planner.stage.grouping import Group
from ckptsurgeon.planner.stage.reading_keys import Match
from ckptsurgeon.planner.stage.state import tell_needed
from ckptsurgeon.plans.fates import Claim, Fate
from ckptsurgeon.plans.graph import RuleInfo
from ckptsurgeon.specs import UnreadableSpec


def leave_unreadable(
    groups: Sequence[Group], rule: RuleInfo, *, is_optional: bool
) -> Sequence[Group]:
    """The steps whose tensors can all be read.

    One of a single tensor that can't be is left out, and told as a finding. Raises PlanError where
    no step is left; a tensor that is needed beside others can't be taken.
    """
    kept, left = list[Group](), list[Match]()
    for group in groups:
        lone = group.matches[0] if len(group.matches) == 1 else None
        if lone is None or not isinstance(lone.node.spec, UnreadableSpec):
            kept.append(group)
        else:
            left.append(lone)
            lone.table.held.whole.setdefault(lone.key, Claim(Fate.UNREADABLE, rule))
    if left and not kept and not is_optional:
        first = left[0]
        raise PlanError([tell_needed(first.key, first.node.spec, rule.place)])
    return kept
