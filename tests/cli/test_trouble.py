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


def test_a_shard_size_for_one_file_is_refused(here: Path, ckpt: Ckpt) -> None:
    ran = ckpt("transplant", "source.pt", "-o", "out.safetensors", "--max-shard-size", "1MB")
    assert ran.code == 2
    assert "is one file, and shards make a folder" in ran.err
    assert not Path("out.safetensors").exists()


def test_a_key_taken_in_slices_is_read_whole_as_the_help_says(here: Path, ckpt: Ckpt) -> None:
    refused = ckpt(
        "plan", "source.pt", "-e", "{from: a.w, to: c, reuse: true}", "-e", "a.w[:1] -> d"
    )
    assert refused.code == 2
    assert "`KEY[...]` with `reuse: true`" in refused.err
    read = ckpt(
        "plan", "source.pt", "-e", "{from: 'a.w[...]', to: c, reuse: true}", "-e", "a.w[:1] -> d"
    )
    assert read.code == 0


def test_ties_of_different_values_are_told_at_their_rule(here: Path, ckpt: Ckpt) -> None:
    torch.save({"a": torch.zeros(3), "b": torch.ones(3)}, "two.pt")
    ran = ckpt("transplant", "two.pt", "-e", "tie: [a, b]", "-o", "out.pt", "-q")
    assert ran.code == 2
    assert ran.err.startswith(
        "-e:1:1: `tie`: `a` and `b` hold different values"
    ) or ran.err.startswith("-e:1:1: `tie`: `b` and `a` hold different values")
    assert not Path("out.pt").exists()


def test_rules_of_the_command_line_alone_are_named_so(here: Path, ckpt: Ckpt) -> None:
    ran = ckpt("diff", "source.pt", "source.pt", "-e", "** -> **")
    assert ran.code == 0
    assert "rules  -e\n" in ran.out
    told = ckpt("diff", "source.pt", "source.pt", "-e", "** -> **", "--format", "json").out
    assert json.loads(told)["conditions"]["rules"] == ["-e"]
    lost = ckpt("diff", "source.pt", "source.pt", "-e", "x::** -> x::**")
    assert (lost.code, "<no rules>" in lost.err) == (2, False)
