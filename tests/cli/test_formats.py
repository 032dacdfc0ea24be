"""Reports and errors in the formats of pull requests and CI jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Ckpt
from markdown_pages import assert_ours
from workflow_commands import read_log

PLAN = ("train.pt", "--into", "dst.pt", "-r", "rules.yaml")
UNSETTLED = ("src.safetensors", "--into", "dst.pt")

WRONG = """\
format: 1
rules:
  - conv.weight -> conv.weight: trnspose
  - nope
"""


@pytest.mark.parametrize(("words", "code"), [(PLAN, 0), (UNSETTLED, 1)])
def test_a_plan_is_printed_as_markdown(
    words: tuple[str, ...], code: int, ckpt: Ckpt, folder: Path
) -> None:
    ran = ckpt("plan", *words, "--format", "markdown")
    page = assert_ours(ran.out)
    text = ckpt("plan", *words)
    assert (ran.code, ran.err) == (code, "")
    assert page.lines[0] == text.out.splitlines()[-1]
    assert page.lines[1].startswith(f"exit code {code}: ")


@pytest.mark.parametrize(("words", "code"), [(PLAN, 0), (UNSETTLED, 1)])
def test_a_plan_is_printed_as_annotations(
    words: tuple[str, ...], code: int, ckpt: Ckpt, folder: Path
) -> None:
    ran = ckpt("plan", *words, "--format=github")
    commands, lines = read_log(ran.out)
    assert (ran.code, ran.err) == (code, "")
    assert any(one.name == "error" for one in commands) == bool(code)
    assert lines == [ckpt("plan", *words).out.splitlines()[-1]]


@pytest.mark.parametrize("form", ["markdown", "github"])
def test_a_transplant_tells_once_what_was_written(form: str, ckpt: Ckpt, folder: Path) -> None:
    ran = ckpt("transplant", *PLAN, "-o", "out.pt", "--format", form)
    assert ran.code == 0
    assert ran.out.count("clean: ") == 1
    assert " written" in ran.out
    assert Path("out.pt").exists()
    assert ckpt("transplant", *UNSETTLED, "-o", "no.pt", "--format", form).code == 1
    assert not Path("no.pt").exists()


@pytest.mark.parametrize("form", ["markdown", "github"])
def test_quiet_prints_what_there_is_to_say(form: str, ckpt: Ckpt, folder: Path) -> None:
    kinds = ("missing", "mismatched", "unused", "unexpected")
    allowed = [word for kind in kinds for word in ("--allow", kind)]
    assert ckpt("plan", *PLAN, "-q", "--format", form).out == ""
    assert ckpt("plan", *UNSETTLED, "-q", "--format", form).code == 1
    ran = ckpt("plan", *UNSETTLED, *allowed, "-q", "--format", form)
    assert (ran.code, "allowed: " in ran.out) == (0, True)
    ran = ckpt("transplant", *UNSETTLED, *allowed, "-q", "--format", form, "-o", "out.pt")
    assert (ran.code, "allowed: " in ran.out) == (0, True)


def test_an_inverse_is_printed_as_markdown(ckpt: Ckpt, folder: Path) -> None:
    assert ckpt("plan", "src.safetensors", "-e", "conv.* -> c.*", "-o", "plan.json").code == 0
    assert_ours(ckpt("invert", "plan.json", "--format", "markdown").out)
    _, (last,) = read_log(ckpt("invert", "plan.json", "--format", "github").out)
    assert last.startswith("clean: ")


def test_a_checkpoint_is_shown_as_markdown(ckpt: Ckpt, folder: Path) -> None:
    page = assert_ours(ckpt("inspect", "train.pt", "--format", "markdown").out)
    assert page.lines[0] == "train.pt"
    facts, tensors = page.tables
    assert ["root", "opened `state_dict`"] in facts
    assert tensors[0] == ["module", "size", "tensors"]
    verbose = assert_ours(ckpt("inspect", "train.pt", "--format", "markdown", "-v").out)
    assert {"module.conv.weight", "module.fc.bias"} <= verbose.cells


def test_what_is_wrong_in_rules_is_annotated_at_its_place(ckpt: Ckpt, folder: Path) -> None:
    Path("wrong.yaml").write_text(WRONG)
    for words in (("check", "wrong.yaml"), ("plan", "train.pt", "-r", "wrong.yaml")):
        ran = ckpt(*words, "--format", "github")
        commands, lines = read_log(ran.out)
        places = [(one.properties["file"], one.properties["line"]) for one in commands]
        assert (ran.code, lines) == (2, ["2 problems"])
        assert places == [("wrong.yaml", "3"), ("wrong.yaml", "4")]
        assert "did you mean 'transpose'?" in commands[0].data


def test_rules_that_match_nothing_are_annotated_at_their_place(ckpt: Ckpt, folder: Path) -> None:
    Path("none.yaml").write_text("format: 1\nrules:\n  - cnv.weight -> c\n")
    ran = ckpt("plan", "src.safetensors", "-r", "none.yaml", "--format", "github")
    ((command,), _) = read_log(ran.out)
    assert (ran.code, command.properties["line"], command.properties["col"]) == (2, "3", "5")


def test_what_no_rule_gives_is_annotated_at_the_beginning_of_the_rules(
    ckpt: Ckpt, folder: Path
) -> None:
    Path("part.yaml").write_text("format: 1\nrules:\n  - conv.weight -> conv.weight\n")
    words = ("plan", "src.safetensors", "-r", "part.yaml", "-e", "bn.* -> norm.*")
    ran = ckpt(*words, "--into", "dst.pt", "--format", "github")
    told = {one.properties["title"]: one.properties for one in read_log(ran.out)[0]}
    assert (told["2 missing"]["file"], told["2 missing"]["line"]) == ("part.yaml", "1")
    assert "file" not in told["2 unexpected"]  # of a rule that was typed
    (mismatched, *_) = [at for title, at in told.items() if "mismatched" in title]
    assert mismatched["file"] == "part.yaml"


def test_good_rules_are_one_plain_line(ckpt: Ckpt, folder: Path) -> None:
    ran = ckpt("check", "rules.yaml", "--format", "github")
    assert (ran.code, ran.out) == (0, "rules.yaml: 3 rules, no problems\n")


TROUBLE = (
    ("plan", "none.pt"),
    ("plan", "train.pt", "--into", "dst.pt", "--nope"),
    ("plan", "train.pt", "-e", "nope -> x"),
    ("inspect", "none.pt"),
)


@pytest.mark.parametrize("words", TROUBLE, ids=" ".join)
def test_trouble_is_told_in_the_format_that_was_asked_for(
    words: tuple[str, ...], ckpt: Ckpt, folder: Path
) -> None:
    page = assert_ours(ckpt(*words, "--format", "markdown").out)
    assert page.lines[:2] == ["nothing was done", "exit code 2: trouble"]
    if words[0] != "inspect":
        ran = ckpt(*words, "--format", "github")
        commands, lines = read_log(ran.out)
        assert (ran.code, [one.name for one in commands], lines) == (2, ["error"], ["1 problem"])
        assert page.fences[0].splitlines()[0].endswith(commands[0].data.splitlines()[0])


@pytest.mark.parametrize(("workspace", "file"), [(".", "sub/wrong.yaml"), ("other", "wrong.yaml")])
def test_files_are_named_as_the_workspace_has_them(
    workspace: str, file: str, ckpt: Ckpt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sub", "other"):
        Path(name).mkdir()
    Path("sub/wrong.yaml").write_text(WRONG)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(Path(workspace).resolve()))
    monkeypatch.chdir("sub")
    commands, _ = read_log(ckpt("check", "wrong.yaml", "--format", "github").out)
    assert {one.properties["file"] for one in commands} == {file}


def test_files_are_stages_unless_each_stands_alone(ckpt: Ckpt, folder: Path) -> None:
    names = ("rules.yaml", "rules.yaml")
    assert "`keep` before the last stage" in ckpt("check", *names).err
    assert ckpt("check", "--each", *names).out == "rules.yaml: 3 rules, no problems\n" * 2
    told = json.loads(ckpt("check", "--each", *names, "--format", "json").out)
    assert (told["files"], told["rules"], told["stages"]) == (list(names), 6, 2)


def test_what_is_wrong_in_each_of_several_files_is_told_at_once(ckpt: Ckpt, folder: Path) -> None:
    for name in ("one.yaml", "other.yaml"):
        Path(name).write_text(WRONG)
    ran = ckpt("check", "--each", "one.yaml", "rules.yaml", "other.yaml", "--format", "github")
    commands, lines = read_log(ran.out)
    places = [(one.properties["file"], one.properties["line"]) for one in commands]
    assert (ran.code, lines) == (2, ["4 problems"])
    assert places == [(name, line) for name in ("one.yaml", "other.yaml") for line in "34"]
