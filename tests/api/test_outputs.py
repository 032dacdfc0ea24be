"""Which format an output's name asks for: what is written, and what is told to be left out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Ckpt

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.output import OutputFormat, output_format

FILE, TORCH, SHARDS = OutputFormat.SAFETENSORS, OutputFormat.TORCH, OutputFormat.SHARDS

OUTPUTS = [
    # name, whether a folder of that name is there already, what it asks for
    ("a.safetensors", False, FILE),
    ("A.SafeTensors", False, FILE),
    ("a.b.safetensors", False, FILE),
    ("a.pt", False, TORCH),
    ("a.PTH", False, TORCH),
    ("a.bin", False, TORCH),
    ("a.safetensors.ckpt", False, TORCH),
    ("a.d/../a.pt", True, TORCH),
    ("a.pt", True, SHARDS),
    ("a.safetensors", True, SHARDS),
    ("a.npz", True, SHARDS),
    ("a.pt/", False, SHARDS),
    ("a.pt//", False, SHARDS),
    ("a.pt/.", False, SHARDS),
    ("a.pt/", True, SHARDS),
    ("a.npz/", False, SHARDS),
    ("a", False, SHARDS),
    ("a.", False, SHARDS),
    (".pt", False, SHARDS),
]

UNKNOWN = ["a.npz", "a.json", "model-7.5", "a.pt2"]

ENTRIES = {"args", "epoch"}
"""The entries of `source` that a torch file carries."""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"w": torch.rand(2)}, "epoch": 3, "args": {"lr": 0.1}}, "train.pt")
    return "train.pt"


def make_folder(name: str, there: bool) -> None:
    if there:
        Path(name.split("/")[0]).mkdir()


@pytest.mark.parametrize(("name", "there", "wanted"), OUTPUTS)
def test_the_name_is_what_is_told_and_what_is_written(
    name: str, there: bool, wanted: OutputFormat, source: str
) -> None:
    make_folder(name, there)
    assert output_format(name) is wanted
    report = cs.transplant(source, name)
    assert left_out(report) == (set() if wanted is TORCH else ENTRIES)
    assert Path(name).is_dir() == (wanted is SHARDS)
    assert cs.open_checkpoint(name).format == ("torch" if wanted is TORCH else "safetensors")
    if wanted is TORCH:
        assert torch.load(name, weights_only=True)["epoch"] == 3


def left_out(report: cs.Report) -> set[str]:
    return {note.key for note in report.notes if note.kind == "entry"}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_suffix_of_no_format_writes_nothing_and_carries_nothing(name: str, source: str) -> None:
    assert output_format(name) is None
    with pytest.raises(cs.OutputError, match=r"wanted one of \.safetensors, \.pt"):
        cs.transplant(source, name)
    assert os.listdir() == [source]


def test_paths_ask_as_their_texts_do(source: str) -> None:
    Path("there.pt").mkdir()
    names = ("a.pt", "a.safetensors", "there.pt", "a")
    assert [output_format(Path(name)) for name in names] == [TORCH, FILE, SHARDS, SHARDS]


def test_a_plan_without_an_output_tells_what_torch_would_leave_out(source: str) -> None:
    assert "entry" not in {note.kind for note in cs.plan(source).notes}


def test_the_entries_of_further_sources_are_never_carried(source: str) -> None:
    named: Any = {"other": source}
    rules = [{"drop": "other::w"}]
    report = cs.transplant(source, "a.pt", rules, sources=named)
    assert left_out(report) == ENTRIES
    assert torch.load("a.pt", weights_only=True)["epoch"] == 3


def torch_shards() -> str:
    """A folder of two torch shards, the second with an entry that is no tensor."""
    os.mkdir("shards")
    torch.save({"a": torch.rand(1)}, "shards/one.bin")
    torch.save({"b": torch.rand(1), "epoch": 3}, "shards/two.bin")
    index = {"metadata": {}, "weight_map": {"a": "one.bin", "b": "two.bin"}}
    Path("shards/pytorch_model.bin.index.json").write_text(json.dumps(index))
    return "shards"


def npz() -> str:
    np.savez("some.npz", w=np.zeros(2, np.float32), epoch=np.array(["3"]))
    return "some.npz"


@pytest.mark.parametrize("make", [torch_shards, npz])
@pytest.mark.parametrize("name", [None, "out.pt", "out.safetensors", "out/"])
def test_what_no_output_can_carry_is_told_for_each(
    name: str | None, make: Callable[[], str], source: str
) -> None:
    given = make()
    notes = cs.plan(given).notes if name is None else cs.transplant(given, name).notes
    assert [note.key for note in notes if note.kind == "entry"] == ["epoch"]
    if name == "out.pt":
        assert "epoch" not in torch.load(name, weights_only=True)


@pytest.mark.parametrize(("name", "told"), [("out.pt/", True), ("out.pt", False)])
def test_the_command_line_tells_them_too(name: str, told: bool, source: str, ckpt: Ckpt) -> None:
    ran = ckpt("transplant", source, "-o", name)
    assert ran.code == 0
    assert ("epoch" in ran.out) == told


@pytest.mark.parametrize("name", ["n" * 300, "n" * 300 + ".pt"])
def test_a_name_that_no_file_can_have_is_told_in_words(name: str, source: str, ckpt: Ckpt) -> None:
    ran = ckpt("transplant", source, "-o", name)
    assert (ran.code, os.listdir()) == (2, [source])
    assert "File name too long" in ran.err
