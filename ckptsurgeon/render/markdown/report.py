"""A report as markdown: the verdict, what is wrong and what settles it, then what is given."""

from __future__ import annotations

from collections.abc import Iterator

from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.render.accounting import (
    OUTSIDE,
    TITLES,
    list_sources,
    list_targets,
    share_sources,
    tell_coverage,
    tell_notes,
    tell_outputs,
)
from ckptsurgeon.render.columns import Palette
from ckptsurgeon.render.findings import ADVICE, Advised, tell_advice, tell_findings
from ckptsurgeon.render.markdown.blocks import Block, Rank, write_page
from ckptsurgeon.render.markdown.escaping import prose
from ckptsurgeon.render.markdown.tables import (
    FOLDED,
    SIDE_HEADS,
    WIDTH,
    fence,
    fold_section,
    tabulate,
    verdict,
)
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.sides import tell_outside
from ckptsurgeon.render.view import EVERYTHING, View
from ckptsurgeon.report.report import Report
from ckptsurgeon.specs import human_bytes


def render_report(report: Report, *, verbose: bool = False) -> str:
    """The report as markdown that ends in a newline, safe to post, at most 65,000 bytes long.

    `verbose` gives every key its own row, as long as there is room.
    """
    view = View(WIDTH, Palette(color=False), verbose, EVERYTHING if verbose else FOLDED)
    return write_page(list(_blocks(report, view)))


def _blocks(report: Report, view: View) -> Iterator[Block]:
    yield verdict(report.bottom_line, report.exit_code)
    findings = list(tell_findings(report, view))
    yield from _folded((one for one in findings if one.is_wrong), Rank.WRONG)
    yield from _advice(tell_advice(report, view.limits))
    yield Block(Rank.FRAME, prose(tell_coverage(report)))
    yield _counts(report)
    yield _sides(report)
    yield from _folded((one for one in findings if not one.is_wrong), Rank.ALLOWED)
    notes = tell_outside(report.sources, OUTSIDE, view), tell_notes(report, view)
    yield from _folded((one for one in notes if one), Rank.NOTES)
    yield from _folded(tell_outputs(report, view), Rank.CLEAN)


def _folded(sections: Iterator[Section], rank: Rank) -> Iterator[Block]:
    for section in sections:
        yield from fold_section(section, rank)


def _advice(advised: Advised | None) -> Iterator[Block]:
    """The lines for the rule file in a block, which GitHub gives a button to copy it."""
    if advised is not None:
        told = f" ({advised.told})" if advised.told else ""
        lines = [line for line, _ in advised.lines]
        yield fence(Rank.ADVICE, f"**{ADVICE}**{told}", "yaml", lines, "  # ")


def _counts(report: Report) -> Block:
    """How many tensors have which fate, in the output and in the sources."""
    rows = [
        (TITLES.get(status, status.value), report.counts[status])
        for status in Status
        if report.counts[status].tensors
    ]
    rows.append(("in all", report.total))
    rows += [
        (f"{name}, of the source", tally)
        for name, tally in share_sources(report)
        if tally.tensors or tally.nbytes
    ]
    lines = [
        f"| {name} | {tally.tensors:,} | {human_bytes(tally.nbytes)} |" for name, tally in rows
    ]
    return Block(Rank.FRAME, "| | tensors | size |\n| --- | ---: | ---: |\n" + "\n".join(lines))


def _sides(report: Report) -> Block:
    """Where it comes from, and where it goes."""
    head, *rows = tabulate(SIDE_HEADS, [*list_sources(report), *list_targets(report)])
    return Block(Rank.FRAME, head, rows)
