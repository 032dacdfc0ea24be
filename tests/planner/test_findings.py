"""The kinds of finding: of which key, what was found and what is wanted, by which rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ckptsurgeon as cs
from ckptsurgeon.plans.account import Finding

SOURCE = {"a": np.zeros(2, "f4"), "b": np.zeros(3, "f2")}

ROWS: list[tuple[list[Any], dict[str, int], list[tuple[str, ...]]]] = [
    # rules, sizes of the destination's keys, and the kind, key, found and wanted spec, number of
    # the rule, and sources of each finding
    ([], {"a": 2, "b": 3}, []),
    ([], {"a": 4, "b": 3}, [("mismatched", "a", "F32[2]", "F32[4]", "", "a")]),
    (["a -> x", "b -> b"], {"x": 4, "b": 3}, [("mismatched", "x", "F32[2]", "F32[4]", "0", "a")]),
    ([], {"a": 2, "b": 3, "c": 5}, [("missing", "c", "", "F32[5]", "", "")]),
    ([], {"a": 2}, [("unused", "b", "F16[3]", "", "", "")]),
    (["b -> x"], {"a": 2}, [("unexpected", "x", "F16[3]", "", "0", "b")]),
    (
        ["b -> x"],
        {"c": 1},
        [
            ("missing", "c", "", "F32[1]", "", ""),
            ("unexpected", "x", "F16[3]", "", "0", "b"),
            ("unused", "a", "F32[2]", "", "", ""),
            ("nothing", "", "", "", "", ""),
        ],
    ),
]


def tell(finding: Finding) -> tuple[str, ...]:
    specs = (str(spec or "") for spec in (finding.found, finding.wanted))
    rule = str(finding.rule.number) if finding.rule else ""
    sources = " ".join(one.key for one in finding.sources)
    return (finding.kind.value, finding.key, *specs, rule, sources)


@pytest.mark.parametrize(("rules", "into", "told"), ROWS)
def test_findings(rules: list[Any], into: dict[str, int], told: list[tuple[str, ...]]) -> None:
    plan = cs.plan(SOURCE, rules, {key: np.zeros(size, "f4") for key, size in into.items()})
    assert list(map(tell, plan.findings)) == told
    assert plan.open_findings == plan.findings


def test_of_names_that_are_stripped_the_number_is_noted() -> None:
    rules = {"format": 1, "source": {"strip": ["m."]}, "rules": []}
    plan = cs.plan({"m.a": SOURCE["a"], "m.b": SOURCE["a"], "c": SOURCE["a"]}, rules)
    notes = [note.text for note in plan.notes if note.kind == "strip"]
    assert notes == ["source: 2 of 3 keys read by another name"]
