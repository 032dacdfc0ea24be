"""What is suggested, held against the planner: pasted into a rule file, it settles everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from report.plans import HOSTILE, Specs, compared, renamed, resnet18, rule, view

import ckptsurgeon as cs
from ckptsurgeon.patterns import compile_pattern, parse_reference
from ckptsurgeon.planner.model import Fate, Finding, FindingKind, Operand, Plan, SourceFate
from ckptsurgeon.specs import TensorSpec
from ckptsurgeon.suggestions import Suggestion, make_suggestions
from ckptsurgeon.suggestions.exact import exact_globs
from ckptsurgeon.suggestions.writing import escaped, sayable, scalar

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
OPTIMIZER = {f"optimizer.state.{n}.exp_avg": TensorSpec("F32", (3,)) for n in range(60)}

ODD = (
    "[red]a[/red].w",
    "a..b",
    "* #: {x}, 'q' \"d\"",
    "re:x",
    "a::b",
    "<i>.w",
    "back\\slash",
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
    "some layers only": (
        {f"l.{n}.w": TensorSpec("F32", (n % 2 + 1,)) for n in range(8)},
        {f"l.{n}.w": TensorSpec("F32", (1,)) for n in range(8)},
    ),
    "hostile names": (
        {**SMALL, **{key: TensorSpec("F32", (1,)) for key in ODD}},
        SMALL,
    ),
}


def rule_file(suggestions: tuple[Suggestion, ...]) -> str:
    """The suggestions as a person would paste them."""
    lines = [line for one in suggestions for line in one.text.splitlines()]
    rules = [f"  {line}" for line in lines if line.startswith("- ")]
    top = [line for line in lines if not line.startswith("- ")]
    return "\n".join(["format: 1", *top, "rules:" if rules else "rules: []", *rules]) + "\n"


def arrays(specs: Specs) -> dict[str, np.ndarray]:
    kinds = {"F32": "float32", "I64": "int64"}
    return {key: np.zeros(spec.shape, kinds[spec.dtype]) for key, spec in specs.items()}


@pytest.mark.parametrize("has_values", [True, False], ids=["values", "shapes"])
@pytest.mark.parametrize("case", CASES)
def test_pasted_suggestions_settle_every_finding(
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
    rules.write_text(rule_file(make_suggestions(before)))
    after = cs.plan(arrays(source), rules, into)
    assert after.open_findings == (), rules.read_text()


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
    taken = SourceFate("", "module.x", TensorSpec("F32", ()), Fate.TAKEN, rule("module.x -> x", 4))
    (one,) = make_suggestions(_with_fate(plan, taken))
    assert one.text == "- module.** -> **"


def _with_fate(plan: Plan, fate: SourceFate) -> Plan:
    return Plan(
        plan.sources,
        plan.destination,
        plan.outputs,
        plan.steps,
        (*plan.fates, fate),
        plan.rules,
        plan.findings,
    )


def _mismatched_by(origin: str, key: str, steps: int) -> Plan:
    given_by = rule("module.** -> **", 4, steps)
    found, wanted = TensorSpec("F32", (4, 6, 3, 3)), TensorSpec("F32", (4, 3, 3, 3))
    finding = Finding(
        FindingKind.MISMATCHED, key, found, wanted, given_by, sources=(Operand("", origin),)
    )
    return Plan(
        (view("s.pt", {origin: found}),),
        view("d.pt", {key: wanted}),
        {},
        (),
        (SourceFate("", origin, found, Fate.TAKEN, given_by),),
        (given_by,),
        (finding,),
    )


@pytest.mark.parametrize(("steps", "where"), [(9, "above"), (1, "in place of")])
def test_what_a_rule_gives_is_settled_before_or_instead(steps: int, where: str) -> None:
    (one,) = make_suggestions(_mismatched_by("module.conv1.weight", "conv1.weight", steps))
    assert one.text == "- module.conv1.weight[:, :3] -> conv1.weight"
    assert one.sentence.endswith(f"; {where} `rules.yaml:4`")


def test_a_target_with_the_wrong_prefix_is_told_in_words() -> None:
    given_by = rule("module.** -> model.**", 4, 122)
    specs = resnet18()
    findings = [
        Finding(FindingKind.UNEXPECTED, f"model.{k}", found=s, rule=given_by)
        for k, s in specs.items()
    ]
    findings += [Finding(FindingKind.MISSING, k, wanted=s) for k, s in specs.items()]
    plan = Plan((view("s.pt", specs),), view("d.pt", specs), {}, (), (), (), tuple(findings))
    told = [one.sentence for one in make_suggestions(plan)]
    assert told[0] == (
        "122 of 122 keys that `rules.yaml:4` gives match after removing `model.`: change its target"
    )


# --- patterns -------------------------------------------------------------------------------------

PIECES = st.sampled_from(["a", "b", "0", "1", "2", "10", "03", "x1", "x2", "", "*", "<i>", "a[0]"])
KEYS = st.lists(PIECES, min_size=1, max_size=4).map(".".join)


@settings(max_examples=200, deadline=None)
@given(st.sets(KEYS, max_size=30), st.randoms(use_true_random=False))
def test_exact_globs_match_the_wanted_keys_alone(universe: set[str], random: object) -> None:
    keys = sorted(universe)
    wanted = [key for key in keys if random.random() < 0.6]  # type: ignore[attr-defined]
    matchers = [_matcher(glob.source) for glob in exact_globs(wanted, keys)]
    matched = {key for key in keys if any(matcher(key) for matcher in matchers)}
    assert matched == {key for key in wanted if sayable(key)}


def _matcher(text: str) -> Callable[[str], bool]:
    from ckptsurgeon.patterns import Capture, Kind, Pattern, Reference

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
        assert parse_reference(escaped(key)).pattern.literal == key


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
