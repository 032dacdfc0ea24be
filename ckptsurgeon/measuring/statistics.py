"""What is told of numbers, and how what is told of two parts becomes that of the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ckptsurgeon.measuring.histograms import Histogram, choose_exponent


@dataclass(frozen=True, slots=True)
class Moments:
    """How many numbers, their mean, and the sum of their squared distances from it."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        """Those of both: Chan, Golub and LeVeque, Updating Formulae (Stanford, 1979)."""
        if not (self.count and other.count):
            return self if self.count else other
        count = self.count + other.count
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean * (self.count / count) + other.mean * (other.count / count),
            self.squares + other.squares + apart * apart * (self.count / count * other.count),
        )


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is told of a tensor's numbers, or of those of several tensors.

    `count` are all numbers: those of a complex tensor are its real and its imaginary parts, two for
    each element; true is 1, false 0. `nans` and the infinities are counted apart, everything else
    is of the finite numbers. `least` and `most` are exact, integers where the tensor has such, and
    None where no number is finite.
    """

    count: int = 0
    nans: int = 0
    positive_infinities: int = 0
    negative_infinities: int = 0
    zeros: int = 0
    least: float | None = None
    most: float | None = None
    moments: Moments = field(default_factory=Moments)
    histogram: Histogram = field(default_factory=Histogram)

    @property
    def infinities(self) -> int:
        """How many numbers are infinite, with either sign."""
        return self.positive_infinities + self.negative_infinities

    @property
    def finite(self) -> int:
        """How many numbers are neither infinite nor NaN."""
        return self.count - self.nans - self.infinities

    @property
    def mean(self) -> float | None:
        """The mean of the finite numbers."""
        return self.moments.mean if self.finite else None

    @property
    def std(self) -> float | None:
        """The standard deviation of the finite numbers as a population, divided by their number."""
        if not self.finite:
            return None
        return math.sqrt(self.moments.squares / self.moments.count)

    @property
    def farthest(self) -> float:
        """How many standard deviations the number that is farthest from the mean lies from it.

        0 where all finite numbers are equal, or there are none.
        """
        std = self.std
        if self.least is None or self.most is None or not std or self.least == self.most:
            return 0.0
        mean = self.moments.mean
        return max(self.most - mean, mean - self.least) / std

    def __add__(self, other: Statistics) -> Statistics:
        """Those of both, exact but for the rounding of mean and squares."""
        least, most = _least(self, other), _most(self, other)
        histogram = Histogram()
        if least is not None and most is not None:
            exponent = choose_exponent(float(least), float(most))
            histogram = self.histogram.merge(other.histogram, exponent)
        return Statistics(
            self.count + other.count,
            self.nans + other.nans,
            self.positive_infinities + other.positive_infinities,
            self.negative_infinities + other.negative_infinities,
            self.zeros + other.zeros,
            least,
            most,
            self.moments + other.moments,
            histogram,
        )


def _least(one: Statistics, other: Statistics) -> float | None:
    return min((part.least for part in (one, other) if part.least is not None), default=None)


def _most(one: Statistics, other: Statistics) -> float | None:
    return max((part.most for part in (one, other) if part.most is not None), default=None)
