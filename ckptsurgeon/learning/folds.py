"""BatchNorms that were worked into the layer before them, seen by the factor of each channel.

Folded: weight = w * f and bias = beta - mean * f (+ b * f), where f = gamma / sqrt(var + eps) is
one number for each output channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ckptsurgeon.drafting.steps import Degree, Grid, Step, UnitRule
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.likeness import Likeness
from ckptsurgeon.learning.nearness import are_near_after_steps
from ckptsurgeon.learning.words import Array

EPS = (1e-5, 1e-3, 1e-6, 1e-4, 1e-12)
"""What networks add to a variance: torch's, TensorFlow's, and others that are in use."""

MOST_NEAREST = 8
"""Sources of the likest names that a folded weight may come from."""

CLOSE = 1.05
"""How much worse an eps may fit than the best one, on the whole, to be told of."""

MUCH = 10.0
"""How much worse it counts where it doesn't fit at all."""

MEAN, VARIANCE, WEIGHT, BIAS = "running_mean", "running_var", "weight", "bias"


@dataclass(frozen=True, slots=True)
class Norm:
    """A BatchNorm of the sources, by its prefix: all its keys, and its values."""

    prefix: str
    keys: tuple[str, ...]
    mean: Array
    variance: Array
    weight: Array
    bias: Array

    def factor(self, eps: float) -> Array:
        """What each channel is multiplied by."""
        factor: Array = self.weight / np.sqrt(self.variance + eps)
        return factor


class Folds:
    """Finds the folds of an example, each BatchNorm being folded once."""

    def __init__(self, example: Example) -> None:
        self._example = example
        self._norms = {norm.prefix: norm for norm in _norms(example)}
        self._taken: set[str] = set()
        self._fits: dict[str, dict[float, float]] = {}

    def find(self, target: str, likeness: Likeness) -> Step | None:
        """The fold that gives a weight, with the bias beside it; None where there is none."""
        prefix, dot, leaf = target.rpartition(".")
        bias = f"{prefix}{dot}{BIAS}"
        if leaf != WEIGHT or bias not in self._example.wanted or not self._norms:
            return None
        wanted = self._example.wanted_numbers(target)
        if wanted is None or wanted.ndim < 2:
            return None
        ranked = sorted(self._example.tensors, key=lambda key: -likeness.of(key, target))
        alike = [key for key in ranked if self._has_shape(key, wanted.shape)]
        for conv in alike[:MOST_NEAREST]:
            factor = self._factor(conv, wanted, self._example.wanted[target].dtype)
            step = None if factor is None else self._fold(conv, factor, target, bias, likeness)
            if step is not None:
                return step
        return None

    def take(self, step: Step) -> None:
        """Leaves out the BatchNorm of a fold that was taken."""
        self._taken.add(step.sources.keys[1])

    def _has_shape(self, key: str, shape: tuple[int, ...]) -> bool:
        return key.endswith(f".{WEIGHT}") and self._example.tensors[key].spec.shape == shape

    def _factor(self, conv: str, wanted: Array, dtype: str) -> Array | None:
        """The number by which each channel of a weight was multiplied; None where none was."""
        numbers = self._example.source_numbers(conv)
        if numbers is None:
            return None
        rows, made = numbers.reshape(len(numbers), -1), wanted.reshape(len(wanted), -1)
        largest = np.abs(rows).argmax(1)
        at = np.arange(len(rows))
        with np.errstate(all="ignore"):
            factor: Array = made[at, largest] / rows[at, largest]
        if not np.isfinite(factor).all():
            return None
        return factor if are_near_after_steps(rows * factor[:, None], made, dtype) else None

    def _fold(
        self, conv: str, factor: Array, target: str, bias: str, likeness: Likeness
    ) -> Step | None:
        """The rule of the BatchNorm whose factor and bias are those that were found."""
        prefix = conv.rpartition(".")[0]
        own = f"{prefix}.{BIAS}"
        before = self._example.source_numbers(own) if own in self._example.tensors else None
        wanted = self._example.wanted_numbers(bias)
        shift = 0 if before is None else before
        dtype = self._example.wanted[bias].dtype
        fits: dict[str, dict[float, float]] = {}
        if wanted is None:
            return None
        fitting = [norm for norm in self._norms.items() if len(norm[1].mean) == len(factor)]
        for name, norm in fitting:
            for eps in EPS:
                misfit = _misfit(norm, eps, (factor, wanted), shift, dtype)
                if misfit is not None:
                    fits.setdefault(name, {})[eps] = misfit
        if not fits:
            return None
        least = CLOSE * min(min(one.values()) for one in fits.values())
        alike = [name for name in fits if min(fits[name].values()) <= least]
        free = [name for name in alike if name not in self._taken]
        if not free:
            return None
        best = max(free, key=lambda name: likeness.of(f"{name}.{WEIGHT}", conv))
        norm, self._fits[target] = self._norms[best], fits[best]
        takes = (conv, *([own] if before is not None else []), *norm.keys)
        eps = min(fits[best], key=fits[best].__getitem__)
        step = _step(prefix, norm, takes, (target, bias), eps)
        if len(alike) == 1:
            return step
        return replace(step, degree=Degree.LIKELY, remark="other BatchNorms have the same values")

    def agree(self, steps: Sequence[Step]) -> list[Step]:
        """The steps, all folds with the one eps that fits best on the whole: the network's."""
        total = {eps: sum(map(_share(eps), self._fits.values())) for eps in EPS}
        ranked = sorted(EPS, key=total.__getitem__)
        doubt = total[ranked[1]] < CLOSE * total[ranked[0]]
        return [self._with_eps(step, ranked[0], ranked[1] if doubt else None) for step in steps]

    def _with_eps(self, step: Step, eps: float, other: float | None) -> Step:
        if step.unit is None or eps not in self._fits.get(step.unit.gives[0], {}):
            return step
        step = replace(step, unit=replace(step.unit, parameters=_parameters(eps)))
        if other is None:
            return step
        remark = f"`eps: {other:g}` fits as well: the network knows it"
        return replace(step, degree=Degree.LIKELY, remark=remark)


