"""Which outputs are made alike: a million are few kinds, and what holds of one holds of all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

from ckptsurgeon.ops.noise import PlacedNoise
from ckptsurgeon.plans.graph import (
    Assembly,
    Call,
    Leaf,
    Made,
    Node,
    Result,
    RuleInfo,
    Work,
    in_order,
    inputs_of,
    operands_of,
    work_of,
)


class OutputKind(NamedTuple):
    """Outputs that differ in keys alone: those that they have, and those that they come from.

    `numbers` are their places in output order.
    """

    keys: list[str]
    numbers: list[int]

    def restrict(self, test: Callable[[str], bool]) -> OutputKind:
        """Those whose keys pass a test."""
        pairs = [pair for pair in zip(self.keys, self.numbers, strict=True) if test(pair[0])]
        return OutputKind([key for key, _ in pairs], [number for _, number in pairs])


def sort_kinds(
    nodes: Mapping[str, Node], rules: Mapping[str, RuleInfo | None], allowed: Mapping[str, str]
) -> list[OutputKind]:
    """The kinds of outputs by how they are made, by the rule and by what is allowed.

    A whole tensor that keeps its key is of another kind than one that is renamed.
    """
    find, kinds = _Recipes().find, dict[Hashable, OutputKind]()
    for number, (key, node) in enumerate(nodes.items()):
        moved = isinstance(node, Leaf) and node.key == key
        made = id(rules[key]), moved, find(node), allowed.get(key) if allowed else None
        kind = kinds.get(made) or kinds.setdefault(made, OutputKind([], []))
        kind.keys.append(key)
        kind.numbers.append(number)
    return list(kinds.values())


class _Recipes:
    """Tells how nodes are made: equal for those that differ in the keys of their leaves alone.

    What is worked on again has a number, so that a description is no longer than its inputs.
    """

    def __init__(self) -> None:
        self._descriptions: dict[Hashable, int] = {}
        self._numbers: dict[int, int] = {}

    def find(self, node: Node) -> Hashable:
        """How a node is made."""
        if isinstance(node, Leaf):
            return node.source, id(node.spec)
        work = work_of(node)
        inputs = inputs_of(work)
        for one in inputs:
            if not isinstance(one, Leaf):
                self._number(work_of(one))
        count = _count_operands(node, inputs)
        return self._describe(work), count, node.number if isinstance(node, Result) else 0

    def _number(self, last: Work) -> None:
        for work in in_order(last, lambda one: isinstance(one, Leaf) or id(one) in self._numbers):
            number = len(self._descriptions)
            self._numbers[id(work)] = self._descriptions.setdefault(self._describe(work), number)

    def _describe(self, work: Work) -> Hashable:
        """How work is done whose inputs have numbers; ops, specs and rules are told by their ids.

        The steps of a rule share them, and a plan keeps them.
        """
        inputs = [
            (one.source, id(one.spec))
            if isinstance(one, Leaf)
            else (self._numbers[id(work_of(one))], one.number if isinstance(one, Result) else 0)
            for one in inputs_of(work)
        ]
        if isinstance(work, Call):
            own = work.op.written if isinstance(work.op, PlacedNoise) else id(work.op)
            return own, id(work.specs), id(work.rule), *inputs
        if isinstance(work, Assembly):
            return id(work.spec), *[id(part.index) for part in work.parts], *inputs
        if isinstance(work, Made):
            return work.spec, work.fill, work.std, work.seed
        raise TypeError("a leaf is told where it goes in")


def _count_operands(node: Node, inputs: Sequence[Node]) -> int:
    """How many keys a tensor is made from: one that goes in twice is one."""
    if len(inputs) == 1 and isinstance(inputs[0], Leaf):  # as of most
        return 1
    if all(isinstance(one, Leaf) for one in inputs):
        return len({(one.source, one.key) for one in inputs if isinstance(one, Leaf)})
    return len(operands_of(node))
