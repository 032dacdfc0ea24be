"""The figures of a change against those of NumPy and torch, over every dtype, NaN and all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptsurgeon.comparing import elements
from ckptsurgeon.comparing.change import Change, Compared
from ckptsurgeon.comparing.conditions import Conditions
from ckptsurgeon.comparing.elements import compare_blocks
from ckptsurgeon.ops import carriers
from ckptsurgeon.ops.ranges import INTEGER_RANGES
from ckptsurgeon.specs import BITS, DTYPE_NAMES, TensorSpec

Array = np.ndarray[Any, Any]

FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
INTEGERS = ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64")
DTYPES = (*FLOATS, *INTEGERS)

ROUNDINGS = 1e-12
"""Sums of a thousand terms in float64, each rounded once, are within so much of each other."""

SPECIAL = [0.0, -0.0, 1.0, -1.5, math.nan, math.inf, -math.inf, 1e-7, 3.0]


def blocks(array: Array, size: int) -> Iterator[Array]:
    """The bytes of an array, so many items at a time."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return (flat[at : at + size].view(np.uint8) for at in range(0, len(flat), size))


EQUAL = Conditions()


def compared(a: Array, b: Array, dtypes: tuple[str, str], asked: Conditions = EQUAL) -> Compared:
    """The change of two arrays of carriers, read in blocks of odd sizes."""
    before, after = (TensorSpec(code, x.shape) for code, x in zip(dtypes, (a, b), strict=True))
    return compare_blocks(blocks(a, 7), blocks(b, 11), before, after, asked)


def numbers(array: Array, dtype: str) -> Array:
    with np.errstate(all="ignore"):
        return carriers.decode(array, dtype).astype(np.float64)


def carrier(values: list[float], dtype: str) -> Array:
    """The values in the carrier of a dtype; integers take what they can hold of them."""
    array = np.asarray(values, np.float64)
    if dtype in INTEGERS:
        array = np.nan_to_num(array, nan=1, posinf=7, neginf=0)
        array = np.abs(np.trunc(array)) % (2 if dtype == "BOOL" else 100)
    return carriers.encode(array, dtype)


def is_close(a: Array, b: Array, atol: float, rtol: float) -> Array:
    """torch's answer, element by element."""
    close = torch.isclose(
        torch.from_numpy(a), torch.from_numpy(b), rtol=rtol, atol=atol, equal_nan=True
    )
    return close.numpy()


