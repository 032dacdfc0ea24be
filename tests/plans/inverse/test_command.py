"""`ckptsurgeon invert` from file to file: no checkpoint is needed but the plan's output."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Ckpt, ckpt, folder
from comparison import assert_same, load
from safetensors.torch import load_file, save_file

__all__ = ["ckpt", "folder"]

RULES = """\
format: 1
source: {strip: ["module."]}
output: {separator: /}
rules:
  - conv.weight -> stem.kernel: {permute: [2, 3, 1, 0]}
  - bn.* -> norm.*
  - fc.<t:weight|bias> -> head.<t>
"""


def ran(ckpt: Ckpt, *words: object) -> Any:
    done = ckpt(*words)
    assert done.code == 0, done.err
    return done


@pytest.mark.parametrize("output", ["out.pt", "out.safetensors", "shards/"])
def test_the_plan_alone_is_enough_and_names_are_the_file_s_own(
    output: str, ckpt: Ckpt, folder: Path
) -> None:
    Path("rules.yaml").write_text(RULES)
    before = torch.load("train.pt", weights_only=False)["state_dict"]
    ran(ckpt, "plan", "train.pt", "-r", "rules.yaml", "-o", "plan.json")
    ran(ckpt, "transplant", "train.pt", "-r", "rules.yaml", "-o", output)
    os.rename("train.pt", "gone.pt")
    told = ran(ckpt, "invert", "plan.json", "-o", "inverse.json")
    assert told.out.startswith("turns around plan.json\n\nsource  the output of plan.json  ")
    assert "permute(dims=[3, 2, 0, 1])" in told.out
    ran(ckpt, "transplant", output, "--plan", "inverse.json", "-o", "back.safetensors")
    back = load_file("back.safetensors")
    assert_same(back, before)
    ran(ckpt, "transplant", output, "--plan", "inverse.json", "-o", "back.pt")
    nested = torch.load("back.pt", weights_only=True)
    assert list(nested.get("state_dict", nested)) == list(before)


def test_the_report_is_json_where_that_is_asked_for(ckpt: Ckpt, folder: Path) -> None:
    ran(ckpt, "plan", "src.safetensors", "-e", "bn.* -> norm.*", "-o", "plan.json")
    report = json.loads(ran(ckpt, "invert", "plan.json", "--format", "json").out)
    assert report["sources"][0]["path"] == "the output of plan.json"
    row = next(row for row in report["rows"] if row["key"] == "bn.bias")
    assert row["sources"] == [{"source": "", "key": "norm.bias"}]
    assert report["rules"][0]["text"] == "undo: bn.* -> norm.*"


def test_what_is_lost_is_2_and_nothing_is_written(ckpt: Ckpt, folder: Path) -> None:
    ran(ckpt, "plan", "src.safetensors", "-e", "drop: fc.*", "-o", "plan.json")
    refused = ckpt("invert", "plan.json", "-o", "inverse.json")
    assert (refused.code, refused.out, Path("inverse.json").exists()) == (2, "", False)
    assert "-e:1:1: `fc.bias`, `fc.weight` are lost: dropped" in refused.err
    assert "--source-of-lost CKPT" in refused.err
    ran(ckpt, "transplant", "--plan", "plan.json", "-o", "out.pt")
    lost = ("--source-of-lost", "src.safetensors")
    ran(ckpt, "invert", "plan.json", *lost, "-o", "inverse.json")
    os.rename("src.safetensors", "moved.safetensors")
    again = ("--plan", "inverse.json", "-o", "back.safetensors")
    assert ckpt("transplant", "out.pt", *again).code == 2
    ran(ckpt, "transplant", "out.pt", "--source", "lost=moved.safetensors", *again)
    assert_same(load_file("back.safetensors"), load_file("moved.safetensors"))


def test_the_destination_s_own_values_are_left_out(ckpt: Ckpt, folder: Path) -> None:
    words = ("train.pt", "--into", "dst.pt", "-r", "rules.yaml")
    ran(ckpt, "plan", *words, "-o", "plan.json")
    ran(ckpt, "transplant", *words, "-o", "out.pt")
    told = ckpt("invert", "plan.json").err
    assert "`conv.weight` is lost: 25.0% is taken by no rule" in told
    report = ran(ckpt, "invert", "plan.json", "--source-of-lost", "train.pt", "-o", "inverse.json")
    assert "fc  the destination's own  rules.yaml:6" in report.out
    ran(ckpt, "transplant", "out.pt", "--plan", "inverse.json", "-o", "back.safetensors")
    before = torch.load("train.pt", weights_only=False)["state_dict"]
    assert_same(load_file("back.safetensors"), before)


def test_an_output_of_other_shapes_is_refused(ckpt: Ckpt, folder: Path) -> None:
    ran(ckpt, "plan", "src.safetensors", "-e", "bn.* -> norm.*", "-o", "plan.json")
    ran(ckpt, "invert", "plan.json", "-o", "inverse.json")
    words = ("--plan", "inverse.json", "-o", "back.pt")
    missing, other = ckpt("transplant", *words), ckpt("transplant", "dst.pt", *words)
    assert (missing.code, other.code) == (2, 2)
    assert missing.err == "error: the plan needs the output of plan.json: name it as SRC\n"
    assert "its keys, dtypes or shapes are not those of source (the output of plan" in other.err
    assert not Path("back.pt").exists()


def test_a_root_of_its_own_is_found_in_the_output(ckpt: Ckpt, folder: Path) -> None:
    ema = {"w": torch.rand(3, 2), "b": torch.rand(2)}
    torch.save({"state_dict": {"w": torch.zeros(3, 2)}, "ema": {"shadow": ema}}, "ema.pt")
    Path("ema.yaml").write_text("format: 1\nsource: {root: ema.shadow}\nrules: [w -> weight]\n")
    ran(ckpt, "plan", "ema.pt", "-r", "ema.yaml", "-o", "plan.json")
    ran(ckpt, "invert", "plan.json", "-o", "inverse.json")
    for output in ("out.pt", "out.safetensors"):
        ran(ckpt, "transplant", "--plan", "plan.json", "-o", output)
        ran(
            ckpt,
            "transplant",
            output,
            "--plan",
            "inverse.json",
            "-o",
            "back.safetensors",
            "--force",
        )
        assert_same(load_file("back.safetensors"), ema)


def test_ties_are_kept_and_give_back_what_was_dropped(ckpt: Ckpt, folder: Path) -> None:
    shared = torch.rand(4, 3)
    tied = OrderedDict({"embed.w": shared, "head.w": shared, "b": torch.rand(3)})
    torch.save(tied, "tied.pt")
    for rule in ("embed.w -> wte.w", "drop: head.w"):
        ran(ckpt, "plan", "tied.pt", "-e", rule, "-o", "plan.json")
        ran(ckpt, "transplant", "--plan", "plan.json", "-o", "out.pt", "--force")
        ran(ckpt, "invert", "plan.json", "-o", "inverse.json")
        ran(ckpt, "transplant", "out.pt", "--plan", "inverse.json", "-o", "back.pt", "--force")
        back = load(Path("back.pt"))
        assert_same(back, tied)
        assert back["head.w"].data_ptr() == back["embed.w"].data_ptr()


def test_an_inverse_turns_around_once_more(ckpt: Ckpt, folder: Path) -> None:
    words = ("-e", "conv.weight -> stem.weight: {permute: [3, 2, 1, 0]}")
    ran(ckpt, "plan", "src.safetensors", *words, "-o", "plan.json")
    ran(ckpt, "transplant", "src.safetensors", *words, "-o", "out.safetensors")
    ran(ckpt, "invert", "plan.json", "-o", "inverse.json")
    ran(ckpt, "invert", "inverse.json", "-o", "twice.json")
    ran(ckpt, "transplant", "src.safetensors", "--plan", "twice.json", "-o", "again.safetensors")
    assert Path("again.safetensors").read_bytes() == Path("out.safetensors").read_bytes()


def test_names_of_an_npz_come_back_with_their_separator(ckpt: Ckpt, folder: Path) -> None:
    rules = "format: 1\nsource: {separator: /}\nrules: [conv.weight -> c.w: {transpose: [0, 1]}]\n"
    Path("npz.yaml").write_text(rules)
    ran(ckpt, "plan", "a.npz", "-r", "npz.yaml", "-o", "plan.json")
    ran(ckpt, "transplant", "--plan", "plan.json", "-o", "out.safetensors")
    ran(ckpt, "invert", "plan.json", "-o", "inverse.json")
    ran(ckpt, "transplant", "out.safetensors", "--plan", "inverse.json", "-o", "back.safetensors")
    with np.load("a.npz") as arrays:
        wanted = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    assert_same(load_file("back.safetensors"), wanted)


@pytest.mark.parametrize("field", ["specs", "names", "aliases"])
def test_a_plan_whose_account_of_a_source_was_changed_is_refused(
    field: str, ckpt: Ckpt, folder: Path
) -> None:
    ran(ckpt, "plan", "src.safetensors", "-e", "bn.* -> norm.*", "-o", "plan.json")
    plan = json.loads(Path("plan.json").read_text())
    view = plan["sources"][0]
    changed = {"specs": {"no": {"dtype": "F32", "shape": [2**40]}}, "names": {"fc.bias": "x"}}
    view[field] = changed.get(field, [["fc.bias", "nope"]])
    Path("bad.json").write_text(json.dumps(plan, separators=(",", ":")))
    refused = ckpt("invert", "bad.json", "-o", "inverse.json")
    assert refused.code == 2
    assert "plan again" in refused.err
    assert "Traceback" not in refused.err
    assert not Path("inverse.json").exists()


def test_a_thousand_ops_are_undone(ckpt: Ckpt, folder: Path) -> None:
    ops = ", ".join(["transpose"] * 3001)
    Path("deep.yaml").write_text(f"format: 1\nrules:\n  - fc.weight -> t: [{ops}]\n")
    save_file({"fc.weight": torch.rand(3, 4)}, "s.safetensors")
    ran(ckpt, "plan", "s.safetensors", "-r", "deep.yaml", "-o", "plan.json")
    ran(ckpt, "transplant", "--plan", "plan.json", "-o", "out.safetensors", "-q")
    ran(ckpt, "invert", "plan.json", "-o", "inverse.json")
    ran(ckpt, "transplant", "out.safetensors", "--plan", "inverse.json", "-o", "back.safetensors")
    assert_same(load_file("back.safetensors"), load_file("s.safetensors"))
