"""Whether a rule file makes just the steps that it was written for: planned, and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.drafting.nodes import is_same, nodes_of
from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.language.rulesets import parse_ruleset
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.planner.planning import Inputs, make_plan
from ckptsurgeon.plans.graph import Call, Node, work_of
from ckptsurgeon.plans.plan import Plan

NAME = "rules.yaml"
"""What a file that is not written yet is called in messages."""


def expected_nodes(steps: Sequence[Step], leaf: Callable[[str], Node]) -> dict[str, Node]:
    """What the targets of active steps are made of."""
    return {
        target: node
        for step in steps
        if step.targets.keys and step.degree < Degree.OPEN
        for target, node in nodes_of(step, leaf).items()
    }


def plan_text(
    text: str, sources: Mapping[str, Checkpoint], config: Mapping[str, object] | None = None
) -> Plan:
    """The plan of a rule file's text; raises CkptSurgeonError."""
    return make_plan([parse_ruleset(text, NAME)], Inputs(sources, config=config))


def makes(plan: Plan, expected: Mapping[str, Node]) -> bool:
    """Whether a plan gives these keys, each made as expected, and no others."""
    outputs = plan.outputs.nodes
    if outputs.keys() != expected.keys():
        return False
    return all(is_same(_without_cast(outputs[key]), node) for key, node in expected.items())


def _without_cast(node: Node) -> Node:
    """What is cast by `output: dtype`, which no rule says."""
    work = work_of(node)
    if isinstance(work, Call) and isinstance(work.op, Cast) and work.rule is None:
        return work.inputs[0]
    return node


def checks(
    sources: Mapping[str, Checkpoint],
    expected: Mapping[str, Node],
    config: Mapping[str, object] | None = None,
) -> Callable[[str], bool]:
    """What tells whether a rule file's text gives just what is expected."""

    def holds(text: str) -> bool:
        try:
            return makes(plan_text(text, sources, config), expected)
        except CkptSurgeonError:
            return False

    return holds