values = st.lists(st.one_of(st.sampled_from(SPECIAL), st.floats(-300, 300)), min_size=1)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_figures_are_those_of_numpy_and_torch(data: st.DataObject, one: str, other: str) -> None:
    first = data.draw(values)
    second = [data.draw(st.one_of(st.just(x), st.sampled_from(SPECIAL))) for x in first]
    a, b = carrier(first, one), carrier(second, other)
    atol, rtol = data.draw(st.sampled_from([(0.0, 0.0), (1e-3, 0.0), (0.0, 0.1), (0.5, 0.01)]))
    change = compared(a, b, (one, other), Conditions(atol=atol, rtol=rtol)).change
    x, y = numbers(a, one), numbers(b, other)
    assert change.count == len(x)
    assert change.equal == int(((x == y) | (np.isnan(x) & np.isnan(y))).sum())
    assert change.close == int(is_close(x, y, atol, rtol).sum())
    assert change.nans == (np.isnan(x).sum(), np.isnan(y).sum())
    assert change.infinities == (np.isinf(x).sum(), np.isinf(y).sum())
    finite = np.isfinite(x) & np.isfinite(y)
    delta = (y - x)[finite]
    assert math.isclose(change.base, (x[finite] ** 2).sum(), rel_tol=ROUNDINGS)
    assert math.isclose(change.squares, (delta**2).sum(), rel_tol=ROUNDINGS)
    differ_at_infinity = (np.isinf(x) | np.isinf(y)) & (x != y) & ~np.isnan(x) & ~np.isnan(y)
    largest = math.inf if differ_at_infinity.any() else np.abs(delta).max(initial=0)
    assert change.largest == largest


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 400), st.floats(1e-9, 10))
def test_cosine_and_relative_distance(seed: int, size: int, step: float) -> None:
    random = np.random.default_rng(seed)
    x = random.normal(size=size)
    y = x + step * random.normal(size=size)
    change = compared(x.view("u8"), y.view("u8"), ("F64", "F64")).change
    norm = np.linalg.norm
    assert math.isclose(change.relative, norm(y - x) / norm(x), rel_tol=ROUNDINGS)
    exact = x.astype(np.longdouble), y.astype(np.longdouble)
    product = (exact[0] * exact[1]).sum()
    cosine = product / np.sqrt((exact[0] ** 2).sum()) / np.sqrt((exact[1] ** 2).sum())
    assert math.isclose(change.cosine, float(cosine), rel_tol=1e-10)
    # 1 - cosine of near vectors: half the square of the part of Δ that is not along them.
    away, length = exact[1] - exact[0], exact[0] @ exact[0]
    along = away - exact[0] * (away @ exact[0]) / length
    if step < 1e-4 and size > 20:
        near = float((along @ along) / length / 2)
        assert math.isclose(change.cosine_distance, near, rel_tol=1e-2)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_parts_add_up_to_the_whole(dtype: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    width = BITS[dtype] // 8
    a, b = (random.integers(0, 256, 300 * width, np.uint8).view(f"u{width}") for _ in "ab")
    if dtype == "BOOL":
        a, b = a % 2, b % 2
    b[:100] = a[:100]
    cut = int(random.integers(1, 299))
    whole = compared(a, b, (dtype, dtype)).change
    parts = [compared(a[s], b[s], (dtype, dtype)).change for s in (slice(cut), slice(cut, None))]
    added = parts[0] + parts[1]
    assert (added.count, added.equal, added.close) == (whole.count, whole.equal, whole.close)
    assert (added.nans, added.infinities) == (whole.nans, whole.infinities)
    assert added.largest == whole.largest
    for name in ("base", "squares"):
        assert math.isclose(getattr(added, name), getattr(whole, name), rel_tol=ROUNDINGS)


def test_what_blocks_come_in_changes_nothing() -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=3 * elements.ITEMS + 17).astype(np.float32)
    b = (a * 1.001).astype(np.float32)
    spec = TensorSpec("F32", a.shape)

    def change(*sizes: int) -> Change:
        first, second = (blocks(x, size) for x, size in zip((a, b), sizes, strict=True))
        return compare_blocks(first, second, spec, spec, Conditions()).change

    whole = change(len(a), len(a))
    for sizes in ((1000, 1000), (999, 4096), (len(a), 5)):
        part = change(*sizes)
        assert (part.count, part.equal, part.largest) == (whole.count, whole.equal, whole.largest)
        assert math.isclose(part.squares, whole.squares, rel_tol=ROUNDINGS)


def test_bits_and_values() -> None:
    a = np.array([0.0, math.nan, 1.0], np.float32)
    b = np.array([-0.0, math.nan, 1.0], np.float32)
    b.view(np.uint32)[1] |= 1  # another NaN
    views = a.view("u4"), b.view("u4")
    assert compared(*views, ("F32", "F32")).change.equal == 3
    assert compared(*views, ("F32", "F32"), Conditions(exact=True)).change.equal == 1


@pytest.mark.parametrize("dtype", ["I64", "U64"])
def test_distances_of_wide_integers_are_exact(dtype: str) -> None:
    low = 2**62 if dtype == "I64" else 2**63
    kind = np.int64 if dtype == "I64" else np.uint64
    a = np.array([low + 1, 0, 5], kind)
    b = np.array([low, low, 5], kind)
    change = compared(a.view("u8"), b.view("u8"), (dtype, dtype)).change
    assert (change.equal, change.largest) == (1, float(low))
    a = np.array([low + 1], kind)
    assert compared(a.view("u8"), b[:1].view("u8"), (dtype, dtype)).change.largest == 1


NEIGHBOURS = [
    *(2**power + step for power in (31, 32, 33, 52, 53, 54, 62, 63) for step in (-2, -1, 0, 1)),
    *(-(2**power) + step for power in (31, 32, 53, 62) for step in (-1, 0, 1)),
    *(0, 1, -1, 2**64 - 1, 2**64 - 2, -(2**63), -(2**63) + 1),
]


JUST_BELOW = (-1 + 2.0**-53, 2.0**32 - 2.0**-21, 1 - 2.0**-53, -(2.0**-200), 2.0**53 - 1)
"""Numbers that are no integers, and that a sum with one would round to it."""


