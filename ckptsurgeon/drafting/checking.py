"""Whether a rule file makes just the steps that it was written for: planned, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint
from ckptsurgeon.drafting.nodes import is_same, nodes_of
from ckptsurgeon.drafting.saying import is_sayable
from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.language.rulesets import parse_ruleset
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.planner.planning import Inputs, make_plan
from ckptsurgeon.plans.graph import Address, Call, Leaf, Node, full_key, walk, work_of
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.views import SourceView, view_source

Expected = Node | frozenset[Address]
"""How a target is made, or of a rule for modules the tensors that it may be made of."""

NAME = "rules.yaml"
"""What a file that is not written yet is called in messages."""


@dataclass(frozen=True)
class Ground:
    """What rules are tried on: sources by alias, how they are seen, a config, and given vars.

    With a destination, what is copied to keys of it in another shape is a finding, and no matter.
    `options` are those of the file's `source` section.
    """

    sources: Mapping[str, Checkpoint]
    options: SourceOptions = field(default_factory=SourceOptions)
    config: Mapping[str, Any] | None = None
    given: Mapping[str, int] = field(default_factory=dict)
    destination: Checkpoint | None = None

    @cached_property
    def views(self) -> Mapping[str, SourceView]:
        """The sources as rules see them."""
        return {alias: view_source(one, alias, self.options) for alias, one in self.sources.items()}

    @cached_property
    def leaves(self) -> Mapping[str, Leaf]:
        """The readable tensors of the sources, by the keys that rules see, with aliases."""
        return {
            full_key(view.alias, key): view.leaf(key)
            for view in self.views.values()
            for key in view.specs
            if view.readable(key) is not None
        }

    @cached_property
    def _seen(self) -> Mapping[str, str]:
        """The keys of the sources as rules see them, by those with aliases."""
        views = self.views.values()
        return {full_key(view.alias, key): key for view in views for key in view.specs}

    def can_say(self, step: Step) -> bool:
        """Whether patterns can name all keys of a step, and its ops can make its targets."""
        return not self.why_unsaid(step)

    def why_unsaid(self, step: Step) -> str:
        """Why no rule says a step: it can't name a key, or an op doesn't fit; else empty."""
        keys = (*(self._seen[key] for key in step.takes), *step.gives)
        odd = [key for key in keys if not is_sayable(key)]
        if odd:
            return f"no rule can name {odd[0]}"
        try:
            made = not step.calls or bool(self._made(step))
        except CkptSurgeonError as error:
            return str(error)
        return "" if made else "its ops make nothing"

    def part_sayable(self, steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
        """The steps that rules can say, and the others."""
        parts: tuple[list[Step], list[Step]] = ([], [])
        for step in steps:
            parts[not self.can_say(step)].append(step)
        return parts

    def plan(self, text: str) -> Plan:
        """The plan of a rule file's text; raises CkptSurgeonError."""
        inputs = Inputs(self.sources, self.destination, self.config, self.given)
        return make_plan([parse_ruleset(text, NAME)], inputs)

    def expect(self, steps: Sequence[Step]) -> dict[str, Expected]:
        """What the targets of active steps are made of; raises CkptSurgeonError."""
        return {
            target: node
            for step in steps
            if step.sources.keys and step.targets.keys and step.degree < Degree.OPEN
            for target, node in self._made(step).items()
        }

    def _made(self, step: Step) -> Mapping[str, Expected]:
        """The node of each target; of a rule for modules the tensors that it may be made of."""
        if step.unit is not None:
            leaves = (self.leaves[key] for key in step.takes)
            taken = frozenset((leaf.source, leaf.key) for leaf in leaves)
            return dict.fromkeys(step.gives, taken)
        return nodes_of(step, self.leaves)

    def holds(self, text: str, expected: Mapping[str, Expected]) -> bool:
        """Whether a rule file gives these keys, each made as expected, and no others."""
        try:
            outputs = self.plan(text).outputs.nodes
        except CkptSurgeonError:
            return False
        if any(key not in expected and not self._is_no_copy(key, outputs[key]) for key in outputs):
            return False
        if len(expected) > len(outputs) or any(key not in outputs for key in expected):
            return False
        return all(
            _is_expected(_without_cast(outputs[key]), node) for key, node in expected.items()
        )

    def _is_no_copy(self, key: str, node: Node) -> bool:
        """Whether a key is the destination's own, or has another shape there than it is given."""
        if self.destination is None:
            return False
        if isinstance(node, Leaf) and node.source == DESTINATION:
            return True
        spec = self.destination.contents.specs.get(key)
        return spec is not None and spec.shape != node.spec.shape


def _is_expected(node: Node, expected: Expected) -> bool:
    if not isinstance(expected, frozenset):
        return is_same(node, expected)
    leaves = {(one.source, one.key) for one in walk(node) if isinstance(one, Leaf)}
    return not isinstance(node, Leaf) and leaves <= expected


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
