"""Whether a rule file makes just the steps that it was written for: planned, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.drafting.nodes import is_same, nodes_of
from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.language.rulesets import parse_ruleset
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.planner.planning import Inputs, make_plan
from ckptsurgeon.plans.graph import Call, Leaf, Node, full_key, work_of
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.views import view_source

NAME = "rules.yaml"
"""What a file that is not written yet is called in messages."""


@dataclass(frozen=True)
class Ground:
    """What rules are tried on: sources by alias, how they are seen, a config, and given vars."""

    sources: Mapping[str, Checkpoint]
    options: SourceOptions = field(default_factory=SourceOptions)
    config: Mapping[str, Any] | None = None
    given: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def leaves(self) -> Mapping[str, Leaf]:
        """The readable tensors of the sources, by the keys that rules see, with aliases."""
        views = [
            view_source(checkpoint, alias, self.options)
            for alias, checkpoint in self.sources.items()
        ]
        return {
            full_key(view.alias, key): view.leaf(key)
            for view in views
            for key in view.specs
            if view.readable(key) is not None
        }

    def plan(self, text: str) -> Plan:
        """The plan of a rule file's text; raises CkptSurgeonError."""
        inputs = Inputs(self.sources, config=self.config, given=self.given)
        return make_plan([parse_ruleset(text, NAME)], inputs)

    def expect(self, steps: Sequence[Step]) -> dict[str, Node]:
        """What the targets of active steps are made of; raises CkptSurgeonError."""
        return {
            target: node
            for step in steps
            if step.targets.keys and step.degree < Degree.OPEN
            for target, node in nodes_of(step, self.leaves).items()
        }

    def holds(self, text: str, expected: Mapping[str, Node]) -> bool:
        """Whether a rule file gives these keys, each made as expected, and no others."""
        try:
            outputs = self.plan(text).outputs.nodes
        except CkptSurgeonError:
            return False
        if outputs.keys() != expected.keys():
            return False
        return all(is_same(_without_cast(outputs[key]), node) for key, node in expected.items())


@dataclass(frozen=True)
class Trial:
    """Another example that a rule file must hold on, with the steps that it has there."""

    ground: Ground
    steps: Sequence[Step]

    def holds(self, text: str) -> bool:
        """Whether the file makes just these steps there."""
        return self.ground.holds(text, self.ground.expect(self.steps))


def _without_cast(node: Node) -> Node:
    """What is cast by `output: dtype`, which no rule says."""
    work = work_of(node)
    if isinstance(work, Call) and isinstance(work.op, Cast) and work.rule is None:
        return work.inputs[0]
    return node
