"""Why a tensor of a source can't be given back: the rule and line that lost it, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import Place, Problem
from ckptsurgeon.ops.batchnorms import OfBatchNorm
from ckptsurgeon.ops.indexing import Slice, Take
from ckptsurgeon.ops.texts import op_text
from ckptsurgeon.plans.addresses import split_address
from ckptsurgeon.plans.fates import Fate, SourceFate, Why
from ckptsurgeon.plans.graph import Address, Call, Leaf, RuleInfo, full_key
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.steps import Step

SHOWN_KEYS = 6
"""How many keys that were lost in one way are named."""


class Losses:
    """The reasons for lost tensors, found by following their keys through a plan's stages."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._steps: dict[tuple[int, str, str], list[Step]] = {}
        for step in plan.steps:
            for operand in step.operands:
                self._steps.setdefault((step.stage, *operand.at), []).append(step)

    def problems(self, lost: Iterable[tuple[Leaf, Call | None, bool]]) -> list[Problem]:
        """A problem for each way in which tensors were lost, in the order of the rules.

        Each of them comes with the op that lost it, if one did, and whether parts of it are left.
        """
        found: dict[tuple[Place | None, str], list[str]] = {}
        for leaf, cause, in_part in lost:
            place, why, fate = self._why(leaf, cause, in_part)
            found.setdefault((place, why), []).append(_named(leaf, fate))
        problems = [Problem(_lost(keys, why), place) for (place, why), keys in found.items()]
        return sorted(problems, key=_position)

    def _why(
        self, leaf: Leaf, cause: Call | None, in_part: bool
    ) -> tuple[Place | None, str, SourceFate | None]:
        """The place and the reason of a loss, and the fate of the key in the stage of the loss."""
        for fate in self._trail(leaf):
            told = _tell(fate)
            if told:
                return fate.rule.place if fate.rule else None, told, fate
            if cause is not None and cause.rule is not None and fate.stage == cause.rule.stage:
                return cause.rule.place, _by_op(cause, cause.rule), fate
        if cause is not None and cause.rule is None:
            return None, f"`{op_text(cause.op)}` can't be undone (by `output: {{dtype: …}}`)", None
        if in_part:
            return self._first_place(leaf), "only a part is in the output", None
        return self._first_place(leaf), self._without_reason(leaf), None

    def _trail(self, leaf: Leaf) -> Iterator[SourceFate]:
        """The fates of a key, stage by stage under the names that it has there."""
        addresses: list[Address] = [(leaf.source, leaf.key)]
        for stage in sorted({table.stage for table in self._plan.fates.tables}):
            following: dict[Address, None] = {}
            for address in addresses:
                fate = self._plan.fates.find(stage, *address)
                if fate is not None:
                    yield fate
                    steps = self._steps.get((stage, *address), [])
                    given = [product.key for step in steps for product in step.products]
                    given += [address[1]] if fate.fate is Fate.COPIED else []
                    following |= dict.fromkeys(("", key) for key in given)
                    following |= dict.fromkeys(map(split_address, given))  # of named stages
            addresses = list(following)

    def _first_place(self, leaf: Leaf) -> Place | None:
        fate = self._plan.fates.find(0, leaf.source, leaf.key)
        return fate.rule.place if fate and fate.rule else None

    def _without_reason(self, leaf: Leaf) -> str:
        for finding in self._plan.findings:
            if any(one.at == (leaf.source, leaf.key) for one in finding.sources):
                return f"its output `{finding.key}` was {finding.kind.value}, which was allowed"
        return "no output holds it"


def _tell(fate: SourceFate) -> str:
    """What a fate alone says of a loss; nothing where it is none."""
    if fate.fate is Fate.DROPPED:
        return f"dropped {fate.reason}".rstrip()
    if fate.fate is Fate.UNUSED:
        return "nothing takes it"
    if fate.claim.why is Why.GAVE_WAY:
        return fate.reason
    return f"{fate.untaken:.1%} is taken by no rule" if fate.untaken else ""


def _named(leaf: Leaf, fate: SourceFate | None) -> str:
    """`a.weight`, and what a later stage knows it as, where it was lost there."""
    name = f"`{full_key(leaf.source, leaf.key)}`"
    there = full_key(fate.source, fate.key) if fate else ""
    return f"{name} as `{there}`" if fate and fate.stage and fate.key != leaf.key else name


def _by_op(cause: Call, rule: RuleInfo) -> str:
    if isinstance(cause.op, OfBatchNorm):
        return f"`{rule.text}` can't be undone"
    loss = "takes a part" if isinstance(cause.op, Slice | Take) else "can't be undone"
    return f"`{op_text(cause.op)}` {loss}"


def _lost(keys: list[str], why: str) -> str:
    """`a.weight`, `b.weight` and 3 more are lost: dropped."""
    verb = "is" if len(keys) == 1 else "are"
    return f"{list_some(keys, SHOWN_KEYS)} {verb} lost: {why}"


def _position(problem: Problem) -> tuple[bool, Place | None]:
    return problem.place is None, problem.place or Place("", 0, 0)
