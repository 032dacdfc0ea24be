"""Every field of the model, from a rule file."""

from __future__ import annotations

from typing import Any

import pytest

from ckptsurgeon.errors import Place, RulesetError
from ckptsurgeon.language.expressions import Expression, parse_expression
from ckptsurgeon.language.patterns import parse_index
from ckptsurgeon.language.rules import (
    BatchNorm,
    ConfigVar,
    Drop,
    Init,
    Keep,
    Move,
    OutputOptions,
    Require,
    ShapeVar,
    SourceOptions,
    Span,
    Stage,
    Tie,
    Within,
)
from ckptsurgeon.language.rulesets import parse_ruleset


def stage(text: str) -> Stage:
    return parse_ruleset(f"format: 1\n{text}\n", "r.yaml").stages[0]


def rule(text: str) -> Any:
    (found,) = stage("rules:\n" + "".join(f"  {line}\n" for line in text.split("\n"))).rules
    return found


def texts(rule: Move) -> tuple[list[str], list[str]]:
    sources = [at.text for at in rule.sources]
    return sources, [at.text for at in rule.targets]


@pytest.mark.parametrize(
    ("text", "sources", "targets", "ops"),
    [
        ("- a.<i> -> b.<i-1>", ["a.<i>"], ["b.<i-1>"], []),
        ("- a -> b: transpose", ["a"], ["b"], ["transpose"]),
        ("- a -> b: {concat: 1}", ["a"], ["b"], ["concat"]),
        ("- a -> b: [split: {dim: 0}, cast: F16]", ["a"], ["b"], ["split", "cast"]),
        ("- a -> b: {where: i < 12, ops: [same]}", ["a"], ["b"], ["same"]),
        ("- a -> b: {ops: same}", ["a"], ["b"], ["same"]),
        ("- {from: a}", ["a"], [], []),
        ("- {from: [a, 'b[:, 0]'], to: [c, d]}", ["a", "b[:, 0]"], ["c", "d"], []),
        ("- from: a\n  to: b\n  ops: [flip: -1]", ["a"], ["b"], ["flip"]),
        ("- {from: b, to: 1.10}", ["b"], ["1.10"], []),
        ("- {from: b, to: no}", ["b"], ["no"], []),
        ("- {from: b, to: 2001-12-14}", ["b"], ["2001-12-14"], []),
        ("- {from: b, to: 0x10}", ["b"], ["0x10"], []),
        ("- shard<s>::a.w[:, :3] -> b", ["shard<s>::a.w[:, :3]"], ["b"], []),
    ],
)
def test_move(text: str, sources: list[str], targets: list[str], ops: list[str]) -> None:
    found = rule(text)
    assert isinstance(found, Move)
    assert texts(found) == (sources, targets)
    assert [op.name for op in found.ops] == ops


def test_places_are_those_of_the_file() -> None:
    found = rule("- from: a\n  to: b\n  ops: [{stack: {dim: 1}}]\n  count: 2")
    line = "  - from: a"
    assert found.place == Place("r.yaml", 3, 5, line)
    assert found.sources[0].place == Place("r.yaml", 3, 11, line)
    assert found.ops[0].place == Place("r.yaml", 5, 12, "    ops: [{stack: {dim: 1}}]")
    assert found.options.places == {"count": Place("r.yaml", 6, 5, "    count: 2")}
    arrow = rule("- a.b  ->  c.d")
    assert (arrow.sources[0].place.column, arrow.targets[0].place.column) == (5, 14)


def test_options() -> None:
    found = rule(
        "- from: a.<i>.<p:q|k>\n  where: i >= 8 and p == 'q'\n  map: {p: {q: query, k: 1.0}}\n"
        "  pick: {i: [0..23, 8]}\n  optional: true\n  count: n * 2\n  reuse: true\n"
        "  fallback: false"
    ).options
    assert found.where == parse_expression("i >= 8 and p == 'q'")
    assert found.map == {"p": {"q": "query", "k": "1.0"}}
    assert found.pick == {"i": (Span(0, 23), Span(8, 8))}
    assert (found.optional, found.reuse, found.fallback) == (True, True, False)
    assert found.count == parse_expression("n * 2")
    assert set(found.places) == {
        "where", "map", "pick", "optional", "count", "reuse", "fallback"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind", "field", "names"),
    [
        ("- {drop: a.*, optional: true}", Drop, "sources", ["a.*"]),
        ("- drop: [a, 's::b']", Drop, "sources", ["a", "s::b"]),
        ("- {keep: fc.*, count: 2}", Keep, "targets", ["fc.*"]),
        ("- {tie: [a, b], where: 1 < 2}", Tie, "targets", ["a", "b"]),
    ],
)
def test_lists_of_references(
    text: str, kind: type[Drop | Keep | Tie], field: str, names: list[str]
) -> None:
    found = rule(text)
    assert isinstance(found, kind)
    assert [at.text for at in getattr(found, field)] == names
    assert len(found.options.places) <= 1


