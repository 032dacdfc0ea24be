"""What ops that compute share: wide numbers out of carriers, exact integers, one rounding.

Floating dtypes are computed with in float32, F64 in float64, complex ones as they are. Integers
(BOOL counts as 0 and 1) are computed exactly and must fit their dtype in the end.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.indexing import Region, as_slices
from ckptsurgeon.ops.ranges import COMPLEX, INTEGER_RANGES, lacks
from ckptsurgeon.ops.regions import boxes
from ckptsurgeon.specs import Specs, TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays

Formula = Callable[[Iterator["Array"]], "Array"]

KINDS = {"F64": ("F64", "<f8"), "C64": ("C64", "<c16"), "C128": ("C128", "<c16")}
"""By dtype code: the code that is computed with, and what long sums are added up in."""

SINGLE = ("F32", "<f8")
"""The same for every other floating code."""


class Computed(Op, frozen=True, kw_only=True):
    """An op that computes, and so can't be turned around."""

    arithmetic: ClassVar[bool] = True

    def inverse(self, specs: Specs) -> Op | None:
        return None

    def overflows(self, before: Arrays, after: Arrays, specs: Specs) -> int:
        """As far as it can be told: nothing where an input already holds an infinity or a NaN."""
        (result,) = self.infer(specs)
        lost = non_finite(after[0], result.dtype)
        if not lost:
            return 0
        held = sum(non_finite(old, spec.dtype) for old, spec in zip(before, specs, strict=True))
        return 0 if held else lost


class Itemwise(Computed, frozen=True, kw_only=True):
    """An op that is one formula of the items in each place, of tensors that broadcast to the first.

    Integers are computed exactly, all else in runs of rows of bounded size.
    """

    def formula(self, numbers: Iterator[Array], specs: Specs) -> Array:
        """The result, of the numbers of each tensor, or of a run of each, one after the other."""
        raise NotImplementedError

    def bound(self, sizes: Sequence[int]) -> int:
        """How large any integer on the way can get, by the largest size in each tensor."""
        raise NotImplementedError

    def grain(self, number: int, specs: Specs) -> tuple[int, ...] | None:
        # What NumPy makes of complex numbers may depend on where in an array they stand.
        return None if specs[0].dtype in COMPLEX else (1,) * len(specs[0].shape)

    def part(self, number: int, box: Region, specs: Specs) -> tuple[Op, tuple[Region, ...]]:
        return self, tuple(_stretched(spec.shape, specs[0].shape, box) for spec in specs)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        formula = functools.partial(self.formula, specs=specs)
        if specs[0].dtype in INTEGER_RANGES:
            return (exact(self, arrays, specs, formula, self.bound),)
        return (_rowwise(self, arrays, specs, formula),)


def _stretched(shape: tuple[int, ...], first: tuple[int, ...], box: Region) -> Region:
    """What a box of the first takes of a tensor that broadcasts to it."""
    behind = len(first) - len(shape)
    pairs = zip(shape, first[behind:], box[behind:], strict=True)
    return tuple(own if size == wanted else range(1) for size, wanted, own in pairs)


class Resizing(Computed, frozen=True, kw_only=True):
    """An op that gives a tensor another size, `to`; left out, it is the destination's."""

    to: Any = None

    def size_in(self, wanted: TensorSpec) -> object:
        """What `to` must be for a result like `wanted`; None where that has too few dims."""
        raise NotImplementedError

    @property
    def lacks_size(self) -> bool:
        return self.to is None

    def fitted(self, wanted: TensorSpec) -> Op:
        size = self.size_in(wanted)
        return self if size is None else msgspec.structs.replace(self, to=size)


def non_finite(array: Array, code: str) -> int:
    """How many items of a carrier are infinite or NaN."""
    if code in INTEGER_RANGES:
        return 0
    from ckptsurgeon.ops import carriers

    return sum(run.size - carriers.count_finite(run, code) for (run,) in carriers.blocks(array))


# --- what numbers are allowed ---------------------------------------------------------------------


def refuse_fractions(op: Op, specs: Specs, what: str) -> None:
    """Raises ShapeError where what is computed could not stand in the integers that are given."""
    for spec in specs:
        if spec.dtype in INTEGER_RANGES:
            raise op.error(f"{what} of {spec.dtype} would have fractions; cast it first", specs)


def refuse_all_but_real(op: Op, specs: Specs) -> None:
    """Raises ShapeError for tensors that are not of real floating numbers."""
    refuse_fractions(op, specs, "the result")
    for spec in specs:
        if spec.dtype in COMPLEX:
            raise op.error("takes real numbers, no complex ones", specs)


