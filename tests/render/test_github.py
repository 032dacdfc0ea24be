"""Annotations, held against golden files and read as GitHub's runner reads them.

Run this file as a program to write the golden files anew (`PYTHONPATH=tests`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.plans import HOSTILE, PLANS, compared, resnet18
from workflow_commands import read_log

from ckptsurgeon.errors import CheckpointError, Place, Problem, RulesetError
from ckptsurgeon.plans.account import Finding, FindingKind, Note
from ckptsurgeon.plans.graph import RuleInfo
from ckptsurgeon.render.github import (
    LEVELS,
    MOST,
    Annotation,
    annotate_error,
    annotate_report,
    write_annotations,
)
from ckptsurgeon.report.report import make_report
from ckptsurgeon.specs import TensorSpec
from ckptsurgeon.visible import disarm, visible

GOLDEN = Path(__file__).parent / "golden"
SPEC = TensorSpec("F32", (1,))

COMMANDS = (
    "::error::owned",
    "  ::set-output name=x::owned",
    "\t::add-mask::owned",
    "\ufe0f::stop-commands::owned",
    "a ##[add-mask]owned",
    "##[error]owned",
    "%0A::error::owned",
    "\n::error::owned",
    "\r\n::error::owned",
    "x::error file=a,line=1::owned",
)
"""What a stranger would have the runner do."""

TEXTS = st.one_of(st.text("%0AD25,:=#[]\r\n abc\ufe0f"), st.text(), st.sampled_from(COMMANDS))


@pytest.mark.parametrize("name", PLANS)
def test_golden(name: str) -> None:
    told = annotate_report(make_report(PLANS[name]))
    assert told == (GOLDEN / f"{name}.github").read_text()


@given(st.sampled_from(LEVELS), TEXTS, TEXTS, TEXTS, st.integers(-1, 9), st.integers(-1, 9))
def test_an_annotation_is_read_as_it_was_meant(
    level: str, title: str, message: str, file: str, line: int, column: int
) -> None:
    place = Place(f"f/{file}", line, column)
    told = write_annotations([Annotation(level, title, message, place)], "last")
    (command,), (last,) = read_log(told)
    shown = "\n".join(map(visible, message.split("\n")))
    assert (command.name, command.data, last) == (level, shown, "last")
    assert command.properties.get("title", "").strip() == visible(title).strip()
    assert command.properties["file"].startswith("f")
    numbers = {name: command.properties.get(name) for name in ("line", "col")}
    wanted = {"line": line, "col": column}
    assert numbers == {name: str(at) if at > 0 else None for name, at in wanted.items()}


@given(TEXTS)
def test_no_plain_line_is_a_command(text: str) -> None:
    commands, lines = read_log(write_annotations([], text))
    assert commands == []
    assert len(lines) == 1


@pytest.mark.parametrize("text", ["a::b", "alias::key: x", "# note [1]", "#[x]", "# ## x", ":x:"])
def test_what_is_no_command_stays_as_it_is(text: str) -> None:
    assert disarm(text) == text


def test_findings_stand_at_their_rules() -> None:
    rule = RuleInfo(0, 3, "move", "a -> b", Place("sub/rules.yaml", 7, 5), 1)
    source, wanted = TensorSpec("F32", (4,)), TensorSpec("F32", (3,))
    plan = replace(
        compared({}, {"lost": SPEC}),
        rules=(rule,),
        findings=(
            Finding(FindingKind.MISMATCHED, "b", source, wanted, rule=rule),
            Finding(FindingKind.MISSING, "lost", wanted=SPEC),
            Finding(FindingKind.UNUSED, "odd", found=SPEC, allowed=True),
        ),
        notes=(Note("untaken", "half is left", "k", rule), Note("entry", "not written")),
    )
    commands, last = read_log(annotate_report(make_report(plan), "work"))
    told = [
        (one.name, one.properties["title"], one.properties.get("file"), one.properties.get("line"))
        for one in commands
    ]
    assert told == [
        ("error", "1 mismatched", "work/sub/rules.yaml", "7"),
        ("error", "1 missing", "work/sub/rules.yaml", "1"),
        ("warning", "1 unused (allowed)", "work/sub/rules.yaml", "1"),
        ("notice", "to settle this, in the rule file", "work/sub/rules.yaml", "1"),
        ("notice", "note: untaken", "work/sub/rules.yaml", "7"),
        ("notice", "note: entry", None, None),
    ]
    assert commands[0].data.split("\n")[0] == "the destination wants other shapes"
    assert commands[0].data.endswith("found F32[4], wanted F32[3]")
    assert last == [make_report(plan).bottom_line]


def test_more_than_github_shows_are_counted() -> None:
    notes = tuple(Note(f"kind{n}", "text") for n in range(25))
    plan = replace(compared({}, {}), notes=notes)
    commands, _ = read_log(annotate_report(make_report(plan)))
    assert len(commands) == MOST
    assert commands[-1].data == "... and 16 more: `to_dict()` has all"


def test_as_many_as_github_shows_are_all_told() -> None:
    notes = tuple(Note(f"kind{n}", "text") for n in range(MOST))
    commands, _ = read_log(annotate_report(make_report(replace(compared({}, {}), notes=notes))))
    assert [one.properties["title"] for one in commands][-1] == f"note: kind{MOST - 1}"


def test_hostile_keys_are_no_commands() -> None:
    keys = (*HOSTILE, *COMMANDS)
    specs = dict.fromkeys(keys, SPEC)
    for plan in (compared(specs, resnet18()), compared(resnet18(), specs)):
        notes = tuple(Note(key, key, key) for key in keys)
        told = annotate_report(make_report(replace(plan, notes=notes)))
        assert all(char.isprintable() for char in told if char != "\n")
        commands, lines = read_log(told)
        assert {one.name for one in commands} <= set(LEVELS)
        assert len(lines) == 1
        assert not any("owned" in one.name for one in commands)


def test_problems_stand_at_their_places() -> None:
    problems = (
        Problem("no `->` in 'x'", Place("rules.yaml", 3, 5, "  - x"), "write both sides"),
        Problem("included", Place("other.yaml", 1, 1, via="rules.yaml:9:3")),
        Problem("typed", Place("-e", 1, 4, "a -> b")),
        Problem("nowhere\n::error::owned"),
    )
    commands, last = read_log(annotate_error(RulesetError(problems), "sub/."))
    assert [(one.properties.get("file"), one.properties.get("line")) for one in commands] == [
        ("sub/rules.yaml", "3"),
        ("sub/other.yaml", "1"),
        (None, None),
        (None, None),
    ]
    assert commands[0].data == "no `->` in 'x'\nhelp: write both sides"
    assert commands[1].data == "included\nincluded at rules.yaml:9:3"
    assert commands[2].data == "-e:1:4: typed"
    assert commands[3].data == visible("nowhere\n::error::owned")
    assert last == ["4 problems"]


def test_an_error_without_problems_is_one() -> None:
    commands, last = read_log(annotate_error(CheckpointError("a.pt: no such file")))
    assert [one.data for one in commands] == ["a.pt: no such file"]
    assert last == ["1 problem"]


if __name__ == "__main__":
    for name, plan in PLANS.items():
        (GOLDEN / f"{name}.github").write_text(annotate_report(make_report(plan)))
