"""The page of a report: the verdict, what goes in and comes out, what is wrong, every tensor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ckptsurgeon.cutting import cut, list_some
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.render.columns import Palette
from ckptsurgeon.render.findings import (
    ADVICE,
    CHECKED,
    asks_to_check,
    cut_rule,
    show_found_line,
    suggested_lines,
)
from ckptsurgeon.render.html.bars import Bar, draw_bar
from ckptsurgeon.render.html.blocks import Drawings
from ckptsurgeon.render.html.layout import Head, render_page
from ckptsurgeon.render.html.plan_rows import plan_trees
from ckptsurgeon.render.html.rows import Choice, Row, Tree, options_of
from ckptsurgeon.render.html.rule_files import RuleLinks
from ckptsurgeon.render.html.strands import OUT, FoldedFound, fold_findings
from ckptsurgeon.render.html.tables import Listed, make_table
from ckptsurgeon.render.sections import (
    OUTSIDE,
    TITLES,
    show_tie,
    source_lines,
    target_lines,
    tell_coverage,
    tell_ties,
)
from ckptsurgeon.render.sides import outside_lines
from ckptsurgeon.render.terminal import safe, safe_sentence
from ckptsurgeon.render.text import note_lines
from ckptsurgeon.render.view import Limits, View
from ckptsurgeon.report.report import Report
from ckptsurgeon.visible import visible
from ckptsurgeon.wording import tell_suggest

MOST_LINES = 100
"""Lines of a table, and of rules that are suggested."""

MOST_NAMED = 2
"""Sources that the title of a page names."""

VIEW = View(0, Palette(color=False), verbose=False, limits=Limits(*[MOST_LINES] * 4))


@dataclass(frozen=True, slots=True)
class Advised:
    """What would settle the findings, as lines of a rule file; `left_out` are not shown."""

    title: str
    told: str
    lines: tuple[str, ...]
    left_out: int
    more: str


def render_report(report: Report) -> str:
    """The page of a report, complete but where that would be more than a browser opens at once."""
    links, drawings, findings = RuleLinks(report), Drawings(), fold_findings(report)
    trees = plan_trees(report, findings, links, drawings)
    rows = [row for tree in trees for row in tree.root.rows]
    first_rows = _first_rows(rows)
    return render_page(
        "plan.html.j2",
        _head(report),
        sides=make_table([*source_lines(report), *target_lines(report)], MOST_LINES),
        bars=_bars(report, trees),
        titles={status.value: title for status, title in TITLES.items()},
        found=list(map(_list_found, findings)),
        advised=_advise(report),
        trees=trees,
        files=links.files(),
        first_rows=first_rows,
        choices=[
            Choice("fate", options_of(row.fate for row in rows)),
            Choice("rule", links.named(first_rows)),
            Choice("dtype", options_of(sorted({dtype for row in rows for dtype in row.dtypes}))),
        ],
        drawings=drawings.all,
        lists=_lists(report),
    )


def _head(report: Report) -> Head:
    mood = "bad" if report.open_findings else ("good" if report.clean else "allowed")
    sources = list_some((safe(side.path) for side in report.sources), MOST_NAMED)
    into = f" → {safe(report.destination.path)}" if report.destination else ""
    kind = "plan" if report.done == "would be written" else "transplant"
    return Head(kind, sources + into, visible(report.bottom_line), mood, tell_coverage(report))


def _bars(report: Report, trees: Iterable[Tree]) -> list[Bar]:
    """What comes out, or should, by how it comes about; what becomes of the sources' tensors."""
    fates = [(fate.value, report.fate_counts[fate]) for fate in Fate]
    out = [draw_bar(tree.title, tree.whole) for tree in trees if tree.name == OUT]
    return [bar for bar in (*out, draw_bar("of the source", fates)) if bar is not None]


# --- what is wrong --------------------------------------------------------------------------------


def _list_found(folded: FoldedFound) -> Listed:
    found, lines = folded.found, list(map(show_found_line, folded.lines))
    table, mood = make_table(lines, MOST_LINES), "allowed" if found.allowed else "open"
    return Listed(found.title, visible(found.meaning), table, mood, tuple(found.remedies))


def _advise(report: Report) -> Advised | None:
    """What the text says would settle the findings, as what can be pasted."""
    advice = report.advice
    if not advice:
        return None
    lines: list[str] = []
    for remark in advice.remarks:
        lines += [f"# {safe_sentence(remark.sentence)}", *map(cut_rule, remark.lines)]
    if advice.too_much:
        lines.append(f"# {tell_suggest()}")
    if advice.suggestion is not None:
        lines += map(cut_rule, suggested_lines(report, advice.suggestion))
    shown, left_out = cut(lines, MOST_LINES)
    checked = CHECKED if asks_to_check(advice) else ""
    return Advised(ADVICE, checked, tuple(map(visible, shown)), left_out, tell_suggest())


# --- everything else ------------------------------------------------------------------------------


def _lists(report: Report) -> list[Listed]:
    """The notes, what is tied, and what stands outside of the root."""
    lists = []
    if notes := note_lines(report, VIEW):
        lists.append(Listed("notes", "", make_table(notes, MOST_LINES)))
    if ties := tell_ties(report):
        lines = list(map(show_tie, VIEW.folded(ties.lots)))
        lists.append(Listed(ties.title, ties.told, make_table(lines, MOST_LINES)))
    if outside := outside_lines(report.sources):
        table = make_table(outside, MOST_LINES)
        lists.append(Listed(OUTSIDE, str(report.coverage.outside), table))
    return lists


def _first_rows(rows: Iterable[Row]) -> dict[int, int]:
    """For each place of rules, the number of the first row behind it."""
    found: dict[int, int] = {}
    for row in rows:
        if row.rule is not None and row.rule.number is not None:
            found.setdefault(row.rule.number, row.number)
    return found
