"""A plan's graph walked from its outputs back to its sources, each tensor as made of outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ckptsurgeon.ops.indexing import (
    Index,
    IndexItem,
    IndexRange,
    Region,
    Slice,
    Take,
    items_by_dim,
    resolve_index,
)
from ckptsurgeon.ops.joining import Same
from ckptsurgeon.ops.regions import taken_count, uncovered
from ckptsurgeon.plans.graph import (
    Assembly,
    Call,
    Leaf,
    Made,
    Node,
    Part,
    Result,
    Work,
    call,
    in_order,
    inputs_of,
    work_of,
)
from ckptsurgeon.plans.inverse.undoing import completing, regions
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import Specs, TensorSpec

LOST = "lost"
"""The alias under which an inverse reads what its plan lost."""

Spot = tuple[str, str] | tuple[int, int]
"""A tensor of the graph: a leaf's source and key, else what gives it and which of its results."""


def spot_of(node: Node) -> Spot:
    """One name for a tensor, whichever node stands for it."""
    if isinstance(node, Leaf):
        return node.source, node.key
    return id(work_of(node)), node.number if isinstance(node, Result) else 0


class Recovery:
    """Tensors of a plan as made of its outputs.

    `given` are the outputs' nodes, each with what stands for it; of what several tell, the first
    is taken. `stand_in` makes a tensor of the plan from another checkpoint, or gives None; only
    what no output tells is asked of it.
    """

    def __init__(
        self,
        given: Sequence[tuple[Node, Node]],
        stand_in: Callable[[Node], Node | None] = lambda _: None,
    ) -> None:
        self._stand_in = stand_in
        self._known: dict[Spot, Node] = {}
        self._times: Counter[Spot] = Counter()
        self._parts: dict[Spot, list[Part]] = {}
        self._causes: dict[Spot, Call] = {}
        for node, own in given:
            self._give(node, own)
        for work in _consumers_first([node for node, _ in given]):
            self._unwind(work)

    def tensor(self, node: Node) -> Node | None:
        """What the tensor is made of, as far as the outputs tell and the stand-in fills up."""
        known = self._known.get(spot_of(node))
        return known or self._of_parts(node)

    def cause(self, node: Node) -> Call | None:
        """The op that lost the tensor, where an op did."""
        return self._causes.get(spot_of(node))

    def in_part(self, node: Node) -> bool:
        """Whether outputs hold parts of the tensor."""
        return bool(self._parts.get(spot_of(node)))

    def copies(self) -> Iterator[tuple[Spot, Node, int]]:
        """What was told several times: the one that was taken, and how many there are."""
        for spot, times in self._times.items():
            if times > 1:
                yield spot, self._known[spot], times

    def _give(self, node: Node, value: Node) -> None:
        self._known.setdefault(spot_of(node), value)
        self._times[spot_of(node)] += 1

    def _of_parts(self, node: Node) -> Node | None:
        parts = self._parts.get(spot_of(node), [])
        base = self._stand_in(node) if parts else None
        if base is None and sum(part.node.spec.count for part in parts) < node.spec.count:
            return None
        chosen, tiles = _disjoint(parts, node.spec)
        if not parts or (base is None and not tiles):
            return None
        whole = Assembly(node.spec, chosen, None if tiles else base)
        self._give(node, whole)
        return whole

    # --- one step back ----------------------------------------------------------------------------

    def _unwind(self, work: Work) -> None:
        if isinstance(work, Call):
            self._unwind_call(work)
        elif isinstance(work, Assembly):
            whole = self.tensor(work)
            for part in work.parts:
                if whole is None:
                    self._blame(part.node, self.cause(work))
                else:
                    self._give(part.node, call(Slice(index=part.index), whole)[0])

    def _unwind_call(self, work: Call) -> None:
        specs = tuple(node.spec for node in work.inputs)
        results = self._results(work)
        missing = [number for number, result in enumerate(results) if result is None]
        parts = regions(work.op, specs)
        undo = work.op.inverse(specs)
        if parts and (missing or undo is None):
            self._give_parts(work.inputs[0], parts, results)
        if missing:
            self._blame_all(work, self.cause(Result(work, missing[0])))
        elif isinstance(work.op, Same):
            self._give_all(work, [results[0]] * len(specs))
        elif undo is None:
            self._blame_all(work, work)
            self._complete(work, specs, results[0])
        else:
            given = (result for result in results if result is not None)
            self._give_all(work, call(undo, *given))

    def _complete(self, work: Call, specs: Specs, result: Node | None) -> None:
        """Gives the input of a `take` back where a stand-in has the items that were not taken."""
        base = self._stand_in(work.inputs[0]) if isinstance(work.op, Take) else None
        if isinstance(work.op, Take) and result is not None and base is not None:
            join, best = completing(work.op, specs)
            self._give(work.inputs[0], call(best, *call(join, result, base))[0])

    def _results(self, work: Call) -> list[Node | None]:
        """What the call's results are made of; where some are known, the others by a stand-in."""
        nodes = [Result(work, number) for number in range(len(work.specs))]
        results = [self.tensor(node) for node in nodes]
        if not any(results):
            return results
        return [result or self._stand_in(node) for node, result in zip(nodes, results, strict=True)]

    def _give_all(self, work: Call, values: Sequence[Node | None]) -> None:
        for node, value in zip(work.inputs, values, strict=True):
            if value is not None:
                self._give(node, value)

    def _give_parts(
        self, node: Node, parts: Sequence[Index], results: Sequence[Node | None]
    ) -> None:
        own = self._parts.setdefault(spot_of(node), [])
        for index, result in zip(parts, results, strict=True):
            if result is not None and result.spec.count:
                own.append(Part(index, result))

    def _blame_all(self, work: Call, cause: Call | None) -> None:
        for node in work.inputs:
            self._blame(node, cause)

    def _blame(self, node: Node, cause: Call | None) -> None:
        if cause is not None:
            self._causes.setdefault(spot_of(node), cause)


