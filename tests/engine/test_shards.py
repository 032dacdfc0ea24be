"""Sharded checkpoints in and out, through the command line; damage and disorder in them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Ckpt
from safetensors.numpy import load_file, save_file

from ckptsurgeon.checkpoints.opening import open_checkpoint

Array = np.ndarray[Any, Any]

INDEX = "model.safetensors.index.json"
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"

random = np.random.default_rng(0)
TENSORS: dict[str, Array] = {
    f"layers.{layer}.{name}.weight": random.standard_normal((300, 200)).astype(np.float32)
    for layer in range(4)
    for name in "qkv"
}
"""Twelve matrices of 240 kB."""

FUSED = "{from: 'layers.<i>.<p:q|k|v>.weight', to: 'h.<i>.qkv.weight', ops: concat}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the tensors in two shards, cut in the midst of a layer."""
    monkeypatch.chdir(tmp_path)
    keys = list(TENSORS)
    write_shards(Path("src"), {ONE: keys[:7], TWO: keys[7:]})
    return tmp_path


def write_shards(folder: Path, parts: Mapping[str, list[str]]) -> None:
    folder.mkdir()
    for name, keys in parts.items():
        save_file({key: TENSORS[key] for key in keys}, folder / name)
    write_index(folder, {key: name for name, keys in parts.items() for key in keys})


def write_index(folder: Path, weight_map: Mapping[str, str]) -> None:
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index))


def read(path: str) -> dict[str, bytes]:
    """Every tensor's bytes, by our own reader."""
    found = open_checkpoint(path)
    return {key: found.read(key).tobytes() for key in found.contents.specs}


WANTED = {
    f"h.{layer}.qkv.weight": b"".join(
        TENSORS[f"layers.{layer}.{n}.weight"].tobytes() for n in "qkv"
    )
    for layer in range(4)
}


