"""The command `suggest`: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from command_line import Ckpt
from known_conversions import BY_NAME, CONVERSIONS
from safetensors.torch import save_file

import ckptsurgeon as cs

SUGGESTED = """\
format: 1
source: {strip: ['module.']}
rules:
  # CHECK: 4 channels there, 3 here: the first 3, if colours come first
  - conv.weight[:, :3] -> conv.weight
  # - keep: fc.weight  # fc.weight is [100, 8], here [10, 8] is wanted
  # - keep: fc.bias  # fc.bias is [100], here [10] is wanted
  # - drop: fc.*  # nothing takes it
"""


def test_the_whole_file_is_printed_and_the_summary_is_on_stderr(ckpt: Ckpt, folder: Path) -> None:
    ran = ckpt("suggest", "train.pt", "dst.pt")
    assert ran.out == SUGGESTED
    told = "2 of 5 tensors sure, 1 likely, 2 OPEN, 2 of the source OPEN\n"
    assert (ran.code, ran.err) == (1, told)


def test_a_file_is_written_also_where_something_is_open(ckpt: Ckpt, folder: Path) -> None:
    ran = ckpt("suggest", "train.pt", "dst.pt", "-o", "made.yaml")
    assert (ran.code, ran.out) == (1, "")
    told, then = ran.err.splitlines()
    assert told.startswith("made.yaml: 2 of 5 tensors sure")
    assert then == "next: ckptsurgeon plan train.pt --into dst.pt -r made.yaml"
    assert Path("made.yaml").read_text() == SUGGESTED
    assert ckpt(*then.removeprefix("next: ckptsurgeon ").split()).code == 1


def test_a_file_that_exists_is_refused_unless_forced(ckpt: Ckpt, folder: Path) -> None:
    Path("made.yaml").write_text("mine")
    ran = ckpt("suggest", "train.pt", "dst.pt", "-o", "made.yaml")
    assert (ran.code, ran.err) == (2, "error: made.yaml: exists already; --force replaces it\n")
    assert Path("made.yaml").read_text() == "mine"
    assert ckpt("suggest", "train.pt", "dst.pt", "-o", "made.yaml", "--force").code == 1
    assert Path("made.yaml").read_text() == SUGGESTED


def test_all_that_is_settled_ends_with_0(ckpt: Ckpt, folder: Path) -> None:
    ran = ckpt("suggest", "src.safetensors", "src.safetensors")
    assert (ran.code, ran.out) == (0, "format: 1\nrules: []\n")
    assert ran.err == "5 of 5 tensors sure, 0 likely\n"


def test_with_sources_that_have_names_the_one_word_is_the_destination(
    ckpt: Ckpt, folder: Path
) -> None:
    save_file({"w": torch.zeros(4, 2)}, "r_0.safetensors")
    save_file({"w": torch.zeros(4, 2)}, "r_1.safetensors")
    save_file({"w": torch.zeros(4, 4)}, "whole.safetensors")
    ran = ckpt("suggest", "--source", "r*=r_*.safetensors", "whole.safetensors")
    assert ran.code == 0
    assert "  - r<n>::w -> w: {concat: 1}\n" in ran.out


def test_a_root_stands_in_the_file(ckpt: Ckpt, folder: Path) -> None:
    torch.save({"a": {"w": torch.ones(2)}, "b": {"w": torch.ones(2)}}, "two.pt")
    save_file({"w": torch.zeros(2)}, "one.safetensors")
    assert ckpt("suggest", "two.pt", "one.safetensors", "--root", "b").out == (
        "format: 1\nsource: {root: b}\nrules: []\n"
    )


def test_a_spec_is_a_destination(ckpt: Ckpt, folder: Path) -> None:
    Path("shapes.json").write_text('{"conv.weight": ["F32", [8, 4, 3, 3]]}')
    assert ckpt("suggest", "src.safetensors", "shapes.json").code == 1


TROUBLE = {
    "suggest train.pt": "the destination is missing",
    "suggest nope.pt dst.pt": "nope.pt: there is no such file",
    "suggest train.pt nope.pt": "nope.pt: there is no such file",
    "suggest train.pt dst.pt --least maybe": "'maybe' is not one of",
    "suggest train.pt dst.pt x.pt": "one word too many: the rule file is given by `-o x.pt`",
    "suggest train.pt dst.pt -o no/rules.yaml": "no/rules.yaml: the folder",
}


@pytest.mark.parametrize("line", TROUBLE)
def test_trouble_ends_with_2(line: str, ckpt: Ckpt, folder: Path) -> None:
    ran = ckpt(*line.split())
    assert ran.code == 2
    assert TROUBLE[line] in ran.err
    assert ran.out == ""


def test_json_has_all_of_it(ckpt: Ckpt, folder: Path) -> None:
    told = json.loads(ckpt("suggest", "train.pt", "dst.pt", "--format", "json").out)
    assert told["exit_code"] == 1
    assert told["rules"] == SUGGESTED
    assert told["degrees"]["conv.weight"] == "likely"
    assert set(told["open"]) == set(told["unused"]) == {"fc.weight", "fc.bias"}


def test_a_suggestion_shows_and_saves_itself(folder: Path) -> None:
    found = cs.suggest("train.pt", "dst.pt")
    assert str(found).startswith(SUGGESTED.rstrip())
    assert (
        repr(found) == "<Suggestion: 2 of 5 tensors sure, 1 likely, 2 OPEN, 2 of the source OPEN>"
    )
    assert found.likely == ("conv.weight",)
    assert found.sure == ("bn.weight", "bn.bias")
    found.save("made.yaml")
    with pytest.raises(cs.OutputError, match="exists"):
        found.save("made.yaml")
    found.save("made.yaml", force=True)
    assert Path("made.yaml").read_text() == found.text()
    assert found.to_dict()["rules"] == found.text()


SHIPPED = "torchvision_resnet_to_transformers"


def test_a_shipped_ruleset_that_fits_is_the_first_line() -> None:
    conversion = BY_NAME[SHIPPED]
    source = conversion.make()[""]
    converted = conversion.convert({"": source})
    there = cs.suggest(source, converted).text().splitlines()[0]
    assert there == (
        f"# {SHIPPED} takes 176 of 176 keys and gives 176 of 176: "
        f"`-r {SHIPPED}` in place of this file"
    )
    back = cs.suggest(converted, source).text().splitlines()[0]
    assert back.endswith("the way back is `invert`")


def test_what_a_conversion_needs_is_found_without_an_error() -> None:
    """Most of what real conversions do, and nothing wrong of what is sure."""
    counts: Counter[str] = Counter()
    for conversion in CONVERSIONS:
        if conversion.name == "swap_batchnorms":
            continue  # equal names and shapes, and other values: no header tells it
        sources = conversion.make()
        converted = conversion.convert(sources)
        named = {alias: arrays for alias, arrays in sources.items() if alias}
        found = cs.suggest(sources.get(""), converted, sources=named or None)
        verdict = conversion.judge(found.text())
        assert not verdict.refused, (conversion.name, verdict.refused)
        assert not set(verdict.wrong) & set(found.sure), (conversion.name, verdict.wrong)
        counts.update(right=len(verdict.right), wrong=len(verdict.wrong), left=len(verdict.left))
    assert counts["right"] >= 0.8 * counts.total(), counts
    assert counts["wrong"] <= 0.02 * counts.total(), counts


def test_neither_torch_nor_numpy_is_loaded(folder: Path) -> None:
    code = "import sys; from ckptsurgeon.cli import run; run(sys.argv[1:]); print(*sys.modules)"
    words = ("suggest", "src.safetensors", "src.safetensors", "-o", "made.yaml")
    run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert {"torch", "numpy", "rich"}.isdisjoint(run.stdout.split()), run.stderr
