"""The page of a report: the verdict, what goes in and comes out, what is wrong, every tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ckptsurgeon.cutting import list_some
from ckptsurgeon.render.accounting import (
    OUTSIDE,
    TITLES,
    list_sources,
    list_targets,
    share_sources,
    tell_coverage,
    tell_notes,
    tell_ties,
)
from ckptsurgeon.render.columns import Palette
from ckptsurgeon.render.findings import ADVICE, tell_advice
from ckptsurgeon.render.html.bars import Bar, draw_bar
from ckptsurgeon.render.html.blocks import Drawings
from ckptsurgeon.render.html.layout import Head, render_page
from ckptsurgeon.render.html.plan_rows import grow_trees
from ckptsurgeon.render.html.rows import Choice, Row, Tree, list_options
from ckptsurgeon.render.html.rule_files import RuleLinks
from ckptsurgeon.render.html.strands import OUT, find_found
from ckptsurgeon.render.html.tables import Listed, list_section, make_table
from ckptsurgeon.render.sides import tell_outside
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import Limits, View
from ckptsurgeon.report.report import Done, Report
from ckptsurgeon.visible import visible

MOST_LINES = 100
"""Lines of a table, and of rules that are suggested."""

MOST_NAMED = 2
"""Sources that the title of a page names."""

VIEW = View(0, Palette(color=False), verbose=False, limits=Limits(*[MOST_LINES] * 4))


def render_report(report: Report) -> str:
    """The page of a report, complete but where that would be more than a browser opens at once."""
    links, drawings, findings = RuleLinks(report), Drawings(), find_found(report, VIEW)
    trees = grow_trees(report, findings, links, drawings)
    rows = [row for tree in trees for row in tree.root.rows]
    first_rows = _first_rows(rows)
    return render_page(
        "plan.html.j2",
        _head(report),
        sides=make_table([*list_sources(report), *list_targets(report)], MOST_LINES),
        bars=_bars(report, trees),
        titles={status.value: title for status, title in TITLES.items()},
        found=[list_section(one.section, MOST_LINES) for one in findings],
        advice=ADVICE,
        advised=tell_advice(report, VIEW.limits),
        trees=trees,
        files=links.files(),
        first_rows=first_rows,
        choices=[
            Choice("fate", list_options(row.fate for row in rows)),
            Choice("rule", links.named(first_rows)),
            Choice("dtype", list_options(sorted({dtype for row in rows for dtype in row.dtypes}))),
        ],
        drawings=drawings.all,
        lists=_lists(report),
    )


COMMANDS: Mapping[Done, str] = {
    "would be written": "plan",
    "written": "transplant",
    "made": "apply",
}
"""What a page is of, by what was done with the output."""


def _head(report: Report) -> Head:
    mood = "bad" if report.open_findings else ("good" if report.clean else "allowed")
    sources = list_some((safe(side.path) for side in report.sources), MOST_NAMED)
    into = f" → {safe(report.destination.path)}" if report.destination else ""
    return Head(
        COMMANDS[report.done],
        sources + into,
        visible(report.bottom_line),
        mood,
        tell_coverage(report),
    )


def _bars(report: Report, trees: Iterable[Tree]) -> list[Bar]:
    """What comes out, or should, by how it comes about; what becomes of the sources' tensors."""
    out = [draw_bar(tree.title, tree.whole) for tree in trees if tree.name == OUT]
    return [
        bar for bar in (*out, draw_bar("of the source", share_sources(report))) if bar is not None
    ]


def _lists(report: Report) -> list[Listed]:
    """The notes, what is tied, and what stands outside of the root."""
    ties = tell_ties(report, VIEW)
    told = (tell_notes(report, VIEW), ties, tell_outside(report.sources, OUTSIDE, VIEW))
    return [list_section(one, MOST_LINES) for one in told if one is not None]


def _first_rows(rows: Iterable[Row]) -> dict[int, int]:
    """For each place of rules, the number of the first row behind it."""
    found: dict[int, int] = {}
    for row in rows:
        if row.rule is not None and row.rule.number is not None:
            found.setdefault(row.rule.number, row.number)
    return found
