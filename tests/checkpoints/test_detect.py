"""Which format a file or folder is taken for, and what is said of what is none."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from ckptsurgeon.checkpoints.base import Contents, Layout, Outside
from ckptsurgeon.checkpoints.memory import MemoryCheckpoint
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.output import open_writer
from ckptsurgeon.errors import CheckpointError, OutputError
from ckptsurgeon.specs import TensorSpec

SAVED: dict[str, Any] = {"m.w": np.ones(2, np.float32), "n.w": np.zeros(1, np.float32)}
SPECS = {"m.w": TensorSpec("F32", (2,)), "n.w": TensorSpec("F32", (1,))}


def test_content_goes_before_the_name(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    safetensors.numpy.save_file(SAVED, path)
    assert open_checkpoint(path).format == "safetensors"
    with path.open("wb") as file:
        np.savez(file, **SAVED)
    assert open_checkpoint(path).format == "npz"
    path.write_text('  {"a": ["F32", []]}')
    assert open_checkpoint(path).format == "spec"


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(zipped: bool, tmp_path: Path) -> None:
    import torch

    path = tmp_path / "model.safetensors"
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    found = open_checkpoint(path)
    assert found.format == ("torch" if zipped else "torch-legacy")
    assert dict(found.contents.specs) == {"w": TensorSpec("F32", (2,))}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (bytes(600), "begins with zeros alone"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git-lfs pointer"),
        (b"\n<!DOCTYPE html><html>", "an HTML page"),
        (b"<html><body>404", "an HTML page"),
        (b"\x1f\x8b\x08\0", "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd\0", "compressed with zstd"),
        (b"BZh91AY", "compressed with bzip2"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x93NUMPY\x01\0", "numpy.savez"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"[1, 2]", "is a list in JSON"),
        (b"a.txt" + bytes(252) + b"ustar\0", "is a tar archive"),
        (b"PK\x03\x04 and no more", "begins like a zip archive but"),
        (b"\x1b[31mhello", r"is no checkpoint that is known: it begins with b'\x1b[31mhello'"),
    ],
)
def test_what_is_no_checkpoint(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(CheckpointError, match=r"neither torch's .* it holds 'readme\.txt'"):
        open_checkpoint(path)


def test_a_factory_without_its_colon_is_told() -> None:
    with pytest.raises(CheckpointError, match=r"is written `torch\.nn:Linear`"):
        open_checkpoint("torch.nn.Linear")
    for name in ("model.safetensors", "resnet50.pth", "no_such.package.build", ".pt"):
        with pytest.raises(CheckpointError, match=r"no such file$"):
            open_checkpoint(name)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such file"):
        open_checkpoint(tmp_path / "none.pt")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="neither a file nor a folder"):
        open_checkpoint(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("root", "keys"), [(None, ["m.w", "n.w"]), ("", ["m.w", "n.w"]), ("m", ["w"])]
)
def test_root_of_a_flat_file(root: str | None, keys: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file(SAVED, path)
    found = open_checkpoint(path, root)
    assert (list(found.contents.specs), found.contents.root) == (keys, root or "")
    assert found.read(keys[0]).tobytes() == SAVED["m.w"].tobytes()
    assert found.extent(keys[0]) == open_checkpoint(path).extent("m.w")
    assert found.contents.outside == ((Outside("n", 1, SAVED["n.w"].nbytes),) if root else ())


@pytest.mark.parametrize(
    ("root", "words"),
    [("modle", "did you mean 'model'"), ("x", "keys begin with 'head', 'model'")],
)
def test_root_that_no_key_has(root: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"model.a": ["F32", []], "head.b": ["F32", []]}')
    with pytest.raises(CheckpointError, match=f"no key begins with the root '{root}'; {words}"):
        open_checkpoint(path, root)


def test_memory() -> None:
    arrays = {"m.w": SAVED["m.w"].view(np.uint32)}
    found = MemoryCheckpoint(contents=Contents({"m.w": SPECS["m.w"]}), tensors=arrays)
    assert (found.format, found.has_values, found.extent("m.w")) == ("memory", True, None)
    assert found.read("m.w").dtype == np.uint32
    empty = MemoryCheckpoint(contents=Contents(SPECS), has_values=False)
    assert not empty.has_values
    assert empty.contents.specs == SPECS
    with pytest.raises(CheckpointError, match=r"shapes alone, no values of 'm\.w'"):
        empty.read("m.w")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.npz", r"a\.npz: npz files are read, never written; wanted one of \.safetensors, \.pt"),
        ("model-7.5", r"no format is known by the suffix \.5; .* a name that ends in /"),
        ("none/a.safetensors", r"the folder .*none does not exist; make it first"),
        ("none/a", r"the folder .*none does not exist; make it first"),
        ("there.safetensors", "exists already; force=True replaces it"),
        ("there", "is a file, wanted a folder"),
    ],
)
def test_outputs_that_are_refused(name: str, words: str, tmp_path: Path) -> None:
    for there in ("there.safetensors", "there"):
        (tmp_path / there).write_text("old")
    with (
        pytest.raises(OutputError, match=words),
        open_writer(f"{tmp_path}/{name}", Layout(SPECS), force=False),
    ):
        pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["there", "there.safetensors"]


@pytest.mark.parametrize(
    "name", ["a.safetensors", "A.SAFETENSORS", "a.pt", "a.ckpt", "folder", "a.pt/"]
)
def test_output_by_name(name: str, tmp_path: Path) -> None:
    target = f"{tmp_path}/{name}"
    with open_writer(target, Layout(SPECS), force=False) as writer:
        for key, array in SAVED.items():
            writer.write(key, array.view(np.uint32))
    found = open_checkpoint(target)
    assert found.format == ("torch" if name in ("a.pt", "a.ckpt") else "safetensors")
    assert Path(target).is_dir() == (name in ("folder", "a.pt/"))
    assert found.read("m.w").tobytes() == SAVED["m.w"].tobytes()


def test_an_existing_folder_is_a_folder_whatever_its_name(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "model.pt").mkdir()
    write(tmp_path / "model.pt")
    assert [entry.name for entry in (tmp_path / "model.pt").iterdir()] == ["model.safetensors"]
