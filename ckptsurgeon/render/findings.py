"""What is wrong with a plan, folded, and what can be pasted into the rule file to settle it."""

from __future__ import annotations

from collections.abc import Sequence

from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.render.columns import Aligned
from ckptsurgeon.render.lines import Entry, Line
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import INDENT, MORE, View, place_text
from ckptsurgeon.report.report import Report

MEANINGS = {
    FindingKind.MISSING: "nothing gives these keys of the destination",
    FindingKind.UNEXPECTED: "the destination has no such keys",
    FindingKind.UNUSED: "nothing takes these keys of the source",
    FindingKind.MISMATCHED: "the destination wants other shapes",
}


def show_findings(report: Report, kind: FindingKind, view: View) -> list[str]:
    """The findings of a kind: first those that are allowed, then those that are not."""
    blocks = []
    for allowed in (True, False):
        found = [f for f in report.findings if f.kind is kind and f.allowed is allowed]
        blocks += _finding_section(kind, found, allowed, view) if found else []
    return blocks


def _finding_section(
    kind: FindingKind, found: Sequence[Finding], allowed: bool, view: View
) -> list[str]:
    word = f"{kind.value} (allowed)" if allowed else kind.value
    paint = view.palette.bold if allowed else view.palette.bad
    title = f"{paint(f'{len(found):,} {word}')}  {view.palette.dim(MEANINGS[kind])}"
    return [title, *view.told([_finding_entry(f) for f in found], _finding, view.limits.finding)]


def _finding_entry(finding: Finding) -> Entry:
    key = f"{finding.source}::{finding.key}" if finding.source else finding.key
    both = finding.kind is FindingKind.MISMATCHED
    return Entry(
        key=key,
        after=finding.wanted or finding.found,
        before=finding.found if both else None,
        label=(place_text(finding.rule),),
    )


def _finding(line: Line) -> Aligned:
    specs = f"found {line.before}, wanted {line.after}" if line.before else line.after
    tail = specs if line.before or not line.names else ""
    return Aligned((safe(str(line.box)), *map(safe, line.label)), tail, line.names)


def show_suggestions(report: Report, view: View) -> list[str]:
    """The suggestions; their texts are safe already, for they are quoted for YAML."""
    if not report.suggestions:
        return []
    lines: list[str] = []
    told = 0
    for suggestion in report.suggestions:
        texts = suggestion.text.splitlines()
        if lines and len(lines) + 1 + len(texts) > view.limits.suggestion:
            break
        lines.append(f"{INDENT}# {suggestion.sentence}")
        lines += (INDENT + view.palette.hint(text) for text in texts)
        told += 1
    left_out = len(report.suggestions) - told
    if left_out:
        lines.append(view.palette.dim(f"{INDENT}... {left_out:,} more ({MORE})"))
    return [view.palette.bold("to settle this, in the rule file"), *lines]
