"""Which outputs are made alike: a million are few kinds, and what holds of one holds of all."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple

from ckptsurgeon.plans.graph import (
    Assembly,
    Call,
    Leaf,
    Node,
    Result,
    RuleInfo,
    Work,
    in_order,
    inputs_of,
    work_of,
)


class Kind(NamedTuple):
    """Outputs that differ in keys alone: those that they have, and those that they come from.

    `numbers` are their places in output order.
    """

    keys: list[str]
    numbers: list[int]


def sort_kinds(
    nodes: Mapping[str, Node], rules: Mapping[str, RuleInfo | None], allowed: Mapping[str, str]
) -> list[Kind]:
    """The kinds of outputs by how they are made, by the rule and by what is allowed."""
    find, kinds = _Recipes().find, dict[Hashable, Kind]()
    for number, (key, node) in enumerate(nodes.items()):
        made = id(rules[key]), find(node), allowed.get(key) if allowed else None
        kind = kinds.get(made) or kinds.setdefault(made, Kind([], []))
        kind.keys.append(key)
        kind.numbers.append(number)
    return list(kinds.values())


class _Recipes:
    """Tells how nodes are made: equal for those that differ in the keys of their leaves alone."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[int, int] = {}

    def find(self, node: Node) -> Hashable:
        """How a node is made."""
        if isinstance(node, Leaf):
            return node.source, id(node.spec)
        work, inputs = work_of(node), inputs_of(work_of(node))
        if not all([isinstance(one, Leaf) for one in inputs]):  # as most are
            for one in in_order(work, lambda one: isinstance(one, Leaf) or id(one) in self._known):
                self._known[id(one)] = self._number(one)
        return self._number(work), node.number if isinstance(node, Result) else 0

    def _number(self, work: Work) -> int:
        """A number for how the work is made, whose inputs are known."""
        made = _describe(work), tuple([self._find_input(one) for one in inputs_of(work)])
        return self._numbers.setdefault(made, len(self._numbers))

    def _find_input(self, node: Node) -> Hashable:
        if isinstance(node, Leaf):
            return node.source, id(node.spec)
        return self._known[id(work_of(node))], node.number if isinstance(node, Result) else 0


def _describe(work: Work) -> Hashable:
    """What is to be said of the work itself; ops and rules are shared by the steps of a rule."""
    if isinstance(work, Call):
        return id(work.op), id(work.specs), id(work.rule)
    if isinstance(work, Assembly):
        return id(work.spec), tuple([id(part.index) for part in work.parts]), work.base is None
    if isinstance(work, Leaf):
        raise TypeError("a leaf has no inputs to be told by")
    return work.spec, work.fill, work.std, work.seed
