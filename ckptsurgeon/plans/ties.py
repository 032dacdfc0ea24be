"""Output keys that share one storage: where the keys they come from do, or are made alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.addresses import alias_of
from ckptsurgeon.plans.graph import (
    Address,
    Leaf,
    Node,
    Result,
    RuleInfo,
    full_key,
    op_texts,
    operands_of,
)
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

    def uses(self, node: Node) -> Iterator[tuple[Hashable, Hashable]]:
        """The source tensors with a shared storage in a node, each with how the node is made.

        Nodes that are made alike, of the same storages, say the same.
        """
        if isinstance(node, Leaf) and (node.source, node.key) not in self._first:
            return  # as of most
        root, ops = identity(node)
        if root in self._first:
            yield root, ops
        elif not (isinstance(root, tuple) and isinstance(root[0], str)):  # several tensors go in
            read = operands_of(node)
            made = op_texts(node), tuple((self._first.get(o.at, o.at), str(o.index)) for o in read)
            yield from ((one.at, made) for one in read if one.at in self._first)


def file_of(is_named: bool) -> Callable[[str], str]:
    """What gives the alias of the file that an output key goes to; two files share no storage."""
    return alias_of if is_named else lambda key: ""


def carried_ties(outputs: Outputs, storages: Storages, *, is_named: bool = False) -> dict[str, str]:
    """Ties of the source that hold in an output: one storage, through the same ops."""
    leaders: dict[tuple[str, Identity], str] = {}
    ties: dict[str, str] = {}
    alias = file_of(is_named)
    for key, node in outputs.nodes.items() if storages else ():
        if storages.is_shared(node):
            leader = leaders.setdefault((alias(key), storages.of(node)), key)
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


def earlier_ties(
    outputs: Outputs, tied: Sequence[tuple[Node, Node, RuleInfo]], *, is_named: bool = False
) -> Ties:
    """Ties that rules of earlier stages made, for the keys that these tensors have come to."""
    alias = file_of(is_named)
    keys: dict[Identity, list[str]] = {}
    for key, node in outputs.nodes.items() if tied else ():
        keys.setdefault(identity(node), []).append(key)
    ties: Ties = {}
    for one, other, rule in tied:
        found = dict.fromkeys([*keys.get(identity(one), ()), *keys.get(identity(other), ())])
        files: dict[str, list[str]] = {}
        for key in found:
            files.setdefault(alias(key), []).append(key)
        for leader, *others in files.values():
            ties |= dict.fromkeys(others, (leader, rule))
    return ties


def parted_ties(outputs: Outputs, sources: Iterable[SourceView]) -> Iterator[Note]:
    """Tied source tensors that go to outputs of which none has both."""
    shared = [view for view in sources if view.contents.aliases]
    used: dict[Address, dict[str, str]] = {}
    for key, node in outputs.nodes.items() if shared else ():
        if isinstance(node, Leaf):
            used.setdefault((node.source, node.key), {}).setdefault(alias_of(key), key)
    for view in shared:
        for first, *others in _aliases(view):
            there = used.get((view.alias, first), {})
            for other in others:
                own = used.get((view.alias, other), {})
                if there and own and not there.keys() & own.keys():
                    leader, key = next(iter(there.values())), next(iter(own.values()))
                    text = f"tied to `{leader}` in the source, and two files share no storage"
                    yield Note("untied", text, key, outputs.rules[key])


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
    outputs: Outputs,
    ties: Mapping[str, str],
    sources: Iterable[SourceView],
    destination: SourceView | None,
    storages: Storages,
) -> Iterator[Note]:
    """Ties of a side that the output does not keep, each key told once.

    Which value of the destination's wins, loading decides; the source's part at the next training.
    """
    told: set[str] = set()
    for leader, key in _untied(outputs, destination):
        if _are_apart(key, [leader], ties):
            told.add(key)
            text = f"tied to `{leader}` in the destination, and given another tensor here"
            yield Note("untied", text, key, outputs.rules[key])
    for leader, key in _parted(outputs, ties, sources, storages):
        if key not in told:
            text = f"tied to `{leader}` in the source, and made in another way here"
            yield Note("untied", text, key, outputs.rules[key])


def _are_apart(key: str, others: Iterable[str], ties: Mapping[str, str]) -> bool:
    """Whether an output is tied to none of the others."""
    return ties.get(key, key) not in {ties.get(other, other) for other in others}


def _untied(outputs: Outputs, destination: SourceView | None) -> Iterator[tuple[str, str]]:
    """The outputs that the destination ties to another one, which stands before."""
    for leader, *others in _aliases(destination) if destination else ():
        yield from ((leader, key) for key in others if {leader, key} <= outputs.keys())


Way = frozenset[Hashable]
"""How the outputs are made that a tensor goes into; empty where they come from elsewhere."""

WHOLE: Way = frozenset({()})


def _parted(
    outputs: Outputs,
    ties: Mapping[str, str],
    sources: Iterable[SourceView],
    storages: Storages,
) -> Iterator[tuple[str, str]]:
    """Outputs of tied source tensors that are made in another way than those of the others.

    Each with the source key of these. Where only some of the tied keys go on, nothing parts.
    """
    shared = [view for view in sources if view.contents.aliases]
    used: dict[Hashable, dict[str, Hashable]] = {}
    for key, node in outputs.nodes.items() if shared else ():
        for address, made in storages.uses(node):
            used.setdefault(address, {})[key] = made
    for view in shared:
        for group in _aliases(view):
            found = {key: used.get((view.alias, key), {}) for key in group}
            parted = _part(found, outputs, ties)
            yield from ((full_key(view.alias, one), key) for one, key in parted)


def _part(
    used: Mapping[str, Mapping[str, Hashable]], outputs: Collection[str], ties: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Of one group of tied keys: one of those that are made alike, and the output of each other."""
    given = set(chain.from_iterable(used.values()))
    ways: dict[Way, dict[str, Iterable[str]]] = {}
    for key, made in used.items():
        if made or (given and key in outputs and key not in given):
            ways.setdefault(frozenset(made.values()), {})[key] = made or [key]
    if len(ways) < 2:
        return
    most = max(ways, key=lambda way: (len(ways[way]), way == WHOLE))
    first, with_it = next(iter(ways[most])), list(chain.from_iterable(ways[most].values()))
    for others in (ways[way] for way in ways if way != most):
        keys = (next(iter(made)) for made in others.values())
        yield from ((first, key) for key in keys if _are_apart(key, with_it, ties))


def _aliases(view: SourceView) -> Iterable[tuple[str, ...]]:
    """The groups of tied keys in the names that the rules see."""
    if not view.contents.aliases:
        return ()
    keys = {name: key for key, name in view.names.items()}
    return (tuple(keys[name] for name in group) for group in view.contents.aliases)
