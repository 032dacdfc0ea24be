"""The page of a verification: the verdict, how far outputs lie apart, and what is wrong."""

from __future__ import annotations

import math
from typing import NamedTuple

from ckptsurgeon.proof.results import Comparison, Delta, Verification
from ckptsurgeon.render.html.layout import Head, render_page
from ckptsurgeon.render.html.tables import Table, list_section, make_table
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.verification import list_facts, list_outputs, list_sides, tell_findings
from ckptsurgeon.visible import visible

MOST_LINES = 200

LEAST, MOST = 1e-9, 1.0
"""The relative errors that the scale begins and ends with."""


class Mark(NamedTuple):
    """How far an output lies from the reference's, on a scale from 0 to 1000."""

    name: str
    at: float
    is_within: bool


class Compared(NamedTuple):
    """What was compared, how far each output is off, and where the tolerance lies on the scale."""

    facts: Table
    deltas: Table
    marks: list[Mark]
    tolerance: float


def render_verified(found: Verification) -> str:
    """The page of a verification."""
    mood = "bad" if found.open_findings else ("good" if found.clean else "allowed")
    return render_page(
        "verification.html.j2",
        Head("verify", safe(found.checkpoint), visible(found.bottom_line), mood),
        facts=make_table(list(list_sides(found)), MOST_LINES),
        compared=None if found.comparison is None else _compare(found.comparison),
        found=[list_section(one, MOST_LINES) for one in tell_findings(found, verbose=False)],
    )


def _compare(comparison: Comparison) -> Compared:
    marks = [_mark(delta) for delta in comparison.deltas[:MOST_LINES]]
    return Compared(
        make_table(list_facts(comparison), MOST_LINES),
        make_table(list_outputs(comparison), MOST_LINES),
        marks,
        _place(comparison.tolerance),
    )


def _mark(delta: Delta) -> Mark:
    return Mark(safe(delta.name), _place(delta.relative), delta.within)


def _place(error: float) -> float:
    """Where a relative error lies on the scale, which is one of decades."""
    if not math.isfinite(error):
        return 1000.0
    decades = math.log10(MOST / LEAST)
    return round(1000 * math.log10(min(max(error, LEAST), MOST) / LEAST) / decades, 1)
