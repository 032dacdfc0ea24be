"""What would settle the findings of a plan: words on its rules, and rules for what they leave."""

from __future__ import annotations

from dataclasses import dataclass

from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.report.left import Left
from ckptsurgeon.report.remarks import Remark, remarks_of
from ckptsurgeon.suggesting.suggestion import Suggestion


@dataclass(frozen=True, slots=True)
class Advice:
    """Remarks on the rules that were given, and a rule file for what they leave.

    There is no suggestion where they leave nothing; where they leave `too_much`, nothing was looked
    for. `copies` says that keys that no rule takes keep their names there.
    """

    remarks: tuple[Remark, ...] = ()
    suggestion: Suggestion | None = None
    too_much: bool = False
    copies: bool = True

    def __bool__(self) -> bool:
        return bool(self.remarks or self.suggestion or self.too_much)


def advise(plan: Plan) -> Advice:
    """What would settle the findings of a plan that are open."""
    if not plan.open_findings:
        return Advice()
    remarks, aimed = remarks_of(plan)
    left = Left.of(plan, aimed)
    if left.is_settled:
        return Advice(tuple(remarks))
    if left.is_too_much:
        return Advice(tuple(remarks), too_much=True)
    return Advice(tuple(remarks), left.suggest(), copies=left.copies)
