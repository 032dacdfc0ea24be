"""Probes of files: what they keep of their source, and that they are made whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Ckpt
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sparse_files import write_sparse
from torch import nn

import ckptsurgeon as cs
from ckptsurgeon.ops.carriers import all_finite
from ckptsurgeon.ops.ranges import INTEGER_RANGES
from ckptsurgeon.probing import writing
from ckptsurgeon.probing.kinds import Kind
from ckptsurgeon.specs import BITS


class Net(nn.Module):
    """A tied head, a norm, an index, and a frequency table."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 6)
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 9, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("position_ids", torch.arange(12)[None])
        self.register_buffer("inv_freq", 0.5 ** torch.arange(4.0))
        self.register_buffer("seen", torch.tensor([True, False]))


TABLES = ("position_ids", "inv_freq", "seen")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training checkpoint, as torch saves it."""
    monkeypatch.chdir(tmp_path)
    saved = {
        "epoch": 3,
        "model": {"net": Net().state_dict()},
        "config": OrderedDict(width=4, name="tiny"),
        "optimizer": {"state": {0: {"exp_avg": torch.rand(9, 6)}}},
        "log": [1, 2.5, "x"],
    }
    torch.save(saved, "train.pt")
    return Path("train.pt")


def net_of(path: str) -> Any:
    return torch.load(path, weights_only=True)["model"]["net"]


def test_nesting_entries_versions_and_dtypes_are_kept(source: Path) -> None:
    made = cs.probe(source, "probe.pt", root="model.net")
    whole = torch.load("probe.pt", weights_only=True)
    assert (whole["epoch"], whole["log"]) == (3, [1, 2.5, "x"])
    assert whole["config"] == OrderedDict(width=4, name="tiny")
    assert "optimizer" not in whole
    found, given = whole["model"]["net"], net_of("train.pt")
    assert list(found) == list(given) == list(made.specs)
    for key, tensor in given.items():
        assert (found[key].dtype, found[key].shape) == (tensor.dtype, tensor.shape)
        assert found[key].equal(tensor) == (key in TABLES), key
    assert found._metadata == given._metadata
    Net().load_state_dict(found)
    assert [(note.kind, note.key) for note in made.notes] == [
        ("wrapper", ""),
        ("outside", "optimizer"),
    ]


def test_values_suit_their_names_and_differ(source: Path) -> None:
    made = cs.probe(source, "probe.pt")
    found = net_of("probe.pt")
    assert found["norm.weight"].sub(1).abs().max() < 0.5
    assert found["norm.running_var"].min() > 0
    assert 0 < int(found["norm.num_batches_tracked"]) <= 1024
    assert found["embed.weight"].abs().max() < 0.0625
    random = [
        found[key].reshape(-1)
        for key, kind in made.kinds.items()
        if kind in (Kind.SMALL, Kind.NEAR_ONE, Kind.POSITIVE) and key.split(".")[-1] != "head"
    ]
    numbers = torch.cat([one for one in random if one.dtype == torch.float32])
    assert len(numbers.unique()) == len(numbers) - found["embed.weight"].numel()  # tied


def test_ties_stay_ties_in_torch_files_and_are_equal_in_safetensors(source: Path) -> None:
    made = cs.probe(source, "probe.pt")
    tied, own = "model.net.head.weight", "model.net.embed.weight"
    assert {key.rpartition("net.")[2] for key in made.ties} == {"head.weight"}
    found = net_of("probe.pt")
    assert found["embed.weight"].data_ptr() == found["head.weight"].data_ptr()
    cs.probe(source, "probe.safetensors", root="")
    flat = load_file("probe.safetensors")
    assert flat[tied].equal(flat[own])
    assert flat[own].equal(found["embed.weight"])


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", "/"])
def test_equal_seeds_give_equal_bytes_whatever_the_memory(source: Path, suffix: str) -> None:
    def content(name: str, **words: Any) -> dict[str, bytes]:
        cs.probe(source, f"{name}{suffix}", **words)
        place = Path(f"{name}{suffix}")
        files = [place] if place.is_file() else sorted(place.iterdir())
        return {file.name.removeprefix(name): file.read_bytes() for file in files}

    first = content("a")
    assert content("b", memory=1) == first
    assert content("c", memory="3KiB", seed=0) == first
    other = content("d", seed=1)
    assert (other.keys(), other != first) == (first.keys(), True)


def test_a_file_and_the_dict_in_it_give_the_same_values(source: Path) -> None:
    cs.probe(source, "probe.pt")
    held = cs.probe(torch.load(source, weights_only=True))
    for key, tensor in net_of("probe.pt").items():
        assert held["model"]["net"][key].equal(tensor)


def sharded(folder: str, names: dict[str, dict[str, torch.Tensor]], index: str) -> None:
    Path(folder).mkdir()
    weight_map = {}
    for name, state in names.items():
        save_file(state, f"{folder}/{name}")
        weight_map |= dict.fromkeys(state, name)
    Path(f"{folder}/{index}").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_keep_their_names_keys_and_index(
    tmp_path: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {
        "unet-00001-of-00002.safetensors": {"b.w": torch.zeros(9, 9), "a.w": torch.ones(3)},
        "unet-00002-of-00002.safetensors": {"c.w": torch.zeros(2)},
    }
    sharded("src", names, "unet.safetensors.index.json")
    assert ckpt("probe", "src", "-o", "out/").code == 0
    assert sorted(os.listdir("out")) == sorted(os.listdir("src"))
    for name, state in names.items():
        assert load_file(f"out/{name}").keys() == state.keys()
    one, other = (
        json.loads(Path(f"{folder}/unet.safetensors.index.json").read_text())["weight_map"]
        for folder in ("src", "out")
    )
    assert one == other
    assert cs.probe("src", "cut", max_shard_size=340).exit_code == 0
    assert "model-00001-of-00002.safetensors" in os.listdir("cut")
    cs.probe("src", "one.safetensors")
    assert load_file("one.safetensors")["b.w"].equal(
        load_file("out/unet-00001-of-00002.safetensors")["b.w"]
    )
    rooted = cs.probe("src", "rooted", root="a")
    assert (list(rooted.specs), len(os.listdir("rooted"))) == (["w"], 2)
    assert ckpt("probe", "src", "-o", "src", "--force").code == 2


def test_shards_of_other_formats_are_numbered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("src").mkdir()
    weight_map = {}
    for number, key in enumerate(("a", "b"), 1):
        name = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({key: torch.zeros(4)}, f"src/{name}")
        weight_map[key] = name
    Path("src/pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    cs.probe("src", "out")
    assert sorted(os.listdir("out")) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]
    assert list(cs.inspect("out").specs) == ["a", "b"]


def test_every_dtype_is_written_and_finite(tmp_path: Path) -> None:
    shape = [4, 6]
    spec = {f"{dtype}.x": [dtype, shape] for dtype in BITS if "FNUZ" not in dtype}
    spec = {key: entry for key, entry in spec.items() if entry[0] != "C128"}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    made = cs.probe(tmp_path / "spec.json", tmp_path / "probe.safetensors")
    found = cs.open_checkpoint(tmp_path / "probe.safetensors")
    assert dict(found.contents.specs) == dict(made.specs)
    for key, one in found.contents.specs.items():
        if one.carrier and one.dtype not in INTEGER_RANGES:
            assert all_finite(found.read(key), one.dtype), key
    loads = {key: entry for key, entry in spec.items() if BITS[entry[0]] >= 8}
    (tmp_path / "spec.json").write_text(json.dumps(loads | {"C128.x": ["C128", shape]}))
    cs.probe(tmp_path / "spec.json", tmp_path / "probe.pt")
    assert len(torch.load(tmp_path / "probe.pt", weights_only=True)) == len(loads) + 1
    assert np.isfinite(cs.probe(tmp_path / "spec.json")["C128.x"]).all()


def test_metadata_of_a_header_is_kept(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(3)}, tmp_path / "a.safetensors", {"arch": "tiny"})
    cs.probe(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    with safe_open(tmp_path / "b.safetensors", "pt") as found:
        assert found.metadata() == {"arch": "tiny", "format": "pt"}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_strided_and_deflated_tables_are_kept(save: Any, tmp_path: Path) -> None:
    table = np.arange(60).reshape(12, 5)
    save(tmp_path / "a.npz", ids=np.asfortranarray(table), big=np.arange(9000))
    torch.save({"ids": torch.tensor(table).T}, tmp_path / "a.pt")
    cs.probe(tmp_path / "a.npz", tmp_path / "b.safetensors", memory=100)
    found = load_file(tmp_path / "b.safetensors")
    assert np.array_equal(found["ids"], table)
    assert np.array_equal(found["big"], np.arange(9000))
    cs.probe(tmp_path / "a.pt", tmp_path / "b.pt", memory=100)
    assert np.array_equal(torch.load(tmp_path / "b.pt")["ids"], table.T)


def test_no_more_is_drawn_at_a_time_than_the_memory_has_room_for(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    def draw(recipe: Any, first: int, count: int) -> Any:
        counts.append(count)
        return real(recipe, first, count)

    real = writing.draw
    monkeypatch.setattr(writing, "draw", draw)
    cs.probe(source, "probe.pt", memory=640)
    assert max(counts) == 640 // writing.DRAWING
    assert sum(counts) == sum(
        spec.count
        for key, spec in cs.inspect(source).specs.items()
        if key not in TABLES and key != "head.weight"
    )


def test_progress_is_told_by_tensors(source: Path) -> None:
    told: list[tuple[int, int, str]] = []
    cs.probe(source, "probe.pt", progress=lambda *step: told.append(step))
    assert (
        told[-1][0]
        == told[-1][1]
        == sum(
            spec.nbytes for key, spec in cs.inspect(source).specs.items() if key != "head.weight"
        )
    )
    assert [done for done, _, _ in told] == sorted({done for done, _, _ in told})


def test_a_source_that_changes_meanwhile_leaves_no_output(source: Path) -> None:
    def touch(done: int, total: int, key: str) -> None:
        os.utime("train.pt", ns=(done, done))

    with pytest.raises(cs.CheckpointError, match="was changed while it was read"):
        cs.probe(source, "probe.pt", progress=touch)
    assert os.listdir() == ["train.pt"]


def test_sources_without_values(source: Path) -> None:
    state = {"a.weight": torch.zeros(4, 4, device="meta"), "ids": torch.zeros(12, device="meta")}
    state["ids"] = state["ids"].long()
    made = cs.probe(state, "meta.pt")
    assert [note.text for note in made.notes] == [
        "the source has shapes alone: no table of it is kept"
    ]
    assert torch.load("meta.pt")["ids"].equal(torch.arange(12))
    Path("nets.py").write_text("from torch import nn\n\ndef build():\n    return nn.Linear(3, 4)\n")
    assert cs.probe("nets:build", "net.pt").summary == "2 tensors, 64 B: 2 random"
    assert torch.load("net.pt")["weight"].shape == (4, 3)


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (200_000_000, 200_000_000))
from ckptsurgeon.cli import main
main()
"""
"""The command line where the kernel refuses memory."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds little elsewhere")
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_tensor_of_600_mb_under_a_limit_of_200_mb(suffix: str, tmp_path: Path) -> None:
    source, output = tmp_path / "a.safetensors", tmp_path / f"out{suffix}"
    write_sparse(source, "F32", {"w": (10_000, 15_000)})
    words = ["probe", str(source), "-o", str(output), "--memory", "64MiB"]
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert output.stat().st_size > 600_000_000
