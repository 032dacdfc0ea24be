"""Shares of a whole drawn as a bar, and listed beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from ckptsurgeon.report.sides import Tally, add_tallies
from ckptsurgeon.specs import human_bytes, percent

LAST_COLOR = 5
"""The number of the colour that all further parts have."""

LENGTH = 1000.0
THINNEST = 4.0
"""The length of a bar in its own units, and that of the smallest share which is not nothing."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a bar: what it is called, the name of its colour, and where it lies."""

    word: str
    color: str
    tally: Tally
    x: float
    width: float
    percent: str

    @property
    def size(self) -> str:
        return human_bytes(self.tally.nbytes)


@dataclass(frozen=True, slots=True)
class Bar:
    """A whole in shares, those of bytes; of tensors where nothing has any."""

    title: str
    shares: tuple[Share, ...]
    total: Tally


def draw_bar(title: str, parts: Iterable[tuple[str, Tally]], colors: str = "") -> Bar | None:
    """The bar of parts by their words; None where there are none.

    `colors` names a row of colours that parts take in turn; without it their words name these.
    """
    given = [part for part in parts if part[1].tensors or part[1].nbytes]
    total = add_tallies(tally for _, tally in given)
    if not given:
        return None
    sizes = [tally.nbytes if total.nbytes else tally.tensors for _, tally in given]
    widths = _widths(sizes)
    starts = [0.0, *accumulate(widths)]
    percents = _percents(sizes)
    shares = (
        Share(word, f"{colors}-{min(at, LAST_COLOR)}" if colors else word, tally, x, width, percent)
        for at, ((word, tally), x, width, percent) in enumerate(
            zip(given, starts, widths, percents, strict=False)
        )
    )
    return Bar(title, tuple(shares), total)


def _widths(sizes: list[int]) -> list[float]:
    """Lengths that fill the bar, none too thin to be seen."""
    total = sum(sizes)  # integers, which may be larger than any float
    raw = [max(LENGTH * (size / total), THINNEST) for size in sizes]
    return [round(LENGTH * one / sum(raw), 1) for one in raw]


def _percents(sizes: list[int]) -> list[str]:
    return [percent(size, sum(sizes)) for size in sizes]
