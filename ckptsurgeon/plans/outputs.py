"""What a plan gives: every output key with its tensor and the rule behind it, held in columns."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import msgspec

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.plans.graph import (
    Assembly,
    Leaf,
    Node,
    Operand,
    RuleInfo,
    op_texts,
    operands_of,
    uses,
)
from ckptsurgeon.plans.kinds import OutputKind, sort_kinds
from ckptsurgeon.specs import TensorSpec


class Status(enum.Enum):
    """How an output key got its value."""

    MOVED = "moved"  # a whole source tensor, by a rule, under the name that it had
    RENAMED = "renamed"  # a whole source tensor, by a rule, under another name
    COPIED = "copied"  # a whole source tensor, by no rule
    CHANGED = "changed"  # through ops or parts
    KEPT = "kept"  # the destination's own value
    INITIALISED = "initialised"


OF_KIND = {"keep": Status.KEPT, "init": Status.INITIALISED}
"""What rules give that are no source's."""


def status_of(key: str, node: Node, rule: RuleInfo | None) -> Status:
    """How a key's tensor, that a rule gives, came about; None gives what is copied or kept."""
    in_parts = isinstance(node, Assembly) and operands_of(node)
    if rule is not None and rule.kind in OF_KIND and not in_parts:
        return OF_KIND[rule.kind]
    if not isinstance(node, Leaf):
        return Status.CHANGED if operands_of(node) else Status.INITIALISED
    if node.source == DESTINATION:
        return Status.KEPT
    if rule is None:
        return Status.COPIED
    return Status.MOVED if node.key == key else Status.RENAMED


class Output(msgspec.Struct, frozen=True, gc=False):
    """A key of the result, `name` in the file. `rule` gave it, in the last stage that touched it.

    `wanted` is the destination's spec; `allowed` names the finding that was accepted for it
    ("missing", "mismatched").
    """

    key: str
    name: str
    node: Node
    rule: RuleInfo | None
    wanted: TensorSpec | None = None
    allowed: str = ""

    @property
    def spec(self) -> TensorSpec:
        return self.node.spec

    @property
    def status(self) -> Status:
        return status_of(self.key, self.node, self.rule)

    @property
    def sources(self) -> tuple[Operand, ...]:
        """The checkpoint keys that it is made from."""
        return operands_of(self.node)

    @property
    def ops(self) -> tuple[str, ...]:
        """The ops on the way, in words: `split(dim=0)`."""
        return op_texts(self.node)


class Outputs(Mapping[str, Output]):
    """The outputs by key, in output order. `name_of` gives the name that a file knows a key by.

    `rules`, `wanted` and `allowed` may know keys that are not given.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        rules: Mapping[str, RuleInfo | None],
        name_of: Callable[[str], str],
        wanted: Mapping[str, TensorSpec],
        allowed: Mapping[str, str],
    ) -> None:
        self.nodes, self.rules, self.allowed = nodes, rules, allowed
        self._name_of, self._wanted = name_of, wanted

    @cached_property
    def kinds(self) -> list[OutputKind]:
        """The outputs by how they are made, and by the rule and what is allowed."""
        return sort_kinds(self.nodes, self.rules, self.allowed)

    def using(self, source: str) -> Iterator[Output]:
        """The outputs that tensors of a source go into, kind by kind."""
        for kind in self.kinds:
            used = uses([self.nodes[kind.keys[0]]])
            if any(isinstance(work, Leaf) and work.source == source for work in used):
                yield from map(self.__getitem__, kind.keys)

    def first(self, kind: OutputKind) -> Output:
        """The output that stands for its kind."""
        return self[kind.keys[0]]

    def __getitem__(self, key: str) -> Output:
        return Output(
            key,
            self._name_of(key),
            self.nodes[key],
            self.rules[key],
            self._wanted.get(key),
            self.allowed.get(key, ""),
        )

    def __contains__(self, key: object) -> bool:
        return key in self.nodes

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)
