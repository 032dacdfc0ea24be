"""How the channels that one first layer takes are made of another's, read off the two weights.

A layer whose weight W' was made of a weight W by mixing its channels gives for an input x what the
other gives for an input that is mixed the other way: each way here has both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

CLOSE = 2.0**-7
"""Relative error up to which a weight is another's, so that one that was rounded to BF16 is."""


ROWS = 64
"""Outputs of the layers that are looked at, those of the most varied weights: it is the networks'
results that are compared in the end."""

MOST_ROWS, MOST_PARTS = 16, 64
"""Rows by which the places of a part are told apart, and places that may be left after that."""


class Mix(Protocol):
    """A way in which a weight [out, new, …] is made of a weight [out, old, …]."""

    @property
    def told(self) -> str:
        """What the layer with the old channels is given."""
        ...

    def weight(self, weight: Tensor, new: int) -> Tensor:
        """The new weight, of the old one."""
        ...

    def feed(self, given: Tensor, dim: int, old: int) -> Tensor:
        """The old layer's input, of the new one's."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """The new channels are some of the old ones, which are next to each other."""

    start: int
    size: int

    @property
    def told(self) -> str:
        return f"the other's as {self.start}..{self.start + self.size - 1}, and zeros besides"

    def weight(self, weight: Tensor, new: int) -> Tensor:
        return weight.narrow(1, self.start, new)

    def feed(self, given: Tensor, dim: int, old: int) -> Tensor:
        padded = given.new_zeros([*given.shape[:dim], old, *given.shape[dim + 1 :]])
        padded.narrow(dim, self.start, self.size).copy_(given)
        return padded


@dataclass(frozen=True, slots=True)
class Sum:
    """One channel, the sum of the old ones, as `adapt_input_channels` makes it by `sum`."""

    told: str = "the other's channel in each of its own (`sum`)"

    def weight(self, weight: Tensor, new: int) -> Tensor:
        return weight.sum(1, keepdim=True)

    def feed(self, given: Tensor, dim: int, old: int) -> Tensor:
        return given.repeat_interleave(old, dim)


@dataclass(frozen=True, slots=True)
class Tile:
    """The old channels repeated and scaled, as `adapt_input_channels` makes them by `tile`."""

    told: str = "the sums of the other's that are its own repeated (`tile`)"

    def weight(self, weight: Tensor, new: int) -> Tensor:
        old = weight.shape[1]
        return weight[:, [number % old for number in range(new)]] * (old / new)

    def feed(self, given: Tensor, dim: int, old: int) -> Tensor:
        import torch

        new = given.shape[dim]
        padded = given.new_zeros([*given.shape[:dim], old, *given.shape[dim + 1 :]])
        return padded.index_add_(dim, torch.arange(new) % old, given * (old / new))


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of the old channels in each, as `adapt_input_channels` makes it by `mean`."""

    told: str = "the mean of the other's in each of its own (`mean`)"

    def weight(self, weight: Tensor, new: int) -> Tensor:
        return weight.mean(1, keepdim=True)  # it is compared with each of the new ones

    def feed(self, given: Tensor, dim: int, old: int) -> Tensor:
        return (given.sum(dim, keepdim=True) / old).repeat_interleave(old, dim)


@dataclass(frozen=True, slots=True)
class Relation:
    """How a weight was made of another, and how far the two are from that, relative to the largest
    element; `rest` says that the origin has weights of its own where it is given zeros."""

    mix: Mix
    error: float
    rest: bool


def find_relation(origin: Tensor, made: Tensor) -> Relation | None:
    """How a weight [out, channels, …] was made of one with other channels.

    None where it is neither a part of it nor what `adapt_input_channels` makes.
    """
    if not origin.numel() or made.shape[:1] + made.shape[2:] != origin.shape[:1] + origin.shape[2:]:
        return None
    rows = made.detach().flatten(1).double().std(1, correction=0).topk(min(ROWS, len(made)))
    old, new = (weight.detach()[rows.indices].double() for weight in (origin, made))
    mixes: list[Mix] = [] if (part := _find_part(old, new)) is None else [part]
    mixes += [Tile(), Mean()]
    if new.shape[1] == 1:
        mixes.append(Sum())
    errors = [_error(mix, old, new) for mix in mixes]
    if not min(errors) <= CLOSE:  # nor where that is no number
        return None
    error = min(errors)
    mix = mixes[errors.index(error)]
    rest = isinstance(mix, Part) and _has_more(old, mix)
    return Relation(mix, error, rest)


def _find_part(old: Tensor, new: Tensor) -> Part | None:
    """The part of a wider weight that another is, looked for row by row: most fit no place."""
    size = new.shape[1]
    starts = list(range(old.shape[1] - size + 1)) if size < old.shape[1] else []
    bound = CLOSE * float(new.abs().max())
    for ours, theirs in zip(old[:MOST_ROWS], new[:MOST_ROWS], strict=True):
        if len(starts) > 1:
            starts = [
                at for at in starts if float((ours[at : at + size] - theirs).abs().max()) <= bound
            ]
    parts = [Part(at, size) for at in starts[:MOST_PARTS]]
    return min(parts, key=lambda part: _error(part, old, new), default=None)


def _has_more(old: Tensor, part: Part) -> bool:
    others = (old[:, : part.start], old[:, part.start + part.size :])
    return any(bool(other.any()) for other in others)


def _error(mix: Mix, old: Tensor, new: Tensor) -> float:
    """How far a weight is from being so made, relative to its largest element."""
    difference = mix.weight(old, new.shape[1]) - new
    return float(difference.abs().max() / new.abs().max().clamp_min(1e-30))
