"""The command learn: what it prints where, its exit codes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Ckpt
from safetensors.numpy import load_file, save_file

RULES = "format: 1\nrules:\n  - a.* -> b.*\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    rng = np.random.default_rng(0)
    tensors = {leaf: rng.standard_normal((3, 4)).astype("f4") for leaf in ("weight", "bias")}
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    save_file({f"a.{key}": one for key, one in tensors.items()}, old)
    save_file({f"b.{key}": one for key, one in tensors.items()}, new)
    return str(old), str(new)


def test_rules_are_printed_and_what_is_known_of_them_beside(
    ckpt: Ckpt, files: tuple[str, str]
) -> None:
    ran = ckpt("learn", *files)
    assert ran.code == 0
    assert ran.out == RULES
    assert "proved  2 tensors  equal element for element" in ran.err
    assert ran.err.rstrip().endswith("1 rule for 2 tensors: 2 proved")


def test_rules_are_written_and_what_is_known_of_them_printed(
    ckpt: Ckpt, files: tuple[str, str], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    ran = ckpt("learn", *files, "-o", rules)
    assert ran.code == 0
    assert rules.read_text() == RULES
    assert "1 rule for 2 tensors: 2 proved" in ran.out
    assert ran.err == f"{rules}: written\n"
    again = ckpt("learn", *files, "-o", rules)
    assert again.code == 2
    assert "exists" in again.err
    assert ckpt("learn", *files, "-o", rules, "--force").code == 0


def test_json_is_one_object(ckpt: Ckpt, files: tuple[str, str]) -> None:
    told = json.loads(ckpt("learn", *files, "--format", "json").out)
    assert told["rules"] == RULES
    assert told["degrees"] == {"b.bias": "proved", "b.weight": "proved"}
    assert told["unexplained"] == told["dropped"] == []


def test_what_is_open_ends_with_1_and_is_written(
    ckpt: Ckpt, files: tuple[str, str], tmp_path: Path
) -> None:
    old, new = files
    rules = tmp_path / "rules.yaml"
    more = np.random.default_rng(1).standard_normal((2, 2)).astype("f4")
    save_file(load_file(new) | {"head.weight": more}, new)
    ran = ckpt("learn", old, new, "-o", rules)
    assert ran.code == 1
    assert "# - keep: head.weight" in rules.read_text()
    assert "1 UNEXPLAINED" in ran.out


def test_shards_stand_before_what_was_made_of_them(ckpt: Ckpt, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [{"w": rng.standard_normal((2, 3)).astype("f4")} for _ in range(2)]
    for at, part in enumerate(parts):
        save_file(part, tmp_path / f"part{at}.safetensors")
    made = tmp_path / "made.safetensors"
    save_file({"w": np.concatenate([part["w"] for part in parts])}, made)
    ran = ckpt("learn", "--source", f"s*={tmp_path}/part*.safetensors", made)
    assert ran.code == 0
    assert "- s<s>::w -> w: concat" in ran.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["old"], "wanted SRC and CONVERTED, what was made of it"),
        (["old", "new", "new"], "further sources are `--source NAME=PATH`"),
        (["old", "nowhere.pt"], "nowhere.pt: there is no such file"),
        (["old", "new", "-o", "rules.txt"], "a rule file is YAML: name it `rules.yaml`"),
        (["old", "-"], "a checkpoint can't be a stream"),
        (["old", "new", "--example", "old"], "requires 2 arguments"),
        (["old", "new", "--config", "nowhere.json"], "can't read the config"),
    ],
)
def test_what_is_wrong_is_told(
    ckpt: Ckpt, files: tuple[str, str], words: list[str], said: str
) -> None:
    named = {"old": files[0], "new": files[1]}
    ran = ckpt("learn", *(named.get(word, word) for word in words))
    assert ran.code == 2
    assert said in ran.err


def test_other_weights_end_with_2(ckpt: Ckpt, files: tuple[str, str]) -> None:
    old, new = files
    rng = np.random.default_rng(7)
    save_file(
        {key: rng.standard_normal((3, 4)).astype("f4") for key in ("b.bias", "b.weight")}, new
    )
    ran = ckpt("learn", old, new)
    assert ran.code == 2
    assert "these are not the same weights" in ran.err


def test_where_rules_can_t_go_is_told_before_anything_is_read(ckpt: Ckpt) -> None:
    ran = ckpt("learn", "absent.pt", "absent.pt", "-o", "nowhere/rules.yaml")
    assert ran.code == 2
    assert "nowhere does not exist; make it first" in ran.err
