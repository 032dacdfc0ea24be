"""Rules held against checkpoints: `make_plan` gives a Plan, or every problem at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ckptsurgeon.planner.model import Plan
from ckptsurgeon.planner.planning import Inputs, Planning
from ckptsurgeon.ruleset.model import Ruleset

__all__ = ["Inputs", "Plan", "make_plan"]


def make_plan(rulesets: Sequence[Ruleset], inputs: Inputs) -> Plan:
    """The plan of these rules for these checkpoints, from headers alone.

    Raises RulesetError for rules that are wrong in themselves, PlanError for rules that are wrong
    for these checkpoints; findings are part of the plan.
    """
    with _uncollected():
        return Planning.of(rulesets, inputs).plan()


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection in the body: a plan is millions of objects, and none is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
