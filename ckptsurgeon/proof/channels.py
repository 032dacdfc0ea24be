"""How the channels that one first layer takes are made of another's, read off the two weights.

A layer whose weight W' was made of a weight W by mixing its channels gives for an input x what the
other gives for an input that is mixed the other way: each way here has both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ckptsurgeon.specs import with_item

if TYPE_CHECKING:
    from torch import Tensor

CLOSE = 2.0**-7
"""Relative error up to which a weight is another's, so that one that was rounded to BF16 is."""


ROWS = 64
"""Outputs of the layers that are looked at, those with the largest weights: it is the networks'
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
        """The new weight, of the old one; one channel stands for all where they are the same."""
        ...

    def feed(self, given: Tensor, dim: int, old: int) -> Tensor:
        """The old layer's input, of the new one's."""
        ...

    def leaves(self, weight: Tensor, new: int) -> bool:
        """Whether the old layer has weights of which such inputs say nothing by themselves."""
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
        return weight.narrow(1, self.start, self.size)

    def feed(self, given: Tensor, dim: int, old: int) -> Tensor:
        padded = _zeros(given, dim, old)
        padded.narrow(dim, self.start, self.size).copy_(given)
        return padded

    def leaves(self, weight: Tensor, new: int) -> bool:
        others = (weight[:, : self.start], weight[:, self.start + self.size :])
        return any(bool(other.any()) for other in others)


def _zeros(given: Tensor, dim: int, size: int) -> Tensor:
    """Zeros like a tensor with another size on one dim."""
    return given.new_zeros(with_item(tuple(given.shape), dim, size))


@dataclass(frozen=True, slots=True)
class Sum:
    """One channel, the sum of the old ones, as `adapt_input_channels` makes it by `sum`."""

    @property
    def told(self) -> str:
        return "the other's channel in each of its own (`sum`)"

    def weight(self, weight: Tensor, new: int) -> Tensor:
        return weight.sum(1, keepdim=True)

    def feed(self, given: Tensor, dim: int, old: int) -> Tensor:
        return given.repeat_interleave(old, dim)

    def leaves(self, weight: Tensor, new: int) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Tile:
    """The old channels repeated and scaled, as `adapt_input_channels` makes them by `tile`."""

    @property
    def told(self) -> str:
        return "the sums of the other's that are its own repeated (`tile`)"

    def weight(self, weight: Tensor, new: int) -> Tensor:
        old = weight.shape[1]
        return weight[:, [number % old for number in range(new)]] * (old / new)

    def feed(self, given: Tensor, dim: int, old: int) -> Tensor:
        import torch

        new = given.shape[dim]
        padded = _zeros(given, dim, old)
        return padded.index_add_(dim, torch.arange(new) % old, given * (old / new))

    def leaves(self, weight: Tensor, new: int) -> bool:
        return bool(weight[:, new:].any())


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of the old channels in each, as `adapt_input_channels` makes it by `mean`."""

    @property
    def told(self) -> str:
        return "the mean of the other's in each of its own (`mean`)"

    def weight(self, weight: Tensor, new: int) -> Tensor:
        return weight.mean(1, keepdim=True)

    def feed(self, given: Tensor, dim: int, old: int) -> Tensor:
        return (given.sum(dim, keepdim=True) / old).repeat_interleave(old, dim)

    def leaves(self, weight: Tensor, new: int) -> bool:
        return weight.shape[1] > 1


@dataclass(frozen=True, slots=True)
class Relation:
    """How a weight was made of another, and how far the two are from that, relative to the largest
    element; `partial` says that the mix leaves something of the origin."""

    mix: Mix
    error: float
    partial: bool


def find_relation(origin: Tensor, made: Tensor) -> Relation | None:
    """How a weight [out, channels, …] was made of one with other channels.

    None where it is neither a part of it nor what `adapt_input_channels` makes.
    """
    origin, made = origin.detach(), made.detach()
    if not origin.numel() or made.shape[:1] + made.shape[2:] != origin.shape[:1] + origin.shape[2:]:
        return None
    rows = made.abs().flatten(1).amax(1).topk(min(ROWS, len(made))).indices
    old, new = origin[rows].double(), made[rows].double()
    mixes: list[Mix] = [] if (part := _find_part(old, new)) is None else [part]
    mixes += [Tile(), Mean()]
    if new.shape[1] == 1:
        mixes.append(Sum())
    errors = [_error(mix, old, new) for mix in mixes]
    if not min(errors) <= CLOSE:  # nor where that is no number
        return None
    error = min(errors)
    mix = mixes[errors.index(error)]
    return Relation(mix, error, mix.leaves(origin, new.shape[1]))


def _find_part(old: Tensor, new: Tensor) -> Part | None:
    """The part of a wider weight that another is, looked for row by row: most fit no place."""
    size = new.shape[1]
    starts = list(range(old.shape[1] - size + 1)) if size < old.shape[1] else []
    for ours, theirs in zip(old[:MOST_ROWS], new[:MOST_ROWS], strict=True):
        if len(starts) > 1:
            bound = CLOSE * float(theirs.abs().max())
            starts = [
                at for at in starts if float((ours[at : at + size] - theirs).abs().max()) <= bound
            ]
    parts = [Part(at, size) for at in starts[:MOST_PARTS]]
    return min(parts, key=lambda part: _error(part, old, new), default=None)


def _error(mix: Mix, old: Tensor, new: Tensor) -> float:
    """How far a weight is from being so made, relative to its largest element."""
    difference = mix.weight(old, new.shape[1]) - new
    return float(difference.abs().max() / new.abs().max().clamp_min(1e-30))
