"""The op cast: the same numbers in another dtype, rounded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ckptsurgeon.errors import nearest
from ckptsurgeon.ops.base import Op, only, result_spec
from ckptsurgeon.ops.computing import refuse_misfits
from ckptsurgeon.ops.ranges import COMPLEX, INTEGER_RANGES, widens
from ckptsurgeon.specs import BITS, CARRIERS, Specs

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays, Mosaics
    from ckptsurgeon.ops.indexing import Region


class Cast(Op, frozen=True, kw_only=True):
    """[…] of one dtype -> […] of another: nearest value, ties to even, NaN stays NaN.

    Integers (BOOL counts as 0 and 1) may become floats; floats never become integers, nor complex
    numbers real ones. Integers must fit, which is seen when run; floats that don't fit become
    infinite, or NaN where the dtype has no infinity, and `overflows` counts them.
    """

    name: ClassVar[str] = "cast"
    first: ClassVar[str | None] = "dtype"
    arithmetic: ClassVar[bool] = True
    keeps_shape: ClassVar[bool] = True

    dtype: str

    def __post_init__(self) -> None:
        if self.dtype not in BITS:
            hint = nearest(self.dtype.upper(), BITS) or f"known: {', '.join(BITS)}"
            raise self.error(f"unknown dtype {self.dtype!r}; {hint}")
        if BITS[self.dtype] % 8:
            raise self.error(f"{self.dtype} items are smaller than a byte and can't be made")

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        if self.dtype in INTEGER_RANGES and spec.dtype not in INTEGER_RANGES:
            raise self.error(f"{spec.dtype} to {self.dtype} would cut fractions off", specs)
        if spec.dtype in COMPLEX and self.dtype not in COMPLEX:
            raise self.error(f"{spec.dtype} to {self.dtype} would drop imaginary parts", specs)
        return (result_spec(self, self.dtype, spec.shape, specs),)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        from ckptsurgeon.ops import carriers

        spec = only(self, specs)
        if spec.dtype == self.dtype:
            return arrays
        result: Array = np.empty(spec.shape, CARRIERS[BITS[self.dtype]])
        for source, target in carriers.blocks(arrays[0], result, writes=True):
            numbers = carriers.decode(source, spec.dtype)
            if self.dtype in INTEGER_RANGES and not widens(spec.dtype, self.dtype):
                refuse_misfits(self, numbers, self.dtype, specs)
            carriers.decode(target, self.dtype)[...] = carriers.convert(numbers, self.dtype)
        return (result,)

    def grain(self, number: int, specs: Specs) -> tuple[int, ...] | None:
        return (1,) * len(specs[0].shape)

    def part(self, number: int, box: Region, specs: Specs) -> tuple[Op, tuple[Region, ...]]:
        return self, (box,)

    def overflows(self, before: Arrays, after: Arrays, specs: Specs) -> int:
        if self.dtype in INTEGER_RANGES or widens(specs[0].dtype, self.dtype):
            return 0
        from ckptsurgeon.ops import carriers

        return sum(
            carriers.count_finite(old, specs[0].dtype) - carriers.count_finite(new, self.dtype)
            for old, new in carriers.blocks(before[0], after[0])
            if not carriers.all_finite(new, self.dtype)
        )

    def trace(self, mosaics: Mosaics, specs: Specs) -> Mosaics:
        dtype = only(self, specs).dtype
        return mosaics if dtype == self.dtype else (mosaics[0].cast(self.dtype),)

    def inverse(self, specs: Specs) -> Op | None:
        spec = only(self, specs)
        return Cast(dtype=spec.dtype) if widens(spec.dtype, self.dtype) else None
