"""Sections of a report as tables, each behind a line that unfolds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ckptsurgeon.cutting import cut
from ckptsurgeon.render.columns import Aligned, fit_names
from ckptsurgeon.render.markdown.blocks import MOST_ROWS, Block, Rank
from ckptsurgeon.render.markdown.escaping import cell, code, longest_run, prose, tagged
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.view import EVERYTHING, Limits

WIDTH = 100
"""Columns of a line of text to which a table is laid out."""

FOLDED = Limits(section=200, finding=400, note=20, suggestion=EVERYTHING.suggestion)
"""Lines of a table: it is folded, and the page is held short by its bytes."""

SIDE_HEADS = ("", "path", "holds")
"""What is told of a checkpoint."""

NAMES = 60
"""Characters of the names of tensors that are told of one module."""


def fold_section(section: Section, rank: Rank, *, opened: bool = False) -> Iterator[Block]:
    """A section as a table that is folded unless it tells what is wrong; its hints behind it."""
    told = f": {tagged(section.told)}" if section.told else ""
    title = f"<b>{tagged(section.title)}</b>{told}"
    if not section.items:
        yield Block(rank, f"**{prose(section.title)}**: {prose(section.told)}")
        return
    first, left_out = cut(section.items, min(section.limit, MOST_ROWS))
    table = tabulate(section.heads, list(map(section.show, first)))
    state = " open" if opened or section.is_wrong else ""
    before = f"<details{state}><summary>{title}</summary>\n\n{table[0]}"
    yield Block(rank, before, table[1:], "\n</details>", left_out)
    if section.hints:
        yield Block(rank, "", [f"- {code(hint)}" for hint in section.hints])


def fence(rank: Rank, title: str, language: str, lines: Sequence[str], comment: str = "") -> Block:
    """Lines that are shown as they are; those that are left out are told in a comment."""
    marks = "`" * max(3, 1 + max(map(longest_run, lines), default=0))
    return Block(rank, f"{title}\n\n{marks}{language}", lines, marks, lead=comment)


EXITS = {
    0: "exit code 0: nothing is open",
    1: "exit code 1: there are findings, or differences",
    2: "exit code 2: trouble",
}


def verdict(bottom_line: str, exit_code: int) -> Block:
    """The one line to read, and what the command ends with."""
    return Block(Rank.VERDICT, f"**{prose(bottom_line)}**\n\n{EXITS[exit_code]}")


def tabulate(heads: Sequence[str], lines: Sequence[Aligned]) -> list[str]:
    """The head of a table, then a row for each line; columns that are empty are left out."""
    width = len(heads) - 1
    filled = ([*line.cells, *[""] * (width - len(line.cells))] for line in lines)
    rows = [[*cells, _tail(line)] for cells, line in zip(filled, lines, strict=True)]
    kept = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    head = [_row(heads[at].replace("|", r"\|") for at in kept), _row("---" for _ in kept)]
    return ["\n".join(head), *(_row(cell(row[at]) for at in kept) for row in rows)]


def _row(cells: Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _tail(line: Aligned) -> str:
    """What stands behind the columns of a line: the names of its tensors, and their specs."""
    names = fit_names(line.names, NAMES) if line.names else ""
    return f"{names} {line.tail}".strip()
