"""Rules held against checkpoints: `make_plan` gives a Plan, or every problem at once."""

from __future__ import annotations

from collections.abc import Sequence

from ckptsurgeon.planner.model import Plan
from ckptsurgeon.planner.planning import Inputs, Planning
from ckptsurgeon.ruleset.model import Ruleset

__all__ = ["Inputs", "Plan", "make_plan"]


def make_plan(rulesets: Sequence[Ruleset], inputs: Inputs) -> Plan:
    """The plan of these rules for these checkpoints, from headers alone.

    Raises RulesetError for rules that are wrong in themselves, PlanError for rules that are wrong
    for these checkpoints; findings are part of the plan.
    """
    return Planning.of(rulesets, inputs).plan()
