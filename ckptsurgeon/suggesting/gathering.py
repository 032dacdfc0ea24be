"""Several sources seen as one: parts of a checkpoint put together, tensor-parallel ranks joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step
from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.plans.scales import weight_of
from ckptsurgeon.specs import TensorSpec
from ckptsurgeon.suggesting.names import cut_leaf, spell
from ckptsurgeon.suggesting.ranking import order_ranks
from ckptsurgeon.suggesting.regrouping import (
    Sizes,
    dim_of,
    equal_sizes,
    regroup,
    sizes_of,
    whole_shapes,
)
from ckptsurgeon.suggesting.roles import WHOLES, part_of
from ckptsurgeon.suggesting.rows import is_headwise
from ckptsurgeon.suggesting.sharing import UNKNOWN, Joined, Layers
from ckptsurgeon.suggesting.units import Shape, Specs

RANKS = 0.8
"""The share of keys that all sources have, where they are ranks of one checkpoint."""

COLUMNS = frozenset({"q", "k", "v", "kv", "qkv", "gate", "up", "gate_up"})
"""Layers whose outputs ranks share: their rows are joined, and their biases."""

ROWS = frozenset({"o", "down"})
"""Layers whose inputs ranks share: their columns are joined, and each rank has their bias."""

IN_PROJ = " in proj "
"""What torch calls query, key and value in one, which are of one size; Mamba's holds others."""

OWN_BLOCKS = "each rank is taken to have blocks of its own"

SAME = Call("same", (), 0)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Sources as one: specs by name, and for each name its keys and what joins them.

    `doubts` say of names why what joins them is a guess; `fused` are the sizes of the parts that
    each rank has of a fused layer, empty where nothing tells them. `order` says why the order of
    the sources is a guess. Of `guessed` names the shape is one of several.
    """

    specs: Specs
    keys: Mapping[str, tuple[str, ...]]
    joins: Mapping[str, Call] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
    is_soup: bool = False
    fused: Mapping[str, Sizes] = field(default_factory=dict)
    order: str = ""
    guessed: Collection[str] = ()

    def expand(self, step: Step) -> Step:
        """The step on the sources' own keys."""
        names = step.sources.keys
        if step.unit is not None or not names:
            return replace(step, sources=_own_keys(step.sources, self.keys))
        ranks = {len(self.keys[name]) for name in names}
        if ranks == {1}:
            return replace(step, sources=_own_keys(step.sources, self.keys))
        joins = {self.joins[name] for name in names if name in self.joins}
        told = [self.doubts[name] for name in names if name in self.doubts]
        if len(ranks) > 1 or len(joins) != 1:
            return step.doubted("ranks that hold it in other ways", Degree.OPEN)
        sizes = (*step.sources.sizes, *ranks)
        join = replace(joins.pop(), over=len(sizes) - 1)
        keys = tuple(key for name in names for key in self.keys[name])
        lead = [call for call in step.calls[:1] if call.op == "dequantize_blocks"]
        found = replace(step, sources=Grid(keys, sizes), calls=step.calls[len(lead) :])
        if names[0] in self.fused and len(names) == 1 + len(lead):
            found = regroup(found, join, self.fused[names[0]], sizes[-1])
        else:
            found = replace(found, calls=(join, *found.calls)).doubted(told[0] if told else "")
        found = found.doubted(self.order if join.op == "concat" else "")
        return replace(found, calls=(*lead, *found.calls)).doubted(OWN_BLOCKS if lead else "")


def _own_keys(grid: Grid, keys: Mapping[str, tuple[str, ...]]) -> Grid:
    return Grid(tuple(keys[name][0] if name in keys else name for name in grid.keys), grid.sizes)


