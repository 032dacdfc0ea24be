"""What is computed once for many tensors: which outputs share it, and in which order it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ckptsurgeon.plans.graph import Node, Work, in_order, inputs_of, nbytes_of, uses, work_of


def group_sharing(computed: Mapping[str, Iterable[Node]]) -> list[list[str]]:
    """The aliases of outputs, those in one group whose computed tensors need the same work."""
    group_of = {alias: [alias] for alias in computed}
    needed_by: dict[int, str] = {}
    for alias, nodes in computed.items():
        waiting = list(map(work_of, nodes))
        while waiting:
            work = waiting.pop()
            other = needed_by.get(id(work))
            if other is None:
                needed_by[id(work)] = alias
                waiting += map(work_of, inputs_of(work))
            elif group_of[other] is not group_of[alias]:
                joined, own = group_of[other], group_of[alias]
                joined += own
                group_of.update(dict.fromkeys(own, joined))
    groups: dict[int, list[str]] = {}
    for alias, group in group_of.items():
        groups.setdefault(id(group), []).append(alias)
    return list(groups.values())


def order_by_sharing(nodes: Sequence[Node]) -> list[int]:
    """The numbers of the nodes, in an order where those follow each other that share work.

    The pieces of one tensor come together, and so do the tensors that are made of a third one.
    """
    times = Counter(map(id, uses(nodes)))
    below: dict[int, Work | None] = {}
    places: dict[int, int] = {}

    def way(node: Node) -> tuple[int, ...]:
        """The shared work that leads to the node, the first one first, told by its place."""
        last = work_of(node)
        for work in in_order(last, lambda work: id(work) in below):
            inputs = map(work_of, inputs_of(work))
            nearest = (one if times[id(one)] > 1 else below[id(one)] for one in inputs)
            shared = [one for one in nearest if one is not None]
            below[id(work)] = max(shared, key=nbytes_of, default=None)
        found = [last]
        while (shared_one := below[id(found[-1])]) is not None:
            found.append(shared_one)
        return tuple(places.setdefault(id(one), len(places)) for one in reversed(found))

    ways = list(map(way, nodes))
    return sorted(range(len(nodes)), key=ways.__getitem__)
