"""What a report counts as used: the bytes that end in an output, and no others."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ckptsurgeon as cs
from ckptsurgeon.render.accounting import share_sources
from ckptsurgeon.report.report import make_report
from ckptsurgeon.report.sides import add_tallies

SOURCE = {"a": torch.zeros(6, 3), "b": torch.zeros(2)}
"""72 bytes and 8."""

PARTS = {"from": "a", "to": ["x", "y"], "ops": [{"split": {"dim": 0, "sizes": [4, 2]}}]}


def stage(*rules: Any) -> dict[str, Any]:
    return {"format": 1, "rules": [*rules, "b -> b"]}


@pytest.mark.parametrize(
    ("stages", "used"),
    [
        ([stage("a -> x")], 80),
        ([stage("a[:4] -> x", {"drop": "a[4:]"})], 56),
        ([stage("a[:4] -> x", {"drop": "a[4:]"}), stage({"drop": "x"})], 8),
        ([stage("a -> x"), stage({"drop": "x"})], 8),
        ([stage("a -> x"), stage("x[:4] -> y", {"drop": "x[4:]"})], 56),
        ([stage(PARTS)], 80),
        ([stage(PARTS), stage({"drop": "x"}, "y -> y")], 32),
        ([stage(PARTS), stage({"drop": "x"}, "y[1:] -> y", {"drop": "y[:1]"})], 20),
        ([stage(PARTS), stage({"x -> x": "transpose"}, {"drop": "y"})], 56),
    ],
)
def test_what_later_stages_drop_is_not_used(stages: list[dict[str, Any]], used: int) -> None:
    coverage = make_report(cs.plan(SOURCE, tuple(map(cs.load_ruleset, stages)))).coverage
    assert (coverage.used.nbytes, coverage.offered.nbytes) == (used, 80)


def test_what_a_rule_drops_that_another_reads_is_used() -> None:
    plan = cs.plan(SOURCE, stage({"from": "a", "to": "x", "reuse": True}, {"drop": "a"}))
    assert make_report(plan).coverage.used.nbytes == 80


def test_a_part_of_another_shape_is_not_used() -> None:
    into = {"x": torch.zeros(4, 3), "y": torch.zeros(3, 2), "b": torch.zeros(2)}
    plan = cs.plan(SOURCE, stage(PARTS), into, allow=["mismatched"])
    assert make_report(plan).coverage.used.nbytes == 56


@pytest.mark.parametrize(
    ("rules", "into", "told"),
    [
        (["a -> x", {"drop": "b"}], None, {"used": 1, "dropped": 1}),
        ([stage("a -> x"), stage("x[:4] -> y", {"drop": "x[4:]"})], None, {}),
        ([stage(PARTS), stage({"drop": "x"}, "y -> y")], None, {}),
        ([stage("a -> x")], {"x": torch.zeros(2), "b": torch.zeros(2)}, {"used": 1}),
    ],
)
def test_all_of_the_sources_has_a_share(
    rules: list[Any], into: dict[str, torch.Tensor] | None, told: dict[str, int]
) -> None:
    stages = tuple(map(cs.load_ruleset, rules)) if isinstance(rules[0], dict) else rules
    report = make_report(cs.plan(SOURCE, stages, into))
    shares = dict(share_sources(report))
    assert add_tallies(shares.values()) == report.coverage.offered
    assert shares["used"].nbytes == report.coverage.used.nbytes
    assert {name: shares[name].tensors for name in told} == told
