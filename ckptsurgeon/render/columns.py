"""Aligned columns and a few colours, from cells that are safe to show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ckptsurgeon.keys import fold_keys
from ckptsurgeon.render.terminal import pad, safe, width_of

WIDEST_COLUMN = 56
"""Columns of a terminal to which a cell is padded; a longer one pushes its own line only."""

NARROWEST_NAMES = 24
GAP = "  "


def _paint(code: str) -> Callable[[Palette, str], str]:
    return lambda self, text: self.paint(code, text)


@dataclass(frozen=True, slots=True)
class Palette:
    """Wraps text in colours, or leaves it alone."""

    color: bool

    def paint(self, code: str, text: str) -> str:
        """The text in the colour of an ANSI code."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and text else text

    bold, dim, hint = _paint("1"), _paint("2"), _paint("36")
    good, bad = _paint("1;32"), _paint("1;31")


@dataclass(frozen=True, slots=True)
class Aligned:
    """A line of a table: cells that align, then `tail` (dim), then `names` cut to the width."""

    cells: tuple[str, ...]
    tail: str = ""
    names: tuple[str, ...] = ()


def align(
    lines: Sequence[Aligned], width: int, palette: Palette, indent: str, verbose: bool = False
) -> list[str]:
    """The lines with their cells in columns; columns that are empty everywhere are left out."""
    columns = [
        [cell[number] for cell in (line.cells for line in lines)]
        for number in range(max((len(line.cells) for line in lines), default=0))
    ]
    kept = [number for number, column in enumerate(columns) if any(column)]
    widths = [(n, max(min(width_of(cell), WIDEST_COLUMN) for cell in columns[n])) for n in kept]
    shown = []
    for line in lines:
        head = indent + GAP.join([pad(line.cells[n], size) for n, size in widths])
        tail = _tail(line, None if verbose else width - width_of(head) - len(GAP))
        shown.append(f"{head}{GAP}{palette.dim(tail)}" if tail else head.rstrip())
    return shown


def _tail(line: Aligned, room: int | None) -> str:
    """The names, as many as have room, and what is told behind them."""
    if not line.names:
        return line.tail
    if room is not None:
        room = max(NARROWEST_NAMES, room - len(line.tail) - bool(line.tail))
    names = fit_names(line.names, room)
    return f"{names} {line.tail}" if line.tail else names


def fit_names(names: Iterable[str], room: int | None) -> str:
    """`weight, bias, +3 more`: as many names as have room, at least one; integers are folded."""
    boxes = fold_keys(names)
    text, told = "", 0
    total = sum(box.count for box in boxes)
    for number, box in enumerate(boxes):
        longer = f"{text}, {safe(str(box))}" if text else safe(str(box))
        rest = total - told - box.count
        if room is not None and text and width_of(longer) + len(_more(rest)) > room:
            left = "".join(f", {safe(str(one))}" for one in boxes[number:])
            more = _more(total - told)
            return text + (left if width_of(left) <= len(more) else more)
        text, told = longer, told + box.count
    return text


def _more(number: int) -> str:
    return f", +{number:,} more" if number else ""
