"""Output keys that share one storage: where the keys they come from do, or are made alike."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.graph import Leaf, Node, Result, RuleInfo
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.plans.views import SourceView

Ties = dict[str, tuple[str, RuleInfo]]
"""Keys that rules tie, each with the key whose storage it shares and the rule."""

Identity = tuple[Hashable, tuple[Hashable, ...]]
"""What nodes of one and the same tensor share: where it comes from, and the ops on the way."""


def identity(node: Node) -> Identity:
    """Equal for nodes that hold the same values because they are made in the same way."""
    ops: list[Hashable] = []
    while isinstance(node, Result) and len(node.call.inputs) == 1:
        ops.append((node.call.op, node.number))
        node = node.call.inputs[0]
    if isinstance(node, Leaf):
        return (node.source, node.key), tuple(ops)
    if isinstance(node, Result):
        return (id(node.call), node.number), tuple(ops)
    return id(node), tuple(ops)


class Storages:
    """Identities of nodes in which the source tensors that share a storage are one."""

    def __init__(self, views: Iterable[SourceView]) -> None:
        self._first: dict[Hashable, Hashable] = {}
        for view in views:
            for first, *others in _aliases(view):
                self._first |= {(view.alias, key): (view.alias, first) for key in (first, *others)}

    def __bool__(self) -> bool:
        return bool(self._first)

    def of(self, node: Node) -> Identity:
        """The node's identity by the storage behind it."""
        root, ops = identity(node)
        return self._first.get(root, root), ops

    def is_shared(self, node: Node) -> bool:
        """Whether several source tensors share the storage behind the node."""
        return identity(node)[0] in self._first


def carried_ties(outputs: Outputs, storages: Storages) -> dict[str, str]:
    """Ties of the source that hold in the output: one storage, through the same ops."""
    leaders: dict[Identity, str] = {}
    ties: dict[str, str] = {}
    for key, node in outputs.nodes.items() if storages else ():
        if storages.is_shared(node):
            leader = leaders.setdefault(storages.of(node), key)
            if leader != key:
                ties[key] = leader
    return ties


def template_ties(outputs: Outputs, destination: SourceView) -> dict[str, str]:
    """Ties of the destination that hold in the output: keys that are given one tensor."""
    ties: dict[str, str] = {}
    for leader, *others in _aliases(destination):
        if leader in outputs:
            given = identity(outputs.nodes[leader])
            same = (k for k in others if k in outputs and identity(outputs.nodes[k]) == given)
            ties |= dict.fromkeys(same, leader)
    return ties


def earlier_ties(outputs: Outputs, tied: Sequence[tuple[Node, Node, RuleInfo]]) -> Ties:
    """Ties that rules of earlier stages made, for the keys that these tensors have come to."""
    keys: dict[Identity, list[str]] = {}
    for key, node in outputs.nodes.items() if tied else ():
        keys.setdefault(identity(node), []).append(key)
    ties: Ties = {}
    for one, other, rule in tied:
        found = dict.fromkeys([*keys.get(identity(one), ()), *keys.get(identity(other), ())])
        if len(found) > 1:
            leader, *others = found
            ties |= dict.fromkeys(others, (leader, rule))
    return ties


def united(pairs: Iterable[tuple[str, str]], outputs: Iterable[str]) -> dict[str, str]:
    """Each tied key with the first key, in output order, that it is tied to by any way round."""
    leaders: dict[str, str] = {}

    def leader(key: str) -> str:
        while leaders.get(key, key) != key:
            key = leaders[key]
        return key

    order: dict[str, int] = {}
    for one, other in pairs:
        order = order or {key: at for at, key in enumerate(outputs)}
        first, second = sorted((leader(one), leader(other)), key=lambda key: order.get(key, -1))
        leaders[second] = first
    return {key: leader(key) for key in leaders if leader(key) != key}


def broken_ties(
    outputs: Outputs, ties: Mapping[str, str], destination: SourceView
) -> Iterator[Note]:
    """Ties of the destination that the output does not keep: which value wins, loading decides."""
    for leader, *others in _aliases(destination):
        for key in others:
            apart = key in outputs and leader in outputs
            if apart and ties.get(key, key) != ties.get(leader, leader):
                text = f"tied to `{leader}` in the destination, and given another tensor here"
                yield Note("untied", text, key, outputs.rules[key])


def _aliases(view: SourceView) -> Iterable[tuple[str, ...]]:
    """The groups of tied keys in the names that the rules see."""
    if not view.contents.aliases:
        return ()
    keys = {name: key for key, name in view.names.items()}
    return (tuple(keys[name] for name in group) for group in view.contents.aliases)