def gather(sources: Mapping[str, Specs], target: Specs) -> Gathered:
    """The sources as one, as the target's shapes have it."""
    if len(sources) == 1:
        alias, specs = next(iter(sources.items()))
        return Gathered(specs, {key: (full_key(alias, key),) for key in specs})
    counts = Counter(key for specs in sources.values() for key in specs)
    shared = [key for key, count in counts.items() if count == len(sources)]
    if len(shared) >= RANKS * len(counts):
        aliases, told = order_ranks(list(sources))
        ranks = {alias: sources[alias] for alias in aliases}
        return replace(_join_ranks(ranks, counts, target), order=told)
    return _union(sources, counts)


def _union(sources: Mapping[str, Specs], counts: Mapping[str, int]) -> Gathered:
    """Parts of one checkpoint; keys that several have are told apart by their sources."""
    specs: dict[str, TensorSpec] = {}
    keys: dict[str, tuple[str, ...]] = {}
    for alias, some in sources.items():
        for key, spec in some.items():
            name = key if counts[key] == 1 else f"{alias or 'source'}.{key}"
            specs[name], keys[name] = spec, (full_key(alias, key),)
    return Gathered(specs, keys)


# --- ranks ----------------------------------------------------------------------------------------


def _join_ranks(sources: Mapping[str, Specs], names: Collection[str], target: Specs) -> Gathered:
    shapes = {name: [specs[name] for specs in sources.values() if name in specs] for name in names}
    keys = {
        name: tuple(full_key(alias, name) for alias, specs in sources.items() if name in specs)
        for name in names
    }
    ways = _Ways(shapes, target)
    chosen = {name: ways.choose(name) for name in names}
    fused = {name: sizes for name in names if (sizes := ways.cut(name)) is not None}
    doubts = {name: told for name in names if (told := ways.doubt(name))}
    is_soup = all(call is not None and call.op == "same" for call, _, _ in chosen.values())
    return Gathered(
        {name: TensorSpec(shapes[name][0].dtype, shape) for name, (_, shape, _) in chosen.items()},
        keys,
        {name: call for name, (call, _, _) in chosen.items() if call is not None},
        doubts,
        is_soup,
        fused,
        guessed={name for name, told in doubts.items() if told != UNKNOWN},
    )


Way = tuple[Call | None, Shape]
"""What joins a name's tensors, and the shape that results."""


