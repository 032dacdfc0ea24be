"""An error as markdown: what is wrong, with its lines and carets as a terminal shows them."""

from __future__ import annotations

from ckptsurgeon.errors import CkptSurgeonError, ProblemsError
from ckptsurgeon.render.markdown.blocks import Rank, write_page
from ckptsurgeon.render.markdown.tables import fence, verdict
from ckptsurgeon.render.problems import render_error
from ckptsurgeon.specs import plural
from ckptsurgeon.visible import disarm


def render_problems(error: CkptSurgeonError) -> str:
    """The problems of an error as markdown that ends in a newline, at most 65,000 bytes long."""
    number = len(error.problems) if isinstance(error, ProblemsError) else 1
    lines = list(map(disarm, render_error(error, verbose=True).split("\n")))
    shown = fence(Rank.WRONG, plural(number, "problem"), "text", lines)
    return write_page([verdict("nothing was done", error.exit_code), shown])
