"""What the rules of a stage give: producers by key, parts put together, two producers refused."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Callable, Hashable, Iterable, Iterator

import msgspec

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.errors import Place, PlanError, Problem, ShapeError
from ckptsurgeon.keys import nearest_key
from ckptsurgeon.language.problems import Folded, Problems
from ckptsurgeon.language.yaml.writing import write_key_text
from ckptsurgeon.ops.indexing import Index, IndexItem, Region, resolve_index, taken_shape
from ckptsurgeon.ops.regions import overlapping, taken_count
from ckptsurgeon.plans.addresses import alias_of
from ckptsurgeon.plans.graph import (
    Assembly,
    Leaf,
    Node,
    Part,
    RuleInfo,
    full_key,
    operands_of,
    place_giving,
    place_reading,
)
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import TensorSpec
from ckptsurgeon.wording import name_destination

MAX_TENSORS = 4_000_000
"""Most tensors that a stage may give, so that hostile shapes can't fill the memory by splits."""

Prepare = Callable[[str, Node, RuleInfo | None], Node]
"""What a stage's options make of a tensor that a rule gives under a key."""


class Contribution(msgspec.Struct, frozen=True, gc=False):
    """A tensor for the part of an output key that `index` names."""

    node: Node
    rule: RuleInfo | None
    index: Index
    place: Place


class Given(msgspec.Struct, frozen=True):
    """The tensors that a stage gives, and the rule behind each, in one order."""

    nodes: dict[str, Node] = {}
    rules: dict[str, RuleInfo | None] = {}

    def keyed(self, keys: Iterable[str]) -> Given:
        """The same in another order of the keys."""
        nodes = {key: self.nodes[key] for key in keys}
        return Given(nodes, {key: self.rules[key] for key in nodes})


class Production:
    """The output keys of a stage and who gives them.

    `made` counts the tensors that are made on the way, those of the stages before among them.
    """

    def __init__(self, problems: Problems, made: int = 0) -> None:
        self._problems = problems
        self.nodes: dict[str, Node | None] = {}  # None where it is given in parts
        self.rules: dict[str, RuleInfo | None] = {}
        self._parts: dict[str, list[Contribution]] = {}
        self.made = made
        self._fitted: dict[Hashable, tuple[TensorSpec, int, list[Contribution]]] = {}
        self._collisions = Folded(problems, "key", "of these two rules")

    def __contains__(self, key: object) -> bool:
        return key in self.nodes

    def give(
        self,
        key: str,
        node: Node,
        rule: RuleInfo | None,
        place: Place,
        index: Index | None = None,
        separator: str | None = None,
    ) -> None:
        """Notes a producer; a second one for the whole key is a problem.

        `separator` is what stands for dots in the rule's names, if it changes them.
        """
        if key in self.nodes and (index is None or key not in self._parts):
            self._tell_two(key, node, rule, place, separator)
        elif index is None:
            self.nodes[key], self.rules[key] = node, rule
        else:
            self.nodes[key] = None
            self.rules.setdefault(key, rule)
            self._parts.setdefault(key, []).append(Contribution(node, rule, index, place))
        if len(self.nodes) > MAX_TENSORS:
            raise PlanError([Problem(f"more than {MAX_TENSORS} tensors", place)])

    def count(self, made: int, place: Place) -> None:
        """Counts tensors that are made on the way; raises PlanError where they are too many."""
        self.made += made
        if self.made > MAX_TENSORS:
            raise PlanError([Problem(f"more than {MAX_TENSORS} tensors on the way", place)])

    def _tell_two(
        self, key: str, node: Node, rule: RuleInfo | None, place: Place, separator: str | None
    ) -> None:
        first, rules = self.nodes[key], (self.rules[key], rule)
        nodes = (first or self._parts[key][0].node, node)
        names = [_named(key, *one) for one in zip(nodes, rules, strict=True)]
        self.collide(
            rules,
            Problem(
                f"two producers of `{key}`: {names[0]}, and {names[1]}",
                place,
                _tell_way_out(key, rules, nodes, separator),
            ),
        )

    def collide(self, rules: Hashable, problem: Problem) -> None:
        """Notes two producers of a key; of those by the same two rules the first is told."""
        self._collisions.add(rules, problem)

    def finish(self, destination: SourceView | None, prepare: Prepare | None) -> Given:
        """Every key with its tensor, parts put together.

        `prepare` casts what `output: {dtype: …}` names; None where it names nothing.
        """
        self._collisions.tell()
        for key in list(self._parts if prepare is None else self.nodes):
            node = self.nodes[key]
            if node is None:
                node = self._put_together(key, self._parts[key], destination, prepare)
            elif prepare is not None:
                node = prepare(key, node, self.rules[key])
            if node is None:  # which is told, and so there will be no plan
                del self.nodes[key]
            else:
                self.nodes[key] = node
        return Given(typing.cast("dict[str, Node]", self.nodes), self.rules)

    def _put_together(
        self,
        key: str,
        given: list[Contribution],
        destination: SourceView | None,
        prepare: Prepare | None,
    ) -> Node | None:
        """The tensor of a key; None, with a problem told, where its parts make none."""
        with self._problems.at(given[0].place, f"`{key}`: "):
            if prepare is not None:
                given = [
                    msgspec.structs.replace(one, node=prepare(key, one.node, one.rule))
                    for one in given
                ]
            return self._assemble(key, given, destination)
        return None

    def _assemble(
        self, key: str, given: list[Contribution], destination: SourceView | None
    ) -> Assembly:
        """One tensor of parts, filled up by the destination where they don't tile it."""
        wanted = destination.readable(key) if destination else None
        alike = (id(wanted), *[(id(one.index), id(one.node.spec)) for one in given])
        if alike not in self._fitted:
            self._fitted[alike] = *_fit_parts(given, wanted), given  # so that their ids stay
        spec, filled, _ = self._fitted[alike]
        base = None if filled == spec.count else _rest(key, spec, filled, destination)
        return Assembly(spec, tuple([Part(one.index, one.node) for one in given]), base)


