"""Reports and errors as commands of GitHub Actions, each an annotation of a line of a rule file.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions; the escapes are
those of actions/toolkit (packages/core/src/command.ts).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ckptsurgeon.errors import CkptSurgeonError, Place, Problem, ProblemsError
from ckptsurgeon.language.places import is_file
from ckptsurgeon.plans.account import Finding
from ckptsurgeon.plans.graph import RuleInfo
from ckptsurgeon.render.accounting import group_notes, show_notes
from ckptsurgeon.render.columns import Palette
from ckptsurgeon.render.findings import ADVICE, tell_advice, tell_alike
from ckptsurgeon.render.problems import shorten_text
from ckptsurgeon.render.terminal import safe_sentence
from ckptsurgeon.render.view import UNSETTLED, View
from ckptsurgeon.report.report import Report
from ckptsurgeon.specs import plural
from ckptsurgeon.visible import visible
from ckptsurgeon.wording import name_all

MOST = 10
"""Annotations of one level: GitHub shows no more of a step."""

LEVELS = ("error", "warning", "notice")

TITLE = "ckptsurgeon"

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Annotation:
    """A message of one of the `LEVELS` at a place; without one it is of the whole run."""

    level: str
    title: str
    message: str
    place: Place | None = None


def annotate_report(report: Report, folder: str = "") -> str:
    """The findings of a report, what settles them, and its notes as commands, then its last line.

    Names of files are relative to `folder`, and are told relative to what that is relative to.
    """
    view = View(WIDTH, Palette(color=False), verbose=False, limits=UNSETTLED)
    found = [*_findings(report, view), *_advice(report, view), *_notes(report, view)]
    return write_annotations(found, report.bottom_line, folder)


def annotate_error(error: CkptSurgeonError, folder: str = "") -> str:
    """The problems of an error as commands, then their number."""
    problems = error.problems if isinstance(error, ProblemsError) else (Problem(str(error)),)
    return write_annotations(map(_problem, problems), plural(len(problems), "problem"), folder)


def write_annotations(annotations: Iterable[Annotation], last: str, folder: str = "") -> str:
    """The commands, of each level as many as GitHub shows, and a line that is none."""
    found = list(annotations)
    lines = [
        _command(one, folder)
        for level in LEVELS
        for one in _first([one for one in found if one.level == level])
    ]
    return "\n".join((*lines, safe_sentence(last))) + "\n"


def _first(annotations: Sequence[Annotation]) -> Iterator[Annotation]:
    """As many as are shown, of which the last one counts those that are not."""
    if len(annotations) <= MOST:
        yield from annotations
        return
    yield from annotations[: MOST - 1]
    left = len(annotations) - MOST + 1
    text = f"... and {left:,} more: `{name_all()}` has all"
    yield Annotation(annotations[0].level, TITLE, text)


# --- what is told ---------------------------------------------------------------------------------


def _findings(report: Report, view: View) -> Iterator[Annotation]:
    """An annotation for the findings of a kind and a rule, at the rule."""
    groups: dict[object, list[Finding]] = {}
    for one in report.findings:
        rule = one.rule and (one.rule.stage, one.rule.number)
        groups.setdefault((id(one.kind), one.allowed, rule), []).append(one)
    for findings in groups.values():
        section = tell_alike(findings, view)
        _, *lines = view.show(section)
        message = "\n".join((section.told, *lines))
        level = "error" if section.is_wrong else "warning"
        yield Annotation(level, section.title, message, _place(findings[0].rule, report))


def _place(rule: RuleInfo | None, report: Report) -> Place | None:
    """Where a rule stands; without one, the beginning of the last rule file."""
    if rule is not None:
        return rule.place
    files = [one.place.file for one in report.rules if is_file(one.place.file)]
    return Place(files[-1], 1, 1) if files else None


def _advice(report: Report, view: View) -> Iterator[Annotation]:
    advised = tell_advice(report, view.limits)
    if advised is not None:
        lines = [line for line, _ in advised.lines]
        message = "\n".join((advised.told, *lines)).lstrip("\n")
        yield Annotation("notice", ADVICE, message, _place(None, report))


def _notes(report: Report, view: View) -> Iterator[Annotation]:
    for notes in group_notes(report):
        kind, text, _ = show_notes(notes, view).cells
        rule = notes[0].rule
        yield Annotation("notice", f"note: {kind}", text, rule.place if rule else None)


def _problem(problem: Problem) -> Annotation:
    parts = [shorten_text(problem.message)]
    if problem.place is not None and not is_file(problem.place.file):
        parts = [f"{visible(str(problem.place))}: {parts[0]}"]
    if problem.place is not None and problem.place.via:
        parts.append(f"included at {visible(problem.place.via)}")
    if problem.help:
        parts.append(f"help: {shorten_text(problem.help)}")
    return Annotation("error", TITLE, "\n".join(parts), problem.place)


# --- as commands ----------------------------------------------------------------------------------


def _command(one: Annotation, folder: str) -> str:
    """`::error file=rules.yaml,line=4,col=5,title=3 missing::message`."""
    properties = {**_properties(one.place, folder), "title": visible(one.title)}
    told = ",".join(f"{name}={_escape_property(text)}" for name, text in properties.items())
    message = "\n".join(map(visible, one.message.split("\n")))
    return f"::{one.level} {told}::{_escape_data(message)}"


def _properties(place: Place | None, folder: str) -> dict[str, str]:
    """The properties that say where: none of what stands in no file."""
    if place is None or not is_file(place.file):
        return {}
    file = posixpath.normpath(posixpath.join(folder, place.file))
    numbers = {"line": place.line, "col": place.column}
    return {"file": visible(file), **{name: str(at) for name, at in numbers.items() if at > 0}}


def _escape_data(text: str) -> str:
    """A message, in which a line break is no end of the command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    """A property, in which neither a colon nor a comma ends it."""
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
