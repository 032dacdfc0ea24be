"""The op noise, and what a plan makes of it: normal numbers that differ from tensor to tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from ckptsurgeon.ops.base import Op, only
from ckptsurgeon.ops.computing import (
    Computed,
    check_factor,
    check_finite,
    narrow,
    refuse_all_but_real,
    widen,
)
from ckptsurgeon.ops.normals import normals
from ckptsurgeon.specs import Specs, row_strides

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays
    from ckptsurgeon.ops.indexing import Region


class Noise(Computed, frozen=True, kw_only=True):
    """[…] -> […], each item plus a normal number, of mean 0 and deviation `std`.

    The numbers are determined by `seed`, the key of the step's first output, and the place of the
    tensor among those in flight: by no line of a rule file, and no order of rules.
    """

    name: ClassVar[str] = "noise"
    first: ClassVar[str | None] = "std"
    keeps_shape: ClassVar[bool] = True

    std: int | float
    seed: int = 0

    def __post_init__(self) -> None:
        check_finite(self, "std", [self.std])
        if self.std < 0:
            raise self.error(f"`std` must be 0 or more, found {self.std}")

    def at(self, place: int) -> PlacedNoise:
        """The noise of a tensor in flight, whose step has no output yet."""
        return PlacedNoise(std=self.std, seed=self.seed, key="", place=place)

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        refuse_all_but_real(self, specs)
        check_factor(self, "std", self.std, specs)
        return (spec,)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        return self.at(0).apply(arrays, specs)


class PlacedNoise(Noise, frozen=True, kw_only=True):
    """[…] -> […], each item plus a normal number: noise of which a plan knows the place.

    `key` is the address of the step's first output, `place` the tensor's number among those in
    flight. Of a part of a tensor, `start` is the number of its first item.
    """

    name: ClassVar[str] = "placed_noise"

    key: str
    place: int
    start: int = 0

    @property
    def word(self) -> str:
        return Noise.name

    @property
    def written(self) -> Noise:
        """The op as a rule has it."""
        return Noise(std=self.std, seed=self.seed)

    def under(self, key: str) -> PlacedNoise:
        """The noise in a step with this first output."""
        return msgspec.structs.replace(self, key=key)

    def grain(self, number: int, specs: Specs) -> tuple[int, ...] | None:
        return (1,) * len(specs[0].shape)

    def part(self, number: int, box: Region, specs: Specs) -> tuple[Op, tuple[Region, ...]]:
        strides = row_strides(specs[0].shape)
        first = sum(part.start * stride for part, stride in zip(box, strides, strict=True))
        return msgspec.structs.replace(self, start=self.start + first), (box,)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        from ckptsurgeon.ops import carriers

        (spec,) = self.infer(specs)
        made: Array = np.empty(spec.shape, np.dtype(spec.carrier))
        text, at = f"noise\0{self.seed}\0{self.place}\0{self.key}", self.start
        for items, target in carriers.blocks(arrays[0], made, writes=True):
            numbers = widen(items, spec.dtype)
            drawn = normals(text, at, numbers.size) * self.std
            with np.errstate(all="ignore"):  # what overflows is counted by whoever asked
                target[...] = narrow(numbers + drawn.astype(numbers.dtype), spec.dtype)
            at += numbers.size
        return (made,)
