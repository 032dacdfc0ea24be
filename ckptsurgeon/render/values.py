"""What the values of tensors are like, in columns: a line for each, or for all that fold."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from ckptsurgeon.measuring.histograms import Histogram
from ckptsurgeon.measuring.measured import Measured, Measurements
from ckptsurgeon.measuring.statistics import Statistics
from ckptsurgeon.render.columns import Aligned, fit_names
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.tree import Branch, grow_tree, part_names
from ckptsurgeon.render.view import View
from ckptsurgeon.report.values import OUTLIER
from ckptsurgeon.specs import TensorSpec, percent

Specs = Mapping[str, TensorSpec]

MOST_LINES = 200

LONGEST_NAMES = 32
"""Columns of names: six columns of numbers stand beside them."""

NUMBER, SHARE = 8, 5
"""Columns of a number, and of a share."""

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 12
"""Bins of a histogram that a line has room for."""

HEADS = ("min", "max", "mean", "std")

SIGMA = "\N{GREEK SMALL LETTER SIGMA}"

NOTHING = ("",) * (len(HEADS) + 3)
"""The cells of a line without numbers."""

INTEGERS = 10_000_000
"""Integers below this are told with all digits."""

ROOM_FOR_SPECS = 120
"""Columns of a terminal from which on lines end in the spec."""


def tell_values(specs: Specs, measured: Measurements, view: View) -> Section:
    """What the values of those tensors are like that were read."""
    known = {key: spec for key, spec in specs.items() if key in measured.tensors}
    rows = _list(known) if view.verbose else _fold(grow_tree(known), "", [()])
    has_specs = view.verbose or view.width >= ROOM_FOR_SPECS
    lines = [_show(row, measured.tensors, has_specs) for row in rows]
    heads = (*(f"{head:>{NUMBER}}" for head in HEADS), f"{'zeros':>{SHARE}}")
    limit = len(lines) if view.verbose else MOST_LINES
    heads = (
        "",
        *heads,
        "histogram",
        "outlier" if any(line.cells[-1] for line in lines) else "",
        "spec",
    )
    return Section("values", "", lines, limit=limit, heads=heads, shows_heads=True)


def tell_left_out(measured: Measurements) -> Section:
    """Which tensors have no values that could be read, and why."""
    keys: dict[str, list[str]] = {}
    for key, why in measured.left_out.items():
        keys.setdefault(why, []).append(key)
    lines = [Aligned((safe(why),), names=tuple(names)) for why, names in keys.items()]
    return Section("without values", "", lines, limit=len(lines), heads=("why", "tensors"))


@dataclass(frozen=True, slots=True)
class Row:
    """A tensor, or tensors of one spec, under a label; without a spec a module's heading."""

    label: str
    spec: TensorSpec | None = None
    keys: tuple[str, ...] = ()


def _list(specs: Specs) -> Iterator[Row]:
    return (Row(safe(key), spec, (key,)) for key, spec in specs.items())


def _fold(branch: Branch, indent: str, paths: Sequence[tuple[str, ...]]) -> Iterator[Row]:
    """The rows of a module; `paths` are those of all modules like it."""
    for child in part_names(branch):
        label, below = _label(child), _extend(paths, child.names)
        while len(parts := part_names(child)) == 1:
            child = parts[0]
            label, below = f"{label}.{_label(child)}", _extend(below, child.names)
        if child.spec is not None:
            yield Row(indent + label, child.spec, tuple(map(".".join, below)))
        else:
            yield Row(indent + label)
            yield from _fold(child, f"{indent}  ", below)


def _extend(paths: Sequence[tuple[str, ...]], names: Sequence[str]) -> list[tuple[str, ...]]:
    return [(*path, name) for path, name in itertools.product(paths, names)]


def _label(branch: Branch) -> str:
    return fit_names(branch.names, LONGEST_NAMES)


def _show(row: Row, tensors: Mapping[str, Measured], has_specs: bool) -> Aligned:
    """The columns of a row: numbers, a histogram, and how far the farthest value lies."""
    if row.spec is None:
        return Aligned((row.label, *NOTHING))
    every = [tensors[key].statistics for key in row.keys]
    told = reduce(add, every)
    cells = (*map(_tell, (told.least, told.most, told.mean, told.std)), _share(told))
    far = max(one.farthest for one in every)
    mark = f"{far:.0f} {SIGMA}" if far >= OUTLIER else ""
    tail = str(row.spec) if has_specs else ""
    return Aligned((row.label, *cells, draw(told.histogram), mark), tail=tail)


def _tell(number: float | None) -> str:
    """A number for people, at the right end of its column; a dash where no value is finite."""
    if number is None:
        return f"{'-':>{NUMBER}}"
    if isinstance(number, int) and abs(number) < INTEGERS:
        return f"{number:>{NUMBER}}"
    text = f"{number:.3g}"
    return f"{text:>{NUMBER}}" if len(text) <= NUMBER else f"{number:>{NUMBER}.2g}"


def _share(told: Statistics) -> str:
    """How many of the values are zero, in percent; nothing where none is."""
    if not told.zeros:
        return ""
    return f"{percent(told.zeros, told.count):>{SHARE}}"


def draw(histogram: Histogram) -> str:
    """`▁▃█▅▁`: a bar for each bin, the lowest for one with few numbers; a space for none."""
    counts = histogram.fit(MOST_BARS).counts
    return "".join(_bars(counts))


def _bars(counts: Iterable[int]) -> Iterator[str]:
    known = tuple(counts)
    highest = max(known, default=0)
    for count in known:
        yield BARS[max(0, -(-count * len(BARS) // highest) - 1)] if count else " "
