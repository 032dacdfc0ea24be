"""The exact text of what a rule file is told, from golden files.

A `.cases` file holds cases between lines of `====`: the text, `----`, and the problems.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from language.running import load_cases

from ckptsurgeon.errors import Place, RulesetError
from ckptsurgeon.language.reading.documents import read_ruleset
from ckptsurgeon.language.rulesets import load_with_problems
from ckptsurgeon.language.yaml import composing as yaml_nodes
from ckptsurgeon.language.yaml.composing import documents
from ckptsurgeon.planner.compiling.compilation import compile_rulesets

GOLDEN = Path(__file__).parent / "golden"
CASES = load_cases(Path(__file__).parent.parent / "cases")


def cases(name: str) -> list[tuple[str, str]]:
    text = (GOLDEN / f"{name}.cases").read_text(encoding="utf-8")
    pairs = (case.split("\n----\n") for case in text.split("====\n"))
    return [(written, told.rstrip("\n")) for written, told in pairs]


def in_a_file(rule: str) -> str:
    return "format: 1\nrules:\n" + "".join(f"  {line}\n" for line in rule.split("\n"))


def problems_of(text: str, file: str = "r.yaml") -> RulesetError:
    """What `check` tells of a file."""
    with pytest.raises(RulesetError) as caught:
        compile_rulesets([read_ruleset(text, file)])
    return caught.value


@pytest.mark.parametrize(("rule", "told"), cases("rules"))
def test_rule_is_told(rule: str, told: str) -> None:
    assert str(problems_of(in_a_file(rule))) == told


@pytest.mark.parametrize(("text", "told"), cases("files"))
def test_file_is_told(text: str, told: str) -> None:
    assert str(problems_of(text + "\n")) == told


@pytest.mark.parametrize(
    ("name", "count"), [("ten_mistakes", 10), ("several_traps", 8), ("every_stage", 18)]
)
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


def _goes_on(rule: str) -> bool:
    """Whether YAML can be read on behind a mistake."""
    try:
        return bool(documents(in_a_file(rule), "r.yaml"))
    except RulesetError:
        return False


def _mistakes() -> list[tuple[str, list[tuple[int, int, str]]]]:
    """The rules of the suite that are wrong in themselves, with what each is told when alone."""
    rules = [rule for rule, _ in cases("rules")]
    rules += [str(case.rules).rstrip() for case in CASES if case.fails and not case.files]
    found = []
    for rule in dict.fromkeys(rules):
        if rule.startswith("- ") and _goes_on(rule) and (told := _placed(in_a_file(rule))):
            found.append((rule, told))
    return found


def _placed(text: str) -> list[tuple[int, int, str]]:
    """Line, column and message of all that `check` tells of a file, which may be nothing."""
    try:
        compile_rulesets([read_ruleset(text, "r.yaml")])
    except RulesetError as error:
        places = [problem.place or Place("", 0, 0) for problem in error.problems]
        messages = [problem.message for problem in error.problems]
        return [(p.line, p.column, m) for p, m in zip(places, messages, strict=True)]
    return []


def test_mistakes_of_one_file_are_told_as_each_is_told_alone() -> None:
    mistakes = _mistakes()
    assert len(mistakes) > 150
    # A text is read again for each trap of YAML's, which has its bound.
    for start in range(0, len(mistakes), 15):
        part = mistakes[start : start + 15]
        expected, before = [], 0
        for rule, told in part:
            expected += [(line + before, column, message) for line, column, message in told]
            before += rule.count("\n") + 1
        assert _placed(in_a_file("\n".join(rule for rule, _ in part))) == expected


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("{from: [x, y], to: z, ops: {stack: {over: k}}}", "stack: `k` is not open here"),
        ("{from: x, to: [y, z], ops: {split: {over: i, parts: 2}}}", "`i` is opened by a split"),
        ("w.<i> -> v", "`<i>` is in the source alone"),
    ],
)
def test_a_rule_under_several_prefixes_is_told_once(rule: str, told: str) -> None:
    text = in_a_file(f"- within: [a., b.]\n  rules:\n    - {rule}")
    (problem,) = problems_of(text).problems
    assert problem.message.startswith(told)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("vars: {n: 1 +}\nrules: [a.<i> -> b.<i+n>]", 2),
        ("vars: {n: m, m: n}\nrules: [a.<i> -> b.<i+n>]", 2),
        ("vars: [n]\nrules: [a.<i> -> b.<i+n>]", 2),
        ("var: {n: 1}\nrules: [a.<i> -> b.<i+n>]", 2),
        ("vars: {n: 1, <<: {m: 2}}\nrules: [a.<i> -> b.<i+m>]", 2),
        ("vars: {n: 1}\nvars: {m: 1}\nrules: [a.<i> -> b.<i+m>]", 3),
        ("rules: [{from: a.<i>, to: b.<i>, to: c.<j>}]", 2),
        ("rules: [{from: a.<j>, from: a.<i>, to: b.<i>}]", 2),
        ("rules: [{within: '<', rules: [a.<i> -> b.<j>]}]", 2),
        ("rules: [{within: b.<j>., within: a.<i>., rules: [w -> v.<j>]}]", 2),
        ("rules:\n  - {within: a.<i>., rules: ./none.yaml}", 3),
        ("rules: []\n---\nformat: 2\n---\nformat: 1\nrules: [keep: x]", 4),
    ],
)
def test_what_follows_from_a_mistake_is_not_told(text: str, line: int) -> None:
    (problem,) = problems_of(f"format: 1\n{text}\n").problems
    assert problem.place is not None
    assert problem.place.line == line


def test_problems_of_all_files_are_told_together(tmp_path: Path) -> None:
    texts = ["format: 1\nrules: [a.<i -> b]\n", "format: 1\nrules: [a.<i> -> b]\n", "format: 2\n"]
    paths = [tmp_path / f"{number}.yaml" for number in range(4)]
    for path, text in zip(paths, texts, strict=False):
        path.write_text(text)
    with pytest.raises(RulesetError) as caught:
        compile_rulesets([load_with_problems(path) for path in paths])
    places = [problem.place for problem in caught.value.problems]
    assert [place.file for place in places if place] == list(map(str, paths))


def test_problems_beyond_use_are_not_listed() -> None:
    error = problems_of("format: 1\nrules:\n" + "  - x: 1\n" * 1000)
    assert len(error.problems) == 200
    error = problems_of("---\n" * 1000)
    assert len(error.problems) <= 201
