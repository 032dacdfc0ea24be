"""What is told of numbers: laws of merging, and NumPy's own words for the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptsurgeon.measuring.gauge import Gauge
from ckptsurgeon.measuring.histograms import FINEST, MOST_BINS, Histogram, choose_exponent, find_bin
from ckptsurgeon.measuring.scratch import Scratch
from ckptsurgeon.measuring.statistics import Statistics

Array = np.ndarray[Any, Any]

SCRATCH = Scratch()

EPS = float(np.finfo(np.float64).eps)

SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)
"""Finite numbers of all sizes, those below the least normal one among them."""

DOUBLES = st.floats(-1e150, 1e150) | st.floats(-1e-300, 1e-300)
"""Numbers whose squares float64 has."""


def measured(numbers: Array) -> Statistics:
    gauge = Gauge(SCRATCH)
    if len(numbers):
        gauge.add(numbers)
    return gauge.statistics


def arrays(most: int = 40) -> st.SearchStrategy[Array]:
    singles = st.lists(SINGLES, max_size=most).map(lambda some: np.array(some, np.float32))
    doubles = st.lists(DOUBLES, max_size=most).map(lambda some: np.array(some, np.float64))
    return singles | doubles


@st.composite
def cut_arrays(draw: st.DrawFn) -> list[Array]:
    """An array in parts, some of them empty."""
    whole = draw(arrays())
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    return np.split(whole, cuts)


def assert_near(found: Statistics, wanted: Array) -> None:
    """Fails where mean and squares are further from the true ones than sums of floats explain.

    A sum of n numbers errs by n halves of an eps of their sizes at most; the mean is one, with a
    rest taken off. The squares are a sum of n terms (each rounded thrice) around a mean that itself
    is off; a merge adds a few roundings more.
    """
    exact = [float(number) for number in wanted]
    count = len(exact)
    mean = math.fsum(exact) / count
    roundings = (count + 16) * EPS
    sizes = math.fsum(map(abs, exact)) / count
    assert abs(found.moments.mean - mean) <= roundings * sizes + 5e-324
    squares = math.fsum((number - mean) ** 2 for number in exact)
    off = (roundings * sizes) ** 2 * count
    assert abs(found.moments.squares - squares) <= roundings * squares + 16 * off + 5e-324


@given(numbers=arrays())
def test_what_is_told_is_what_numpy_and_exact_sums_tell(numbers: Array) -> None:
    found = measured(numbers)
    assert (found.count, found.finite) == (len(numbers), len(numbers))
    assert found.zeros == int((numbers == 0).sum())
    if not len(numbers):
        assert (found.least, found.most, found.mean, found.std) == (None, None, None, None)
        return
    assert (found.least, found.most) == (numbers.min(), numbers.max())
    assert_near(found, numbers)


@given(numbers=arrays(200))
def test_a_histogram_is_numpys_on_the_edges_that_it_tells(numbers: Array) -> None:
    found = measured(numbers).histogram
    assert sum(found.counts) == len(numbers)
    assert len(found.counts) <= MOST_BINS
    if not len(numbers):
        return
    # NumPy's last bin has its upper edge, which is an edge that ours never reaches: one more bin.
    edges = np.append(np.array(found.edges), np.inf)
    wanted, _ = np.histogram(numbers.astype(np.float64), edges)
    assert [*found.counts, 0] == wanted.tolist()
    assert found.counts[0] > 0 < found.counts[-1]


@given(parts=cut_arrays(), order=st.randoms())
def test_parts_merged_in_any_order_are_the_whole(parts: list[Array], order: Any) -> None:
    whole = np.concatenate(parts)
    order.shuffle(parts)
    found = reduce(add, map(measured, parts))
    wanted = measured(whole)
    for name in ("count", "zeros", "least", "most", "histogram"):
        assert getattr(found, name) == getattr(wanted, name), name
    if len(whole):
        assert_near(found, whole)


@given(parts=cut_arrays())
def test_chunks_are_the_whole(parts: list[Array]) -> None:
    gauge = Gauge(SCRATCH)
    for part in parts:
        if len(part):
            gauge.add(part)
    found, wanted = gauge.statistics, measured(np.concatenate(parts))
    assert (found.count, found.zeros, found.least, found.most) == (
        wanted.count,
        wanted.zeros,
        wanted.least,
        wanted.most,
    )
    assert found.histogram == wanted.histogram


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [100_000, 100_001])
def test_many_numbers_are_counted_in_pairs(dtype: type, count: int) -> None:
    numbers = np.random.default_rng(0).normal(0.5, 3, count).astype(dtype)
    found = measured(numbers)
    edges = np.append(np.array(found.histogram.edges), np.inf)
    assert [*found.histogram.counts, 0] == np.histogram(numbers, edges)[0].tolist()
    assert_near(found, numbers)


def test_numbers_far_from_zero_keep_their_spread() -> None:
    numbers = 1e6 + np.arange(1000) / 1000
    found = measured(numbers)
    assert found.std == pytest.approx(float(np.std(np.arange(1000) / 1000)), rel=1e-9)


def test_what_is_not_finite_is_counted_apart() -> None:
    numbers = np.array([1, np.nan, np.inf, -np.inf, np.inf, 3], np.float32)
    found = measured(numbers)
    assert (found.count, found.finite) == (6, 2)
    assert (found.nans, found.positive_infinities, found.negative_infinities) == (1, 2, 1)
    assert (found.least, found.most, found.mean, found.std) == (1, 3, 2, 1)
    assert sum(found.histogram.counts) == 2


def test_nothing_finite_has_no_range() -> None:
    found = measured(np.array([np.nan, np.inf]))
    assert (found.least, found.mean, found.std, found.farthest) == (None, None, None, 0.0)
    assert found.histogram.counts == () == found.histogram.edges
    two = measured(np.array([2.0]))
    both = Statistics(3, 1, 1, 0, 0, 2.0, 2.0, two.moments, two.histogram)
    assert found + two == both == two + found


def test_the_largest_numbers_have_a_mean() -> None:
    largest = float(np.finfo(np.float64).max)
    found = measured(np.array([largest, largest, -largest]))
    assert found.mean == pytest.approx(largest / 3)
    assert found.std == math.inf
    assert sum(found.histogram.counts) == 3
    assert found.histogram.edges[-1] in (math.inf, largest)


def test_the_farthest_number_is_told_in_standard_deviations() -> None:
    numbers = np.zeros(10_001)
    numbers[7] = -5.0
    wanted = (5.0 + numbers.mean()) / numbers.std()
    assert measured(numbers).farthest == pytest.approx(wanted)
    assert measured(np.full(5, 3.0)).farthest == 0.0


# --- grids ----------------------------------------------------------------------------------------


@given(ends=st.tuples(DOUBLES, DOUBLES).map(sorted))
def test_a_grid_is_as_fine_as_it_may_be(ends: Sequence[float]) -> None:
    least, most = ends
    exponent = choose_exponent(least, most)
    assert find_bin(most, exponent) - find_bin(least, exponent) < MOST_BINS
    finer = exponent - 1
    largest = max(abs(least), abs(most))
    fits = find_bin(most, finer) - find_bin(least, finer) < MOST_BINS
    is_finest = exponent == -1000 or math.ldexp(largest, -finer) >= 1 << FINEST
    assert is_finest or not fits


@settings(max_examples=50)
@given(numbers=arrays(100), bins=st.integers(2, 70))
def test_fewer_bins_hold_the_same_numbers(numbers: Array, bins: int) -> None:
    found = measured(numbers).histogram
    fitted = found.fit(bins)
    assert len(fitted.counts) <= bins
    assert sum(fitted.counts) == len(numbers)
    assert set(fitted.edges[1:-1]) <= set(found.edges)


def test_a_bin_has_its_lower_edge() -> None:
    found = Histogram(0, -1, (1, 2, 3))
    assert found.edges == (-1.0, 0.0, 1.0, 2.0)
    assert [find_bin(number, 0) for number in (-1.0, -1e-320, 0.0, 0.99, 1.0)] == [-1, -1, 0, 0, 1]
    assert found.widen(1) == Histogram(1, -1, (1, 5))