def _misfit(
    norm: Norm, eps: float, found: tuple[Array, Array], shift: Array | int, dtype: str
) -> float | None:
    """How far a BatchNorm's factor and bias lie from those found; None for beyond rounding."""
    factor, wanted = found
    exact = norm.factor(eps)
    bias = norm.bias + (shift - norm.mean) * exact
    if not (
        are_near_after_steps(exact, factor, dtype) and are_near_after_steps(bias, wanted, dtype)
    ):
        return None
    return float(np.abs(exact - factor).mean() + np.abs(bias - wanted).mean())


def _share(eps: float) -> Callable[[Mapping[float, float]], float]:
    """How much worse an eps fits than the best one; much, where it doesn't."""

    def share(fits: Mapping[float, float]) -> float:
        least = min(fits.values())
        return fits.get(eps, MUCH * least) / least if least else float(fits.get(eps, 1.0) > 0)

    return share


def _step(conv: str, norm: Norm, takes: Sequence[str], gives: tuple[str, str], eps: float) -> Step:
    words = ("conv", "batchnorm")
    unit = UnitRule("fold_batchnorm", words, tuple(takes), gives, _parameters(eps))
    target = gives[0].rpartition(".")[0]
    return Step(Grid((conv, norm.prefix), (2,)), Grid((target,)), degree=Degree.NEAR, unit=unit)


def _parameters(eps: float) -> tuple[tuple[str, str], ...]:
    return () if eps == EPS[0] else (("eps", f"{eps:g}"),)


def _norms(example: Example) -> Iterator[Norm]:
    for key, leaf in example.tensors.items():
        prefix, dot, last = key.rpartition(".")
        if last != VARIANCE or f"{prefix}{dot}{MEAN}" not in example.tensors:
            continue
        beside = [one for one in example.tensors if one.rpartition(".")[0] == prefix]
        ones, zeros = np.ones(leaf.spec.shape), np.zeros(leaf.spec.shape)
        values = {
            name: example.source_numbers(f"{prefix}{dot}{name}")
            if f"{prefix}{dot}{name}" in beside
            else neutral
            for name, neutral in ((MEAN, zeros), (VARIANCE, ones), (WEIGHT, ones), (BIAS, zeros))
        }
        found = [values[name] for name in (MEAN, VARIANCE, WEIGHT, BIAS)]
        if all(one is not None and one.shape == ones.shape for one in found):
            yield Norm(prefix, tuple(beside), *(one for one in found if one is not None))