def test_batchnorm() -> None:
    found = rule("- {batchnorm: 'stem.bn[:3] -> bn1', optional: true}")
    assert isinstance(found, BatchNorm)
    assert (found.source.text, found.target.text) == ("stem.bn[:3]", "bn1")
    assert found.options.optional


def test_init() -> None:
    found = rule(
        "- init: {to: [a, b], fill: normal, std: 1e-2, seed: i, shape: [2, n], dtype: F32}"
    )
    assert isinstance(found, Init)
    assert [at.text for at in found.targets] == ["a", "b"]
    assert (found.fill, found.std, found.dtype) == ("normal", 0.01, "F32")
    assert found.seed == parse_expression("i")
    assert found.shape == (2, parse_expression("n"))
    short = rule("- init: {to: a, fill: 1/2, count: 1}")
    assert (short.fill, short.std, short.seed, short.shape) == (0.5, 0.02, 0, None)
    assert short.options.count == 1
    assert rule("- {init: {to: a, fill: 2}, where: i < 3}").options.where is not None
    assert rule("- {init: {to: a, fill: 0, shape: []}}").shape == ()


def test_require() -> None:
    found = rule("- require: {key: 'layers.*.w', count: 2, shape: [4, d], dtype: BF16}")
    assert isinstance(found, Require)
    assert found.source.text == "layers.*.w"
    assert (found.options.count, found.dtype) == (2, "BF16")
    assert found.shape == (4, parse_expression("d"))


def test_within() -> None:
    found = rule(
        "- within: [layer<i>. -> stages.<i-1>., bn. -> , c.]\n  rules:\n    - a -> b\n"
        "    - {within: d., rules: [e -> f]}"
    )
    assert isinstance(found, Within)
    assert [str(prefix.source.pattern) for prefix in found.prefixes] == ["layer<i>.", "bn.", "c."]
    assert [prefix.target and str(prefix.target.pattern) for prefix in found.prefixes] == [
        "stages.<i-1>.", "", None
    ]  # fmt: skip
    assert [type(inner) for inner in found.rules] == [Move, Within]
    assert found.vars is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("1e-5", 1e-5),
        ("0x10", 16),
        ("0o10", 8),
        ("true", True),
        ("[1, 2.5, true, heads]", (1, 2.5, True, parse_expression("heads"))),
        ("heads // 2", parse_expression("heads // 2")),
        ("\"'backbone'\"", parse_expression("'backbone'")),
        ("config.text.heads", parse_expression("config.text.heads")),
        ("{config: num_heads}", ConfigVar("num_heads")),
        ("{config: num_heads, default: 8}", ConfigVar("num_heads", 8)),
    ],
)
def test_var(text: str, value: object) -> None:
    assert stage(f"vars: {{heads: 4, x: {text}}}").vars["x"].value == value


def test_var_of_a_shape() -> None:
    value = stage("vars: {n: 2, x: {shape: 's0::norm.weight', dim: n - 2}}").vars["x"].value
    assert isinstance(value, ShapeVar)
    assert str(value.reference.alias) == "s0"
    assert isinstance(value.dim, Expression)


def test_vars_stand_behind_what_they_use() -> None:
    assert list(stage("vars: {a: b + c, b: c, d: 1, c: 2}").vars) == ["d", "c", "b", "a"]


def test_chains_of_vars_are_bounded() -> None:
    chain = ", ".join(f"v{number}: v{number + 1}" for number in range(100))
    with pytest.raises(RulesetError, match="more than 50 vars need one another"):
        stage(f"vars: {{{chain}, v100: 1}}")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{}", SourceOptions()),
        ("{root: ''}", SourceOptions({"": ""})),
        ("{root: {vision: model}}", SourceOptions({"vision": "model"})),
        ("{strip: module.}", SourceOptions(strip=("module.",))),
        ("{strip: {anywhere: [a, b]}}", SourceOptions(strip_anywhere=("a", "b"))),
        (
            "{strip: [module., {anywhere: _fsdp}], separator: /}",
            SourceOptions(strip=("module.",), strip_anywhere=("_fsdp",), separator="/"),
        ),
    ],
)
def test_source(text: str, wanted: SourceOptions) -> None:
    assert stage(f"source: {text}").source == wanted


