"""Layers that get a bias while BatchNorms beside them go: these are worked into them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.drafting.steps import Degree, Grid, Step, UnitRule, given_by, taken_by
from ckptsurgeon.keys import integers_in, without_integers
from ckptsurgeon.planner.compiling.compiled import BATCHNORM_VECTORS
from ckptsurgeon.suggesting.names import cut_leaf
from ckptsurgeon.suggesting.units import Specs

EPS = "eps is 1e-5, torch's own; 1e-3 in what comes from TensorFlow"

UNREAD = f"a BatchNorm to fold: its tensors must be called {', '.join(BATCHNORM_VECTORS)} before"

UNCLEAR = "a BatchNorm may be folded into it: which?"

Module = Mapping[str, str]
"""The keys of a module by what they are."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer without a bias that gets one, and the step that gives its weight."""

    step: Step
    source: str
    target: str
    channels: int


def fold_layers(steps: Sequence[Step], source: Specs, target: Specs) -> list[Step]:
    """The steps, those of layers that BatchNorms were folded into in their places.

    Where it isn't clear which BatchNorm that is, the layer's weight is open.
    """
    used = taken_by(steps)
    given = given_by(steps)
    modules, wanted = modules_of(source), modules_of(target)
    lost = {
        name: module
        for name, module in modules.items()
        if "mean" in module and used.isdisjoint(module.values())
    }
    if not lost:
        return list(steps)
    steps = [step.doubted(_doubt_fold(step, lost, source, wanted)) for step in steps]
    layers = [
        layer
        for step in steps
        if (layer := _layer(step, source, modules, wanted)) is not None
        and wanted[layer.target]["bias"] not in given
    ]
    spare = {name for name in modules if used.isdisjoint(modules[name].values())} - lost.keys()
    folds = _Folds(layers, lost, spare, source)
    changed = {id(layer.step): folds.fold(layer, modules, wanted) for layer in layers}
    return [changed.get(id(step), step) for step in steps]


FOLDED = "a BatchNorm of its width goes: was it folded into this?"


def _doubt_fold(
    step: Step, lost: Mapping[str, Module], source: Specs, wanted: Mapping[str, Module]
) -> str:
    """Why a tensor of a layer that has a bias may be another: a BatchNorm beside it is lost."""
    if not step.is_move or step.takes[0] not in source:
        return ""
    own, _, kind = cut_leaf(step.takes[0])
    target = wanted.get(cut_leaf(step.gives[0])[0], {})
    shape = source[step.takes[0]].shape
    if kind not in ("weight", "bias") or "bias" not in target or "mean" in target or not shape:
        return ""
    near = (norm for name, norm in lost.items() if _parent(name) == _parent(own))
    return FOLDED if any(source[norm["mean"]].shape == shape[:1] for norm in near) else ""


def modules_of(specs: Specs) -> dict[str, dict[str, str]]:
    """The modules of a side in the order of its keys, with what their keys are."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for key in specs:
        module, leaf, kind = cut_leaf(key)
        if leaf:
            found[module][kind] = key
    return found


def _layer(
    step: Step, source: Specs, modules: Mapping[str, Module], wanted: Mapping[str, Module]
) -> _Layer | None:
    if not step.is_move or step.takes[0] not in source:
        return None
    own, _, kind = cut_leaf(step.takes[0])
    to, _, _ = cut_leaf(step.gives[0])
    shape = source[step.takes[0]].shape
    plain = kind == "weight" and len(shape) > 1 and "bias" in wanted.get(to, {})
    if not plain or "bias" in modules.get(own, {}):
        return None
    return _Layer(step, own, to, shape[0])


class _Folds:
    """Which BatchNorm belongs to which layer, by their names and their places."""

    def __init__(
        self,
        layers: Sequence[_Layer],
        lost: Mapping[str, Module],
        spare: Collection[str],
        source: Specs,
    ) -> None:
        self._lost, self._source = lost, source
        names = list(modules_of(source))
        self._next = {name: names[at + 1] for at, name in enumerate(names[:-1])}
        self._layers, self._spare = layers, spare

    def fold(
        self, layer: _Layer, modules: Mapping[str, Module], wanted: Mapping[str, Module]
    ) -> Step:
        """The fold of a layer, or its own step as an open one."""
        norm = None if self._is_branch(layer) else self._find(layer)
        if norm is None:
            return layer.step.doubted(UNCLEAR, Degree.OPEN)
        read = {key.rpartition(".")[2] for key in self._lost[norm].values()}
        if not read >= set(BATCHNORM_VECTORS):
            return layer.step.doubted(UNREAD, Degree.OPEN)
        takes = (*modules[layer.source].values(), *self._lost[norm].values())
        to = wanted[layer.target]
        unit = UnitRule("fold_batchnorm", ("conv", "batchnorm"), takes, (to["weight"], to["bias"]))
        return Step(
            Grid((layer.source, norm), (2,)),
            Grid((layer.target,)),
            degree=Degree.LIKELY,
            remark=EPS,
            unit=unit,
        )

    def _is_branch(self, layer: _Layer) -> bool:
        """Whether layers stand beside it that go nowhere: they may be summed."""
        container = layer.source.split(".")[:-2]
        return any(
            name.split(".")[: len(container)] == container and container for name in self._spare
        )

    def _find(self, layer: _Layer) -> str | None:
        """The one BatchNorm that a layer's name or its place tells."""
        near = [name for name in self._near(layer) if self._fits(name, layer)]
        for choose in (_of_same_digits, _of_next_digit):
            found = [name for name in near if choose(layer.source, name)]
            alike = [
                other.source
                for other in self._layers
                if _parent(other.source) == _parent(layer.source)
                and found
                and other.channels == layer.channels
                and choose(other.source, found[0])
            ]
            if len(found) == 1 and alike == [layer.source]:
                return found[0]
        beside = [one for one in self._layers if _parent(one.source) == _parent(layer.source)]
        if all(self._is_followed(one) for one in beside):
            return self._next[layer.source]
        return near[0] if len(near) == 1 == len(beside) else None

    def _is_followed(self, layer: _Layer) -> bool:
        """Whether a BatchNorm that fits comes right behind a layer, which sorted names don't do."""
        behind = self._next.get(layer.source, "")
        return behind in self._lost and self._fits(behind, layer)

    def _near(self, layer: _Layer) -> Iterator[str]:
        """The lost BatchNorms in the same container."""
        return (name for name in self._lost if _parent(name) == _parent(layer.source))

    def _fits(self, name: str, layer: _Layer) -> bool:
        return self._source[self._lost[name]["mean"]].shape == (layer.channels,)


def _parent(module: str) -> str:
    return module.rpartition(".")[0]


def _numbers(module: str) -> tuple[str, list[str]]:
    name = module.rpartition(".")[2]
    return without_integers(name, ""), integers_in(name)


def _of_same_digits(layer: str, norm: str) -> bool:
    """As conv1 and bn1."""
    return bool(_numbers(layer)[1]) and _numbers(layer)[1] == _numbers(norm)[1]


def _of_next_digit(layer: str, norm: str) -> bool:
    """As 0 and 1 of a Sequential."""
    (word, own), (other, next_one) = _numbers(layer), _numbers(norm)
    return word == other == "" and [str(int(one) + 1) for one in own] == next_one
