"""Rulesets under a prefix: shipped ones, files beside the file, and what may not be included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptsurgeon.errors import RulesetError
from ckptsurgeon.language.reading import documents
from ckptsurgeon.language.rules import Within
from ckptsurgeon.language.rulesets import load_ruleset, parse_ruleset
from ckptsurgeon.language.yaml.composing import MAX_TEXT

INNER = "format: 1\nvars: {n: 2}\nunmatched: error\nrules: [a -> b]\n"

SECRET = "hunter2"

NO_RULE_FILES = {
    "notes.txt": b"password: hunter2 : of the\troot\n",
    "secrets.yaml": b"a:\n  format: 1\n  token: !tag hunter2\n",
    "bytes": b"hunter2 \xff",
    "later.yaml": b"format: 2\nrules: [hunter2]\n",
}


def including(name: str) -> str:
    return f"format: 1\nrules:\n  - within: x.\n    rules: {name}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    (inside / "below").mkdir(parents=True)
    (inside / "inner.yaml").write_text(INNER)
    (inside / "below" / "deeper.yaml").write_text(including("./inner.yaml"))
    (inside / "below" / "inner.yaml").write_text(INNER)
    (inside / "wrong.yaml").write_text("format: 1\nrules:\n  - a -> b: transpoze\n")
    (inside / "stages.yaml").write_text(f"{INNER}---\n{INNER}")
    (inside / "circle.yaml").write_text(including("./main.yaml"))
    (inside / "own.yaml").write_text(including("./own.yaml"))
    (tmp_path / "outside.yaml").write_text(INNER)
    for name, text in NO_RULE_FILES.items():
        (inside / name).write_bytes(text)
    os.mkfifo(inside / "fifo")
    (inside / "loop.yaml").symlink_to("loop.yaml")
    (inside / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    for number in range(10):
        (inside / f"chain{number}.yaml").write_text(including(f"./chain{number + 1}.yaml"))
    (inside / "chain10.yaml").write_text(INNER)
    return inside


def load(folder: Path, name: str) -> Within:
    main = folder / "main.yaml"
    main.write_text(including(name))
    (found,) = load_ruleset(main).stages[0].rules
    assert isinstance(found, Within)
    return found


@pytest.mark.parametrize("name", ["./inner.yaml", "./below/inner.yaml", "./chain3.yaml"])
def test_file_beside_the_file(folder: Path, name: str) -> None:
    found = load(folder, name)
    assert len(found.rules) == 1
    if "inner" in name:
        assert found.vars is not None
        assert found.vars["n"].value == 2


def test_paths_are_relative_to_the_file_that_says_them(folder: Path) -> None:
    (inner,) = load(folder, "./below/deeper.yaml").rules
    assert isinstance(inner, Within)
    assert len(inner.rules) == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../outside.yaml", "a path out of the rule file's folder"),
        ("./../outside.yaml", "a path out of the rule file's folder"),
        ("/etc/passwd", "a path out of the rule file's folder"),
        ("below/inner.yaml", "a path out of the rule file's folder"),
        ("./link.yaml", "leads out of the rule file's folder"),
        ("./none.yaml", "no file './none.yaml' beside this one"),
        ("./below", "'./below' is no regular file"),
        ("./loop.yaml", "'./loop.yaml' is a link that leads back to itself"),
        ("./loop.yaml/x", "no file './loop.yaml/x' beside this one"),
        ("./fifo", "'./fifo' is no regular file"),
        (f"./{'x' * 300}", "File name too long"),
        ("./notes.txt", "'./notes.txt' is no rule file: it has no line `format: 1`"),
        ("./secrets.yaml", "'./secrets.yaml' is no rule file"),
        ("./bytes", "'./bytes': a byte that is not UTF-8"),
        ("./later.yaml", "'./later.yaml' is no rule file"),
        ("./circle.yaml", "include each other: main.yaml -> circle.yaml -> main.yaml"),
        ("./own.yaml", "include each other: own.yaml -> own.yaml"),
        ("./main.yaml", "include each other: main.yaml -> main.yaml"),
        ("./chain0.yaml", "more than 8 rulesets in one another"),
        ("./stages.yaml", "has 2 documents; one that is included has one"),
        ("torchvision_resnet_to_transformer", "did you mean 'torchvision_resnet_to_transformers'"),
    ],
)
def test_what_may_not_be_included(folder: Path, name: str, told: str) -> None:
    with pytest.raises(RulesetError) as caught:
        load(folder, name)
    assert told in str(caught.value)
    (problem,) = caught.value.problems
    assert problem.place
    assert SECRET not in str(caught.value)


def test_problems_of_an_included_file_have_its_places(folder: Path) -> None:
    with pytest.raises(RulesetError) as caught:
        load(folder, "./wrong.yaml")
    assert str(caught.value).startswith(f"{folder / 'wrong.yaml'}:3:13: unknown op 'transpoze'")
    assert f"\n  included at {folder / 'main.yaml'}:4:12\n" in str(caught.value)


def test_a_mistake_in_a_file_that_is_included_twice_is_told_once(folder: Path) -> None:
    (folder / "twice.yaml").write_text(
        "format: 1\nrules:\n" + "  - {within: x., rules: ./wrong.yaml}\n" * 2
    )
    (folder / "below" / "through.yaml").write_text(including("./wrong.yaml"))
    (folder / "below" / "wrong.yaml").write_text("format: 1\nrules: [nope]\n")
    with pytest.raises(RulesetError) as caught:
        load(folder, "./twice.yaml")
    (problem,) = caught.value.problems
    assert problem.place
    main = folder / "main.yaml"
    assert problem.place.via == f"{folder / 'twice.yaml'}:3:25, included at {main}:4:12"


def test_a_rule_file_in_braces_is_included(folder: Path) -> None:
    (folder / "braces.yaml").write_text('{\n  "format": 1, "rules": ["a -> b"]}\n')
    assert len(load(folder, "./braces.yaml").rules) == 1


def test_many_includes_are_bounded(folder: Path) -> None:
    twice = "format: 1\nrules:\n" + "  - {within: x., rules: ./%s.yaml}\n" * 10
    for number in range(6):
        names = (f"wide{number + 1}",) * 10
        (folder / f"wide{number}.yaml").write_text(twice % names)
    (folder / "wide6.yaml").write_text(INNER)
    with pytest.raises(RulesetError, match="more than 64 rulesets included by one file"):
        load(folder, "./wide0.yaml")


def test_what_includes_hold_together_is_bounded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def count(text: str, *words: str) -> object:
        read.append(text)
        return compose(text, *words)

    compose = documents.documents
    monkeypatch.setattr(documents, "documents", count)
    large = INNER + f"# {'x' * (MAX_TEXT // 4)}\n"
    (folder / "large.yaml").write_text(large)
    main = folder / "main.yaml"
    main.write_text(f"format: 1\nrules:\n  - include: [{', '.join(['./large.yaml'] * 50)}]\n")
    with pytest.raises(RulesetError) as caught:
        load_ruleset(main)
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"rulesets of more than {MAX_TEXT} characters in all")
    assert read.count(large) == 3


def test_rules_without_a_file_include_shipped_rulesets_only() -> None:
    name = "torchvision_resnet_to_transformers"
    (found,) = parse_ruleset(including(name), "-e").stages[0].rules
    assert isinstance(found, Within)
    assert len(found.rules) == 4
    with pytest.raises(RulesetError, match="not from a file"):
        parse_ruleset(including("./inner.yaml"), "-e")


def test_a_file_that_lacks_its_dot_and_slash_is_told(folder: Path) -> None:
    with pytest.raises(RulesetError, match=r"a file beside this one is `\./inner\.yaml`"):
        load(folder, "inner.yaml")
    assert load(folder, "./inner.yaml").rules
