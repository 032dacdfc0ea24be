"""Shipped rulesets that fit, in their own direction or in the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.language import catalog
from ckptsurgeon.language.rulesets import load_ruleset
from ckptsurgeon.planner.planning import Inputs, make_plan
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.plans.plan import Plan

MOST_KEYS = 5000
"""Keys of a source that shipped rulesets are tried on; theirs are of smaller networks."""

FITS = 0.9
"""The share of keys on both sides that a ruleset must take and give."""


def name_shipped(sources: Mapping[str, Checkpoint], destination: Checkpoint) -> Iterator[str]:
    """A comment for each shipped ruleset that does what is asked, or the opposite."""
    source = sources.get("")
    sizes = [len(one.contents.specs) for one in (*sources.values(), destination)]
    if source is None or len(sources) > 1 or max(sizes) > MOST_KEYS:
        return
    for name in catalog.names():
        if told := _fit(name, source, destination):
            yield f"{name} {told}: `-r {name}` in place of this file"
        elif told := _fit(name, destination, source):
            yield f"{name} makes the source of this, and {told}: the way back is `invert`"


def _fit(name: str, source: Checkpoint, destination: Checkpoint) -> str:
    """How many keys a ruleset takes and gives; empty where it doesn't fit."""
    try:
        plan = make_plan([load_ruleset(name)], Inputs({"": source}, destination))
    except CkptSurgeonError:
        return ""
    taken, wanted = len(source.contents.specs), len(destination.contents.specs)
    takes = sum(fate.fate is Fate.TAKEN for fate in plan.fates)
    gives = _count_given(plan)
    if takes < FITS * taken or gives < FITS * wanted:
        return ""
    return f"takes {takes:,} of {taken:,} keys and gives {gives:,} of {wanted:,}"


def _count_given(plan: Plan) -> int:
    """The destination's keys that the rules give a tensor that fits."""
    misfits = {finding.key for finding in plan.findings}
    own = (Status.KEPT, Status.INITIALISED)
    return sum(
        key not in misfits and output.status not in own and output.rule is not None
        for key, output in plan.outputs.items()
    )