def order_by_source(given: Given, views: Iterable[SourceView]) -> Given:
    """The tensors in the order of the first source tensor of each; made ones at the end."""
    counter = itertools.count()
    order = {view.alias: dict(zip(view.specs, counter, strict=False)) for view in views}
    last = next(counter)

    def position(key: str) -> int:
        node = given.nodes[key]
        first = node if isinstance(node, Leaf) else next(iter(operands_of(node)), None)
        return last if first is None else order[first.source][first.key]

    return given.keyed(sorted(given.nodes, key=position))


def _tell_way_out(
    given: str,
    rules: tuple[RuleInfo | None, ...],
    nodes: tuple[Node, ...],
    separator: str | None,
) -> str:
    """The next step of two producers: of a kept value the source's is dropped before."""
    kinds = [rule.kind if rule else "" for rule in rules]
    if "keep" in kinds:
        other = 1 - kinds.index("keep")
        leaf, rule = nodes[other], rules[other]
        if isinstance(leaf, Leaf) and leaf.source != DESTINATION and rule:
            if alias_of(given):
                return f"to keep the destination's leave this target out of {rule.place.file_line}"
            key = full_key(leaf.source, leaf.key)
            if rule.kind == "batchnorm":  # which takes whole layers
                key = f"{key.rpartition('.')[0]}.*"
            drop, place = write_key_text(key), rule.place.file_line
            where = f"before {place}, or in its place where it gives no more"
            return f"to keep the destination's put `drop: {drop}` {where}"
    if "keep" in kinds or "init" in kinds:
        return "leave out one of them, or let it take fewer keys"
    if separator is not None and rules[0] is rules[1]:
        return (
            f"names that differ by dots are one with `{separator}` for the dots: name one of them "
            "in a rule before this one"
        )
    return "drop or rename one of them; `fallback: true` makes a rule give way to earlier ones"


