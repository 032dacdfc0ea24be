"""What the rules of a stage give: producers by key, parts put together, two producers refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.errors import Place, PlanError, Problem, ShapeError
from ckptsurgeon.language.patterns import ConcreteIndex, ConcreteItem
from ckptsurgeon.language.problems import Folded, Problems
from ckptsurgeon.ops.indexing import resolve_index, taken_shape
from ckptsurgeon.ops.regions import overlapping, taken_count
from ckptsurgeon.planner.stage.tables import Origin, Takers
from ckptsurgeon.plans.account import Operand, RuleInfo
from ckptsurgeon.plans.graph import Assembly, Leaf, Part
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import TensorSpec

MAX_OUTPUTS = 4_000_000
"""Most tensors that a stage may give, so that hostile shapes can't fill the memory by splits."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """A tensor for an output key, or for the part of it that `index` names."""

    origin: Origin
    index: ConcreteIndex | None
    place: Place


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the destination has: its specs, and whether it has values to fill tensors up with."""

    specs: Mapping[str, TensorSpec]
    has_values: bool


class Production:
    """The output keys of a stage and who gives them."""

    def __init__(self, problems: Problems, takers: Takers) -> None:
        self._problems, self._takers = problems, takers
        self._given: dict[str, Leaf | list[Contribution]] = {}
        self._places: dict[RuleInfo | None, Place] = {}
        self._count = 0
        self._collisions = Folded(problems, "key", "of these two rules")

    def giver(self, key: str) -> RuleInfo | None:
        given = self._given.get(key)
        if isinstance(given, Leaf):
            return self._taker(given)
        return given[0].origin.rule if given else None

    def __contains__(self, key: object) -> bool:
        return key in self._given

    def give(self, key: str, contribution: Contribution) -> None:
        """Notes a producer; a second one for the whole key is a problem."""
        self._count += 1
        if self._count > MAX_OUTPUTS:
            raise PlanError([Problem(f"more than {MAX_OUTPUTS} tensors", contribution.place)])
        given = self._given.setdefault(key, [])
        if isinstance(given, Leaf):
            self._tell_two(key, self._contributed(given), contribution)
        elif given and (contribution.index is None or given[0].index is None):
            self._tell_two(key, given[0], contribution)
        else:
            given.append(contribution)

    def rename(
        self, rule: RuleInfo | None, place: Place, pairs: Iterable[tuple[str, Leaf]]
    ) -> None:
        """Notes what takes whole tensors of a checkpoint and gives each under a key of its own."""
        self._places[rule] = place
        for key, leaf in pairs:
            if key in self._given:
                self.give(key, self._contributed(leaf))
            else:
                self._given[key] = leaf
                self._count += 1
        if self._count > MAX_OUTPUTS:
            raise PlanError([Problem(f"more than {MAX_OUTPUTS} tensors", place)])

    def _contributed(self, leaf: Leaf) -> Contribution:
        """A renamed tensor told like any other."""
        rule = self._taker(leaf)
        origin = Origin(leaf, (Operand(leaf.source, leaf.key),), rule)
        return Contribution(origin, None, self._places[rule])

    def _taker(self, leaf: Leaf) -> RuleInfo | None:
        return self._takers.of(leaf.source).get(leaf.key)

    def _tell_two(self, key: str, first: Contribution, second: Contribution) -> None:
        names = [_named(contribution) for contribution in (first, second)]
        self.collide(
            (first.origin.rule, second.origin.rule),
            Problem(
                f"two producers of `{key}`: {names[0]}, and {names[1]}",
                second.place,
                "drop or rename one of them; `fallback: true` makes a rule give way to earlier"
                " ones",
            ),
        )

    def collide(self, rules: Hashable, problem: Problem) -> None:
        """Notes two producers of a key; of those by the same two rules the first is told."""
        self._collisions.add(rules, problem)

    def finished(
        self,
        wanted: Wanted,
        prepare: Callable[[str, Origin], Origin] | None,
    ) -> Origins:
        """Every key with its tensor, parts put together.

        `prepare` casts what `output: {dtype: …}` names; None where it names nothing.
        """
        self._collisions.tell()
        done: dict[str, Leaf | Origin] = {}
        given_to, self._given = self._given, {}  # room for a million keys, needed no more
        for key, given in given_to.items():
            if isinstance(given, Leaf) and prepare is None:
                done[key] = given
                continue
            contributions = [self._contributed(given)] if isinstance(given, Leaf) else given
            origin = self._put_together(key, contributions, wanted, prepare)
            if origin is not None:
                done[key] = origin
        return Origins(done, self._takers)

    def _put_together(
        self,
        key: str,
        given: list[Contribution],
        wanted: Wanted,
        prepare: Callable[[str, Origin], Origin] | None,
    ) -> Origin | None:
        """The tensor of a key; None, with a problem told, where its parts make none."""
        with self._problems.at(given[0].place, f"`{key}`: "):
            if prepare is not None:
                given = [replace(one, origin=prepare(key, one.origin)) for one in given]
            if given[0].index is None:
                return given[0].origin
            return _assembled(key, given, wanted.specs.get(key), wanted.has_values)
        return None


class Origins(MutableMapping[str, Origin]):
    """The tensors that a stage gives, by key; those of renames are told when they are asked for."""

    def __init__(self, held: dict[str, Leaf | Origin], takers: Takers) -> None:
        self._held, self._takers = held, takers

    @classmethod
    def none(cls) -> Origins:
        return cls({}, Takers())

    def __getitem__(self, key: str) -> Origin:
        found = self._held[key]
        if isinstance(found, Origin):
            return found
        rule = self._takers.of(found.source).get(found.key)
        return Origin(found, (Operand(found.source, found.key),), rule)

    def whole(self, key: str) -> tuple[Leaf, RuleInfo | None] | None:
        """The checkpoint's tensor that a key is, and who renamed it; None for any other."""
        found = self._held.get(key)
        if not isinstance(found, Leaf):
            return None
        return found, self._takers.of(found.source).get(found.key)

    def __setitem__(self, key: str, origin: Origin) -> None:
        self._held[key] = origin

    def __delitem__(self, key: str) -> None:
        del self._held[key]

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def in_order(self, views: Iterable[SourceView]) -> Origins:
        """The same in the order of the first source tensor of each; made ones at the end."""
        counter = itertools.count()
        order = {view.alias: dict(zip(view.specs, counter, strict=False)) for view in views}
        last = next(counter)

        def position(key: str) -> int:
            found = self._held[key]
            first = found if isinstance(found, Leaf) else next(iter(found.sources), None)
            return last if first is None else order[first.source][first.key]

        ordered = sorted(self._held, key=position)
        return Origins({key: self._held[key] for key in ordered}, self._takers)


