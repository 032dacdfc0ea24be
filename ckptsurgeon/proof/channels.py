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
"""Outputs of the layers that are looked at: it is their results that are compared in the end."""


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


def find_mix(origin: Tensor, made: Tensor) -> Mix | None:
    """The way in which a weight [out, channels, …] was made of one with other channels.

    None where it is neither a part of it nor what `adapt_input_channels` makes.
    """
    if not origin.numel() or made.shape[:1] + made.shape[2:] != origin.shape[:1] + origin.shape[2:]:
        return None
    old, new = (weight.detach()[:ROWS].double() for weight in (origin, made))
    mixes: list[Mix] = [Tile(), Mean()]
    if new.shape[1] == 1:
        mixes.append(Sum())
    if new.shape[1] < old.shape[1]:
        parts = [Part(at, new.shape[1]) for at in range(old.shape[1] - new.shape[1] + 1)]
        mixes.append(min(parts, key=lambda part: _error(part, old[:1], new[:1])))
    errors = [_error(mix, old, new) for mix in mixes]
    least = min(errors)
    return mixes[errors.index(least)] if least <= CLOSE else None


def _error(mix: Mix, old: Tensor, new: Tensor) -> float:
    """How far a weight is from being so made, relative to its largest element."""
    difference = mix.weight(old, new.shape[1]) - new
    return float(difference.abs().max() / new.abs().max().clamp_min(1e-30))
