"""The checkpoints of a report, each on a line, and what stands outside of their roots."""

from __future__ import annotations

from collections.abc import Sequence

from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.render.columns import Aligned
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import View
from ckptsurgeon.report.sides import Side, Tally, add_tallies
from ckptsurgeon.specs import human_bytes, plural


def side_line(name: str, side: Side) -> Aligned:
    """`source  old.pt  torch, 14 tensors, 1.2 KiB`."""
    unreadable = f" ({side.unreadable:,} unreadable)" if side.unreadable else ""
    number = plural(side.tensors, "tensor") + unreadable
    facts = [side.format, number, human_bytes(side.nbytes)]
    facts += [] if side.has_values else ["shapes only"]
    facts += [f"opened `{safe(side.root)}`"] if side.root else []
    return Aligned((safe(name), safe(side.path)), ", ".join(facts))


def tell_outside(sides: Sequence[Side], words: str, view: View) -> Section | None:
    """The tensors that stand outside of the roots, under a title that says what becomes of them."""
    outside = [(side.alias, one) for side in sides for one in side.outside]
    if not outside:
        return None
    tally = add_tallies(Tally(one.tensors, one.nbytes) for _, one in outside)
    lines = [Aligned((safe(full_key(alias, one.key)), str(one))) for alias, one in outside]
    return Section(words, str(tally), lines, limit=view.limits.section, heads=("key", "holds", ""))
