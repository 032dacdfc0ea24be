"""What is in a checkpoint as markdown."""

from __future__ import annotations

from ckptsurgeon.render.columns import Palette
from ckptsurgeon.render.inspection import tell_inspection
from ckptsurgeon.render.markdown.blocks import Block, Rank, write_page
from ckptsurgeon.render.markdown.escaping import code
from ckptsurgeon.render.markdown.tables import WIDTH, fold_section, tabulate
from ckptsurgeon.render.view import EVERYTHING, View
from ckptsurgeon.report.inspection import Inspection


def render_inspection(found: Inspection, *, verbose: bool = False) -> str:
    """The checkpoint as markdown that ends in a newline, at most 65,000 bytes long."""
    view = View(WIDTH, Palette(color=False), verbose, EVERYTHING)
    facts, *tensors = tell_inspection(found, view)
    head, *rows = tabulate(facts.heads, facts.items)
    blocks = [Block(Rank.VERDICT, f"**{code(facts.title)}**"), Block(Rank.FRAME, head, rows)]
    for section in tensors:
        blocks += fold_section(section, Rank.CLEAN, opened=True)
    return write_page(blocks)