def _consumers_first(nodes: Sequence[Node]) -> Iterator[Work]:
    """The work behind nodes, each before what it needs; that of the first nodes first."""
    done: dict[int, Work] = {}
    for node in reversed(nodes):
        for work in in_order(work_of(node), lambda work: id(work) in done):
            done[id(work)] = work
    return reversed(done.values())


def _disjoint(parts: Sequence[Part], spec: TensorSpec) -> tuple[tuple[Part, ...], bool]:
    """Parts of a tensor that don't overlap, and whether they tile it.

    The largest are chosen first; of others, what is not covered yet is cut out.
    """
    placed = [(resolve_index(part.index, spec.shape), part) for part in parts]
    covered: list[Region] = []
    chosen: list[tuple[Region, Part]] = []
    for region, part in sorted(placed, key=lambda pair: -taken_count(pair[0])):
        own = uncovered(region, covered)
        covered += [region] if own else []
        chosen += [(one, part if one == region else _cut(part, region, one)) for one in own]
    tiles = sum(taken_count(region) for region, _ in chosen) == spec.count
    chosen.sort(key=lambda pair: [part.start for part in pair[0]])
    return tuple(part for _, part in chosen), tiles


def _cut(part: Part, region: Region, piece: Region) -> Part:
    """The part that fills a piece of the region that the whole part fills."""
    inner: list[IndexItem] = []
    index = list[IndexItem](items_by_dim(part.index, len(region)))
    for dim, (own, left) in enumerate(zip(region, piece, strict=True)):
        if isinstance(index[dim], tuple):
            index[dim] = _written(left)
            first, last = own.index(left[0]), own.index(left[-1])
            inner.append(_written(range(first, last + 1, left.step // own.step)))
    return Part(tuple(index), call(Slice(index=tuple(inner)), part.node)[0])


def _written(items: range) -> IndexRange:
    """A range that takes something, as an index says it."""
    return items[0], items[-1] + 1, items.step if len(items) > 1 and items.step > 1 else None


class StandIns:
    """Tensors of one source of a plan, and what is made of them, read from another checkpoint."""

    def __init__(self, source: str, view: SourceView) -> None:
        self._source, self._view = source, view
        self._done: dict[int, tuple[Node, ...] | None] = {}

    def __call__(self, node: Node) -> Node | None:
        """The node with `lost` tensors as its leaves; None where it needs any other."""
        for work in in_order(work_of(node), lambda work: id(work) in self._done):
            self._done[id(work)] = self._made(work)
        made = self._done[id(work_of(node))]
        return None if made is None else made[node.number if isinstance(node, Result) else 0]

    def _made(self, work: Work) -> tuple[Node, ...] | None:
        if isinstance(work, Made):
            return (work,)
        if isinstance(work, Leaf):
            fits = work.source == self._source and self._view.readable(work.key) == work.spec
            return (self._view.leaf(work.key),) if fits else None
        inputs = [self(node) for node in inputs_of(work)]
        known = [node for node in inputs if node is not None]
        if len(known) < len(inputs):
            return None
        if isinstance(work, Call):
            return call(work.op, *known, rule=work.rule)
        base, nodes = (None, known) if work.base is None else (known[0], known[1:])
        parts = (Part(part.index, node) for part, node in zip(work.parts, nodes, strict=True))
        return (Assembly(work.spec, tuple(parts), base),)
