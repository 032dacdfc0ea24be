"""Folders of shards: what an index may say, and what is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from ckptsurgeon.checkpoints.base import Layout
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.output import open_writer
from ckptsurgeon.checkpoints.sharded import INDEX, split_shards
from ckptsurgeon.errors import CheckpointError, OutputError
from ckptsurgeon.specs import TensorSpec

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards with a key each, `a` and `b`, without an index."""
    place = tmp_path / "shards"
    place.mkdir()
    for key, name in (("a", ONE), ("b", TWO)):
        safetensors.numpy.save_file({key: np.ones(2, np.float32)}, place / name)
    return place


def index(folder: Path, weight_map: Any) -> Path:
    """An index in the folder."""
    path = folder / INDEX
    path.write_text(json.dumps({"metadata": {"total_size": 16}, "weight_map": weight_map}))
    return path


def test_folder_index_and_single_shard(folder: Path) -> None:
    path = index(folder, {"a": ONE, "b": TWO})
    for opened in (open_checkpoint(folder), open_checkpoint(str(path))):
        assert list(opened.contents.specs) == ["a", "b"]
        assert opened.format == "safetensors"
        assert opened.read("b").view(np.float32).tolist() == [1, 1]
        extent = opened.extent("b")
        assert extent is not None
        assert extent.path == folder / TWO
    alone = open_checkpoint(folder / ONE, one_shard=True).contents
    assert (list(alone.specs), alone.shard) == (["a"], "shard 1 of 2")


@pytest.mark.parametrize(
    ("weight_map", "words"),
    [
        ({"a": ONE}, f"does not name '{TWO}', of the same set"),
        ({"a": ONE, "b": "model-3.safetensors"}, "1 of 2 shards are not there: 'model-3"),
        ({"a": ONE, "b": TWO, "c": TWO}, "1 keys are in no shard: 'c'"),
        ({"a": ONE, "x": TWO}, "1 keys are in a shard but not in the index: 'b'"),
        ({"a": TWO, "b": ONE}, "2 keys lie in another shard than the index says: 'a', 'b'"),
        ({"a": ONE, "b": 3}, "'b' lies in 3"),
        ({"a": f"../shards/{ONE}"}, "outside of the index's folder"),
        ({"a": f"x/../../shards/{ONE}"}, "outside of the index's folder"),
        ({"a": "/etc/passwd"}, "outside of the index's folder"),
        ({"a": "..\\secret"}, "outside of the index's folder"),
        ({"a": "C:secret"}, "outside of the index's folder"),
        ({"a": ""}, "outside of the index's folder"),
        ({"a": "."}, "outside of the index's folder"),
        ({"a": "a\0b"}, "outside of the index's folder"),
        ({"a": "link.safetensors"}, "'link.safetensors', which lies outside"),
        ({"a": INDEX}, "is listed as a shard, but"),
        ({}, "weight_map is {}"),
    ],
)
def test_what_an_index_says(weight_map: Any, words: str, folder: Path) -> None:
    safetensors.numpy.save_file({"a": np.ones(2, np.float32)}, folder.parent / "outer.safetensors")
    (folder / "link.safetensors").symlink_to("../outer.safetensors")
    path = index(folder, weight_map)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)


def test_a_key_in_two_shards(folder: Path) -> None:
    both = {"a": np.ones(2, np.float32), "b": np.ones(2, np.float32)}
    safetensors.numpy.save_file(both, folder / TWO)
    with pytest.raises(CheckpointError, match=f"'a' lies in two shards, '{ONE}' and '{TWO}'"):
        open_checkpoint(index(folder, {"a": ONE, "b": TWO}))


def test_links_of_a_hub_cache_are_followed(folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--x" / "snapshots" / "abc", tmp_path / "models--x" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    index(folder, {"a": ONE, "b": TWO})
    for name in (ONE, TWO, INDEX):
        (folder / name).rename(blobs / name)
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    assert list(open_checkpoint(snapshot).contents.specs) == ["a", "b"]


def test_root_of_shards(folder: Path) -> None:
    safetensors.numpy.save_file({"m.b": np.ones(2, np.float32)}, folder / TWO)
    opened = open_checkpoint(index(folder, {"a": ONE, "m.b": TWO}), root="m")
    assert list(opened.contents.specs) == ["b"]
    assert opened.read("b").view(np.float32).tolist() == [1, 1]


def test_round_trip_in_shards(
    write: Callable[..., Path], arrays: Mapping[str, Any], tmp_path: Path
) -> None:
    target = write(f"{tmp_path}/out/", limit=50, metadata={"k": "v"})
    names = sorted(entry.name for entry in target.iterdir())
    assert names == [*(f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)), INDEX]
    found = open_checkpoint(target)
    assert found.contents.metadata == {"k": "v", "format": "pt"}
    for key, array in arrays.items():
        assert found.read(key).tobytes() == array.tobytes()
    told = json.loads((target / INDEX).read_text())
    assert told["metadata"]["total_size"] == sum(array.nbytes for array in arrays.values())
    assert list(told["weight_map"]) == sorted(arrays)


def test_what_fits_one_shard_has_no_index(
    write: Callable[..., Path], holds: Callable[[Path], bool], tmp_path: Path
) -> None:
    target = write(tmp_path / "out")
    assert [entry.name for entry in target.iterdir()] == ["model.safetensors"]
    assert holds(target)


def test_a_large_tensor_has_a_shard_of_its_own() -> None:
    specs = {key: TensorSpec("U8", (size,)) for key, size in zip("abcd", (3, 9, 3, 2), strict=True)}
    assert [list(part) for part in split_shards(specs, 5)] == [["a"], ["b"], ["c", "d"]]
    assert split_shards({}, 5) == ({},)


def test_ties_across_shards(tmp_path: Path) -> None:
    spec = TensorSpec("U8", (4,))
    layout = Layout({"a": spec, "b": spec}, ties={"b": "a"})
    with open_writer(tmp_path / "out", layout, force=False, max_shard_size=4) as writer:
        writer.write("a", np.arange(4, dtype=np.uint8))
    assert open_checkpoint(tmp_path / "out").read("b").tolist() == [0, 1, 2, 3]


def test_a_folder_is_replaced_whole_with_force(write: Callable[..., Path], tmp_path: Path) -> None:
    write(tmp_path / "out", limit=50)
    with pytest.raises(OutputError, match="exists already; force=True"):
        write(tmp_path / "out")
    write(tmp_path / "out", force=True)
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["model.safetensors"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_other_files_is_never_replaced(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write(tmp_path / "out")
    (tmp_path / "out" / "config.json").write_text("{}")
    with pytest.raises(
        OutputError, match=r"holds 'config\.json', which replacing the folder would"
    ):
        write(tmp_path / "out", force=True)
    assert (tmp_path / "out" / "config.json").read_text() == "{}"


def test_an_empty_folder_is_filled(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert open_checkpoint(write(tmp_path / "out")).contents.specs