def check_finite(op: Op, name: str, values: Iterable[int | float]) -> None:
    """Raises ShapeError for a parameter that is infinite or no number."""
    for value in values:
        if not math.isfinite(value):
            raise op.error(f"`{name}` must be finite, found {value}")


def check_factor(op: Op, name: str, value: int | float, specs: Specs) -> None:
    """Raises ShapeError for a number that can't be computed with in the tensor's dtype."""
    dtype = specs[0].dtype
    if dtype in INTEGER_RANGES:
        if value != int(value):
            raise op.error(f"`{name}` {value} would give {dtype} fractions; cast it first", specs)
        return
    reason = lacks(_kind(dtype)[0], value)
    if reason:
        raise op.error(f"`{name}` {value} {reason}", specs)


# --- computing ------------------------------------------------------------------------------------


def _kind(code: str) -> tuple[str, str]:
    return KINDS.get(code, SINGLE)


def widen(array: Array, code: str) -> Array:
    """The numbers of a floating or complex carrier in the dtype that is computed with."""
    from ckptsurgeon.ops import carriers

    return carriers.convert(carriers.decode(array, code), _kind(code)[0])


def widen_each(arrays: Arrays, specs: Specs) -> list[Array]:
    """The numbers of several carriers in the dtypes that are computed with."""
    return [widen(array, spec.dtype) for array, spec in zip(arrays, specs, strict=True)]


def narrow(numbers: Array, code: str) -> Array:
    """Results in the carrier of their dtype code, rounded once."""
    from ckptsurgeon.ops import carriers

    return carriers.encode(numbers, code)


def summing_dtype(code: str) -> str:
    """The NumPy dtype in which many numbers of a floating or complex code are added up."""
    return _kind(code)[1]


def _rowwise(op: Op, arrays: Arrays, specs: Specs, formula: Formula) -> Array:
    """The formula of arrays that broadcast to the first, in runs of rows of bounded size.

    It is given the wide numbers of one run of each array, one after the other.
    """
    import numpy as np

    from ckptsurgeon.ops.carriers import BLOCK

    spec = op.infer(specs)[0]
    full = [np.broadcast_to(array, spec.shape) for array in arrays]
    result: Array = np.empty(spec.shape, np.dtype(spec.carrier))
    for box in boxes(spec.shape, BLOCK):
        rows: tuple[Any, ...] = (*as_slices(box), ...)
        numbers = (widen(array[rows], s.dtype) for array, s in zip(full, specs, strict=True))
        with np.errstate(all="ignore"):  # what overflows is counted by whoever asked
            run = formula(numbers)
        result[rows] = narrow(run, spec.dtype)
    return result


# --- integers, exactly ----------------------------------------------------------------------------


def exact(
    op: Op,
    arrays: Arrays,
    specs: Specs,
    formula: Formula,
    bound: Callable[[Sequence[int]], int],
) -> Array:
    """The formula of integers, computed without overflow; raises ShapeError for what doesn't fit.

    `bound` tells how large any number on the way can get, by the largest size in each array.
    """
    import numpy as np

    from ckptsurgeon.ops import carriers

    spec = op.infer(specs)[0]
    seen = [carriers.decode(array, spec.dtype) for array in arrays]
    small = bound(list(map(_magnitude, seen))) < 2**63
    numbers = (array.astype(np.int64 if small else object) for array in seen)
    result = np.asarray(formula(numbers))
    refuse_misfits(op, result, spec.dtype, specs, "; cast it to a wider dtype first")
    return narrow(result, spec.dtype)


def _magnitude(numbers: Array) -> int:
    if not numbers.size:
        return 0
    return max(abs(int(numbers.min())), abs(int(numbers.max())))


def refuse_misfits(op: Op, numbers: Array, code: str, specs: Specs, advice: str = "") -> None:
    """Raises ShapeError for an integer that the integers of a code don't hold."""
    least, greatest = INTEGER_RANGES[code]
    for value in (int(numbers.min()), int(numbers.max())) if numbers.size else ():
        if not least <= value <= greatest:
            fits = f"does not fit {code} ({least} to {greatest})"
            raise op.error(f"the value {value} {fits}{advice}", specs)


# --- torch ----------------------------------------------------------------------------------------


def tensor_of(numbers: Array) -> Any:
    """A dense torch tensor of wide numbers, which it may share memory with."""
    import numpy as np
    import torch

    return torch.from_numpy(np.require(numbers, requirements=["C", "W"]))
