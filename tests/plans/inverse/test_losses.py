"""What a plan loses is told all at once, and taken from another checkpoint where one is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plans.inverse.exact_rules import Array

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.memory import checkpoint_of
from ckptsurgeon.checkpoints.tensors import to_numpy
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.plans.plan import Plan

GOLDEN = Path(__file__).parent / "golden" / "losses.cases"

SHAPES = {
    "conv.weight": (8, 4, 3, 3),
    "fc.weight": (10, 8),
    "fc.bias": (10,),
    "a.w": (2, 3),
    "b.w": (2, 3),
    "l.0.w": (4,),
    "l.1.w": (4,),
    "ema.w": (5,),
    "raw.w": (5,),
}


def source() -> dict[str, Array]:
    return {
        key: np.arange(np.prod(shape), dtype="f4").reshape(shape) + number * 1000
        for number, (key, shape) in enumerate(SHAPES.items())
    }


def cases() -> list[tuple[str, str]]:
    texts = GOLDEN.read_text(encoding="utf-8").split("====\n")
    return [(rules, told.rstrip("\n")) for rules, told in (t.split("\n----\n") for t in texts)]


def planned(rules: str, folder: Path, **words: Any) -> Plan:
    (folder / "r.yaml").write_text(f"format: 1\n{rules}\n")
    return cs.plan(source(), "r.yaml", **words)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("rules", "told"), cases())
def test_losses_are_told_with_rule_and_line(rules: str, told: str, folder: Path) -> None:
    with pytest.raises(cs.PlanError) as caught:
        cs.invert(planned(rules, folder))
    assert str(caught.value) == told
    assert caught.value.exit_code == 2


def carried_out(plan: Plan, **checkpoints: Any) -> dict[str, Array]:
    sources = {alias.replace("out", ""): checkpoint_of(one) for alias, one in checkpoints.items()}
    evaluator = Evaluator.of(plan, sources)
    return {
        key: to_numpy(np.ascontiguousarray(evaluator.output(one)), one.spec)
        for key, one in plan.outputs.items()
    }


@pytest.mark.parametrize("rules", [rules for rules, _ in cases()])
def test_what_is_lost_comes_from_another_checkpoint(rules: str, folder: Path) -> None:
    plan, tensors = planned(rules, folder), source()
    output, _ = cs.apply(tensors, "r.yaml")
    elsewhere = {key: array + 0.5 for key, array in tensors.items()}
    back = carried_out(cs.invert(plan, source_of_lost=elsewhere), out=output, lost=elsewhere)
    assert list(back) == list(tensors)
    from_elsewhere = 0
    for key, array in tensors.items():
        assert np.all((back[key] == array) | (back[key] == elsewhere[key]))
        from_elsewhere += int((back[key] != array).sum())
    assert 0 < from_elsewhere <= sum(array.size for array in tensors.values())


def masked(shape: tuple[int, ...], *parts: Any) -> Array:
    """True where any of the parts is."""
    mask = np.zeros(shape, dtype=bool)
    for part in parts:
        mask[part] = True
    return mask


QKV = """\
rules:
  - fc.bias -> <p:q|k|v>: {split_qkv: {layout: per_group, heads: 6, kv_heads: 2}}
