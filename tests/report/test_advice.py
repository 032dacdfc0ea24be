"""What is advised at the end of a plan, held against the planner: nothing is lost or misplaced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from endless import ending
from hypothesis import given, settings
from hypothesis import strategies as st
from report.plans import HOSTILE, Specs, compared, outputs, renamed, resnet18, rule, view

import ckptsurgeon as cs
from ckptsurgeon import modules
from ckptsurgeon.drafting.files import rule_lines_of
from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.fates import Fate, Fates
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.steps import Steps
from ckptsurgeon.report.advice import Advice, advise
from ckptsurgeon.report.left import MOST_KEYS
from ckptsurgeon.specs import TensorSpec
from ckptsurgeon.suggesting.leftovers import is_buffer

SMALL = resnet18(width=2, classes=7)


def floats(shapes: dict[str, tuple[int, ...]]) -> Specs:
    return {key: TensorSpec("F32", shape) for key, shape in shapes.items()}


def arrays(specs: Specs) -> dict[str, np.ndarray]:
    kinds = {"F32": "float32", "I64": "int64"}
    return {key: np.zeros(spec.shape, kinds[spec.dtype]) for key, spec in specs.items()}


def lines(advice: Advice) -> list[str]:
    """The lines below `rules:`."""
    return [] if advice.suggestion is None else list(rule_lines_of(advice.suggestion.text()))


def advised(source: Specs, destination: Specs) -> list[str]:
    return lines(advise(compared(source, destination)))


# --- pasted ---------------------------------------------------------------------------------------


def pasted(source: object, into: object) -> Plan:
    """The plan with what is advised, and with what is advised then, until nothing new comes."""
    rules: list[Any] = []
    while True:
        plan = cs.plan(source, rules, into)
        suggestion = advise(plan).suggestion
        if suggestion is None or not suggestion.rules.stages[0].rules:
            return plan
        rules = [suggestion.rules] if not rules else [*rules, suggestion.rules]
        if len(rules) > 2:
            return plan


def block(norms: tuple[str, str] = ("norm1", "norm2")) -> Specs:
    shapes: dict[str, tuple[int, ...]] = {f"attn.{n}.weight": (8, 8) for n in "qkvo"}
    shapes |= {"mlp.fc1.weight": (16, 8), "mlp.fc2.weight": (8, 16)}
    return floats(shapes | {f"{norm}.{t}": (8,) for norm in norms for t in ("weight", "bias")})


def layers(before: str, numbers: Iterable[int]) -> Specs:
    return {f"{before}{n}.{key}": spec for n in numbers for key, spec in block().items()}


def counted(text: str, by: int) -> Callable[[str], str]:
    """Turns a destination key around: its list has another name, and numbers that are more."""
    return lambda key: re.sub(r"^\D*(\d+)", lambda m: f"{text}{int(m[1]) + by}", key, count=1)


KEPT_LAYERS = (0, 2, 4)

READINGS: dict[str, tuple[Specs, Specs, Callable[[str], str]]] = {
    "counted from 1, another name": (
        layers("blocks.", range(1, 13)),
        layers("layers.", range(12)),
        counted("blocks.", 1),
    ),
    "counted from 1, the same name": (
        layers("blocks.", range(1, 13)),
        layers("blocks.", range(12)),
        counted("blocks.", 1),
    ),
    "counted from 1, under a prefix": (
        layers("module.enc.blocks.", range(1, 5)),
        layers("enc.blocks.", range(4)),
        counted("module.enc.blocks.", 1),
    ),
    "layers left out": (
        layers("l.", range(6)),
        layers("m.", range(3)),
        lambda key: f"l.{KEPT_LAYERS[int(key[2])]}{key[3:]}",
    ),
    "teacher and student": (
        layers("teacher.l.", range(2)) | layers("student.l.", range(2)),
        layers("l.", range(2)),
        lambda key: f"student.{key}",
    ),
    "crossed norms": (
        floats({f"l.{n}.{m}.bias": (8,) for n in range(4) for m in ("attn.norm", "norm2")}),
        floats({f"l.{n}.{m}.bias": (8,) for n in range(4) for m in ("norm1", "mlp.norm")}),
        lambda key: key.replace("mlp.norm", "norm2").replace("norm1", "attn.norm"),
    ),
    "a head that is another": (
        floats({"fc.weight": (5, 8), "fc.bias": (5,)}),
        floats({"aux.weight": (5, 8), "aux.bias": (5,)}),
        lambda key: "",
    ),
    "a BatchNorm to be folded": (
        floats({"c.conv.weight": (4, 3, 3, 3), "c.bn.weight": (4,), "c.bn.bias": (4,)}),
        floats({"c.conv.weight": (4, 3, 3, 3), "c.conv.bias": (4,)}),
        lambda key: "" if key.endswith("bias") else key,
    ),
    "bands in another order": (
        floats({"stem.weight": (4, 13, 3, 3)}),
        floats({"stem.weight": (4, 12, 3, 3)}),
        lambda key: "",
    ),
}
"""Conversions that names and shapes tell wrongly: which source key is right ("": none)."""


@pytest.mark.parametrize("case", READINGS)
def test_what_is_sure_misplaces_nothing_and_nothing_is_lost(case: str) -> None:
    source, destination, origin = READINGS[case]
    suggestion = advise(cs.plan(arrays(source), None, arrays(destination))).suggestion
    assert suggestion is not None
    plan = cs.plan(arrays(source), suggestion.rules, arrays(destination))
    given = {key: plan.outputs[key] for key in suggestion.sure if plan.outputs[key].sources}
    wrong = {key: one.sources for key, one in given.items() if one.sources[0].key != origin(key)}
    assert wrong == {}
    dropped = [one for one in plan.fates if one.fate is Fate.DROPPED]
    own = [one for one in plan.outputs.values() if one.status in (Status.KEPT, Status.INITIALISED)]
    lost = [one for one in (*dropped, *own) if not is_buffer(one.key, one.spec)]
    assert lost == []


def test_a_prefix_is_one_line() -> None:
    specs = resnet18()
    suggestion = advise(compared(renamed(specs, "^", "module."), specs)).suggestion
    assert suggestion is not None
    assert suggestion.text() == "format: 1\nsource: {strip: ['module.']}\nrules: []\n"


def test_items_that_are_counted_from_elsewhere_move_all_at_once() -> None:
    source, destination, _ = READINGS["counted from 1, the same name"]
    assert [one for one in advised(source, destination) if not one.startswith("#")] == [
        "- blocks.<i>.** -> blocks.<i-1>.**"
    ]


def test_a_classifier_of_other_classes_is_a_question() -> None:
    source = {**SMALL, "fc.weight": TensorSpec("F32", (9, 16)), "fc.bias": TensorSpec("F32", (9,))}
    told = advised(source, SMALL)
    assert told
    assert all(line.startswith("#") for line in told)


def test_what_cant_be_read_is_no_source() -> None:
    source = {"w": torch.ones(2), "q": torch.eye(2).to_sparse(), "r": torch.ones(3, 3)}
    into = {"w": torch.ones(2), "q": torch.ones(2, 2), "r": torch.ones(3, 3)}
    suggestion = advise(cs.plan(source, into=into, allow="unreadable")).suggestion
    assert suggestion is not None
    assert suggestion.open == {"q": "the source's can't be read"}


def test_a_bias_of_a_batchnorm_is_none_of_its_convolution() -> None:
    norm = {f"c.bn.{key}": (4,) for key in ("weight", "bias", "running_mean", "running_var")}
    source = floats({"c.conv.weight": (4, 3), **norm})
    into = floats({"c.conv.weight": (4, 3), "c.conv.bias": (4,)})
    assert not any("c.bn.bias -> " in line for line in advised(source, into))
    assert not any("c.conv.bias -> " in line for line in advised(into, source))


def test_many_keys_are_few_lines_or_a_pointer() -> None:
    def parts(count: int) -> Specs:
        return floats({f"l.{i}.{n}.weight": (4, 4) for i in range(count) for n in "qkv"})

    whole = floats({f"m.{i}.qkv.weight": (12, 4) for i in range(400)})
    with ending():
        told = advised(parts(400), whole)
    assert [line for line in told if not line.startswith("#")] == [
        "- l.<i>.<p:q|k|v>.weight -> m.<i>.qkv.weight: concat"
    ]
    assert advise(compared(parts(MOST_KEYS // 3 + 1), whole)) == Advice(too_much=True)
    assert "`ckptsurgeon.suggest(source, into).text()` has all" in str(
        cs.plan(arrays(parts(MOST_KEYS // 3 + 1)), None, arrays(whole))
    )


# --- with rules -----------------------------------------------------------------------------------


def test_the_rest_is_what_rules_leave() -> None:
    source = floats({"a.w": (2, 3), "b.c.w": (4, 3), "b.d.w": (5, 3)})
    into = floats({"x.w": (2, 3), "y.c.w": (4, 3), "y.d.w": (5, 3)})
    plan = cs.plan(arrays(source), ["a.w -> x.w"], arrays(into))
    assert lines(advise(plan)) == ["- b.** -> y.**"]
    assert not cs.plan(arrays(source), ["a.w -> x.w", "b.** -> y.**"], arrays(into)).findings


def test_the_rest_is_told_in_the_keys_of_the_last_file() -> None:
    source, into = floats({"a.w": (2, 3), "b.v": (4, 3)}), floats({"c.w": (2, 3), "d.v": (4, 3)})
    files = [["a.** -> m.**", "b.** -> n.**"], ["m.** -> c.**"]]
    plan = cs.plan(arrays(source), [cs.load_ruleset(one) for one in files], arrays(into))
    assert [line for line in lines(advise(plan)) if not line.startswith("#")] == ["- n.v -> d.v"]


def test_strip_is_not_offered_where_there_are_rules() -> None:
    source = {**renamed(SMALL, "^", "module."), "module.x": TensorSpec("F32", (9, 9))}
    into = {**SMALL, "y": TensorSpec("F32", (9, 9))}
    plan = cs.plan(arrays(source), ["module.x -> y"], arrays(into))
    assert lines(advise(plan)) == ["- module.** -> **"]


def _mismatched_by(origin: str, key: str, steps: int) -> Plan:
    text = f"{origin} -> {key}"
    found, wanted = TensorSpec("F32", (4, 4, 3, 3)), TensorSpec("F32", (4, 3, 3, 3))
    plan = cs.plan(arrays({origin: found}), [text], arrays({key: wanted}))
    given_by = rule(text, 4, steps)
    findings = tuple(
        Finding(one.kind, one.key, one.found, one.wanted, given_by, sources=one.sources)
        for one in plan.findings
        if one.kind is FindingKind.MISMATCHED
    )
    return replace(plan, rules=(given_by,), findings=findings)


@pytest.mark.parametrize(("steps", "where"), [(9, "above"), (1, "in place of")])
def test_what_a_rule_gives_is_settled_before_or_instead(steps: int, where: str) -> None:
    advice = advise(_mismatched_by("module.conv1.weight", "conv1.weight", steps))
    (one,) = advice.remarks
    assert one.lines[-1] == "- module.conv1.weight[:, :3] -> conv1.weight"
    assert one.sentence.endswith(f"; {where} `rules.yaml:4`")
    assert advice.suggestion is None


def test_a_target_with_the_wrong_prefix_is_told_in_words() -> None:
    given_by = rule("module.** -> model.**", 4, 122)
    specs = resnet18()
    findings = [
        Finding(FindingKind.UNEXPECTED, f"model.{k}", found=s, rule=given_by)
        for k, s in specs.items()
    ]
    findings += [Finding(FindingKind.MISSING, k, wanted=s) for k, s in specs.items()]
    sides, empty = (view("s.pt", specs),), outputs({}, {})
    plan = Plan(sides, view("d.pt", specs), empty, Steps(()), Fates(()), (), tuple(findings))
    (one,) = advise(plan).remarks
    assert one.sentence == (
        "`rules.yaml:4` gives `model.conv1.weight` where `conv1.weight` is wanted (and 121 more "
        "so): change its target"
    )


@pytest.mark.parametrize(
    ("text", "old", "new", "line"),
    [
        (
            "layer<i>.<j>.convA.weight -> layer<i>.<j>.conv_1.weight",
            r"(layer\d\.\d)\.conv1",
            r"\1.convA",
            "- layer<i>.<j>.convA.weight -> layer<i>.<j>.conv1.weight",
        ),
        ("a.** -> b.**", "^", "a.", "- a.** -> **"),
    ],
)
def test_a_mistyped_target_is_told_with_the_rule_as_it_should_be(
    text: str, old: str, new: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a long path would be shortened in the sentence
    rules = Path("rules.yaml")
    rules.write_text(f"format: 1\nrules:\n  - {text}\n")
    source = arrays(renamed(SMALL, old, new))
    advice = advise(cs.plan(source, rules, arrays(SMALL)))
    (one,) = advice.remarks
    assert [told for told in one.lines if not told.startswith("#")] == [line]
    assert one.sentence.endswith(f"change its target; in place of `{rules}:3`")
    rules.write_text("format: 1\nrules:\n" + "".join(f"  {told}\n" for told in one.lines))
    assert not cs.plan(source, rules, arrays(SMALL)).findings


def test_the_wrong_target_of_an_op_is_told_in_words() -> None:
    plan = cs.plan(arrays(SMALL), [{"fc.weight -> fd.weight": {"cast": "F16"}}], arrays(SMALL))
    one = advise(plan).remarks[0]
    assert one.lines == ()
    assert "gives `fd.weight` where `fc.weight` is wanted: change its target" in one.sentence


def test_a_size_of_one_that_an_op_took_is_told() -> None:
    given, into = {"w": torch.ones(4, 3, 2)}, {"w": torch.ones(4, 1, 2)}
    plan = cs.plan(given, [{"w -> w": {"sum": 1}}], into)
    assert "`keepdim: true` of the op keeps it" in str(plan)
    assert cs.plan(given, [{"w -> w": {"sum": {"dim": 1, "keepdim": True}}}], into).findings == ()


def test_a_missing_key_that_a_rule_took_is_no_stranger() -> None:
    specs = floats({"bn1.weight": (4,), "bn2.weight": (4,), "fc.weight": (2, 4)})
    rules = [{"drop": "bn2.*"}, "bn1.* -> bn2.*"]
    advice = advise(cs.plan(arrays(specs), rules, arrays(specs)))
    (one,) = advice.remarks
    assert "`bn1.weight` is in the source, and taken there by a rule" in one.sentence
    both = [rules[0], {"from": "bn1.*", "to": ["bn1.*", "bn2.*"]}]
    assert not cs.plan(arrays(specs), both, arrays(specs)).open_findings


# --- ties -----------------------------------------------------------------------------------------

EMBED, HEAD = "model.embed.weight", "head.weight"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (EMBED, f"- {{from: {EMBED}, to: [{EMBED}, {HEAD}]}}"),
        (HEAD, f"- {{from: {HEAD}, to: [{HEAD}, {EMBED}]}}"),
        ("model.wte.weight", f"- {{from: model.wte.weight, to: [{EMBED}, {HEAD}]}}"),
        (f"x.{EMBED}", f"- {{from: x.{EMBED}, to: [{EMBED}, {HEAD}]}}"),
    ],
)
def test_a_tied_key_comes_from_the_one_that_is_given(given: str, line: str, tmp_path: Path) -> None:
    weight, prefix = torch.ones(5, 3), "x." if given.startswith("x.") else ""
    into, source, out = (tmp_path / f"{name}.pt" for name in ("into", "source", "out"))
    torch.save({EMBED: weight, "model.norm.weight": torch.ones(3), HEAD: weight}, into)
    trained = {f"{prefix}model.norm.weight": torch.zeros(3)}
    torch.save({**trained, given: torch.rand(5, 3)}, source)
    advice = advise(cs.plan(source, None, into))
    assert advice.suggestion is not None
    assert line in lines(advice)
    cs.transplant(source, out, advice.suggestion.rules, into)
    made = torch.load(out)
    assert made[EMBED].data_ptr() == made[HEAD].data_ptr()
    assert torch.equal(made[EMBED], torch.load(source)[given])


def tied(*keys: str) -> Any:
    weight = torch.ones(6, 4)
    return {**dict.fromkeys(keys, weight), "x": torch.ones(3)}


def test_only_what_is_missing_of_tied_keys_is_given_anew() -> None:
    source, into = tied("a.w", "b.w"), tied("a.w", "b.w", "head.w")
    suggestion = advise(cs.plan(source, into=into)).suggestion
    assert suggestion is not None
    assert rule_lines_of(suggestion.text()) == ("- {from: a.w, to: [a.w, head.w]}",)
    assert cs.plan(source, suggestion.rules, into=into).findings == ()


def test_the_drop_of_a_tied_key_loses_nothing() -> None:
    plan = cs.plan(tied("a.w", "b.w"), into={"a.w": torch.ones(6, 4), "x": torch.ones(3)})
    assert lines(advise(plan)) == ["- drop: b.w"]


# --- errors ---------------------------------------------------------------------------------------


def test_an_error_carries_the_suggestion() -> None:
    source, into = floats({"a.w": (2, 3)}), floats({"b.w": (2, 3), "c": (1, 1)})
    with pytest.raises(cs.FindingsError) as raised:
        cs.apply(arrays(source), [], into=arrays(into))
    assert raised.value.suggestion.likely == ("b.w",)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    weights = {f"net.{key}": value for key, value in model.state_dict().items()}
    with pytest.raises(cs.FindingsError) as raised:
        modules.load(model, weights)
    assert "- net.** -> 0.**" in str(raised.value) or raised.value.suggestion is not None


@settings(max_examples=100)
@given(st.sets(st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE)), max_size=8))
def test_advice_is_printable(keys: set[str]) -> None:
    specs = {key: TensorSpec("F32", (1,)) for key in sorted(keys)}
    for plan in (compared(specs, SMALL), compared(SMALL, specs)):
        for line in lines(advise(plan)):
            assert line.isprintable()


def test_a_rule_that_does_more_is_kept() -> None:
    source = floats({"a.x.w": (4, 4), "a.y.w": (4, 8)})
    into = floats({"b.x.w": (4, 4), "c.y.w": (4, 8)})
    (one,) = advise(cs.plan(arrays(source), ["a.** -> b.**"], arrays(into))).remarks
    assert one.sentence.endswith("; above `<rules>:1`")
    assert one.lines[-1] == "- a.y.w -> c.y.w"


def test_a_shift_is_no_rotation() -> None:
    source = floats({f"l.{n}.w": (4, 4) for n in range(4)})
    into = floats({f"k.{n}.w": (4, 4) for n in range(4)})
    (one,) = advise(cs.plan(arrays(source), ["l.<i>.w -> k.<i+1>.w"], arrays(into))).remarks
    assert "are the numbers of all its keys shifted?" in one.sentence
    assert one.lines == ()


def test_what_a_file_leaves_out_is_offered() -> None:
    source = floats({"m.a.w": (4, 4), "m.b.w": (5, 4), "m.c.w": (6, 4), "same.w": (2, 2)})
    into = floats({"n.a.w": (4, 4), "n.b.w": (5, 4), "n.c.w": (6, 4), "same.w": (2, 2)})
    rules = {"format": 1, "unmatched": "drop", "rules": ["m.a.* -> n.a.*"]}
    told = lines(advise(cs.plan(arrays(source), rules, arrays(into))))
    assert "- m.** -> n.**" in told
    assert any("same.w" in line for line in told)


def test_a_block_that_is_cut_ends_in_a_comment() -> None:
    source = floats({f"{name}.w": (at + 2, 3) for at, name in enumerate("abcdefghijklmnopqrstuvw")})
    into = floats({f"x{name}y.v": (at + 2, 3) for at, name in enumerate("wvutsrqponmlkjihgfedcba")})
    text = str(cs.plan(arrays(source), None, arrays(into)))
    assert "  # ... " in text


def test_what_no_rule_can_name_is_told_in_words() -> None:
    from ckptsurgeon.drafting.leaving import leave_keys

    told = leave_keys("keep", dict.fromkeys(["a\nb", "", "a ", "null", "plain"], "why"), ["x"])
    assert told[0] == "- keep: plain  # why"
    assert all(line.endswith(": why; no rule can name it") for line in told[1:])
    assert len(told) == 5


def test_a_target_that_is_nearly_one_is_told_by_its_name() -> None:
    source = floats({"conv1.weight": (4, 3, 7, 7)})
    into = floats({"stem.weight": (4, 4, 7, 7), "other.weight": (4, 5, 7, 7)})
    (one,) = advise(cs.plan(arrays(source), ["conv1.weight -> stem.wieght"], arrays(into))).remarks
    assert one.sentence.endswith("that the destination lacks: did you mean 'stem.weight'?")


@pytest.mark.parametrize("unmatched", ["drop", "error"])
@pytest.mark.parametrize("rules", [[], ["m.a.* -> n.a.*"]])
def test_keys_that_a_file_holds_back_want_rules(unmatched: str, rules: list[str]) -> None:
    source = floats({"same.w": (2, 2), "m.a.w": (4, 4), "m.b.w": (5, 4)})
    into = floats({"same.w": (2, 2), "n.a.w": (4, 4), "n.b.w": (5, 4)})
    file = {"format": 1, "unmatched": unmatched, "rules": rules}
    suggestion = advise(cs.plan(arrays(source), file, arrays(into))).suggestion
    assert suggestion is not None
    added = [line.removeprefix("- ") for line in rule_lines_of(suggestion.text())]
    assert "same.w -> same.w" in added
    assert not cs.plan(arrays(source), {**file, "rules": [*rules, *added]}, arrays(into)).findings


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("net_blocks.2.attn.q.bias", "net.blocks.2.attn.q.bias"),
        ("net.blocks.2.atn.q.bias", "net.blocks.2.attn.q.bias"),
        ("net.blocks.7.attn.q.bias", None),  # which of two?
    ],
)
def test_a_slip_is_set_right_by_the_nearest_name(slip: str, meant: str | None) -> None:
    wanted = ("net.blocks.1.attn.q.bias", "net.blocks.2.attn.q.bias", "net.blocks.2.norm.bias")
    into = floats(dict.fromkeys(wanted, (8,)))
    source = floats({"query.bias": (8,)})
    plan = cs.plan(arrays(source), [f"query.bias -> {slip}"], arrays(into))
    (one,) = advise(plan).remarks
    assert one.lines == (() if meant is None else (f"- query.bias -> {meant}",))