def _named(contribution: Contribution) -> str:
    rule, sources = contribution.origin.rule, contribution.origin.sources
    key = f"`{sources[0].key}`" if sources else "its own value"
    return f"{key} by {rule.place}" if rule else f"{key} by no rule"


# --- parts ----------------------------------------------------------------------------------------


def _assembled(
    key: str, given: list[Contribution], wanted: TensorSpec | None, has_values: bool
) -> Origin:
    """One tensor of parts, filled up by the destination where they don't tile it."""
    spec = wanted or _tiled_spec(given)
    regions = [_region(contribution, spec.shape) for contribution in given]
    pair = overlapping(regions)
    if pair is not None:
        places = [str(given[number].place) for number in pair]
        raise ShapeError(f"the same part is filled twice: by {places[0]} and by {places[1]}")
    filled = sum(taken_count(region) for region in regions)
    base = None if filled == spec.count else _rest(key, spec, wanted, filled, has_values)
    spec = _one_dtype(given, spec, base)
    node = Assembly(spec, tuple(Part(c.index or (), c.origin.node) for c in given), base)
    origins = [contribution.origin for contribution in given]
    sources: dict[Operand, None] = {s: None for origin in origins for s in origin.sources}
    ops: dict[str, None] = {op: None for origin in origins for op in origin.ops}
    return Origin(node, tuple(sources), origins[0].rule, tuple(ops))


def _region(contribution: Contribution, shape: tuple[int, ...]) -> tuple[range | int, ...]:
    region = resolve_index(contribution.index or (), shape)
    spec = contribution.origin.node.spec
    if taken_shape(region) != spec.shape:
        part = list(taken_shape(region))
        raise ShapeError(
            f"{spec} at {contribution.place} doesn't fit its part, which is {part} of {list(shape)}"
        )
    return region


def _rest(
    key: str, spec: TensorSpec, wanted: TensorSpec | None, filled: int, has_values: bool
) -> Leaf:
    left = spec.count - filled
    if wanted is None:
        raise ShapeError(f"{left} of its {spec.count} elements are filled by no part")
    if not has_values:
        raise ShapeError(
            f"{left} of its {spec.count} elements are filled by no part, and the destination has "
            "shapes alone; give a checkpoint as `--into`, or fill them by an `init` of another key"
        )
    return Leaf(DESTINATION, key, wanted)


def _one_dtype(given: list[Contribution], spec: TensorSpec, base: Leaf | None) -> TensorSpec:
    dtypes = {contribution.origin.node.spec.dtype for contribution in given}
    if base is not None:
        dtypes.add(base.spec.dtype)
    if len(dtypes) > 1:
        raise ShapeError(
            f"its parts have different dtypes: {', '.join(sorted(dtypes))}; cast them alike"
        )
    return TensorSpec(dtypes.pop(), spec.shape)


def _tiled_spec(given: list[Contribution]) -> TensorSpec:
    """The spec that parts make without a destination: each dim as long as they reach."""
    shapes = [_reach(contribution) for contribution in given]
    if len({len(shape) for shape in shapes}) > 1:
        raise ShapeError("its parts have different numbers of dims")
    sizes = tuple(max(lengths) for lengths in zip(*shapes, strict=True))
    return TensorSpec(given[0].origin.node.spec.dtype, sizes)


def _reach(contribution: Contribution) -> tuple[int, ...]:
    """How far a part reaches on each dim."""
    index, shape = contribution.index or (), contribution.origin.node.spec.shape
    ranges = sum(isinstance(item, tuple) for item in index)
    whole: list[ConcreteItem] = [(None, None, None)] * (len(shape) - ranges)
    at = index.index("...") if "..." in index else len(index)
    sizes = iter(shape)
    return tuple(_length(item, sizes) for item in (*index[:at], *whole, *index[at + 1 :]))


def _length(item: ConcreteItem, sizes: Iterator[int]) -> int:
    if isinstance(item, int):
        start, stop = item, item + 1
    elif isinstance(item, tuple):
        size = next(sizes, 0)
        start = item[0] or 0
        stop = start + (size - 1) * (item[2] or 1) + 1 if item[1] is None else item[1]
    if min(start, stop) < 0:
        raise ShapeError("a part counted from the end needs a destination")
    return stop
