"""Rules as the API and the command line take them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ckptsurgeon.errors import RulesetError
from ckptsurgeon.language import catalog
from ckptsurgeon.language.rules import Drop, Move, Ruleset
from ckptsurgeon.language.rulesets import load_ruleset, parse_ruleset, rules_from_arrows

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_load(path: Path) -> None:
    ruleset = load_ruleset(path)
    assert ruleset.file == str(path)
    assert load_ruleset(ruleset) is ruleset
    assert parse_ruleset(path.read_text(), str(path)) == ruleset


def test_example_is_read_whole() -> None:
    (stage,) = load_ruleset(EXAMPLES[1]).stages
    assert list(stage.vars) == ["n_heads", "dim", "head_dim"]
    assert len(stage.rules) == 10
    first = stage.rules[0]
    assert isinstance(first, Move)
    assert [op.name for op in first.ops] == ["concat", "permute_rope"]


@pytest.mark.parametrize("name", catalog.names())
def test_shipped_rulesets_load(name: str) -> None:
    (stage,) = load_ruleset(name).stages
    assert stage.unmatched == "error"
    assert stage.about == catalog.about(name)


def test_catalog_names_what_is_near() -> None:
    assert "timm_vit_to_transformers" in catalog.names()
    with pytest.raises(RulesetError, match="did you mean 'timm_vit_to_transformers'"):
        catalog.path_of("timm_vit_to_transformer")
    with pytest.raises(RulesetError, match="there are: timm_vit_to_transformers"):
        load_ruleset("nothing_of_the_kind")
    with pytest.raises(RulesetError, match="no shipped ruleset"):
        catalog.path_of("../rules/timm_vit_to_transformers")


@pytest.mark.parametrize("name", ["absent.yaml", "./absent", "."])
def test_a_path_that_is_no_file(name: str) -> None:
    with pytest.raises(RulesetError, match="can't read the rule file"):
        load_ruleset(name)


def test_dict_is_what_its_yaml_would_be() -> None:
    given = {
        "format": 1,
        "vars": {"n": 2, "x": [1, 0.5, True]},
        "source": {"strip": ["module."]},
        "rules": [
            "a[:, :3] -> b",
            {"c -> d": {"concat": 1}},
            {"from": ["e", "f"], "to": "g", "ops": ["stack"], "optional": True},
            {"init": {"to": "z", "fill": 0, "shape": (2, 3), "dtype": "F32"}},
        ],
    }
    text = (
        "format: 1\nvars: {n: 2, x: [1, 0.5, true]}\nsource: {strip: [module.]}\nrules:\n"
        "  - a[:, :3] -> b\n  - c -> d: {concat: 1}\n"
        "  - {from: [e, f], to: g, ops: [stack], optional: true}\n"
        "  - init: {to: z, fill: 0, shape: [2, 3], dtype: F32}\n"
    )
    assert _without_places(load_ruleset(given)) == _without_places(parse_ruleset(text, "r.yaml"))


PLACE = re.compile(r"Place\(file='[^']*', line=\d+, column=\d+, text=(['\"]).*?\1\)(?=[,)}])")


def _without_places(ruleset: Ruleset) -> str:
    """What a ruleset says, wherever it says it."""
    return PLACE.sub("…", repr(ruleset.stages))


def test_list_tells_the_number_of_the_rule() -> None:
    rules = [
        "a -> b",
        "a[ -> b",
        {"drop": None},
        {"from": "x", "wher": 1},
        b"x",
        {"a -> b": object()},
    ]
    with pytest.raises(RulesetError) as caught:
        load_ruleset(rules)
    places = [str(problem.place) for problem in caught.value.problems]
    assert places == [
        "<rules>:2:2", "<rules>:3:1", "<rules>:4:1", "<rules>:5:1", "<rules>:6:1"
    ]  # fmt: skip
    assert "{'from': 'x', 'wher': 1}" in str(caught.value)


def test_values_that_yaml_has_not() -> None:
    looped: list[object] = []
    looped.append(looped)
    for value in (looped, [{"a -> b": {"stack": float("nan")}}], [{"a -> b": {"stack": 10**5000}}]):
        with pytest.raises(RulesetError):
            load_ruleset(value)
    with pytest.raises(RulesetError, match="an int where rules are wanted"):
        load_ruleset(3)  # type: ignore[arg-type]


def test_control_characters_are_not_shown() -> None:
    for rules in (["a\x1b[31m -> b"], [{"a": "\x1b[31m"}]):
        with pytest.raises(RulesetError) as caught:
            load_ruleset(rules)
        assert "\x1b" not in str(caught.value)
    (problem,) = rules_from_arrows(["a\x1b[31m -> b"]).problems
    assert "\x1b" not in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        "a -> b",
        "**.w -> **.v",
        "a -> b: transpose",
        "{from: a, to: b}",
        "from: a\nto: b",
        "'a -> b'",
        "w[:, :3] -> x",
    ],
)
def test_arrow_of_the_command_line(text: str) -> None:
    (rule,) = rules_from_arrows([text]).stages[0].rules
    assert isinstance(rule, Move)
    assert rule.place.file == "-e"


def test_arrows_tell_the_number_of_the_text() -> None:
    assert isinstance(rules_from_arrows(["{drop: x}"]).stages[0].rules[0], Drop)
    texts = ["a -> b", "w[: , :2] -> x: cast", "x", "a -> b: [cast: F", "a: [b]\n---\nb"]
    problems = rules_from_arrows(texts).problems
    assert sorted(problem.place.line for problem in problems if problem.place) == [2, 3, 4, 5]


def test_loading_rules_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ckptsurgeon.language.rulesets import load_ruleset;"
        "load_ruleset('timm_vit_to_transformers');"
        "print(sorted({'numpy', 'torch', 'rich', 're2', 'einops'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
