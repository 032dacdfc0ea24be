"""Ops of weights that are quantized in blocks of rows and columns, each with a scale of its own.

The convention is DeepSeek-V3's (weight_dequant of its inference code, weight_scale_inv of its
files): an item is its float8 number times the scale of its block, whose sizes are those of the last
two dims; the last block on each is cut off where the sizes don't divide. Dims before these two are
stacked weights, as experts are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import msgspec

from ckptsurgeon.ops.base import Arity, Op, larger_spec, one_each, only
from ckptsurgeon.ops.computing import Computed, non_finite, refuse_all_but_real, widen
from ckptsurgeon.ops.indexing import Region, as_slices
from ckptsurgeon.ops.ranges import COMPLEX, LARGEST
from ckptsurgeon.ops.regions import grained_boxes
from ckptsurgeon.specs import BITS, FLOATING, Specs, TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays

FLOAT8 = tuple(code for code in LARGEST if code.startswith("F8_") and code != "F8_E8M0")
"""The codes that weights are quantized in: 448 is the greatest of F8_E4M3, 57344 of F8_E5M2."""

SMALLEST_SCALE = 2.0**-126
"""Smallest scale: below it F32 has fewer bits, and an item over its scale could overflow."""

Block = tuple[int, int]
"""Rows and columns."""


class OfBlocks(Computed, frozen=True, kw_only=True):
    """An op between weights and blocks of them. `block` is a size, or [rows, columns]."""

    first: ClassVar[str | None] = "block"
    codes: ClassVar[tuple[str, ...]]
    """The dtypes that may result."""

    block: int | Block = 128
    dtype: str

    def __post_init__(self) -> None:
        if min(self._block) < 1:
            found = self.block if isinstance(self.block, int) else list(self.block)
            raise self.error(f"`block` must be 1 or more, found {found}")
        if self.dtype not in self.codes:
            raise self.error(f"`dtype` must be one of {', '.join(self.codes)}, found {self.dtype}")

    @property
    def _block(self) -> Block:
        return (self.block, self.block) if isinstance(self.block, int) else self.block

    def _scales(self, weight: TensorSpec) -> tuple[int, ...]:
        """The shape of the scales of a weight: one for each block."""
        if len(weight.shape) < 2:
            raise self.error("takes weights of 2 dims or more, [rows, columns]", (weight,))
        *before, rows, columns = weight.shape
        pairs = zip((rows, columns), self._block, strict=True)
        return (*before, *(-(-size // of) for size, of in pairs))

    def grain(self, number: int, specs: Specs) -> tuple[int, ...]:
        block = (1, 1) if self._is_scale(number) else self._block
        return (*(1 for _ in specs[0].shape[2:]), *block)

    def _is_scale(self, number: int) -> bool:
        """Whether a result has an item for each block."""
        return False

    def _boxes(self, weight: TensorSpec) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Boxes of whole blocks that tile a weight, each with the box of its scales."""
        from ckptsurgeon.ops.carriers import BLOCK

        for box in grained_boxes(weight.shape, self.grain(0, (weight,)), BLOCK):
            yield as_slices(box), as_slices(self._of_scales(box))

    def _of_scales(self, box: Region) -> Region:
        """The scales of a box of whole blocks."""
        *before, rows, columns = box
        pairs = zip((rows, columns), self._block, strict=True)
        return (*before, *(range(own.start // of, -(-own.stop // of)) for own, of in pairs))

    def _of_weights(self, box: Region, weight: TensorSpec) -> Region:
        """The weights of a box of scales."""
        *before, rows, columns = box
        sizes = zip((rows, columns), self._block, weight.shape[-2:], strict=True)
        own = (range(at.start * of, min(at.stop * of, size)) for at, of, size in sizes)
        return (*before, *own)

    def _spread(self, scales: Array, shape: tuple[int, ...]) -> Array:
        """The scales of a box of whole blocks, each as often as its block has items."""
        rows, columns = map(min, self._block, shape[-2:])
        return scales.repeat(rows, -2)[..., : shape[-2], :].repeat(columns, -1)[..., : shape[-1]]


class DequantizeBlocks(OfBlocks, frozen=True, kw_only=True):
    """weight[…, R, C] of float8 and scale[…, R / block, C / block] -> weight[…, R, C] in `dtype`.

    Each item times the scale of its block, in F32 (F64 where scale or result is F64), and rounded
    once. As weight_dequant of DeepSeek-V3, with its weight_scale_inv.
    """

    name: ClassVar[str] = "dequantize_blocks"
    arity: ClassVar[Arity] = Arity.JOIN
    codes: ClassVar[tuple[str, ...]] = tuple(
        code for code in LARGEST if code in FLOATING - COMPLEX and BITS[code] > 8
    )

    dtype: str = "BF16"

    def infer(self, specs: Specs) -> Specs:
        weight, scale = one_each(self, specs, "weight", "scale")
        if weight.dtype not in FLOAT8:
            codes, turned = ", ".join(FLOAT8), scale.dtype in FLOAT8
            help = "the weight comes first, then its scale" if turned else ""
            raise self.error(f"the weight is {weight}, and not of {codes}", specs, help)
        refuse_all_but_real(self, specs)
        wanted = self._scales(weight)
        if scale.shape != wanted:
            rows, columns = self._block
            found = f"scale is {list(scale.shape)}, and blocks of {rows} x {columns} have"
            raise self.error(f"{found} {list(wanted)}", specs, self._tell_block(weight, scale))
        return (larger_spec(self, self.dtype, weight.shape, specs),)

    def _tell_block(self, weight: TensorSpec, scale: TensorSpec) -> str:
        """The next step where the scales are those of blocks of another size."""
        if len(scale.shape) != len(weight.shape) or 0 in scale.shape:
            return ""
        sizes = [_likely(*pair) for pair in zip(weight.shape[-2:], scale.shape[-2:], strict=True)]
        fits = _with_block(self, sizes)._scales(weight) == scale.shape
        block = sizes[0] if sizes[0] == sizes[1] else sizes
        return f"write `{{{self.name}: {block}}}` if that is the size of the blocks" if fits else ""

    def part(self, number: int, box: Region, specs: Specs) -> tuple[Op, tuple[Region, ...]]:
        return self, (box, self._of_scales(box))

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        from ckptsurgeon.ops import carriers

        (result,) = self.infer(specs)
        weight, scale = (
            carriers.decode(array, spec.dtype) for array, spec in zip(arrays, specs, strict=True)
        )
        made: Array = np.empty(result.shape, np.dtype(result.carrier))
        work = "F64" if "F64" in (result.dtype, specs[1].dtype) else "F32"
        for box, own in self._boxes(specs[0]):
            numbers = carriers.convert(weight[box], work)
            with np.errstate(all="ignore"):  # what overflows is counted by whoever asked
                scaled = numbers * self._spread(carriers.convert(scale[own], work), numbers.shape)
            made[box] = carriers.encode(scaled, result.dtype)
        return (made,)


class QuantizeBlocks(OfBlocks, frozen=True, kw_only=True):
    """weight[…, R, C] -> weight[…, R, C] in `dtype`, and F32 scale[…, R / block, C / block].

    A scale is the block's largest size over the dtype's greatest number, and each item is divided
    by the scale of its block, in F32, and rounded once. A block of zeros has the scale 1; no scale
    is below 2**-126. As weight_scale_inv of DeepSeek-V3.
    """

    name: ClassVar[str] = "quantize_blocks"
    arity: ClassVar[Arity] = Arity.SPLIT
    codes: ClassVar[tuple[str, ...]] = FLOAT8

    dtype: str = "F8_E4M3"

    def infer(self, specs: Specs) -> Specs:
        weight = only(self, specs)
        refuse_all_but_real(self, specs)
        scales = larger_spec(self, "F32", self._scales(weight), specs)
        return TensorSpec(self.dtype, weight.shape), scales

    def _is_scale(self, number: int) -> bool:
        return number == 1

    def part(self, number: int, box: Region, specs: Specs) -> tuple[Op, tuple[Region, ...]]:
        return self, (self._of_weights(box, specs[0]) if self._is_scale(number) else box,)

    def overflows(self, before: Arrays, after: Arrays, specs: Specs) -> int:
        return 0  # no item is larger than its scale times the greatest number

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        from ckptsurgeon.ops import carriers

        self._refuse_non_finite(arrays, specs)
        weight, scale = self.infer(specs)
        made: Array = np.empty(weight.shape, np.dtype(weight.carrier))
        scales: Array = np.empty(scale.shape, "<f4")
        for box, own in self._boxes(specs[0]):
            numbers = widen(arrays[0][box], specs[0].dtype)
            scales[own] = self._scales_of(numbers)
            made[box] = carriers.encode(
                numbers / self._spread(scales[own], numbers.shape), weight.dtype
            )
        return made, scales.view(np.dtype(scale.carrier))

    def _refuse_non_finite(self, arrays: Arrays, specs: Specs) -> None:
        lost = non_finite(arrays[0], specs[0].dtype)
        if lost:
            raise self.error(f"{lost} items are infinite or NaN: no scale fits them", specs)

    def _scales_of(self, numbers: Array) -> Array:
        """The scales of a box of whole blocks; columns first, which lie side by side."""
        import numpy as np

        starts = [
            range(0, size, of) for size, of in zip(numbers.shape[-2:], self._block, strict=True)
        ]
        largest = np.maximum.reduceat(np.abs(numbers), starts[1], -1)
        largest = np.maximum.reduceat(largest, starts[0], -2)
        scales = np.maximum(largest / LARGEST[self.dtype], SMALLEST_SCALE)
        scales = np.where(largest == 0, 1, scales)
        if scales.max(initial=0) > LARGEST["F32"]:
            raise self.error(f"a block goes up to {largest.max():g}: its scale is beyond F32")
        return scales.astype(np.float32)


def _with_block(op: OfBlocks, sizes: list[int]) -> OfBlocks:
    """The op with blocks of these sizes."""
    return msgspec.structs.replace(op, block=tuple(sizes))


def _likely(size: int, count: int) -> int:
    """The size of which so many blocks cover a dim, a power of two where one does."""
    exact = -(-size // count)
    power = 1 << (exact - 1).bit_length()
    return power if -(-size // power) == count else exact
