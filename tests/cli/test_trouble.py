"""Trouble that must not look like success, and how it is told to programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command_line import Ckpt


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.save({"a.w": torch.rand(2), "b.w": torch.rand(3)}, "source.pt")
    torch.save({"epoch": 3}, "empty.pt")
    return tmp_path


def test_a_checkpoint_without_tensors_passes_no_gate(here: Path, ckpt: Ckpt) -> None:
    ran = ckpt("plan", "empty.pt")
    assert (ran.code, ran.out) == (2, "")
    assert "holds no tensors" in ran.err


def test_json_is_json_where_there_is_trouble(here: Path, ckpt: Ckpt) -> None:
    ran = ckpt("plan", "source.pt", "-e", "c.w -> d", "--format", "json")
    assert ran.code == 2
    told = json.loads(ran.out)
    assert (told["version"], told["clean"], told["exit_code"]) == (1, False, 2)
    (problem,) = told["problems"]
    assert problem["message"] == "no key matches `c.w`"
    assert (problem["file"], problem["line"], problem["column"]) == ("-e", 1, 1)


def test_an_optional_rule_of_an_absent_source_is_noted(here: Path, ckpt: Ckpt) -> None:
    rule = '{from: [a.w, "ad::a.w"], to: c, ops: [same], optional: true}'
    ran = ckpt("plan", "source.pt", "-e", rule)
    assert ran.code == 0
    assert "`ad::a.w` is of a source that was not given" in ran.out


def test_a_rule_of_the_command_line_wins_over_the_file(here: Path, ckpt: Ckpt) -> None:
    Path("rules.yaml").write_text("format: 1\nrules:\n  - a.w -> x\n  - b.* -> y.*\n")
    ran = ckpt("plan", "source.pt", "-r", "rules.yaml", "-e", "a.w -> z", "--format", "json")
    assert ran.code == 0
    assert [row["key"] for row in json.loads(ran.out)["rows"]] == ["z", "y.w"]


def test_a_plan_without_destination_takes_none(here: Path, ckpt: Ckpt) -> None:
    assert ckpt("plan", "source.pt", "-o", "plan.json").code == 0
    ran = ckpt("transplant", "--plan", "plan.json", "--into", "source.pt", "-o", "out.pt")
    assert ran.code == 2
    assert "made without a destination" in ran.err
    assert not Path("out.pt").exists()
