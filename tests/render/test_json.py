"""The report as JSON: whole, unfolded, and right to the last key."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from report.plans import HOSTILE, compared, experts, parts_and_folds, renamed, resnet18, surgery

import ckptsurgeon as cs
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.render.json import VERSION, render_json
from ckptsurgeon.report.report import Report, make_report
from ckptsurgeon.specs import TensorSpec

RESNET = resnet18()
ODD = {key: TensorSpec("F32", (1,)) for key in HOSTILE}
PLANS = {
    "surgery": surgery(),
    "prefix": compared(renamed(RESNET, "^", "module."), RESNET),
    "experts": experts(),
    "parts": parts_and_folds(),
    "hostile": replace(compared(ODD, RESNET), notes=tuple(Note("read", k, k) for k in HOSTILE)),
    "empty": compared({}, {}),
}


def read(report: Report) -> dict[str, Any]:
    text = "".join(render_json(report))
    assert text.isascii()
    return json.loads(text)


@pytest.mark.parametrize("name", PLANS)
def test_everything_is_there(name: str) -> None:
    plan: Plan = PLANS[name]
    told = read(make_report(plan))
    assert told["version"] == VERSION == 3
    assert told["versions"] == {"ckptsurgeon": cs.__version__}
    assert [row["key"] for row in told["rows"]] == list(plan.outputs)
    assert [fate["key"] for fate in told["fates"]] == [fate.key for fate in plan.fates]
    assert [(f["kind"], f["key"]) for f in told["findings"]] == [
        (finding.kind.value, finding.key) for finding in plan.findings
    ]
    assert [note["text"] for note in told["notes"]] == [note.text for note in plan.notes]
    assert [rule["text"] for rule in told["rules"]] == [rule.text for rule in plan.rules]
    assert sum(one["tensors"] for one in told["counts"].values()) == len(plan.outputs)
    assert sum(one["bytes"] for one in told["counts"].values()) == plan.nbytes
    assert told["clean"] == (not plan.open_findings)


def test_a_row_tells_where_it_comes_from() -> None:
    told = read(make_report(PLANS["surgery"]))
    assert told["rows"][0] == {
        "key": "conv1.weight",
        "spec": {"dtype": "F32", "shape": [64, 3, 7, 7]},
        "bytes": 37632,
        "status": "changed",
        "sources": [{"source": "", "key": "module.conv1.weight", "index": "[:, :3]"}],
        "found": {"dtype": "F32", "shape": [64, 4, 7, 7]},
        "ops": [],
        "rule": {"stage": 0, "number": 2, "file": "rules.yaml", "line": 5},
        "wanted": {"dtype": "F32", "shape": [64, 3, 7, 7]},
        "allowed": "",
        "output": "",
    }
    assert told["source_counts"]["partly taken"] == {"tensors": 1, "bytes": 12544}
    assert told["coverage"]["destination_keys"] == {"produced": 120, "wanted": 123}
    assert told["ties"] == {"fc.bias": "fc.weight"}


def test_a_fate_tells_what_slices_dropped() -> None:
    told = read(make_report(PLANS["parts"]))
    fate = next(one for one in told["fates"] if one["key"] == "l.1.qkv")
    assert fate == {
        "stage": 0,
        "source": "",
        "key": "l.1.qkv",
        "spec": {"dtype": "F32", "shape": [6, 2]},
        "bytes": 48,
        "fate": "taken",
        "rule": {"stage": 0, "number": 0, "file": "<rules>", "line": 1},
        "untaken": 0.0,
        "dropped": pytest.approx(2 / 3),
        "reason": "",
    }
    assert told["source_counts"]["partly taken"] == {"tensors": 3, "bytes": 96}
    assert told["coverage"]["source_bytes"] == {"consumed": 216, "offered": 312}


def test_advice_is_told() -> None:
    told = read(make_report(PLANS["prefix"]))
    assert told["remarks"] == []
    suggestion = told["suggestion"]
    assert suggestion["rules"] == "format: 1\nsource: {strip: ['module.']}\nrules: []\n"
    assert set(suggestion["degrees"].values()) == {"sure"}
    assert (suggestion["open"], suggestion["unused"]) == ({}, {})


def test_it_is_streamed() -> None:
    chunks = list(render_json(make_report(PLANS["prefix"])))
    assert len(chunks) > 300
    longest = sorted(map(len, chunks))[-2]  # but for the suggestion, which is of few keys
    assert longest < 2000