def held_by(dtype: str) -> Array:
    """Carriers of the numbers that are near a power of two, as far as a dtype holds them."""
    if dtype in INTEGER_RANGES:
        least, most = INTEGER_RANGES[dtype]
        held = np.array([one for one in NEIGHBOURS if least <= one <= most], DTYPE_NAMES[dtype])
        return held.view(f"u{held.itemsize}")
    values = np.array([*map(float, NEIGHBOURS), 0.5, -0.25, 2.0**31 + 0.5, 1e30, *JUST_BELOW])
    return carriers.encode(values, dtype)


@pytest.mark.parametrize("before", ["I64", "U64", "I32", "F64", "F32", "BF16", "U8"])
@pytest.mark.parametrize("after", ["I64", "U64"])
@pytest.mark.parametrize("has_infinity", [False, True])
def test_wide_integers_are_told_exactly(before: str, after: str, has_infinity: bool) -> None:
    """As Python's own numbers are; an infinity beside them changes nothing."""
    a, b = held_by(before), held_by(after)
    a, b = np.repeat(a, len(b)), np.tile(b, len(a))
    if is_mixed := has_infinity and before in FLOATS:
        a[0] = carriers.encode(np.array([math.inf]), before)[0]
    x, y = (carriers.decode(one, code).tolist() for one, code in ((a, before), (b, after)))
    pairs = list(zip(x[is_mixed:], y[is_mixed:], strict=True))
    for asked in (EQUAL, Conditions(exact=True)):
        change = compared(a, b, (before, after), asked).change
        assert change.equal == sum(one == other for one, other in pairs)
    largest = max(abs(Fraction(one) - Fraction(other)) for one, other in pairs)
    # Complex numbers, whose real parts are these.
    if before == "F64" and not is_mixed:
        z = (np.array(x) + 0j).view(np.complex128)
        of_complex = compared(z, b, ("C128", after)).change
        assert of_complex.equal == len(pairs) + sum(one == other for one, other in pairs)
    assert change.largest == (math.inf if is_mixed else pytest.approx(float(largest), rel=1e-15))


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F64"])
def test_differences_by_their_sizes(dtype: str) -> None:
    random = np.random.default_rng(6)
    x, y = random.normal(size=(2, 5000)) * random.choice([1e-5, 1, 1e4], 5000)
    a, b = carriers.encode(x, dtype), carriers.encode(np.where(x > 0, x, y), dtype)
    change = compared(a, b, (dtype, dtype), Conditions(sizes=True)).change
    distances = np.abs(numbers(b, dtype) - numbers(a, dtype))
    sizes, counts = np.unique(np.frexp(distances[distances > 0])[1] - 1, return_counts=True)
    assert change.sizes == dict(zip(sizes.tolist(), counts.tolist(), strict=True))
    assert sum(change.sizes.values()) == change.count - change.equal


def test_complex_numbers() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=50) + 1j * random.normal(size=50)
    y = x + 0.1 * random.normal(size=50)
    change = compared(x, y, ("C128", "C128")).change
    assert math.isclose(change.relative, np.linalg.norm(y - x) / np.linalg.norm(x), rel_tol=1e-12)
    parts = np.abs((y - x).view(np.float64))
    assert (change.count, change.largest) == (100, parts.max())
    cosine = np.vdot(x, y).real / np.linalg.norm(x) / np.linalg.norm(y)
    assert math.isclose(change.cosine, cosine, rel_tol=1e-12)


def test_half_a_complex_number_may_be_nothing() -> None:
    x = np.array([1 + 2j, complex(math.nan, 1), complex(0, math.inf), -0j])
    y = np.array([1 + 2j, complex(math.nan, 2), complex(0, math.inf), 0j])
    change = compared(x, y, ("C128", "C128")).change
    assert (change.count, change.equal, change.largest) == (8, 7, 1.0)
    assert (change.nans, change.infinities) == ((1, 1), (1, 1))
    assert compared(x, y, ("C128", "C128"), Conditions(exact=True)).change.equal < 7
    x, y = np.array([0j]), np.array([-0j])
    assert compared(x, y, ("C128", "C128")).change.are_equal
    assert not compared(x, y, ("C128", "C128"), Conditions(exact=True)).change.are_equal


def test_vectors_of_very_unequal_length_have_a_direction() -> None:
    random = np.random.default_rng(3)
    x, y = random.normal(size=(2, 100))
    for scale in (1e-12, 1e-3, 1e3, 1e12):
        change = compared(x.view("u8"), (y * scale).view("u8"), ("F64", "F64")).change
        cosine = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
        assert math.isclose(change.cosine, cosine, rel_tol=1e-12)


