"""Rule files and keys of strangers: whatever they ask for, the answer comes soon."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from endless import ending

from ckptsurgeon.checkpoints.base import Contents
from ckptsurgeon.checkpoints.memory import MemoryCheckpoint
from ckptsurgeon.errors import CkptSurgeonError, ProblemsError
from ckptsurgeon.language.expressions.parsing import MAX_DEPTH
from ckptsurgeon.language.patterns import compile_pattern, parse_reference
from ckptsurgeon.language.reading.rule_lines import MAX_WITHIN
from ckptsurgeon.language.rulesets import parse_ruleset
from ckptsurgeon.planner.planning import Inputs, make_plan
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.render.problems import MOST_PROBLEMS
from ckptsurgeon.specs import TensorSpec

MEBIBYTES = 300

RANDOM = random.Random(0)

Shapes = Mapping[str, tuple[int, ...]]


@contextmanager
def small() -> Iterator[None]:
    """Fails where the body takes much memory; what is counted takes several times as long."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEBIBYTES << 20


def plan(rules: str, shapes: Shapes) -> Plan:
    text = f"format: 1\nrules:\n{rules}" if rules.lstrip().startswith("-") else rules
    specs = {key: TensorSpec("F32", shape) for key, shape in shapes.items()}
    source = MemoryCheckpoint(contents=Contents(specs), has_values=False)
    return make_plan([parse_ruleset(text, "r.yaml")], Inputs({"": source}))