def _named(key: str, node: Node, rule: RuleInfo | None) -> str:
    """What gives a key, and where that stands; of two entries of a table by what they read."""
    sources = operands_of(node)
    named = f"`{full_key(sources[0].source, sources[0].key)}`" if sources else "its own value"
    if rule is None:
        return f"{named} by no rule"
    place = place_reading(rule, sources[0].key) if sources else place_giving(rule, key)
    return f"{named} by {place}"


# --- parts ----------------------------------------------------------------------------------------


def _fit_parts(given: list[Contribution], wanted: TensorSpec | None) -> tuple[TensorSpec, int]:
    """The spec of a tensor of these parts, and how many of its elements they fill."""
    spec = wanted or _tiled_spec(given)
    regions = [_region(contribution, spec.shape) for contribution in given]
    pair = overlapping(regions)
    if pair is not None:
        places = [str(given[number].place) for number in pair]
        raise ShapeError(f"the same part is filled twice: by {places[0]} and by {places[1]}")
    filled = sum(taken_count(region) for region in regions)
    dtypes = {contribution.node.spec.dtype for contribution in given}
    if wanted is not None and filled < spec.count:
        dtypes.add(wanted.dtype)  # of the rest
    if len(dtypes) > 1:
        raise ShapeError(
            f"its parts have different dtypes: {', '.join(sorted(dtypes))}; cast them alike"
        )
    return TensorSpec(dtypes.pop(), spec.shape), filled


def _region(contribution: Contribution, shape: tuple[int, ...]) -> Region:
    region = resolve_index(contribution.index, shape)
    spec, part = contribution.node.spec, taken_shape(contribution.index, region)
    if part != spec.shape:
        raise ShapeError(
            f"{spec} at {contribution.place} doesn't fit its part, which is {list(part)} of"
            f" {list(shape)}"
        )
    return region


def _rest(key: str, spec: TensorSpec, filled: int, destination: SourceView | None) -> Leaf:
    left = f"{spec.count - filled} of its {spec.count} elements are filled by no part"
    if destination is not None and destination.readable(key) is not None:
        return destination.leaf(key)
    if destination is None:
        into = name_destination()
        raise ShapeError(f"{left}; give them by other rules, or by a destination, {into}")
    if key in destination.specs:
        raise ShapeError(f"{left}, and the destination's own are unreadable")
    near = nearest_key(key, destination.specs)
    raise ShapeError(f"{left}, and the destination has no such key{near and f'; {near}'}")


def _tiled_spec(given: list[Contribution]) -> TensorSpec:
    """The spec that parts make without a destination: each dim as long as they reach."""
    shapes = [_reach(contribution) for contribution in given]
    if len({len(shape) for shape in shapes}) > 1:
        raise ShapeError("its parts have different numbers of dims")
    sizes = tuple(max(lengths) for lengths in zip(*shapes, strict=True))
    return TensorSpec(given[0].node.spec.dtype, sizes)


def _reach(contribution: Contribution) -> tuple[int, ...]:
    """How far a part reaches on each dim."""
    index, shape = contribution.index, contribution.node.spec.shape
    ranges = sum(isinstance(item, tuple) for item in index)
    whole: list[IndexItem] = [(None, None, None)] * (len(shape) - ranges)
    at = index.index("...") if "..." in index else len(index)
    sizes = iter(shape)
    return tuple(_length(item, sizes) for item in (*index[:at], *whole, *index[at + 1 :]))


def _length(item: IndexItem, sizes: Iterator[int]) -> int:
    if isinstance(item, int):
        start, stop = item, item + 1
    elif isinstance(item, tuple):
        size = next(sizes, 0)
        start = item[0] or 0
        stop = start + (size - 1) * (item[2] or 1) + 1 if item[1] is None else item[1]
    if min(start, stop) < 0:
        raise ShapeError("a part counted from the end needs a destination")
    return stop
