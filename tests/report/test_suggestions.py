"""What is suggested, held against the planner.

Pasted to the letter it loses and misplaces nothing; with its comments made rules it settles all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import yaml
from endless import ending
from hypothesis import given, settings
from hypothesis import strategies as st
from report.plans import HOSTILE, Specs, compared, fates, outputs, renamed, resnet18, rule, view

import ckptsurgeon as cs
from ckptsurgeon.language.patterns import compile_pattern, parse_reference, write_literal
from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.fates import Claim, Fate, Fates
from ckptsurgeon.plans.graph import Operand
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.steps import Steps
from ckptsurgeon.report.suggestions import Suggestion, make_suggestions
from ckptsurgeon.report.suggestions.exact import exact_globs
from ckptsurgeon.report.suggestions.model import Degree
from ckptsurgeon.report.suggestions.untrained import is_untrained
from ckptsurgeon.report.suggestions.writing import sayable, scalar
from ckptsurgeon.specs import TensorSpec

GOLDEN = Path(__file__).parent / "golden" / "suggestions.txt"

SMALL = resnet18(width=2, classes=7)


def stages(specs: Specs) -> Specs:
    """The same network with the layers counted from 0 and other names on the way."""
    return renamed(specs, r"layer(\d)\.(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.blocks.{m[2]}.")


def without(specs: Specs, ending: str) -> Specs:
    return {key: spec for key, spec in specs.items() if not key.endswith(ending)}


def transposed(specs: Specs) -> Specs:
    return {k: TensorSpec(s.dtype, s.shape[::-1]) for k, s in specs.items()}


GPT = {f"h.{n}.{m}.weight": TensorSpec("F32", (4, 6)) for n in range(12) for m in ("attn", "mlp")}
BIASES = {key.replace("weight", "bias"): TensorSpec("F32", (4,)) for key in GPT}


def floats(shapes: dict[str, tuple[int, ...]]) -> Specs:
    return {key: TensorSpec("F32", shape) for key, shape in shapes.items()}


LAYERS = range(3)
EXPERTS = floats(
    {
        f"layers.{i}.block_sparse_moe.experts.{e}.w{n}.weight": (5, 6) if n == 2 else (6, 5)
        for i in LAYERS
        for e in range(4)
        for n in (1, 2, 3)
    }
)
STACKED_EXPERTS = floats(
    {
        f"layers.{i}.mlp.experts.{name}": shape
        for i in LAYERS
        for name, shape in (("gate_up_proj", (4, 12, 5)), ("down_proj", (4, 5, 6)))
    }
)
FUSED = floats({f"blocks.{i}.attn.qkv.weight": (24, 8) for i in LAYERS})
PARTED = floats(
    {
        f"layer.{i}.attention.{name}.weight": (8, 8)
        for i in LAYERS
        for name in ("query", "key", "value")
    }
)
GROUPED = floats({f"l.{i}.qkv.weight": (12, 8) for i in LAYERS})
GROUPED_PARTS = floats(
    {f"l.{i}.{n}_proj.weight": (8 if n == "q" else 2, 8) for i in LAYERS for n in "qkv"}
)
IMAGES = floats(
    {
        "pos_embed": (1, 197, 8),
        "patch_embed.proj.weight": (8, 3, 16, 16),
        "blocks.0.relative_position_bias_table": (169, 3),
        "tower.position_embedding.weight": (196, 4),
    }
)
LARGER_IMAGES = floats(
    {
        "pos_embed": (1, 577, 8),
        "patch_embed.proj.weight": (8, 3, 14, 14),
        "blocks.0.relative_position_bias_table": (529, 3),
        "tower.position_embedding.weight": (256, 4),
    }
)
UNORDERED = floats({"a.left.weight": (4, 6), "a.right.weight": (4, 6), "a.bias": (4,)})

OPTIMIZER = {f"optimizer.state.{n}.exp_avg": TensorSpec("F32", (3,)) for n in range(60)}

ODD = (
    "[red]a[/red].w",
    "a..b",
    "* #: {x}, 'q' \"d\"",
    "re:x",
    "a::b",
    "<i>.w",
    "back\\slash",
    "-> y",
    "a -> b.w",
    "é.w",
)

CASES: dict[str, tuple[Specs, Specs]] = {
    "a prefix of DataParallel": (renamed(SMALL, "^", "module."), SMALL),
    "a prefix, another stem and another head": (
        renamed(resnet18(channels=4, width=2, classes=5), "^", "module."),
        SMALL,
    ),
    "a prefix to add": (SMALL, renamed(SMALL, "^", "backbone.")),
    "a prefix to replace": (renamed(SMALL, "^", "a."), renamed(SMALL, "^", "model.net.")),
    "a prefix to add to all but the head": (
        SMALL,
        renamed(SMALL, "^(?!fc)", "backbone."),
    ),
    "a prefix to replace, and another head": (
        renamed(resnet18(width=2, classes=5), "^", "a."),
        renamed(SMALL, "^", "b."),
    ),
    "a module renamed in every block": (SMALL, renamed(SMALL, r"\.bn2\.", ".bn3.")),
    "other names and layers counted from 0": (SMALL, stages(SMALL)),
    "no counters": (without(SMALL, ".num_batches_tracked"), SMALL),
    "a new head": (SMALL, {**SMALL, "head.weight": TensorSpec("F32", (3, 16))}),
    "leftovers of training": ({**SMALL, **OPTIMIZER}, SMALL),
    "another stem and another head": (resnet18(channels=4, width=2, classes=5), SMALL),
    "a smaller stem": (resnet18(channels=1, width=2, classes=7), SMALL),
    "matrices the other way": (transposed(GPT), GPT),
    "matrices the other way, by their biases": (
        transposed(GPT) | BIASES,
        GPT | BIASES,
    ),
    "widths that are swapped": (
        {"0.weight": TensorSpec("F32", (4, 6)), "0.bias": TensorSpec("F32", (4,))},
        {"0.weight": TensorSpec("F32", (6, 4)), "0.bias": TensorSpec("F32", (6,))},
    ),
    "some layers only": (
        {f"l.{n}.w": TensorSpec("F32", (n % 2 + 1,)) for n in range(8)},
        {f"l.{n}.w": TensorSpec("F32", (1,)) for n in range(8)},
    ),
    "a lone rename": (renamed(SMALL, r"layer2\.0\.conv1", "layer2.0.convA"), SMALL),
    "a rename in some layers": (
        renamed(SMALL, r"layer(1\.0|2\.1|3\.0)\.conv1", r"layer\1.convA"),
        SMALL,
    ),
    "a module spelled in another way": (
        renamed(SMALL, r"layer2\.0\.(\w+)(\d)", r"layer2.0.\1_\2"),
        SMALL,
    ),
    "experts to stack": (EXPERTS, STACKED_EXPERTS),
    "stacked experts": (STACKED_EXPERTS, EXPERTS),
    "experts under names that tell nothing": (
        renamed(EXPERTS, r"\.w(\d)", r".a\1"),
        STACKED_EXPERTS,
    ),
    "qkv to split": (FUSED, PARTED),
    "q, k and v to join": (PARTED, FUSED),
    "grouped queries to split": (GROUPED, GROUPED_PARTS),
    "grouped queries to join": (GROUPED_PARTS, GROUPED),
    "larger images": (IMAGES, LARGER_IMAGES),
    "two of one size": (
        renamed(UNORDERED, "left|right", lambda m: {"left": "up", "right": "down"}[m[0]]),
        UNORDERED,
    ),
    "hostile names": (
        {**SMALL, **{key: TensorSpec("F32", (1,)) for key in ODD}},
        SMALL,
    ),
}


def rule_file(texts: Iterable[str]) -> str:
    """The texts of suggestions as a person would paste them."""
    lines = [line for text in texts for line in text.splitlines()]
    rules = [f"  {line}" for line in lines if line.startswith(("- ", "#"))]
    top = [line for line in lines if not line.startswith(("- ", "#"))]
    return "\n".join(["format: 1", *top, "rules:", *rules]) + "\n"


def checked(suggestions: Iterable[Suggestion]) -> str:
    """The rule file of somebody who found all of them right."""
    return rule_file(one.lines for one in suggestions)


def pasted(source: object, into: object, rules: Path) -> Plan:
    """The plan of all suggestions as they are, and of what is suggested then, until all is told."""
    texts: list[str] = []
    while True:
        rules.write_text(rule_file(texts))
        plan = cs.plan(source, rules, into)
        new = [one.text for one in make_suggestions(plan) if one.text not in texts]
        if all(text.startswith("#") or not text for text in new):
            return plan
        texts += new


def arrays(specs: Specs) -> dict[str, np.ndarray]:
    kinds = {"F32": "float32", "I64": "int64"}
    return {key: np.zeros(spec.shape, kinds[spec.dtype]) for key, spec in specs.items()}


@pytest.mark.parametrize("has_values", [True, False], ids=["values", "shapes"])
@pytest.mark.parametrize("case", CASES)
def test_suggestions_that_were_checked_settle_every_finding(
    case: str, has_values: bool, tmp_path: Path
) -> None:
    source, destination = CASES[case]
    into: object = arrays(destination)
    if not has_values:
        into = tmp_path / "template.json"
        into.write_text(json.dumps({k: [s.dtype, list(s.shape)] for k, s in destination.items()}))
    before = cs.plan(arrays(source), None, into)
    assert before.open_findings
    rules = tmp_path / "rules.yaml"
    rules.write_text(checked(make_suggestions(before)))
    after = cs.plan(arrays(source), rules, into)
    assert after.open_findings == (), rules.read_text()


@pytest.mark.parametrize("case", CASES)
def test_pasted_suggestions_settle_no_trained_weight_by_its_loss(case: str, tmp_path: Path) -> None:
    source, destination = CASES[case]
    plan = pasted(arrays(source), arrays(destination), tmp_path / "rules.yaml")
    dropped = {one.key: one.spec for one in plan.fates if one.fate is Fate.DROPPED}
    own = [one for one in plan.outputs.values() if one.status in (Status.KEPT, Status.INITIALISED)]
    lost = dropped | {one.key: one.spec for one in own}
    assert [key for key, spec in lost.items() if not is_untrained(key, spec)] == []


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
    "rows that stand head by head": (FUSED, PARTED, lambda key: ""),
    "bands in another order": (
        floats({"stem.weight": (4, 13, 3, 3)}),
        floats({"stem.weight": (4, 12, 3, 3)}),
        lambda key: "",
    ),
}
"""Conversions that names and shapes tell wrongly: which source key is right ("": none)."""


@pytest.mark.parametrize("case", READINGS)
def test_pasted_suggestions_misplace_nothing(case: str, tmp_path: Path) -> None:
    source, destination, origin = READINGS[case]
    plan = pasted(arrays(source), arrays(destination), tmp_path / "rules.yaml")
    given = {one.key: one for one in plan.outputs.values() if one.rule is not None}
    wrong = {key: one.sources for key, one in given.items() if one.sources[0].key != origin(key)}
    assert wrong == {}
    assert plan.open_findings


def test_items_that_are_counted_from_elsewhere_move_all_at_once() -> None:
    source, destination, _ = READINGS["counted from 1, the same name"]
    (one,) = make_suggestions(compared(source, destination))
    assert one.text == "# CHECK - blocks.<i>.** -> blocks.<i-1>.**"
    assert "move all by -1" in one.sentence


BUFFERS: dict[str, tuple[TensorSpec, bool]] = {
    "bn.num_batches_tracked": (TensorSpec("I64", ()), True),
    "embeddings.position_ids": (TensorSpec("I64", (1, 512)), True),
    "h.attn.bias": (TensorSpec("BOOL", (1, 1, 8, 8)), True),
    "h.rotary.inv_freq": (TensorSpec("F32", (32,)), False),
    "bn.running_mean": (TensorSpec("F32", (4,)), False),
    "h.qweight": (TensorSpec("I32", (4, 4)), False),
    "h.bias": (TensorSpec("U8", (4,)), False),
    "h.mask": (TensorSpec("F32", (8, 8)), False),
}


@pytest.mark.parametrize("key", BUFFERS)
def test_only_what_is_surely_untrained_is_dropped(key: str) -> None:
    spec, untrained = BUFFERS[key]
    (one,) = make_suggestions(compared({**SMALL, key: spec}, SMALL))
    assert one.text == f"- drop: {key}" if untrained else f"# - drop: {key}"


def test_no_rule_is_offered_for_what_cant_be_read() -> None:
    plan = compared(floats({"a.old.weight": (4, 3)}), floats({"a.new.weight": (4, 3)}))
    unreadable = [
        msgspec.structs.replace(one, kind=FindingKind.UNREADABLE)
        if one.kind is FindingKind.UNUSED
        else one
        for one in plan.findings
    ]
    told = make_suggestions(replace(plan, findings=tuple(unreadable)))
    assert not any("a.old" in one.lines for one in told)


def test_golden() -> None:
    told = []
    for case, (source, destination) in CASES.items():
        told.append(f"--- {case}")
        for one in make_suggestions(compared(source, destination)):
            told += [f"# {one.sentence}", one.text]
    assert "\n".join(told) + "\n" == GOLDEN.read_text()


def test_a_prefix_is_one_line() -> None:
    specs = resnet18()
    (one,) = make_suggestions(compared(renamed(specs, "^", "module."), specs))
    assert one.sentence == "122 of 122 keys match after removing `module.`"
    assert one.text == 'source: {strip: ["module."]}'


def test_strip_is_not_offered_where_rules_read_the_prefix() -> None:
    specs = resnet18()
    plan = compared(renamed(specs, "^", "module."), specs)
    specs = {"module.x": TensorSpec("F32", ())}
    taken = fates(specs, lambda _: Claim(Fate.TAKEN, rule("module.x -> x", 4)))
    (one,) = make_suggestions(replace(plan, fates=Fates((*plan.fates.tables, taken))))
    assert one.text == "- module.** -> **"


def _mismatched_by(origin: str, key: str, steps: int) -> Plan:
    given_by = rule("module.** -> **", 4, steps)
    found, wanted = TensorSpec("F32", (4, 6, 3, 3)), TensorSpec("F32", (4, 3, 3, 3))
    finding = Finding(
        FindingKind.MISMATCHED, key, found, wanted, given_by, sources=(Operand("", origin),)
    )
    return Plan(
        (view("s.pt", {origin: found}),),
        view("d.pt", {key: wanted}),
        outputs({}, {}),
        Steps(()),
        Fates((fates({origin: found}, lambda _: Claim(Fate.TAKEN, given_by)),)),
        (given_by,),
        (finding,),
    )


@pytest.mark.parametrize(("steps", "where"), [(9, "above"), (1, "in place of")])
def test_what_a_rule_gives_is_settled_before_or_instead(steps: int, where: str) -> None:
    (one,) = make_suggestions(_mismatched_by("module.conv1.weight", "conv1.weight", steps))
    assert one.text == "# CHECK - module.conv1.weight[:, :3] -> conv1.weight"
    assert one.sentence.endswith(f"; {where} `rules.yaml:4`")


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
    told = [one.sentence for one in make_suggestions(plan)]
    assert told[0] == (
        "122 of 122 keys that `rules.yaml:4` gives match after removing `model.`: change its target"
    )


# --- what needs a rule or values ------------------------------------------------------------------


def settled(source: object, rules: Path, into: object) -> tuple[Suggestion, ...]:
    """The suggestions of a plan, which settle all when they stand in place of its rules."""
    told = make_suggestions(cs.plan(source, rules if rules.exists() else None, into))
    rules.write_text(checked(told))
    after = cs.plan(source, rules, into)
    assert after.open_findings == (), rules.read_text()
    return told


@pytest.mark.parametrize(
    ("text", "old", "new", "arrow"),
    [
        (
            "layer<i>.<j>.convA.weight -> layer<i>.<j>.conv_1.weight",
            r"(layer\d\.\d)\.conv1",
            r"\1.convA",
            "- layer<i>.<j>.convA.weight -> layer<i>.<j>.conv1.weight",
        ),
        ("conv1.weight -> conv_1.weight", "^$", "", "- conv1.weight -> conv1.weight"),
        ("a.** -> b.**", "^", "a.", "- a.** -> '**'"),
    ],
)
def test_a_mistyped_target_is_told_with_the_rule_as_it_should_be(
    text: str, old: str, new: str, arrow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a long path would be shortened in the sentence
    rules = Path("rules.yaml")
    rules.write_text(f"format: 1\nrules:\n  - {text}\n")
    (one,) = settled(arrays(renamed(SMALL, old, new)), rules, arrays(SMALL))
    assert one.text == arrow.replace("'", "")
    assert one.sentence.endswith(f"change its target; in place of `{rules}:3`")


def test_the_wrong_target_of_an_op_is_told_in_words(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("format: 1\nrules:\n  - fc.weight -> fd.weight: {cast: F16}\n")
    plan = cs.plan(arrays(SMALL), rules, arrays(SMALL))
    (one,) = make_suggestions(plan)
    assert one.text == ""
    assert "gives `fd.weight` where `fc.weight` is wanted: change its target" in one.sentence


EMBED, HEAD = "model.embed.weight", "head.weight"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((EMBED,), f"- {{from: {EMBED}, to: [{EMBED}, {HEAD}]}}"),
        ((HEAD,), f"- {{from: {HEAD}, to: [{HEAD}, {EMBED}]}}"),
        (("model.wte.weight",), f"- tie: [{EMBED}, {HEAD}]"),
        ((f"x.{EMBED}",), f"- tie: [{EMBED}, {HEAD}]"),
    ],
)
def test_a_tied_key_comes_from_the_one_that_is_given(
    given: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    import torch

    weight, prefix = torch.ones(5, 3), "x." if given[0].startswith("x.") else ""
    into = tmp_path / "into.pt"
    torch.save({EMBED: weight, "model.norm.weight": torch.ones(3), HEAD: weight}, into)
    source = tmp_path / "source.pt"
    trained = {f"{prefix}model.norm.weight": torch.zeros(3)}
    torch.save({**trained, **{key: torch.rand(5, 3) for key in given}}, source)
    told = settled(source, tmp_path / "rules.yaml", into)
    assert told[-1].lines == line
    out = tmp_path / "out.pt"
    cs.transplant(source, out, tmp_path / "rules.yaml", into)
    made = torch.load(out)
    assert made[EMBED].data_ptr() == made[HEAD].data_ptr()
    assert torch.equal(made[EMBED], torch.load(source)[given[0]])


def test_a_size_of_one_that_an_op_took_is_told() -> None:
    given, into = {"w": torch.ones(4, 3, 2)}, {"w": torch.ones(4, 1, 2)}
    plan = cs.plan(given, [{"w -> w": {"sum": 1}}], into)
    assert "`keepdim: true` of the op keeps it" in str(plan)
    assert cs.plan(given, [{"w -> w": {"sum": {"dim": 1, "keepdim": True}}}], into).findings == ()


def test_what_would_lose_weights_comes_last_and_says_so() -> None:
    last = make_suggestions(compared(*CASES["two of one size"]))[-1]
    assert last.text.startswith("# - drop:")
    assert "would lose 192 B" in last.sentence


def test_parts_of_other_ranks_are_not_joined() -> None:
    parts = floats({"a.q.w": (4, 3), "a.k.w": (4,), "a.v.w": (4, 3), "b.q.w": (4,)})
    parts |= floats({"b.k.w": (4,), "b.v.w": (4,)})
    told = make_suggestions(compared(parts, floats({"a.qkv.w": (4, 7), "b.qkv.w": (12,)})))
    assert not any("concat" in one.text for one in told if "a." in one.text)


def test_a_kernel_that_cuts_no_patches_is_not_resampled() -> None:
    old, new = floats({"conv1.weight": (4, 3, 7, 7)}), floats({"conv1.weight": (4, 3, 3, 3)})
    (one,) = make_suggestions(compared(old, new))
    assert one.text == "# - keep: conv1.weight"


def test_many_keys_are_one_suggestion() -> None:
    parts = floats({f"l.{i}.{n}.weight": (4, 4) for i in range(4000) for n in "qkv"})
    whole = floats({f"m.{i}.qkv.weight": (12, 4) for i in range(4000)})
    with ending():
        (one,) = make_suggestions(compared(parts, whole))
    assert one.lines == "- 'l.<i>.<p:q|k|v>.weight -> m.<i>.qkv.weight': concat"


# --- patterns -------------------------------------------------------------------------------------

PIECES = st.sampled_from(["a", "b", "0", "1", "2", "10", "03", "x1", "x2", "", "*", "<i>", "a[0]"])
KEYS = st.lists(PIECES, min_size=1, max_size=4).map(".".join)


def test_a_pattern_takes_nothing_of_another() -> None:
    keys = ["0.a", "0.b", "1.a", "2.a"]
    assert [glob.source for glob in exact_globs(keys, keys)] == ["0.*", "<i:1|2>.a"]


@settings(max_examples=200, deadline=None)
@given(st.sets(KEYS, max_size=30), st.randoms(use_true_random=False))
def test_exact_globs_match_the_wanted_keys_alone(universe: set[str], random: object) -> None:
    keys = sorted(universe)
    wanted = [key for key in keys if random.random() < 0.6]  # type: ignore[attr-defined]
    matchers = [_matcher(glob.source) for glob in exact_globs(wanted, keys)]
    matched = [key for matcher in matchers for key in keys if matcher(key)]
    assert sorted(matched) == [key for key in wanted if sayable(key)]


def _matcher(text: str) -> Callable[[str], bool]:
    from ckptsurgeon.language.patterns import Capture, Kind, Pattern, Reference

    reference: Reference = parse_reference(text)
    pieces = tuple(
        Capture(p.name, Kind.INT) if isinstance(p, Capture) and p.kind is Kind.BARE else p
        for p in reference.pattern.pieces
    )
    matcher = compile_pattern(Pattern(pieces))
    return lambda key: matcher.match(key) is not None


@settings(max_examples=300, deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_an_escaped_key_means_itself(key: str) -> None:
    if sayable(key):
        assert parse_reference(write_literal(key)).pattern.literal == key


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE), KEYS), st.booleans())
def test_a_quoted_text_is_read_back_by_yaml(text: str, flow: bool) -> None:
    if sayable(text):
        document = f"[{scalar(text, flow)}, x]" if flow else f"- {scalar(text, flow)}\n- x"
        assert str(yaml.load(document, yaml.BaseLoader)[0]) == text


@settings(max_examples=200, deadline=None)
@given(st.sets(st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE)), max_size=8))
def test_suggestions_are_printable(keys: set[str]) -> None:
    specs = {key: TensorSpec("F32", (1,)) for key in sorted(keys)}
    for plan in (compared(specs, SMALL), compared(SMALL, specs)):
        for one in make_suggestions(plan):
            assert one.sentence.isprintable()
            assert all(line.isprintable() for line in one.text.splitlines())


def test_what_the_source_has_and_cannot_be_read_is_told_as_that() -> None:
    source = {"w": torch.ones(2), "q": torch.eye(2).to_sparse()}
    plan = cs.plan(source, into={"w": torch.ones(2), "q": torch.ones(2, 2)}, allow="unreadable")
    told = [one.sentence for one in make_suggestions(plan)]
    assert told == [
        "`q` is unreadable in the source: if it can't be saved in another way, keep the "
        "destination's own"
    ]


def tied(*keys: str) -> Any:
    weight = torch.ones(6, 4)
    return {**dict.fromkeys(keys, weight), "x": torch.ones(3)}


def test_only_what_is_missing_of_tied_keys_is_given_anew() -> None:
    source, into = tied("a.w", "b.w"), tied("a.w", "b.w", "head.w")
    (one,) = make_suggestions(cs.plan(source, into=into))
    assert one.text == "- {from: a.w, to: [a.w, head.w]}"
    assert cs.plan(source, [yaml.safe_load(one.text[2:])], into=into).findings == ()


def test_the_drop_of_a_tied_key_loses_nothing() -> None:
    plan = cs.plan(tied("a.w", "b.w"), into={"a.w": torch.ones(6, 4), "x": torch.ones(3)})
    (one,) = make_suggestions(plan)
    assert one.sentence == "`b.w` is tied in the source to what is taken: a drop loses nothing"
    assert one.degree is Degree.LIKELY


def test_a_bias_of_a_batchnorm_is_not_suggested_for_a_convolution() -> None:
    norm = {f"c.bn.{key}": np.ones(4) for key in ("weight", "bias", "running_mean", "running_var")}
    source = {"c.conv.weight": np.ones((4, 3)), **norm}
    into = {"c.conv.weight": np.ones((4, 3)), "c.conv.bias": np.ones(4)}
    for one in make_suggestions(cs.plan(source, into=into)):
        assert "c.bn.bias -> " not in one.text
    for one in make_suggestions(cs.plan(into, into=source)):
        assert "c.conv.bias -> " not in one.text


# --- what rules took ------------------------------------------------------------------------------


def test_a_missing_key_that_a_rule_took_is_no_stranger() -> None:
    specs = floats({"bn1.weight": (4,), "bn2.weight": (4,), "fc.weight": (2, 4)})
    rules = [{"drop": "bn2.*"}, "bn1.* -> bn2.*"]
    (one,) = make_suggestions(cs.plan(arrays(specs), rules, arrays(specs)))
    assert one.text == "# - keep: bn1.weight"
    assert "`bn1.weight` is in the source, and taken or dropped there by a rule" in one.sentence
    both = [rules[0], {"from": "bn1.*", "to": ["bn1.*", "bn2.*"]}]
    assert not cs.plan(arrays(specs), both, arrays(specs)).open_findings
