"""The report as text, held against golden files; and what holds for every report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from report.plans import (
    HOSTILE,
    PLANS,
    RESNET,
    compared,
    renamed,
    resnet18,
    view,
)

import ckptsurgeon as cs
from ckptsurgeon.plans.account import Finding, FindingKind, Note
from ckptsurgeon.render.text import render_text
from ckptsurgeon.report.report import make_report
from ckptsurgeon.specs import TensorSpec

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", PLANS)
def test_golden(name: str) -> None:
    text = render_text(make_report(PLANS[name]), width=100, color=False)
    assert text == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", PLANS)
def test_colour_only_colours(name: str) -> None:
    report = make_report(PLANS[name])
    colored = render_text(report, width=100, color=True)
    for code in ("1;32", "1;31", "36", "0", "1", "2"):
        colored = colored.replace(f"\x1b[{code}m", "")
    assert colored == render_text(report, width=100, color=False)


@pytest.mark.parametrize("name", PLANS)
def test_verbose_names_every_key(name: str) -> None:
    report = make_report(PLANS[name])
    words = set(render_text(report, width=100, color=False, verbose=True).split())
    assert words >= {row.key for row in report.rows} | {one.key for one in report.findings}
    assert not any("..." in word for word in words)


def test_a_prefix_takes_few_words() -> None:
    text = render_text(make_report(PLANS["module_prefix"]), width=100, color=False)
    assert len(text) < 1500


@pytest.mark.parametrize("pattern", ["k{}x.w", "layer{}.w", "{}", "a{}b.{}.c"])
def test_a_thousand_findings_are_a_short_report(pattern: str) -> None:
    source = {pattern.format(hash_like(n), n): TensorSpec("F32", (n % 7,)) for n in range(999)}
    destination = {f"d.{pattern.format(n, n)}": TensorSpec("F32", (n % 5,)) for n in range(999)}
    plan = compared(source, destination)
    more = [
        Finding(FindingKind.MISMATCHED, k, TensorSpec("F32", (9,)), s)
        for k, s in destination.items()
    ]
    plan = replace(plan, findings=(*plan.findings, *more))
    text = render_text(make_report(plan), width=100, color=False)
    assert len(text.splitlines()) <= 45


def hash_like(number: int) -> str:
    return f"{number * 2654435761 % 2**32:08x}"


def test_hostile_keys_never_reach_the_output() -> None:
    specs = {key: TensorSpec("F32", (1,)) for key in HOSTILE}
    plans = [compared(specs, RESNET), compared(RESNET, specs), compared(specs, specs)]
    for plan in plans:
        notes = tuple(Note("read", key, key) for key in HOSTILE)
        ties = dict.fromkeys(HOSTILE[1:], HOSTILE[0])
        side = view(HOSTILE[0], specs, HOSTILE[1], root=HOSTILE[2], wrappers=HOSTILE)
        hostile = make_report(replace(plan, notes=notes, ties=ties, sources=(side,)))
        for verbose in (False, True):
            text = render_text(hostile, width=100, color=False, verbose=verbose)
            assert all(line.isprintable() for line in text.splitlines())


def test_shares_are_rounded_only_where_they_are_not_whole() -> None:
    plan = compared(RESNET, {**RESNET, "new": TensorSpec("F32", ())})
    text = render_text(make_report(plan), width=100, color=False)
    assert "122 of 123 destination keys come from the source; 100% of the root's bytes" in text


def test_what_is_suggested_can_be_pasted_as_one_block() -> None:
    """What stands beside `rules:` is no deeper than that, and `rules:` goes before the rules."""
    old = resnet18(channels=4, classes=10)
    plan = compared(renamed(old, "^", "module."), RESNET)
    lines = render_text(make_report(plan), width=100, color=False).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("to settle this"))
    block = lines[start + 1 : lines.index("", start)]
    assert "source: {strip: ['module.']}" in block
    assert "rules:" in block
    ruleset = cs.load_ruleset({"format": 1, **yaml.safe_load("\n".join(block)), "rules": []})
    assert ruleset.stages[0].source.strip
