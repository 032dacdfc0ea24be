"""What `diff` found as markdown: the verdict, the figures of all values, then what differs."""

from __future__ import annotations

from collections.abc import Iterator

from ckptsurgeon.comparing.difference import Difference
from ckptsurgeon.render.columns import Palette
from ckptsurgeon.render.difference import list_sides, tell_difference, tell_whole
from ckptsurgeon.render.markdown.blocks import Block, Rank, write_page
from ckptsurgeon.render.markdown.escaping import code
from ckptsurgeon.render.markdown.tables import (
    FOLDED,
    SIDE_HEADS,
    WIDTH,
    fold_section,
    tabulate,
    verdict,
)
from ckptsurgeon.render.view import EVERYTHING, View


def render_difference(found: Difference, *, verbose: bool = False) -> str:
    """The difference as markdown that ends in a newline, at most 65,000 bytes long."""
    view = View(WIDTH, Palette(color=False), verbose, EVERYTHING if verbose else FOLDED)
    return write_page(list(_blocks(found, view)))


def _blocks(found: Difference, view: View) -> Iterator[Block]:
    yield verdict(found.bottom_line, found.exit_code)
    head, *rows = tabulate(SIDE_HEADS, list_sides(found, view))
    yield Block(Rank.FRAME, head, rows)
    if whole := tell_whole(found):
        yield Block(Rank.FRAME, "", [f"- {code(line)}" for line in whole])
    for section in tell_difference(found, view):
        rank = Rank.WRONG if section.is_wrong else Rank.NOTES
        yield from fold_section(section, rank, opened=section.is_wrong)