@pytest.mark.parametrize("source", ["src", "src/", f"src/{INDEX}"])
def test_rules_draw_on_any_shard(source: str, folder: Path, ckpt: Ckpt) -> None:
    ran = ckpt("transplant", source, "-e", FUSED, "-o", "out", "--max-shard-size", "1.5MB")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in Path("out").iterdir()) == [ONE, TWO, INDEX]
    index = json.loads(Path("out", INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(map(len, WANTED.values()))
    assert index["weight_map"] == {
        f"h.{layer}.qkv.weight": ONE if layer < 2 else TWO for layer in range(4)
    }
    assert read("out") == WANTED
    assert {key: array.tobytes() for key, array in load_file(f"out/{ONE}").items()} == {
        key: data for key, data in WANTED.items() if index["weight_map"][key] == ONE
    }


def test_one_shard_is_its_own_tensors(folder: Path, ckpt: Ckpt) -> None:
    ran = ckpt("transplant", f"src/{TWO}", "--one-shard", "-o", "out.safetensors")
    assert ran.code == 0, ran.err
    assert sorted(read("out.safetensors")) == sorted(list(TENSORS)[7:])


def test_what_fits_one_shard_has_no_index(folder: Path, ckpt: Ckpt) -> None:
    assert ckpt("transplant", "src", "-o", "out/").code == 0
    assert [path.name for path in Path("out").iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("out", ["out", "out.safetensors", "out.pt"])
def test_the_bytes_are_the_same_for_any_number_of_jobs(out: str, folder: Path, ckpt: Ckpt) -> None:
    rules = (
        "-e",
        "{from: 'layers.<i>.q.weight', to: 'layers.<i>.q.weight', ops: transpose}",
        "-e",
        "{from: 'layers.<i>.k.weight', to: 'layers.<i>.k.weight', ops: {cast: F16}}",
    )
    written = set()
    for jobs in (1, 2, 8):
        shards = ("--max-shard-size", "1MB") if out == "out" else ()
        words = ("-o", out, "--jobs", jobs, *shards, "--force", "-q")
        ran = ckpt("transplant", "src", *rules, *words)
        assert ran.code == 0, ran.err
        files = sorted(Path(out).iterdir()) if out == "out" else [Path(out)]
        written.add(tuple((path.name, path.read_bytes()) for path in files))
    assert len(written) == 1


def misfits(folder: Path) -> dict[str, str]:
    """An index for each kind of disorder, and words of its error; shards are changed as needed."""
    return {
        "missing": "1 of 2 shards are not there",
        "twice": "lies in two shards",
        "wrong": "lie in another shard than the index says",
        "extra": "are in no shard",
        "outside": "which lies outside of the index's folder",
        "absolute": "which lies outside of the index's folder",
        "link": "which lies outside of the index's folder",
    }


@pytest.mark.parametrize("kind", list(misfits(Path())))
@pytest.mark.parametrize("command", ["plan", "transplant", "inspect"])
def test_disorder_is_trouble(kind: str, command: str, folder: Path, ckpt: Ckpt) -> None:
    disturb(kind)
    output = ("-o", "out") if command == "transplant" else ()
    ran = ckpt(command, "src", *output)
    assert ran.code == 2
    assert misfits(folder)[kind] in ran.err
    assert ran.out == ""
    assert not Path("out").exists()


def disturb(kind: str) -> None:
    """Makes the folder `src` wrong in one way."""
    keys = list(TENSORS)
    weight_map = dict.fromkeys(keys[:7], ONE) | dict.fromkeys(keys[7:], TWO)
    if kind == "missing":
        Path("src", TWO).unlink()
    elif kind == "twice":
        save_file({key: TENSORS[key] for key in keys[6:]}, Path("src", TWO))
    elif kind == "wrong":
        weight_map[keys[0]] = TWO
    elif kind == "extra":
        weight_map["none"] = ONE
    elif kind == "link":
        Path("src", ONE).rename("elsewhere")
        Path("src", ONE).symlink_to(Path("elsewhere").absolute())
    else:
        place = "../" if kind == "outside" else f"{Path.cwd()}/"
        Path("src", ONE).rename(ONE)
        weight_map = {k: place + name if name == ONE else name for k, name in weight_map.items()}
    write_index(Path("src"), weight_map)


# --- checksums ------------------------------------------------------------------------------------


def members(path: str) -> dict[str, int]:
    """The CRCs of a zip file's storages, in order."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if "/data/" in name]
        return {name: archive.getinfo(name).CRC for name in names}


def flip_a_bit(path: str, key: str) -> None:
    """Damages a tensor's bytes, and nothing that tells of them."""
    extent = open_checkpoint(path).extent(key)
    assert extent is not None
    with open(path, "r+b") as file:
        file.seek(extent.offset + extent.nbytes // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


@pytest.fixture
def saved(folder: Path) -> dict[str, torch.Tensor]:
    state = {key: torch.from_numpy(array) for key, array in TENSORS.items()}
    torch.save(state, "a.pt")
    return state


def test_pt_to_pt_carries_the_checksums(saved: dict[str, torch.Tensor], ckpt: Ckpt) -> None:
    before = members("a.pt")
    flip_a_bit("a.pt", "layers.1.k.weight")
    assert ckpt("transplant", "a.pt", "-e", "layers.** -> h.**", "-o", "b.pt").code == 0
    assert list(members("b.pt").values()) == list(before.values())
    with zipfile.ZipFile("b.pt") as archive:
        assert archive.testzip() == "archive/data/4"  # the fifth tensor: still seen as damaged


@pytest.mark.parametrize("out", ["b.safetensors", "b/"])
def test_pt_to_safetensors_finds_a_flipped_bit(
    out: str, saved: dict[str, torch.Tensor], ckpt: Ckpt
) -> None:
    assert ckpt("transplant", "a.pt", "-o", out, "-q").code == 0
    assert read(out) == {key: array.tobytes() for key, array in TENSORS.items()}
    flip_a_bit("a.pt", "layers.1.k.weight")
    before = Path("b").exists() and sorted(path.name for path in Path("b").iterdir())
    ran = ckpt("transplant", "a.pt", "-o", out, "-q", "--force")
    assert ran.code == 2
    assert "'layers.1.k.weight': its bytes don't have the CRC-32" in ran.err
    assert read(out) == {key: array.tobytes() for key, array in TENSORS.items()}
    assert before == (Path("b").exists() and sorted(path.name for path in Path("b").iterdir()))