---
format: 1
rules:
  - drop: k"""

PARTS = {
    "a slice": ("rules: ['conv.weight[:, :3] -> stem']", "conv.weight", np.s_[:, :3]),
    "slices": (
        "rules: ['conv.weight[::2] -> even', 'conv.weight[1, 2:] -> odd']",
        "conv.weight",
        masked((8, 4, 3, 3), np.s_[::2], np.s_[1, 2:]),
    ),
    "taken items": (
        "rules: [{from: fc.weight, to: fc.weight, ops: {take: {indices: [7, 2, 2]}}}]",
        "fc.weight",
        [2, 7],
    ),
    "items of which one was dropped": (
        "rules: ['a.w -> a.<p:x|y|z>': {unstack: 1}]\n---\nformat: 1\nrules: [drop: a.y]",
        "a.w",
        np.s_[:, [0, 2]],
    ),
    "parts of which one is empty and one was dropped": (
        "rules: [{from: fc.bias, to: 'p.<n:a|b|c>', ops: {split: {sizes: [0, 4, 6]}}}]\n---\n"
        "format: 1\nrules: [drop: p.b]",
        "fc.bias",
        np.s_[4:],
    ),
    "slices that overlap": (
        "rules: [{from: 'fc.bias[:5]', to: x, reuse: true}, {from: 'fc.bias[1::3]', to: y,"
        " reuse: true}]",
        "fc.bias",
        [0, 1, 2, 3, 4, 7],
    ),
    "what was joined, then cut": (
        "rules: [{from: [a.w, b.w], to: ab, ops: concat}]\n---\nformat: 1\n"
        "rules: ['ab[1:3] -> ab']",
        "b.w",
        np.s_[:1],
    ),
    "heads of which keys were dropped": (QKV, "fc.bias", [0, 1, 2, 4, 5, 6, 7, 9]),
}


@pytest.mark.parametrize(("rules", "key", "taken"), PARTS.values(), ids=PARTS)
def test_only_the_part_that_is_lost_comes_from_elsewhere(
    rules: str, key: str, taken: Any, folder: Path
) -> None:
    plan, tensors = planned(rules, folder), source()
    output, _ = cs.apply(tensors, "r.yaml")
    elsewhere = {name: array + 0.5 for name, array in tensors.items()}
    back = carried_out(cs.invert(plan, source_of_lost=elsewhere), out=output, lost=elsewhere)
    wanted = elsewhere[key].copy()
    wanted[taken] = tensors[key][taken]
    np.testing.assert_array_equal(back[key], wanted)


# --- what can't be asked --------------------------------------------------------------------------


def test_a_checkpoint_that_lacks_what_is_lost_is_told(folder: Path) -> None:
    plan = planned("rules: [drop: fc.*]", folder)
    other = {"fc.bias": source()["fc.bias"][:3]}
    with pytest.raises(cs.PlanError) as caught:
        cs.invert(plan, source_of_lost=other)
    assert str(caught.value).splitlines() == [
        "`fc.weight` F32[10, 8] is lost, and <memory> has no such key",
        "`fc.bias` F32[10] is lost, and <memory> has it as F32[3]",
    ]


def test_a_plan_with_findings_is_not_turned_around(folder: Path) -> None:
    plan = planned("rules: []", folder, into={"fc.bias": source()["fc.bias"]})
    with pytest.raises(cs.CkptSurgeonError, match="has findings, so it has no output"):
        cs.invert(plan)


def test_one_of_several_sources_must_be_chosen(folder: Path) -> None:
    sources = {"x": {"x": source()["a.w"]}, "y": {"y": source()["b.w"]}}
    rules = ["x::x -> x", "y::y -> y"]
    plan = cs.plan(source(), rules, sources=sources)
    with pytest.raises(cs.CkptSurgeonError, match=r"reads 3 sources \('' \(`source`\), x, y\)"):
        cs.invert(plan, source_of_lost=source())
    assert list(cs.invert(plan).outputs) == [*SHAPES, "x::x", "y::y"]
    with pytest.raises(cs.CkptSurgeonError, match="has no source 'z'"):
        cs.invert(plan, only="z")
    output, _ = cs.apply(source(), rules, sources=sources)
    assert list(carried_out(cs.invert(plan, only="y"), out=output)) == ["y"]
    assert list(carried_out(cs.invert(plan, only=""), out=output)) == list(SHAPES)


def test_a_key_of_the_unnamed_source_that_reads_as_one_of_a_named_one(folder: Path) -> None:
    there = {"b::x": np.zeros(1, "f4"), "l": np.ones(1, "f4")}
    named = {"x": np.full(1, 2, "f4")}
    plan = cs.plan(there, [r"b\::x -> two", {"drop": "l"}, "b::x -> one"], sources={"b": named})
    with pytest.raises(cs.PlanError) as caught:
        cs.invert(plan)
    first, second = caught.value.problems
    assert first.message.startswith("<memory>: has `b::x`: `::` stands behind the name of an")
    assert first.help == "give one source back at a time: this one by `only=''`"
    assert second.message == "`l` is lost: dropped"


def test_a_source_with_such_a_key_comes_back_alone(folder: Path) -> None:
    there, named = {"b::x": np.zeros(1, "f4")}, {"b": {"x": np.ones(1, "f4")}}
    plan = cs.plan(there, [r"b\::x -> two", "b::x -> one"], sources=named)
    assert list(cs.invert(plan, only="").outputs) == ["b::x"]


def test_what_a_stage_of_several_outputs_loses_is_told_by_its_own_name(folder: Path) -> None:
    stages = [
        {"format": 1, "rules": ["<p:a|b>.w -> tmp::<p>", "** -> **"]},
        {"format": 1, "rules": ["tmp::a -> a", {"drop": "tmp::b"}]},
    ]
    with pytest.raises(cs.PlanError) as caught:
        cs.invert(cs.plan(source(), [cs.load_ruleset(one) for one in stages]))
    (problem,) = caught.value.problems
    assert problem.message == "`b.w` as `tmp::b` is lost: dropped"
    assert problem.place is not None
    assert problem.place.text.strip() == "{'drop': 'tmp::b'}"
