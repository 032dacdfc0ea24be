"""What is wrong with a plan, folded, and what can be pasted into the rule file to settle it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.cutting import cut, cut_middle
from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.render.columns import Aligned, Palette
from ckptsurgeon.render.lines import Entry, Line, Lot, gather_lots
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.terminal import safe, safe_sentence
from ckptsurgeon.render.view import INDENT, Limits, View, place_text
from ckptsurgeon.report.remarks import Remark
from ckptsurgeon.report.report import Report, tell_nothing
from ckptsurgeon.specs import UnreadableSpec
from ckptsurgeon.suggesting.suggestion import Suggestion
from ckptsurgeon.wording import tell_more, tell_suggest

MEANINGS = {
    FindingKind.MISSING: "nothing gives these keys of the destination",
    FindingKind.UNEXPECTED: "the destination has no such keys",
    FindingKind.UNUSED: "nothing takes these keys of the source",
    FindingKind.MISMATCHED: "the destination wants other shapes",
    FindingKind.UNREADABLE: "their values can't be read: `drop` them, or allow them to be left out",
}

ADVICE = "to settle this, in the rule file"

CHECKED = "look at what says CHECK; what begins with # is no rule yet"

Paint = Callable[[Palette, str], str]

LONGEST_LINE = 1000
"""Characters of a line that is shown whole; nobody pastes a longer one from a screen."""


def tell_findings(report: Report, view: View) -> Iterator[Section]:
    """A section for the findings of each kind."""
    return (tell_alike(findings, view) for findings in sort_findings(report))


def sort_findings(report: Report) -> Iterator[list[Finding]]:
    """The findings of each kind: first those that are allowed, then the others."""
    found: dict[tuple[int, bool], list[Finding]] = {}
    for finding in report.findings:
        found.setdefault((id(finding.kind), finding.allowed), []).append(finding)
    for kind in FindingKind:
        for allowed in (True, False):
            if findings := found.get((id(kind), allowed)):
                yield findings


def tell_alike(findings: Sequence[Finding], view: View) -> Section:
    """Findings of one kind that are all allowed, or all not."""
    kind, allowed = findings[0].kind, findings[0].allowed
    word = f"{kind.value} (allowed)" if allowed else kind.value
    if kind is FindingKind.NOTHING:
        return Section(word, tell_nothing(findings), is_wrong=not allowed)
    return Section(
        title=f"{len(findings):,} {word}",
        told=tell_meaning(findings),
        items=view.unite(list_found(findings)),
        show=_show,
        limit=view.limits.finding,
        heads=("key", "", "rule", "tensors"),
        hints=tuple(_remedies(findings)),
        is_wrong=not allowed,
    )


def list_found(findings: Iterable[Finding]) -> Iterable[Lot]:
    """What is told of the keys that findings are of."""
    return gather_lots(map(_entry, findings))


def tell_meaning(findings: Sequence[Finding]) -> str:
    """What it means that these, of one kind and all allowed or all not, are findings."""
    kind = findings[0].kind
    if kind is FindingKind.UNREADABLE:
        return _meaning_unreadable(findings, findings[0].allowed)
    return MEANINGS[kind]


def _meaning_unreadable(findings: Sequence[Finding], allowed: bool) -> str:
    """What it means that these can't be read, and what settles it."""
    of_destination = all(finding.source == DESTINATION for finding in findings)
    if allowed:
        they = "the output lacks these keys" if of_destination else "they go nowhere"
        return f"their values can't be read: {they}"
    if of_destination:
        return "the destination's can't be read: give them values, or allow the output to lack them"
    return MEANINGS[FindingKind.UNREADABLE]


def _remedies(findings: Sequence[Finding]) -> Iterator[str]:
    """What makes readable tensors of those that are not, each thing once."""
    specs = [finding.found or finding.wanted for finding in findings]
    told: dict[str, str] = {}
    for spec in specs:
        if isinstance(spec, UnreadableSpec):
            told.setdefault(spec.remedy, spec.what)
    if len(told) == 1:
        told = dict.fromkeys(told, "them")
    return (f"to read {safe(what)}, {safe(remedy)}" for remedy, what in told.items())


def _entry(finding: Finding) -> Entry:
    key = full_key(finding.source, finding.key)
    both = finding.kind is FindingKind.MISMATCHED
    spec = finding.wanted or finding.found
    what = spec.what if isinstance(spec, UnreadableSpec) else ""
    return Entry(
        key=key,
        after=spec,
        before=finding.found if both else None,
        label=(what, place_text(finding.rule)),
    )


def _show(line: Line) -> Aligned:
    specs = f"found {line.before}, wanted {line.after}" if line.before else line.after
    tail = specs if line.before or not line.names else ""
    return Aligned((safe(str(line.box)), *map(safe, line.label)), tail, line.names)


class Advised(NamedTuple):
    """Lines for a rule file with their paint, and what is told of them.

    They are safe to show: what they name is quoted for YAML, or escaped.
    """

    told: str
    lines: tuple[tuple[str, Paint], ...]


def tell_advice(report: Report, limits: Limits) -> Advised | None:
    """What would settle the findings: remarks on the rules, and rules for what these leave."""
    advice = report.advice
    if not advice:
        return None
    lines = [line for remark in advice.remarks for line in _remark_lines(remark)]
    if advice.too_much:
        lines.append((f"{INDENT}# {tell_suggest()}", _plain))
    if advice.suggestion is not None:
        lines += _rule_lines(report, advice.suggestion, limits)
    return Advised(_told(advice.suggestion), tuple(lines))


def show_advice(advised: Advised | None, view: View) -> list[str]:
    """The lines, and above them what they are for."""
    if advised is None:
        return []
    told = f"  {view.palette.dim(advised.told)}" if advised.told else ""
    shown = [paint(view.palette, line) for line, paint in advised.lines]
    return [f"{view.palette.bold(ADVICE)}{told}", *shown]


def _plain(palette: Palette, text: str) -> str:
    return text


def _remark_lines(remark: Remark) -> list[tuple[str, Paint]]:
    shown = [(f"{INDENT}# {safe_sentence(remark.sentence)}", _plain)]
    return [*shown, *((INDENT + _cut(line), Palette.hint) for line in remark.lines)]


def _rule_lines(
    report: Report, suggestion: Suggestion, limits: Limits
) -> Iterator[tuple[str, Paint]]:
    """The lines of a suggested file that can be pasted into another: what that lacks of them."""
    there = ["rules: []", *(("format:", "rules:") if report.rules else ())]
    there += [] if report.advice.copies else ["unmatched:"]
    told = [line for line in suggestion.text().splitlines() if not line.startswith(tuple(there))]
    shown, left_out = cut(told, limits.suggestion)
    for line in shown:
        yield _cut(line), Palette.hint
    if left_out:
        rest = tell_more() if report.rules else tell_suggest()
        yield f"{INDENT}# ... {left_out:,} more lines ({rest})", Palette.dim


def _cut(line: str) -> str:
    """A line as it can be pasted; a comment of one that nobody would."""
    if len(line) <= LONGEST_LINE:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}# {cut_middle(line.strip(), LONGEST_LINE, LONGEST_LINE // 2, str)}"


def _told(suggestion: Suggestion | None) -> str:
    """That lines that begin with # aren't rules, where there are such."""
    if suggestion is None or not (suggestion.likely or suggestion.open or suggestion.unused):
        return ""
    return CHECKED
