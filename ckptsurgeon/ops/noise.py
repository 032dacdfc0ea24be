"""The op noise, and what a plan makes of it: normal numbers that differ from tensor to tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

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
from ckptsurgeon.ops.indexing import as_slices
from ckptsurgeon.ops.normals import normals
from ckptsurgeon.ops.regions import first_item, stretches, within
from ckptsurgeon.specs import Specs

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
    flight. `of` is the shape of the tensor that it is given a part of, from `starts` on.
    """

    name: ClassVar[str] = "placed_noise"

    key: str
    place: int
    of: tuple[int, ...] | None = None
    starts: tuple[int, ...] = ()

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
        starts = tuple(own.start for own in box)
        return msgspec.structs.replace(self, of=specs[0].shape, starts=starts), (box,)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        from ckptsurgeon.ops import carriers

        (spec,) = self.infer(specs)
        made: Array = np.empty(spec.shape, np.dtype(spec.carrier))
        text = f"noise\0{self.seed}\0{self.place}\0{self.key}"
        whole = spec.shape if self.of is None else self.of
        starts = self.starts or (0,) * len(spec.shape)
        box = tuple(range(at, at + size) for at, size in zip(starts, spec.shape, strict=True))
        for part in stretches(box, whole):
            at = first_item(part, whole)
            own: Any = (*as_slices(within(part, box)), ...)
            for items, target in carriers.blocks(arrays[0][own], made[own], writes=True):
                numbers = widen(items, spec.dtype)
                drawn = normals(text, at, numbers.size) * self.std
                with np.errstate(all="ignore"):  # what overflows is counted by whoever asked
                    target[...] = narrow(numbers + drawn.astype(numbers.dtype), spec.dtype)
                at += numbers.size
        return (made,)
