"""Lines that align as tables of a page: what stands in columns of a terminal stands in cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ckptsurgeon.cutting import cut
from ckptsurgeon.render.columns import Aligned, fit_names
from ckptsurgeon.render.sections import Section

LONGEST_NAMES = 200
"""Characters of the names that a line shows."""


class TableRow(NamedTuple):
    """A line: its cells, the names of tensors, and what is told behind them."""

    cells: tuple[str, ...]
    names: str
    tail: str


@dataclass(frozen=True, slots=True)
class Table:
    """Lines with equal numbers of cells; `left_out` more are not shown.

    `heads` name the columns, of which the last one is behind the cells if the lines have names or
    `has_tails`; plain lines have no heads.
    """

    rows: tuple[TableRow, ...]
    left_out: int = 0
    heads: tuple[str, ...] = ()
    has_tails: bool = True


@dataclass(frozen=True, slots=True)
class Listed:
    """A section as a page shows it."""

    section: Section
    table: Table


def list_section(section: Section, most: int) -> Listed:
    """A section with its first lines as a table."""
    shown, left_out = cut(section.items, most)
    heads = section.heads if section.shows_heads else ()
    table = make_table(list(map(section.show, shown)), most, heads)
    return Listed(section, replace(table, left_out=left_out))


def make_table(lines: Sequence[Aligned], most: int, heads: Sequence[str] = ()) -> Table:
    """The first lines as a table; columns that are empty everywhere are left out."""
    shown, left_out = cut(lines, most)
    columns = range(max((len(line.cells) for line in shown), default=0))
    kept = [at for at in columns if any("".join(line.cells[at : at + 1]) for line in shown)]
    rows = (
        TableRow(
            tuple("".join(line.cells[at : at + 1]) for at in kept),
            fit_names(line.names, LONGEST_NAMES) if line.names else "",
            line.tail,
        )
        for line in shown
    )
    has_tails = any(line.names or line.tail for line in shown)
    kept_heads = (*(heads[at] for at in kept if at < len(heads)), *heads[-1:][:has_tails])
    return Table(tuple(rows), left_out, kept_heads, has_tails)