def numbered(prefix: str, count: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.{number}": (2,) for number in range(count)}


REFUSED: Mapping[str, tuple[str, Shapes]] = {
    "a range of 1e12 that no key is in": (
        "- {from: a.<i>, to: b.<i>, pick: {i: [5..999999999999]}}",
        numbered("a", 3),
    ),
    "many picks of one key": (
        f"- {{from: a.<i>, to: b.<i>, pick: {{i: [{', '.join(['0'] * 150_000)}]}}}}",
        numbered("a", 1),
    ),
    "a hole of 10**18": ("- 'a.<i> -> a': stack", {"a.0": (2,), "a.999999999999999999": (2,)}),
    "a hole in three dims of 10**18": (
        "- 'a.<i>.<j>.<k> -> a': [stack: {over: i}, stack: {over: j}, stack: {over: k}]",
        {"a.0.0.0": (2,), ".".join(["a", *["9" * 18] * 3]): (2,)},
    ),
    "each key with each other": (
        "- {from: [a.<i>, a.<j>, a.<k>], to: b.<i>.<j>.<k>, ops: concat}",
        numbered("a", 1000),
    ),
    "splits of splits": (
        "- 'a -> b.<i>.<j>': [unstack: {over: i}, unstack: {over: j}]",
        {"a": (60_000, 60_000)},
    ),
    "ten thousands of parts that interleave": (
        "- 'a -> b[i::60000]': {split: {over: i, parts: 60000}}",
        {"a": (120_000,)},
    ),
    "a split into a billion": ("- 'a -> b.<i>': {split: {parts: 1000000000}}", {"a": (10**9,)}),
    "an unstack of a billion": ("- 'a -> b.<i>': unstack", {"a": (10**9, 1)}),
    "a count of 10**18": ("- {from: a.<i>, to: b.<i>, count: 1000000000000000000}", {"a.0": (2,)}),
    "a part at 10**18": ("- a -> b[1000000000000000000:1000000000000000002]", {"a": (2,)}),
    "a part with a step of 10**18": (
        "- {from: a, to: 'b[::1000000000000000000]'}",
        {"a": (2,)},
    ),
    "an init of a terabyte": (
        "- init: {to: b, fill: 0, shape: [1000000, 1000000, 10]}",
        {"a": (2,)},
    ),
    "lists of prefixes within lists of prefixes": (
        "".join(
            f"{'    ' * depth}- within: [{', '.join(f'p{n}.' for n in range(30))}]\n"
            f"{'    ' * depth}  rules:\n"
            for depth in range(8)
        )
        + "    " * 8
        + "- a -> b",
        {"a": (2,)},
    ),
    "an expression of brackets": (f"- 'a.<i> -> b.<{'(' * 400}i{')' * 400}>'", {"a.0": (2,)}),
    "a product of large numbers": (f"- 'a.<i> -> b.<{'*'.join(['9999999'] * 90)}>'", {"a.0": (2,)}),
    "a thousand dead rules": (
        "".join(f"- layers.{n}.self_attn.weight -> x.{n}\n" for n in range(1000)),
        {f"layers.{n}.attn.weight": (2,) for n in range(5000)},
    ),
    "ten thousand producers of one key": (
        "- 'a.<i> -> b.<i*0>'",
        numbered("a", 10_000),
    ),
    "quantifiers of quantifiers": ("- 're:((a{1000}){1000}){1000} -> b'", {"a": (2,)}),
    "sizes with an x between them": (f"- a -> b: {{reshape: {'1x' * 29}1!}}", {"a": (2,)}),
    "an arrow a hundred thousand times, and a comment": (
        f"- a[{'->' * 100_000} #x",
        {"a": (2,)},
    ),
    "half of a long arrow": (f"- a {'-' * 200_000}", {"a": (2,)}),
    "captures that never close": (f'- "x {"<a:" * 60_000} -> y"', {"a": (2,)}),
    "slices that never close": (f'- "a -> {"[" * 300_000}"', {"a": (2,)}),
    "slices that never close, behind a text in quotes": (
        f'- "a" -> {"->[" * 60_000}',
        {"a": (2,)},
    ),
    "many rules of captures that never close": (
        f'- "x {"<a:" * 1000} -> y"\n' * 190,
        {"a": (2,)},
    ),
    "hundreds of stars": (f"- '{'.'.join('*' * 400)} -> {'.'.join('*' * 400)}'", {"a": (2,)}),
    "hundreds of integers": (
        f"- 'zz.{'.'.join(f'<a{n}:int>' for n in range(300))} -> "
        f"{'.'.join(f'<a{n}>' for n in range(300))}'",
        {"a": (2,)},
    ),
    "hundreds of captures in another language's way": (
        f"- '{''.join(f'{{a{n}}}' for n in range(400))} -> b'",
        {f"{n}.{'abcdefghi.' * 36}": (2,) for n in range(2000)},
    ),
    "thousands of dead rules beside one that takes all": (
        "- 'model.** -> m.**'\n" + "".join(f"- foo{n}.* -> bar{n}.*\n" for n in range(5000)),
        numbered("model", 20_000),
    ),
    "thousands of rules, all of them dead": (
        "".join(f"- foo{n}.* -> bar{n}.*\n" for n in range(4000)),
        numbered("model", 3000),
    ),
    "a list of a hundred thousand rules": (
        f"format: 1\nrules: [{', '.join(['a -> b'] * 100_000)}]",
        {"a": (2,)},
    ),
    "keys of thousands of pieces that begin alike": (
        "- x.<i> -> y.<i>",
        {f"{'a.' * 20_000}{last}": (2,) for last in "vw"},
    ),
    "captures that many long keys nearly match": (
        "- <a:path>.<a:path>.<b:path>.<b:path>.<i>.<j>.<k>.<l> -> y.<a>.<b>.<i>.<j>.<k>.<l>",
        {f"1.1.1.1.{'.'.join(RANDOM.choices('ab', k=80))}.q{n}": (2,) for n in range(300)},
    ),
    "a nearest key among many that look like it": (
        f"- {''.join(RANDOM.choices('ab', k=199))} -> y",
        {"".join(RANDOM.choices("ab", k=199)): (2,) for _ in range(4000)},
    ),
    "a tie of thousands of keys that an op has taken": (
        f"- 'a.<i> -> b.<i>': {{scale: 2}}\n- tie: [{', '.join(f'a.{n}' for n in range(4000))}]\n",
        numbered("a", 4000),
    ),
    "thousands of names that are no vars": (
        "format: 1\nrules: []\nvars:\n"
        + "".join(f"  v{n:04}: {' + '.join(f'u{m:03}' for m in range(150))}\n" for n in range(200)),
        {"a": (2,)},
    ),
    "ops with hundreds of parameters that are none": (
        "".join(
            f"- {{from: a, to: b{n}, ops: {{view: 1, {words}}}}}\n"
            for words in [", ".join(f"p{m}: 1" for m in range(150))]
            for n in range(190)
        ),
        {"a": (2,)},
    ),
    "spaces before an op that is none": (
        f"- a -> b: |\n    x{' ' * 190}\n    y\n" * 190,
        {"a": (2,)},
    ),
    "steps that fail by thousands": ("- 'a.<i> -> b.<i>': {permute: [1, 0]}", numbered("a", 9999)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_soon(name: str) -> None:
    rules, shapes = REFUSED[name]
    with ending(), pytest.raises(CkptSurgeonError) as caught:
        plan(rules, shapes)
    assert len(str(caught.value)) < 700_000


def test_as_many_dead_rules_are_explained_as_are_shown() -> None:
    given = "".join(f"- a{n} -> b{n}\n" for n in range(2 * MOST_PROBLEMS))
    dead = "".join(f"- b{n} -> c{n}\n" for n in range(2 * MOST_PROBLEMS))
    with pytest.raises(ProblemsError) as caught:
        plan(given + dead, {f"a{n}": (2,) for n in range(2 * MOST_PROBLEMS)})
    explained = ["is given by" in problem.message for problem in caught.value.problems]
    assert explained == [True] * MOST_PROBLEMS + [False] * MOST_PROBLEMS
    assert caught.value.problems[-1].message == f"no key matches `b{2 * MOST_PROBLEMS - 1}`"


def test_a_checkpoint_that_many_rules_have_converted_already_is_known() -> None:
    rules = "".join(f"- a{n} -> b{n}\n" for n in range(3000))
    with pytest.raises(ProblemsError, match="the source is converted already"):
        plan(rules, {f"b{n}": (2,) for n in range(3000)})


def test_blanks_before_a_comment() -> None:
    with ending(), pytest.raises(ProblemsError, match="` #` starts a comment"):
        plan(f"- a[{' ' * 100_000} #x", {"a": (2,)})


@pytest.mark.parametrize("name", ["splits of splits", "each key with each other"])
def test_refused_in_little_memory(name: str) -> None:
    with small(), pytest.raises(CkptSurgeonError):
        plan(*REFUSED[name])


PLANNED: Mapping[str, tuple[str, Shapes, int]] = {
    "a range of 1e12": (
        "- {from: a.<i>, to: b.<i>, pick: {i: [0..999999999999]}}",
        numbered("a", 3),
        3,
    ),
    "slices of 10**18 in thousands": (
        "".join(f"- 'a[{n}] -> b.{n}'\n" for n in range(300)),
        {"a": (10**18,)},
        300,
    ),
    "thousands of parts of one tensor": (
        "- 'a -> b[:, i]': unstack",
        {"a": (20_000, 3)},
        1,
    ),
    "thousands of parts that interleave": (
        "- 'a -> b[i::500]': {split: {over: i, parts: 500}}",
        {"a": (50_000,)},
        1,
    ),
    "a prefix that a key has a hundred thousand times": (
        "format: 1\nsource: {strip: [m.]}\nrules: []",
        {"m." * 100_000 + "w": (2,)},
        1,
    ),
    "a piece that a key has a hundred thousand times": (
        "format: 1\nsource: {strip: {anywhere: [m]}}\nrules: []",
        {"x." + "m." * 100_000 + "w": (2,)},
        1,
    ),
}


@pytest.mark.parametrize("name", PLANNED)
def test_planned_soon(name: str) -> None:
    rules, shapes, outputs = PLANNED[name]
    with ending():
        assert len(plan(rules, shapes).outputs) == outputs


def test_a_comment_of_a_word_that_is_put_for_what_cannot_be_read() -> None:
    with ending():
        assert plan("format: 1\nrules: []\n# unreadable" + "_" * 200_000, {"a": (2,)}).outputs


LONG = {
    "a range": "- {from: a.<i>, to: b.<i>, pick: {i: %s-2}}" % ("1" * 100_000),
    "a word": f"- drop {'x' * 100_000}",
    "an op's sizes": f"- 'a -> b': {{view: [{', '.join(['1'] * 50_000)}]}}",
    "a number": f"- 'a -> b': {{mul: 1.{'1' * 100_000}}}",
    "an op beside another": f"- {{from: a, to: b, ops: {{transpose: {'x' * 100_000}, flip: 0}}}}",
    "a zero in front": f"- 'a -> b': {{scale: 0{'1' * 100_000}}}",
    "a key": "- x.y -> b",
}


@pytest.mark.parametrize("what", LONG)
def test_no_message_is_as_long_as_what_it_is_about(what: str) -> None:
    with ending(), pytest.raises(CkptSurgeonError) as caught:
        plan(LONG[what], {f"m.{'x' * 100_000}.x.y": (2,)})
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize(
    "key", ["layer.\x1b[31m.weight", "layer.\N{RIGHT-TO-LEFT OVERRIDE}.weight"]
)
def test_errors_paint_nothing(key: str) -> None:
    for rule in ("layer.x.weight -> z", "layer.<i>.weight -> z.<i>"):
        with pytest.raises(CkptSurgeonError) as caught:
            plan(f"- '{rule}'", {key: (2,), "layer.b.weight": (2,)})
        assert str(caught.value).replace("\n", "").isprintable()


def test_half_a_character_in_a_key_matches_no_regular_expression() -> None:
    with pytest.raises(ProblemsError, match="no key matches"):
        plan("- re:.* -> x", {"\ud800.w": (2,)})
    with pytest.raises(ProblemsError, match="no key matches"):
        plan("- x$ -> y", {"\ud800.w": (2,)})


@pytest.mark.parametrize("rule", ["drop: 'xre:('", "'xre:( -> b'"])
def test_what_is_left_of_a_reference_need_not_be_one(rule: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        plan(f"- within: x\n  rules:\n  - {rule}\n", {"a": (2,)})
    assert all(problem.place for problem in caught.value.problems)


PATTERNS = {
    "words that are one another's start": "".join(f"<w{n}:x|xx>" for n in range(40)),
    "integers side by side": "".join(f"<i{n}>" for n in range(30)),
    "stars and text": "*a*a*a*a*a*a*a*a*a*a*a*a*b",
    "paths": "**.a.**.a.**.a.**.a.**.a.**.b",
    "words with dots": ".".join(f"<w{n}:x|x.x>" for n in range(30)),
    "a path behind words with dots": "<w:x|x.x>.**.<v:x|x.x>.b",
    "a star before text": "*aaaaaaaaaaaaaaaaaaaaab",
    "one name again and again": ".".join(["<n:path>"] * 6),
    "text": "".join(f"<t{n}:str>" for n in range(30)),
}


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("piece", ["x", "a", "1", "x.", "a.", "1."])
def test_matched_in_linear_time(name: str, piece: str) -> None:
    matcher = compile_pattern(parse_reference(PATTERNS[name]).pattern)
    key = piece * 20_000 + "!"
    with ending():
        matcher.match(key)
        matcher.match(key[:61])


def test_a_key_of_any_length_as_an_integer() -> None:
    with ending():
        made = plan("- 're:a\\.(?P<i>[0-9]+) -> b.<i>'", {"a." + "1" * 10_000: (2,)})
    assert list(made.outputs) == ["b." + "1" * 10_000]


def test_a_stage_upon_a_stage() -> None:
    stages = "\n---\n".join(f"format: 1\nrules:\n  - a{n} -> a{n + 1}" for n in range(60))
    with ending():
        assert list(plan(stages, {"a0": (2,)}).outputs) == ["a60"]


def test_what_is_as_deep_as_it_may_be() -> None:
    lines = [
        f"{'    ' * depth}- within: a.\n{'    ' * depth}  rules:" for depth in range(MAX_WITHIN)
    ]
    target = f"{'(' * MAX_DEPTH}i{')' * MAX_DEPTH}"
    lines.append(f"{'    ' * MAX_WITHIN}- w.<i> -> v.<{target}>")
    made = plan("\n".join(lines), {"a." * MAX_WITHIN + "w.3": (2,)})
    assert list(made.outputs) == ["a." * MAX_WITHIN + "v.3"]