class _Ways:
    """How each tensor of ranks is put together, as the target's shapes and its role say."""

    def __init__(self, shapes: Mapping[str, Sequence[TensorSpec]], target: Specs) -> None:
        self._shapes, self._target = shapes, target
        wanted = {spec.shape for spec in target.values()}
        self._wanted = wanted | {shape[::-1] for shape in wanted if len(shape) == 2}
        self._wholes = whole_shapes(target)
        self._known: dict[str, tuple[Call | None, Shape, str]] = {}

    def choose(self, name: str) -> tuple[Call | None, Shape, str]:
        """The way of a name, and why it is a guess."""
        if name not in self._known:
            self._known[name] = self._choose(name)
        return self._known[name]

    def _choose(self, name: str) -> tuple[Call | None, Shape, str]:
        specs = self._shapes[name]
        if len(specs) == 1:
            return None, specs[0].shape, ""
        ways = list(_ways([spec.shape for spec in specs]))
        if weight := weight_of(name, self._shapes):
            call = self.choose(weight)[0]
            return next(((*way, "") for way in ways if way[0] == call), (None, specs[0].shape, ""))
        own = self._target.get(name)
        fitting = [way for way in ways if own is not None and way[1] == own.shape]
        wholes = self._wholes.get(part_of(cut_leaf(name)[0]), ())
        fitting = fitting or [way for way in ways if way[1] in self._wanted or way[1] in wholes]
        meant = self._meant(name)
        if not fitting:
            return None, ways[0][1] if ways else specs[0].shape, "its parts fit nothing"
        call, shape = next((way for way in fitting if way[0] == meant), fitting[0])
        turned = any(way[1] == shape[::-1] for way in ways if len(shape) == 2 and way[0] != call)
        told = "joined in the other dim it fits when it is transposed" if turned else ""
        if len(fitting) > 1 and own is None and call != meant:
            told = "its shape tells no more than that ranks hold parts of it"
        return call, shape, told

    def _meant(self, name: str) -> Call | None:
        """What the role of a layer says, or its weight of its bias."""
        module, _, kind = cut_leaf(name)
        part = part_of(module)
        weight = f"{module}.weight"
        weights = self._shapes.get(weight, ()) if kind == "bias" and weight != name else ()
        if weights and len(weights[0].shape) > 1:
            call = self.choose(weight)[0]
            return call if call == _concat(0) else SAME
        if len(self._shapes[name][0].shape) < 2:
            return SAME
        return _concat(0) if part in COLUMNS else _concat(1) if part in ROWS else None

    def cut(self, name: str) -> Sizes | None:
        """The sizes of a fused layer's parts in one rank; empty where nothing tells them.

        None of what is no such layer by its name, or one whose parts lie head by head.
        """
        module = cut_leaf(name)[0]
        whole = part_of(module)
        call, shape, _ = self.choose(name)
        if call is None or call.op != "concat" or (whole in WHOLES and is_headwise(module)):
            return None
        dim, ranks = dim_of(call), len(self._shapes[name])
        if len(shape) > 2 and not dim:  # experts are shared
            return None
        if whole not in WHOLES:
            count = self._layers.count(name)
            return equal_sizes(count, shape[dim], ranks) if count > 1 else None
        queries = self._queries(module, shape[dim]) if whole == "qkv" else 0
        return sizes_of(whole, shape[dim], queries, ranks)

    def _queries(self, module: str, size: int) -> int:
        """The rows of q in a fused layer, as the layer behind takes them, or a third; else 0."""
        behind = self._behind.get(module.rpartition(".")[0], 0)
        if behind and (3 * behind == size or IN_PROJ not in spell(module)):
            return behind
        weights = self._shapes.get(f"{module}.weight", ())
        shape = weights[0].shape if weights else ()
        return size // 3 if size % 3 == 0 and size // 3 in shape else 0

    @cached_property
    def _behind(self) -> Mapping[str, int]:
        """What the layers take that give the outputs of attentions, by what holds these."""
        found: dict[str, int] = {}
        for name in self._shapes:
            module, _, kind = cut_leaf(name)
            if kind == "weight" and part_of(module) == "o":
                call, shape, _ = self.choose(name)
                if call is not None and call.op == "concat":
                    found[module.rpartition(".")[0]] = shape[dim_of(call)]
        return found

    @cached_property
    def _layers(self) -> Layers:
        """All layers, by what joins their tensors."""
        found = {}
        for name in self._shapes:
            call, shape, _ = self.choose(name)
            if call is not None and call.op == "concat":
                found[name] = Joined(dim_of(call) - len(shape), shape[dim_of(call)])
        return Layers(found, self._shapes)

    def doubt(self, name: str) -> str:
        """Why what joins a tensor is a guess."""
        call, _, told = self.choose(name)
        if call is None or call.op != "concat":
            return told
        if part_of(cut_leaf(name)[0]) in WHOLES:
            return "each rank has a part of each fused part: joined, they lie in another order"
        return told or (UNKNOWN if self._layers.count(name) != 1 else "")


def _ways(shapes: Sequence[Shape]) -> Iterator[Way]:
    """All that can be made of one tensor of each rank."""
    first = shapes[0]
    if all(shape == first for shape in shapes):
        yield SAME, first
    for dim in range(len(first)):
        rest = {(*shape[:dim], *shape[dim + 1 :]) for shape in shapes}
        if len(rest) == 1:
            size = sum(shape[dim] for shape in shapes)
            yield _concat(dim), (*first[:dim], size, *first[dim + 1 :])


def _concat(dim: int) -> Call:
    return Call("concat", (("dim", dim),) if dim else (), 0)
