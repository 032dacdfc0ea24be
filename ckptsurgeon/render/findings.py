"""What is wrong with a plan, folded, and what can be pasted into the rule file to settle it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.cutting import cut, cut_middle
from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.render.columns import Aligned
from ckptsurgeon.render.lines import Entry, Line, Lot, gather_lots
from ckptsurgeon.render.terminal import safe, safe_sentence
from ckptsurgeon.render.view import INDENT, View, place_text
from ckptsurgeon.report.advice import Advice
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


LONGEST_LINE = 1000
"""Characters of a line that is shown whole; nobody pastes a longer one from a screen."""


@dataclass(frozen=True, slots=True)
class Found:
    """The findings of a kind that are all allowed, or all not; never none."""

    kind: FindingKind
    allowed: bool
    findings: Sequence[Finding]

    @property
    def title(self) -> str:
        """`2 missing`, `1 unused (allowed)`; of what is of no key the kind alone."""
        word = f"{self.kind.value} (allowed)" if self.allowed else self.kind.value
        return word if self.kind is FindingKind.NOTHING else f"{len(self.findings):,} {word}"

    @property
    def meaning(self) -> str:
        """What it means that there are such findings."""
        if self.kind is FindingKind.NOTHING:
            return tell_nothing(self.findings)
        if self.kind is FindingKind.UNREADABLE:
            return _meaning_unreadable(self.findings, self.allowed)
        return MEANINGS[self.kind]

    @property
    def lots(self) -> Iterable[Lot]:
        """The keys; none where the finding is of none."""
        keyed = () if self.kind is FindingKind.NOTHING else self.findings
        return gather_lots(map(_entry, keyed))

    @property
    def remedies(self) -> list[str]:
        """What makes readable tensors of those that are not, each thing once; safe to show."""
        told: dict[str, str] = {}
        for finding in self.findings:
            spec = finding.found or finding.wanted
            if isinstance(spec, UnreadableSpec):
                told.setdefault(spec.remedy, spec.what)
        if len(told) == 1:
            told = dict.fromkeys(told, "them")
        return [f"to read {safe(what)}, {safe(remedy)}" for remedy, what in told.items()]


def sort_findings(report: Report) -> list[Found]:
    """The findings of a report by kind: first those that are allowed, then the others."""
    found: dict[tuple[int, bool], list[Finding]] = {}
    for finding in report.findings:
        found.setdefault((id(finding.kind), finding.allowed), []).append(finding)
    return [
        Found(kind, allowed, found[id(kind), allowed])
        for kind in FindingKind
        for allowed in (True, False)
        if (id(kind), allowed) in found
    ]


def show_findings(report: Report, view: View) -> list[list[str]]:
    """A block for the findings of each kind."""
    blocks: dict[FindingKind, list[str]] = {}
    for found in sort_findings(report):
        blocks.setdefault(found.kind, []).extend(_show_found(found, view))
    return list(blocks.values())


def _show_found(found: Found, view: View) -> list[str]:
    paint = view.palette.bold if found.allowed else view.palette.bad
    title = f"{paint(found.title)}  {view.palette.dim(found.meaning)}"
    lines = view.fold(found.lots, show_found_line, view.limits.finding)
    return [title, *lines, *(INDENT + view.palette.hint(one) for one in found.remedies)]


def _meaning_unreadable(findings: Sequence[Finding], allowed: bool) -> str:
    """What it means that these can't be read, and what settles it."""
    of_destination = all(finding.source == DESTINATION for finding in findings)
    if allowed:
        they = "the output lacks these keys" if of_destination else "they go nowhere"
        return f"their values can't be read: {they}"
    if of_destination:
        return "the destination's can't be read: give them values, or allow the output to lack them"
    return MEANINGS[FindingKind.UNREADABLE]


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


def show_found_line(line: Line) -> Aligned:
    """A line of keys that findings are of."""
    specs = f"found {line.before}, wanted {line.after}" if line.before else line.after
    tail = specs if line.before or not line.names else ""
    return Aligned((safe(str(line.box)), *map(safe, line.label)), tail, line.names)


def show_advice(report: Report, view: View) -> list[str]:
    """What would settle the findings: remarks on the rules given, and rules for what these leave.

    Lines of rules are safe already, for they are quoted for YAML.
    """
    advice = report.advice
    if not advice:
        return []
    lines = [line for remark in advice.remarks for line in _remark_lines(remark, view)]
    if advice.too_much:
        lines.append(f"{INDENT}# {tell_suggest()}")
    if advice.suggestion is not None:
        lines += _rule_lines(report, advice.suggestion, view)
    return [_title(report, view), *lines]


def _remark_lines(remark: Remark, view: View) -> list[str]:
    shown = [f"{INDENT}# {safe_sentence(remark.sentence)}"]
    return [*shown, *(INDENT + view.palette.hint(cut_rule(line)) for line in remark.lines)]


def _rule_lines(report: Report, suggestion: Suggestion, view: View) -> list[str]:
    shown, left_out = cut(suggested_lines(report, suggestion), view.limits.suggestion)
    lines = [view.palette.hint(cut_rule(line)) for line in shown]
    if left_out:
        rest = tell_more() if report.rules else tell_suggest()
        lines.append(view.palette.dim(f"{INDENT}# ... {left_out:,} more lines ({rest})"))
    return lines


def suggested_lines(report: Report, suggestion: Suggestion) -> list[str]:
    """The lines of a suggested file that can be pasted into another: what that lacks of them."""
    there = ["format:", "rules: []"]
    there += ["rules:"] if report.rules else []
    there += [] if report.advice.copies else ["unmatched:"]
    return [line for line in suggestion.text().splitlines() if not line.startswith(tuple(there))]


def cut_rule(line: str) -> str:
    """A line as it can be pasted; a comment of one that nobody would."""
    if len(line) <= LONGEST_LINE:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}# {cut_middle(line.strip(), LONGEST_LINE, LONGEST_LINE // 2, str)}"


def _title(report: Report, view: View) -> str:
    """What the lines are for, and that those that begin with # aren't rules."""
    title = view.palette.bold(ADVICE)
    return f"{title}  {view.palette.dim(CHECKED)}" if asks_to_check(report.advice) else title


def asks_to_check(advice: Advice) -> bool:
    """Whether there are lines that are no rules yet, or that something speaks against."""
    suggestion = advice.suggestion
    return suggestion is not None and bool(
        suggestion.likely or suggestion.open or suggestion.unused
    )
