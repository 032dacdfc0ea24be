"""A report as text for a person in a hurry: what is given first, what is wrong and to do last."""

from __future__ import annotations

from ckptsurgeon.cutting import cut
from ckptsurgeon.render.accounting import (
    OUTSIDE,
    list_sources,
    list_targets,
    tell_coverage,
    tell_notes,
    tell_outputs,
)
from ckptsurgeon.render.columns import Palette
from ckptsurgeon.render.findings import show_advice, tell_advice, tell_findings
from ckptsurgeon.render.pictures import draw_report
from ckptsurgeon.render.sides import tell_outside
from ckptsurgeon.render.view import CLEAN, EVERYTHING, UNSETTLED, View
from ckptsurgeon.report.report import Report
from ckptsurgeon.wording import tell_more


def render_text(report: Report, *, width: int, color: bool, verbose: bool = False) -> str:
    """The report as text that ends in a newline, `color` with ANSI colours."""
    body = render_body(report, width=width, color=color, verbose=verbose)
    return body + render_bottom(report, color=color)


def render_body(
    report: Report, *, width: int, color: bool, verbose: bool = False, pictures: bool = False
) -> str:
    """The report without its last lines.

    Repeated layers fold into ranges and long lists are cut, with a count of what is left out;
    `verbose` gives every key its own line. `pictures` has bars, in colour and if it is folded.
    What comes from files is escaped (`terminal.safe`), so the text can be printed as it is.
    """
    limits = EVERYTHING if verbose else (UNSETTLED if report.open_findings else CLEAN)
    view = View(width, Palette(color), verbose, limits, pictures and color and not verbose)
    return view.page(
        _header(report, view),
        draw_report(report, view),
        view.show(tell_outside(report.sources, OUTSIDE, view)),
        *map(view.show, tell_outputs(report, view)),
        view.show(tell_notes(report, view)),
        *map(view.show, tell_findings(report, view)),
        show_advice(tell_advice(report, view.limits), view),
    )


def render_bottom(report: Report, *, color: bool) -> str:
    """The last lines of a report: how much of the source is used, and the one sentence to read."""
    palette = Palette(color)
    paint = palette.good if report.clean else palette.hint
    paint = palette.bad if report.open_findings else paint
    used = tell_coverage(report)
    return f"\n{palette.dim(used)}\n{paint(report.bottom_line)}\n"


def _header(report: Report, view: View) -> list[str]:
    first, left_out = cut(list_sources(report), view.limits.section)
    shown = view.align([*first, *list_targets(report)], "")
    more = [view.palette.dim(f"... {left_out:,} more sources ({tell_more()})")] if left_out else []
    return [*shown[: len(first)], *more, *shown[len(first) :]]
