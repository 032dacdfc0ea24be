"""The exact text of what a rule file is told, from golden files.

A `.cases` file holds cases between lines of `====`: the text, `----`, and the problems.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ckptsurgeon.errors import RulesetError
from ckptsurgeon.language.loading import parse_ruleset
from ckptsurgeon.language.yaml import composing as yaml_nodes

GOLDEN = Path(__file__).parent / "golden"


def cases(name: str) -> list[tuple[str, str]]:
    text = (GOLDEN / f"{name}.cases").read_text(encoding="utf-8")
    pairs = (case.split("\n----\n") for case in text.split("====\n"))
    return [(written, told.rstrip("\n")) for written, told in pairs]


def in_a_file(rule: str) -> str:
    return "format: 1\nrules:\n" + "".join(f"  {line}\n" for line in rule.split("\n"))


def problems_of(text: str, file: str = "r.yaml") -> RulesetError:
    with pytest.raises(RulesetError) as caught:
        parse_ruleset(text, file)
    return caught.value


@pytest.mark.parametrize(("rule", "told"), cases("rules"))
def test_rule_is_told(rule: str, told: str) -> None:
    assert str(problems_of(in_a_file(rule))) == told


@pytest.mark.parametrize(("text", "told"), cases("files"))
def test_file_is_told(text: str, told: str) -> None:
    assert str(problems_of(text + "\n")) == told


@pytest.mark.parametrize(("name", "count"), [("ten_mistakes", 10), ("several_traps", 8)])
def test_all_problems_of_a_file_are_told_at_once(name: str, count: int) -> None:
    text = (GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")
    error = problems_of(text, f"{name}.yaml")
    assert len(error.problems) == count
    assert str(error) + "\n" == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(("rule", "told"), cases("rules"))
def test_without_libyaml_the_same_lines_are_told(
    rule: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_nodes, "_LOADER", yaml.SafeLoader)
    places = [line.split(": ")[0] for line in told.split("\n") if line.startswith("r.yaml:")]
    lines = [place.split(":")[1] for place in places]
    found = [
        str(problem.place.line)
        for problem in problems_of(in_a_file(rule)).problems
        if problem.place
    ]
    assert found == lines


def test_problems_beyond_use_are_not_listed() -> None:
    error = problems_of("format: 1\nrules:\n" + "  - x: 1\n" * 1000)
    assert len(error.problems) == 200
    error = problems_of("---\n" * 1000)
    assert len(error.problems) <= 201
