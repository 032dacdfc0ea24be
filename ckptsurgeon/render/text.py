"""A report as text for a person in a hurry: what is given first, what is wrong and to do last."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ckptsurgeon.cutting import cut
from ckptsurgeon.keys import fold_keys
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.render.columns import Aligned, Palette
from ckptsurgeon.render.findings import show_advice, show_findings
from ckptsurgeon.render.lines import Line
from ckptsurgeon.render.sections import (
    OUTSIDE,
    Section,
    show_line,
    show_tie,
    source_lines,
    target_lines,
    tell_coverage,
    tell_dropped,
    tell_status,
    tell_ties,
    told_notes,
)
from ckptsurgeon.render.sides import outside_block, title_line
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import CLEAN, EVERYTHING, UNSETTLED, View, join_texts
from ckptsurgeon.report.report import Report
from ckptsurgeon.wording import tell_more


def render_text(report: Report, *, width: int, color: bool, verbose: bool = False) -> str:
    """The report as text that ends in a newline, `color` with ANSI colours."""
    body = render_body(report, width=width, color=color, verbose=verbose)
    return body + render_bottom(report, color=color)


def render_body(report: Report, *, width: int, color: bool, verbose: bool = False) -> str:
    """The report without its last lines.

    Repeated layers fold into ranges and long lists are cut, with a count of what is left out;
    `verbose` gives every key its own line. What comes from files is escaped (`terminal.safe`), so
    the text can be printed as it is.
    """
    limits = EVERYTHING if verbose else (UNSETTLED if report.open_findings else CLEAN)
    view = View(width, Palette(color), verbose, limits)
    sections = (tell_status(report, one, each_entry=verbose) for one in Status if report.kinds[one])
    return view.page(
        _header(report, view),
        outside_block(report.sources, OUTSIDE, view),
        *(_section(section, show_line, view) for section in sections),
        _section(tell_dropped(report), show_line, view),
        _section(tell_ties(report), show_tie, view),
        _notes(report, view),
        *show_findings(report, view),
        show_advice(report, view),
    )


def render_bottom(report: Report, *, color: bool) -> str:
    """The last lines of a report: how much of the source is used, and the one sentence to read."""
    palette = Palette(color)
    paint = palette.good if report.clean else palette.hint
    paint = palette.bad if report.open_findings else paint
    return f"\n{palette.dim(tell_coverage(report))}\n{paint(report.bottom_line)}\n"


def _header(report: Report, view: View) -> list[str]:
    first, left_out = cut(source_lines(report), view.limits.section)
    shown = view.align([*first, *target_lines(report)], "")
    more = [view.palette.dim(f"... {left_out:,} more sources ({tell_more()})")] if left_out else []
    return [*shown[: len(first)], *more, *shown[len(first) :]]


def _section(section: Section | None, show: Callable[[Line], Aligned], view: View) -> list[str]:
    if section is None:
        return []
    title = title_line(section.title, section.told, view)
    return [title, *view.fold(section.lots, show, view.limits.section)]


def _notes(report: Report, view: View) -> list[str]:
    lines = note_lines(report, view)
    return [view.palette.bold("notes"), *view.align(lines)] if lines else []


def note_lines(report: Report, view: View) -> list[Aligned]:
    """A line for what notes of one kind say alike, as many of each kind as the view shows."""
    lines: list[Aligned] = []
    for kind, texts in told_notes(report).items():
        shown, left_out = cut(list(texts.items()), view.limits.note)
        lines += (_note(kind, *text, found, view) for text, found in shown)
        if left_out:
            lines.append(Aligned(("", f"... {left_out:,} more notes ({tell_more()})", "")))
    return lines


def _note(kind: str, text: str, place: str, notes: Sequence[Note], view: View) -> Aligned:
    keys = list(dict.fromkeys(note.key for note in notes if note.key))
    count = len(keys) or len(notes)
    number = f" ({count:,})" if count > 1 else ""
    shown = keys if view.verbose else list(map(str, fold_keys(keys)))
    where = f": {join_texts(shown, len(shown) if view.verbose else 2)}" if keys else ""
    return Aligned((f"{safe(kind)}{number}", safe(text) + where, safe(place)))