def test_whole_numbers_of_two_dtypes_are_exact() -> None:
    a = np.array([2**63, 2**53 + 1], np.uint64)
    b = np.array([2**62, 2**53], np.float64)
    change = compared(a, b.view("u8"), ("U64", "F64")).change
    assert (change.equal, change.largest) == (0, 2.0**62)


def test_what_became_infinite_was_not_rounded() -> None:
    a, b = np.array([1.0, 1e9]), np.array([1.0, math.inf], np.float16)
    assert not compared(a.view("u8"), b.view("u2"), ("F64", "F16")).change.is_rounded


@pytest.mark.parametrize("dtype", [code for code in FLOATS if code != "F64"])
def test_a_cast_is_told(dtype: str) -> None:
    x = np.random.default_rng(2).normal(size=1000)
    rounded = carriers.encode(x, dtype)
    there = compared(x.view("u8"), rounded, ("F64", dtype)).change
    assert there.is_rounded
    assert not there.are_equal
    back = compared(rounded, numbers(rounded, dtype).view("u8"), (dtype, "F64")).change
    assert back.are_equal
    other = rounded.copy()
    other[500] ^= 1
    assert not compared(x.view("u8"), other, ("F64", dtype)).change.is_rounded


def test_a_zero_tensor_has_no_direction() -> None:
    zeros, ones = np.zeros(4), np.ones(4)
    away = compared(zeros.view("u8"), ones.view("u8"), ("F64", "F64")).change
    assert away.relative == math.inf
    assert math.isnan(away.cosine)
    none = compared(zeros.view("u8"), zeros.view("u8"), ("F64", "F64")).change
    assert (none.relative, none.cosine) == (0.0, 1.0)


# --- rank -----------------------------------------------------------------------------------------


def rank_of(delta: Array, dtype: str = "F32", size: float = 0.02) -> int:
    weight = size * np.random.default_rng(7).normal(size=delta.shape)
    a = carriers.encode(weight, dtype)
    b = carriers.encode(numbers(a, dtype) + delta, dtype)
    spec = TensorSpec(dtype, a.shape)
    return compare_blocks(blocks(a, 501), blocks(b, 1000), spec, spec, Conditions()).rank


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 32), st.integers(0, 2**32), st.integers(90, 300), st.integers(90, 300))
def test_the_rank_of_a_merged_update_is_told(r: int, seed: int, rows: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    delta = random.normal(size=(rows, r)) @ random.normal(size=(r, columns)) / 50
    assert rank_of(delta) == r


def test_no_rank_is_told_of_what_has_a_full_one() -> None:
    random = np.random.default_rng(3)
    assert rank_of(random.normal(size=(200, 200))) == 0
    assert rank_of(random.normal(size=(6, 500))) == 0


def test_no_rank_is_told_where_a_part_of_the_columns_has_a_full_one() -> None:
    """As where q, k and v are one matrix, and a LoRA is merged into q and v alone."""
    random = np.random.default_rng(6)
    delta = random.normal(size=(256, 2)) @ random.normal(size=(2, 768))
    delta[:, 256:512] = random.normal(size=(256, 256))
    assert rank_of(delta) == rank_of(delta.T.copy()) == 0


def test_no_rank_is_told_where_few_rows_differ() -> None:
    random = np.random.default_rng(4)
    delta = np.zeros((300, 200))
    delta[::25] = random.normal(size=(12, 200))
    assert rank_of(delta) == 0


def test_no_rank_is_told_where_rounding_hides_it() -> None:
    random = np.random.default_rng(5)
    delta = random.normal(size=(200, 4)) @ random.normal(size=(4, 200)) * 1e-4
    assert rank_of(delta, "BF16") == 0


@pytest.mark.parametrize("size", [1e-170, 1e200])
def test_what_float64_has_no_squares_of_is_no_number(size: float) -> None:
    """Never 0, and cosine 1, of values that changed their sign."""
    a, b = np.array([1.0, 2.0, 0.0]) * size, np.array([3.0, -2.0, 0.0]) * size
    change = compared(a, b, ("F64", "F64")).change
    assert (change.count, change.equal) == (3, 1)
    assert change.largest == pytest.approx(4 * size)
    assert math.isnan(change.relative)
    assert math.isnan(change.cosine)
    same = compared(a, a, ("F64", "F64")).change
    assert (same.relative, same.cosine) == (0, 1)
