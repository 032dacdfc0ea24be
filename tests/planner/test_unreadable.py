"""Tensors that can't be read, in the account: what settles them, and what rules say of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ckptsurgeon as cs
from ckptsurgeon.plans.account import FindingKind
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.plans.plan import Plan

SPARSE = torch.eye(3).to_sparse()
SOURCE: dict[str, Any] = {
    "a.w": torch.ones(3, 3),
    "b.w": SPARSE,
    "c.w": torch.ones(3, 3),
    "head": torch.ones(2),
}


def findings(plan: Plan) -> list[tuple[str, str, bool]]:
    return [(one.kind.value, f"{one.source}::{one.key}", one.allowed) for one in plan.findings]


LEFT = [("unreadable", "::b.w", False)]

SETTLED: dict[str, tuple[Any, list[tuple[str, str, bool]], list[str]]] = {
    "no rule": ([], LEFT, ["a.w", "c.w", "head"]),
    "dropped": ([{"drop": "b.w"}], [], ["a.w", "c.w", "head"]),
    "dropped by a pattern": ([{"drop": "*.w"}], [], ["head"]),
    "moved by a pattern": (["*.w -> x.*"], LEFT, ["x.a", "x.c", "head"]),
    "a drop before": ([{"drop": "b.*"}, "*.w -> x.*"], [], ["x.a", "x.c", "head"]),
    "optional": ([{"b.w -> x": {"optional": True}}], LEFT, ["a.w", "c.w", "head"]),
    "unmatched: drop": (
        {"format": 1, "unmatched": "drop", "rules": ["a.w -> a.w"]},
        [],
        ["a.w"],
    ),
    "unmatched: error": (
        {"format": 1, "unmatched": "error", "rules": ["*.w -> *.w"]},
        [*LEFT, ("unused", "::head", False)],
        ["a.w", "c.w"],
    ),
}


@pytest.mark.parametrize("name", SETTLED)
def test_what_settles_it(name: str) -> None:
    rules, told, keys = SETTLED[name]
    plan = cs.plan(SOURCE, rules)
    assert sorted(findings(plan)) == sorted(told)
    assert list(plan.outputs) == keys
    fate = plan.fates.find(0, "", "b.w")
    assert fate is not None
    assert fate.fate is (Fate.UNREADABLE if told else Fate.DROPPED)


def test_a_rule_behind_it_is_told() -> None:
    (finding,) = cs.plan(SOURCE, ["*.w -> x.*"]).findings
    assert finding.rule is not None
    assert finding.rule.text == "*.w -> x.*"


REFUSED: dict[str, Any] = {
    "by name": ["b.w -> x"],
    "by a pattern that matches nothing else": ["b.* -> x.*"],
    "with an op": [{"b.w -> x": {"reshape": [-1]}}],
    "in a slice": ["b.w[:2] -> x"],
    "dropped in a slice": [{"drop": "b.w[:2]"}],
    "among those that are joined": [{"<n:a|b|c>.w -> all": {"stack": {"over": "n"}}}],
    "as a partner": [{"from": ["a.w", "b.w"], "to": "x", "ops": "add"}],
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_rule_that_needs_it_says_why_not(name: str) -> None:
    with pytest.raises(cs.PlanError) as caught:
        cs.plan(SOURCE, REFUSED[name])
    (problem,) = caught.value.problems
    told = "`b.w` is needed here and is unreadable: it is a tensor of the layout sparse_coo"
    assert problem.message.startswith(told)
    assert problem.place is not None
    assert "`.to_dense()`" in problem.help
    assert "`- drop: b.w`" in problem.help


def test_a_norm_without_its_statistics_is_refused() -> None:
    norm = {f"bn.{part}": torch.ones(3) for part in ("weight", "bias", "running_mean")}
    source = {**norm, "bn.running_var": torch.ones(3).to_sparse(), "conv.weight": torch.ones(3, 1)}
    for rule in (
        {"fold_batchnorm": {"conv": "conv", "batchnorm": "bn"}},
        {"batchnorm": "bn -> norm"},
        {"freeze_batchnorm": {"from": "bn"}},
    ):
        with pytest.raises(cs.PlanError, match=r"`bn\.running_var` is needed here and is unread"):
            cs.plan(source, [rule])


def test_allowed_it_is_left_out_and_not_called_clean() -> None:
    plan = cs.plan(SOURCE, allow="unreadable")
    assert findings(plan) == [("unreadable", "::b.w", True)]
    assert not plan.open_findings
    report = cs.make_report(plan)
    assert not report.clean
    assert report.bottom_line == "allowed: 1 unreadable; 3 tensors, 80 B would be written"
    assert report.sources[0].unreadable == 1


def test_a_later_stage_may_drop_it(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    stages = ["format: 1\nrules:\n- drop: c.w\n", "format: 1\nrules:\n- head -> tail\n"]
    path.write_text("---\n".join(stages))
    assert findings(cs.plan(SOURCE, path)) == LEFT
    path.write_text("---\n".join([*stages, "format: 1\nrules:\n- drop: b.w\n"]))
    plan = cs.plan(SOURCE, path)
    assert findings(plan) == []
    assert list(plan.outputs) == ["a.w", "tail"]


# --- the destination's side -----------------------------------------------------------------------

INTO: dict[str, Any] = {"a.w": torch.zeros(3, 3), "b.w": SPARSE}


def test_a_destination_s_key_that_nothing_gives() -> None:
    source = {"a.w": torch.ones(3, 3)}
    plan = cs.plan(source, into=INTO)
    assert findings(plan) == [("unreadable", "dst::b.w", False)]
    report = cs.make_report(plan)
    assert (report.coverage.produced, report.coverage.wanted) == (1, 2)
    for allow in ("missing", "unused"):
        assert cs.plan(source, into=INTO, allow=allow).open_findings
    tensors, _ = cs.apply(source, None, INTO, allow="unreadable")
    assert list(tensors) == ["a.w"]


def test_a_destination_s_key_that_a_rule_gives() -> None:
    source = {"a.w": torch.ones(3, 3), "x": torch.ones(3, 3)}
    assert findings(cs.plan(source, ["x -> b.w"], INTO)) == []
    (finding,) = cs.plan({**source, "x": torch.ones(2)}, ["x -> b.w"], INTO).findings
    assert finding.kind is FindingKind.MISMATCHED
    rules = ["x -> a.w", {"drop": "a.w"}, {"init": {"to": "b.w", "fill": 0}}]
    with pytest.raises(cs.PlanError, match=r"`b\.w` has no shape"):
        cs.plan(source, rules, {**INTO, "b.w": torch.nested.nested_tensor([torch.ones(1)])})
    made = cs.plan(source, rules, INTO).outputs["b.w"]
    assert str(made.spec) == "F32[3, 3]"


def test_a_shape_that_is_not_known_is_not_checked() -> None:
    nested = torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])
    into = {"a.w": torch.zeros(3, 3), "b.w": nested}
    plan = cs.plan({"a.w": torch.ones(3, 3), "b.w": torch.ones(7)}, into=into)
    assert findings(plan) == []
    (note,) = [note for note in plan.notes if note.kind == "shape"]
    assert "whose shape is not known in the destination" in note.text


def test_it_cannot_be_kept() -> None:
    source = {"a.w": torch.ones(3, 3)}
    with pytest.raises(cs.PlanError, match=r"`b\.w` can't be kept: it is unreadable"):
        cs.plan(source, [{"keep": "b.w"}], INTO)
    plan = cs.plan(source, [{"keep": "*.w"}], INTO, allow="nothing")
    assert ("unreadable", "dst::b.w", False) in findings(plan)


# --- every other door -----------------------------------------------------------------------------


def test_json_has_the_key_with_what_is_known(tmp_path: Path) -> None:
    from ckptsurgeon.render.json import render_json

    report = json.loads("".join(render_json(cs.make_report(cs.plan(SOURCE, ["*.w -> x.*"])))))
    (fate,) = [one for one in report["fates"] if one["key"] == "b.w"]
    assert fate["fate"] == "unreadable"
    assert fate["spec"]["dtype"] == "F32"
    assert fate["spec"]["shape"] == [3, 3]
    assert fate["spec"]["unreadable"] == "a tensor of the layout sparse_coo"
    assert report["findings"][0]["kind"] == "unreadable"
    assert report["source_counts"]["unreadable"] == {"tensors": 1, "bytes": 36}
    assert report["coverage"]["source_bytes"] == {"consumed": 80, "offered": 116}


def test_a_plan_with_it_is_saved_and_run(tmp_path: Path) -> None:
    from ckptsurgeon.plans.files.saving import save_plan
    from ckptsurgeon.saved import prepare_saved, recall

    source = tmp_path / "a.pt"
    torch.save(SOURCE, source)
    plan = cs.plan(source, ["head -> tail"], allow="unreadable")
    save_plan(plan, tmp_path / "plan.json")
    for found in (recall(tmp_path / "plan.json"), None):
        plan = found or prepare_saved(tmp_path / "plan.json", source, {}, None).plan
        assert findings(plan) == [("unreadable", "::b.w", True)]
        assert [fate.fate.value for fate in plan.fates] == [
            "copied",
            "unreadable",
            "copied",
            "taken",
        ]
    execution = prepare_saved(tmp_path / "plan.json", source, {}, None).aim(
        {"": str(tmp_path / "o.pt")}
    )
    with execution.open_output() as fill:
        fill(None)
    assert list(torch.load(tmp_path / "o.pt")) == ["a.w", "c.w", "tail"]


def test_requirements_and_lookups_know_it() -> None:
    with pytest.raises(cs.PlanError, match=r"`b\.w` is F32\[3, 3\], and the shape \[2\]"):
        cs.plan(SOURCE, [{"require": {"key": "b.w", "shape": [2]}}], allow="unreadable")
    rules = {
        "format": 1,
        "vars": {"n": {"shape": "b.w", "dim": 0}},
        "rules": [{"head -> head": {"reshape": ["n"]}}],
    }
    with pytest.raises(cs.CkptSurgeonError, match="that tensor is unreadable"):
        cs.plan(SOURCE, rules)


def test_arrays_of_objects_in_memory_are_findings() -> None:
    with pytest.raises(cs.FindingsError, match="w  an array of Python objects"):
        cs.apply({"w": np.array([{}], object)}, [])


def test_init_of_a_key_of_unknown_dtype_wants_one() -> None:
    into = {"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "b": torch.ones(1)}
    with pytest.raises(cs.PlanError, match="`w` has no dtype") as caught:
        cs.plan({"b": torch.ones(1)}, [{"init": {"to": "w", "fill": 0}}], into=into)
    assert caught.value.problems[0].help == "add `dtype: F32`"
    rule = {"init": {"to": "w", "fill": 0, "dtype": "F32"}}
    assert cs.plan({"b": torch.ones(1)}, [rule], into=into).findings == ()
