"""The checkpoints of a report, each on a line, and what stands outside of their roots."""

from __future__ import annotations

from collections.abc import Sequence

from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.render.columns import Aligned
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import View
from ckptsurgeon.report.sides import Side, Tally
from ckptsurgeon.specs import human_bytes, plural


def side_line(name: str, side: Side) -> Aligned:
    """`source  old.pt  torch, 14 tensors, 1.2 KiB`."""
    unreadable = f" ({side.unreadable:,} unreadable)" if side.unreadable else ""
    number = plural(side.tensors, "tensor") + unreadable
    facts = [side.format, number, human_bytes(side.nbytes)]
    facts += [] if side.has_values else ["shapes only"]
    facts += [f"opened `{safe(side.root)}`"] if side.root else []
    return Aligned((safe(name), safe(side.path)), ", ".join(facts))


def outside_block(sides: Sequence[Side], words: str, view: View) -> list[str]:
    """The tensors that stand outside of the roots, under a title that says what becomes of them."""
    outside = [one for side in sides for one in side.outside]
    if not outside:
        return []
    tally = Tally(sum(one.tensors for one in outside), sum(one.nbytes for one in outside))
    return [
        title_line(words, tally, view),
        *view.table(outside_lines(sides), lambda line: line, view.limits.section),
    ]


def outside_lines(sides: Sequence[Side]) -> list[Aligned]:
    """A line for each dict of tensors that stands outside of the roots."""
    outside = [(side.alias, one) for side in sides for one in side.outside]
    return [Aligned((safe(full_key(alias, one.key)), str(one))) for alias, one in outside]


def title_line(text: str, tally: Tally | str, view: View, more: str = "") -> str:
    """The title of a section, with how much it is of."""
    told = f"{tally}: {more}" if more else str(tally)
    return f"{view.palette.bold(text)}  {view.palette.dim(told)}"
