"""One file of a set that is opened alone: refused, unless it is meant or the others are there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
import torch.distributed.checkpoint as dcp
from command_line import Ckpt, ckpt
from torch import nn

import ckptsurgeon as cs
from ckptsurgeon import modules
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.shards import read_shard_name
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.wording import speaking_to_shell

__all__ = ["ckpt"]

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


def save(path: Path, metadata: dict[str, str] | None = None, **arrays: Any) -> Path:
    values = {key: np.asarray(value, np.float32) for key, value in arrays.items()}
    safetensors.numpy.save_file(values, path, metadata)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A folder with two shards, without an index."""
    save(tmp_path / ONE, a=[1, 2])
    save(tmp_path / TWO, b=[3])
    return tmp_path


def write_index(folder: Path) -> Path:
    path = folder / INDEX
    path.write_text(json.dumps({"metadata": {}, "weight_map": {"a": ONE, "b": TWO}}))
    return path


NAMES: dict[str, tuple[int, int] | None] = {
    ONE: (1, 2),
    "pytorch_model-00003-of-00003.bin": (3, 3),
    "model-0-of-2.pt": (0, 2),
    "model-000001-of-000163.safetensors": (1, 163),
    "hf_model_0002_of_0004.pt": (2, 4),
    "tp-00001-of-00004.safetensors": (1, 4),
    "00001-of-00002.safetensors": (1, 2),
    "shard-00001-model-00001-of-00004.safetensors": (1, 4),
    "diffusion_pytorch_model.fp16-00001-of-00002.safetensors": (1, 2),
    "diffusion_pytorch_model-00001-of-00002.fp16.safetensors": (1, 2),
    "model-00001-of-00001.safetensors": None,
    "model-5-of-2.safetensors": None,
    "epoch-3-of-10.ckpt": None,
    "fold_1_of_5.pt": None,
    "best-of-3.pt": None,
    "model.safetensors": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    found = read_shard_name(name)
    assert (found and (found.number, found.count)) == NAMES[name]


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_shard_alone_is_refused(pair: Path) -> None:
    found = refusal(pair / ONE)
    assert "is shard 1 of 2, no whole checkpoint: their index (*.index.json) is not there" in found
    assert "say `one_shard=True`" in found
    (pair / TWO).unlink()
    assert "1 of the 2 are not there, nor is the index" in refusal(pair / ONE)


def test_its_index_is_pointed_to(pair: Path) -> None:
    index = write_index(pair)
    assert f"open all of them by their index, {index}" in refusal(pair / ONE)
    for path in (index, pair):
        assert set(open_checkpoint(path).contents.specs) == {"a", "b"}


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_shards_are_refused_too(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model-00001-of-00003.bin"
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=not legacy)
    assert "is shard 1 of 3" in refusal(path)
    opened = open_checkpoint(path, one_shard=True)
    assert opened.contents.notes[0] == f"{path.name} is shard 1 of 3; " + (
        "what lies in the others is left out"
    )


def test_a_damaged_index_is_no_way_out(pair: Path) -> None:
    (pair / INDEX).write_text("[" * 100_000)
    assert "their index (*.index.json) is not there" in refusal(pair / ONE)


def test_the_words_that_mean_it(pair: Path, ckpt: Ckpt) -> None:
    shard, rules = pair / ONE, pair / "r.yaml"
    rules.write_text("format: 1\nsource: {one_shard: true}\nrules:\n  - a -> c\n")
    assert ckpt("plan", shard).code == 2
    assert ckpt("plan", shard, "-e", "a -> c").code == 2
    for words in (("--one-shard", "-e", "a -> c"), ("-r", rules)):
        ran = ckpt("plan", shard, *words)
        assert (ran.code, f"{ONE} is shard 1 of 2; what lies" in ran.out) == (0, True)
    assert ckpt("explain", "a", shard, "--one-shard").code == 0
    assert ckpt("transplant", shard, "-r", rules, "-o", pair / "o.safetensors").code == 0
    assert set(open_checkpoint(pair / "o.safetensors").contents.specs) == {"c"}


def test_destinations_too(pair: Path, ckpt: Ckpt) -> None:
    source = save(pair / "s.safetensors", a=[5, 6])
    assert "is shard 1 of 2" in ckpt("plan", source, "--into", pair / ONE).err
    assert ckpt("plan", source, "--into", pair / ONE, "--one-shard").code == 0


def test_a_saved_plan_keeps_what_was_meant(pair: Path, ckpt: Ckpt) -> None:
    plan, out = pair / "p.json", pair / "o.safetensors"
    assert ckpt("plan", pair / ONE, "--one-shard", "-o", plan).code == 0
    assert ckpt("transplant", pair / ONE, "--plan", plan, "-o", out).code == 0


def test_all_of_a_set_together(pair: Path, ckpt: Ckpt) -> None:
    rule = ("-e", "s<_:int>::** -> **")
    ran = ckpt("plan", "--source", f"s*={pair}/model-*-of-*.safetensors", *rule)
    assert (ran.code, "is shard" in ran.out) == (0, False)
    assert ckpt("plan", "--source", f"x={pair / ONE}", pair / TWO).code == 1
    assert ckpt("plan", "--source", f"x={pair / ONE}").code == 2
    (pair / TWO).unlink()
    assert ckpt("plan", "--source", f"s*={pair}/model-*-of-*.safetensors", *rule).code == 2


def test_the_way_to_a_checkpoint_with_an_index(pair: Path, ckpt: Ckpt) -> None:
    with speaking_to_shell():
        command = re.findall(r"`ckptsurgeon ([^`]+)`", refusal(pair / ONE))[0]
    ran = ckpt(*shlex.split(command.replace(" OUT/", f" {pair / 'out'}/")))
    assert ran.code == 0
    assert set(open_checkpoint(pair / "out").contents.specs) == {"a", "b"}
    call = re.findall(r"`(ckptsurgeon\.transplant[^`]+)`", refusal(pair / ONE))[0]
    eval(call.replace("'OUT/'", repr(f"{pair / 'again'}/")), {"ckptsurgeon": cs})
    assert set(open_checkpoint(pair / "again").contents.specs) == {"a", "b"}


def test_inspect_opens_one_and_says_so(pair: Path, ckpt: Ckpt) -> None:
    ran = ckpt("inspect", pair / ONE)
    assert ran.code == 0
    assert "shard     opened shard 1 of 2 alone" in ran.out.splitlines()[2]
    assert (
        json.loads(ckpt("inspect", pair / ONE, "--format", "json").out)["shard"] == "shard 1 of 2"
    )


def test_python(pair: Path) -> None:
    shard, out = pair / ONE, pair / "o.safetensors"
    model = nn.Module()
    model.register_parameter("a", nn.Parameter(torch.zeros(2)))
    for call in (
        lambda **word: cs.plan(shard, **word),
        lambda **word: cs.plan({"a": np.ones(2, np.float32)}, into=shard, **word),
        lambda **word: cs.transplant(shard, out, **word),
        lambda **word: cs.apply(
            None, None, sources={"x": shard}, allow=["unused", "nothing"], **word
        ),
        lambda **word: modules.load(model, shard, **word),
    ):
        with pytest.raises(CheckpointError, match="is shard 1 of 2"):
            call()
        call(one_shard=True)
    assert model.a.tolist() == [1, 2]


# --- torch's distributed checkpointing ------------------------------------------------------------


def info(**offsets: list[int]) -> dict[str, str]:
    entries = {key: {"saved_offsets": value} for key, value in offsets.items()}
    return {"DCP_SHARDING_INFO": json.dumps(entries), "DCP_VERSION": "1.0", "format": "pt"}


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """What two ranks write, each its rows of `w`, and a tensor and a counter of one of them."""
    folder = tmp_path / "pieces"
    folder.mkdir()
    names = [folder / f"shard-0000{rank}-model-00001-of-00001.safetensors" for rank in (1, 2)]
    save(names[0], info(w=[0, 0]), w=[[1, 2], [3, 4]])
    more = {"w": np.array([[5, 6]], np.float32), "b": np.ones(1, np.float32), "n": np.array(7)}
    safetensors.numpy.save_file(more, names[1], info(w=[2, 0], b=[0], n=[]))
    return folder


def test_pieces_are_refused(pieces: Path) -> None:
    for path in (pieces, *pieces.iterdir()):
        assert "holds pieces of tensors, as torch's distributed checkpointing" in refusal(path)
    renamed = next(pieces.iterdir()).rename(pieces.parent / "model.safetensors")
    assert "holds pieces of tensors" in refusal(renamed)
    assert "pieces of tensors" in open_checkpoint(renamed, one_shard=True).contents.notes[0]


def test_pieces_are_put_together_as_told(pieces: Path) -> None:
    told = re.findall(r"`python (-c .+) OUT\.safetensors`", refusal(pieces))[0]
    out = pieces.parent / "whole.safetensors"
    subprocess.run([sys.executable, *shlex.split(told), str(out)], check=True)
    whole = open_checkpoint(out)
    assert whole.read("w").view(np.float32).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert whole.read("n").view(np.int64).tolist() == 7


def test_pieces_under_an_index_are_refused(pieces: Path) -> None:
    name = next(path.name for path in pieces.iterdir() if path.name.startswith("shard-00002"))
    index = pieces / INDEX
    index.write_text(json.dumps({"weight_map": dict.fromkeys(("w", "b", "n"), name)}))
    with pytest.raises(CheckpointError, match="holds pieces of tensors"):
        open_checkpoint(index)


def test_what_one_rank_wrote_whole(tmp_path: Path) -> None:
    """Torch marks whole tensors, too; under the index that it writes beside them they are read."""
    writer = dcp.HuggingFaceStorageWriter(str(tmp_path))
    dcp.save({"w": torch.ones(2, 2)}, storage_writer=writer, no_dist=True)
    found = open_checkpoint(tmp_path).contents
    assert (set(found.specs), dict(found.metadata)) == ({"w"}, {"format": "pt"})
    shard = next(tmp_path.glob("*.safetensors"))
    assert f"by their index, {tmp_path / INDEX}" in refusal(shard)


def test_what_is_written_of_one_is_whole(pieces: Path, ckpt: Ckpt) -> None:
    source, out = next(pieces.iterdir()), pieces.parent / "out.safetensors"
    assert ckpt("transplant", source, "--one-shard", "-o", out).code == 0
    assert "DCP_SHARDING_INFO" not in open_checkpoint(out).contents.metadata


@pytest.mark.parametrize(
    "names",
    [
        ["consolidated.00.pth", "consolidated.01.pth"],
        ["mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"],
        ["model-rank-0.pt", "model-rank-1.pt", "model-rank-2.pt"],
        ["model_world_size_2_rank_0.pt", "model_world_size_2_rank_1.pt"],
        ["rank0.pt", "rank1.pt"],
        ["net_tp_0.pt", "net_tp_1.pt"],
        ["m-model_part-0.pt", "m-model_part-1.pt"],
        ["mp_rank_00/model_optim_rng.pt", "mp_rank_01/model_optim_rng.pt"],
        ["mp_rank_00_000/model_optim_rng.pt", "mp_rank_00_001/model_optim_rng.pt"],
        ["layer_01-model_00-model_states.pt", "layer_03-model_00-model_states.pt"],
        ["layer_00-model_00-model_states.pt", "layer_00-model_01-model_states.pt"],
        ["layer_00-model_00-model_states.pt", "layer_02-model_00-model_states.pt"],
    ],
)
def test_what_ranks_keep_is_no_whole(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        torch.save({"w": torch.ones(2)}, tmp_path / name)
        if name is names[0]:
            assert open_checkpoint(tmp_path / name).contents.specs  # alone, it is all there is
    for name in names:
        with pytest.raises(CheckpointError, match=rf"is shard \d of {len(names)}, no whole"):
            open_checkpoint(tmp_path / name)
        opened = open_checkpoint(tmp_path / name, one_shard=True)
        assert f"of {len(names)}; what lies in the others is left out" in opened.contents.notes[0]
    paths = [tmp_path / name for name in names]
    assert open_checkpoint(paths[0], together=paths).contents.specs
    with pytest.raises(
        CheckpointError, match=r"each rank keeps a part|for its ranks|for each layer"
    ):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["lora_rank_8.pt", "lora_rank_16.pt"],
        ["rank1.pt", "rank2.pt"],
        ["mp_rank_00/a.pt", "mp_rank_01/b.pt"],
        ["run0/a.pt", "run1/a.pt"],
    ],
)
def test_numbers_that_are_no_ranks(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        torch.save({"w": torch.ones(2)}, tmp_path / name)
    assert all(open_checkpoint(tmp_path / name).contents.specs for name in names)