def test_top() -> None:
    found = stage("about: 4-channel: no\nrules: []".replace(": no", " no"))
    assert (found.about, found.unmatched, found.rules) == ("4-channel no", "copy", ())
    assert found.output == OutputOptions()
    found = stage("output: {dtype: destination, separator: /}\nunmatched: error")
    assert (found.output, found.unmatched) == (OutputOptions("destination", {"": "/"}), "error")
    output = stage("output: {root: m.n, wrappers: [a, 1.10]}").output
    assert output.roots[""].path == "m.n"
    assert [one.path for one in output.wrappers[""]] == ["a", "1.10"]
    assert stage("output: {root: ''}").output.roots[""].path == ""


def test_comments_alone_are_no_rules() -> None:
    assert stage("rules:\n  # CHECK - a -> b\n").rules == ()


def test_documents_are_stages() -> None:
    text = "---\nformat: 1\nvars: {n: 1}\nrules: [a -> b]\n---\nformat: 1\nrules: [b -> c]\n...\n"
    stages = parse_ruleset(text, "r.yaml").stages
    assert [stage.place.line for stage in stages] == [2, 6]
    assert [list(stage.vars) for stage in stages] == [["n"], []]


# --- ops ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "arguments", "over"),
    [
        ("transpose", "transpose", {}, None),
        ("{cast: BF16}", "cast", {"dtype": "BF16"}, None),
        ("{cast: {dtype: F16}}", "cast", {"dtype": "F16"}, None),
        ("{stack: {over: e}}", "stack", {}, "e"),
        ("{split: {over: n, dim: -1}}", "split", {"dim": -1}, "n"),
        ("{split: {sizes: [i, '3']}}", "split", {"sizes": (parse_expression("i"), 3)}, None),
        ("{split: {sizes: parts}}", "split", {"sizes": parse_expression("parts")}, None),
        ("{split: {sizes: '[1, 2]'}}", "split", {"sizes": (1, 2)}, None),
        ("{reshape: [-1, 1, 1]}", "reshape", {"shape": (-1, 1, 1)}, None),
        ("{transpose: [0, 1]}", "transpose", {"dims": (0, 1)}, None),
        ("{slice: '1:3, ::2'}", "slice", {"index": parse_index("1:3, ::2")}, None),
        ("{slice: '[..., i]'}", "slice", {"index": parse_index("..., i")}, None),
        ("{slice: 0}", "slice", {"index": parse_index("0")}, None),
        (
            "{pad: {by: 2, value: 0.5, at: both}}",
            "pad",
            {"by": 2, "value": 0.5, "at": "both"},
            None,
        ),
        (
            "{repeat: {times: n, each: true}}",
            "repeat",
            {"times": parse_expression("n"), "each": True},
            None,
        ),
        ("{take: {file: rows.npy, dim: 1}}", "take", {"file": "rows.npy", "dim": 1}, None),
        (
            '{rearrange: {pattern: "(h d) i -> h d i", h: heads}}',
            "rearrange",
            {"pattern": "(h d) i -> h d i", "h": parse_expression("heads")},
            None,
        ),
        (
            "{split_qkv: {layout: per_group, heads: 8, kv_heads: 2, over: p}}",
            "split_qkv",
            {"layout": "per_group", "heads": 8, "kv_heads": 2},
            "p",
        ),
    ],
)
def test_op(text: str, name: str, arguments: dict[str, object], over: str | None) -> None:
    (found,) = rule(f"- {{from: a, to: b, ops: [{text}]}}").ops
    assert (found.name, found.arguments, found.over) == (name, arguments, over)


@pytest.mark.parametrize("levels", [1, 64])
def test_within_may_be_deep(levels: int) -> None:
    text = '{within: "x.", rules: [' * levels + "a -> b" + "]}" * levels
    found: object = rule(f"- {text}")
    for _ in range(levels):
        assert isinstance(found, Within)
        (found,) = found.rules
    assert isinstance(found, Move)


def test_within_is_not_deeper_than_64() -> None:
    with pytest.raises(RulesetError, match="more than 64 levels of `within`"):
        rule("- " + '{within: "x.", rules: [' * 65 + "a -> b" + "]}" * 65)
