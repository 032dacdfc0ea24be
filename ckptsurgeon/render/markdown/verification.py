"""What `verify` found as markdown: the verdict, what is wrong, and what was compared."""

from __future__ import annotations

from collections.abc import Iterator

from ckptsurgeon.proof.results import Comparison, Verification
from ckptsurgeon.render.markdown.blocks import Block, Rank, write_page
from ckptsurgeon.render.markdown.tables import fold_section, tabulate, verdict
from ckptsurgeon.render.verification import list_facts, list_outputs, list_sides, tell_findings


def render_verification(found: Verification, *, verbose: bool = False) -> str:
    """The verification as markdown that ends in a newline, at most 65,000 bytes long."""
    blocks = [verdict(found.bottom_line, found.exit_code)]
    sections = tell_findings(found, verbose=verbose)
    for section in sorted(sections, key=lambda one: not one.is_wrong):
        blocks += fold_section(section, Rank.WRONG if section.is_wrong else Rank.ALLOWED)
    head, *rows = tabulate(("", "", "holds"), list(list_sides(found)))
    blocks.append(Block(Rank.FRAME, head, rows))
    return write_page([*blocks, *(_compared(found.comparison) if found.comparison else ())])


def _compared(comparison: Comparison) -> Iterator[Block]:
    head, *rows = tabulate(("compared", "", ""), list_facts(comparison))
    yield Block(Rank.FRAME, head, rows)
    heads = ("output", "difference", "relative", "cosine", "top-1", "verdict", "")
    head, *rows = tabulate(heads, list_outputs(comparison))
    yield Block(Rank.WRONG, head, rows)
