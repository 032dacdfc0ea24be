"""Which file of a folder is taken, and what is said of folders that hold none."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.errors import CheckpointError

ONE = {"w": np.ones(2, np.float32)}


def torch_file() -> bytes:
    file = io.BytesIO()
    torch.save({"w": torch.ones(2)}, file)
    return file.getvalue()


SAFE, TORCH = safetensors.numpy.save(ONE), torch_file()


def index_of(name: str) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": {"w": name}}).encode()


def fill(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files; a name that ends in / is a folder."""
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.write_bytes(content)
    return folder


SHARD, OTHER = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
ST_INDEX, BIN_INDEX = "model.safetensors.index.json", "pytorch_model.bin.index.json"

TAKEN: Mapping[str, tuple[Mapping[str, bytes], str, Sequence[str]]] = {
    "one file": ({"x.safetensors": SAFE, "config.json": b"{}"}, "x.safetensors", []),
    "a .bin": ({"pytorch_model.bin": TORCH, "training_args.bin": b"x"}, "pytorch_model.bin", []),
    "an adapter": ({"adapter_model.safetensors": SAFE}, "adapter_model.safetensors", []),
    "an adapter's .bin": ({"adapter_model.bin": TORCH}, "adapter_model.bin", []),
    "both": (
        {
            "model.safetensors": SAFE,
            "pytorch_model.bin": TORCH,
            "tf_model.h5": b"\x89HDF\r\n\x1a\n",
        },
        "model.safetensors",
        ["pytorch_model.bin"],
    ),
    "both of a component": (
        {"diffusion_pytorch_model.safetensors": SAFE, "diffusion_pytorch_model.bin": TORCH},
        "diffusion_pytorch_model.safetensors",
        ["diffusion_pytorch_model.bin"],
    ),
    "index and .bin": (
        {ST_INDEX: index_of(SHARD), SHARD: SAFE, "pytorch_model.bin": TORCH},
        ST_INDEX,
        ["pytorch_model.bin"],
    ),
    "two indexes": (
        {ST_INDEX: index_of(SHARD), SHARD: SAFE, BIN_INDEX: index_of("b"), "b": TORCH},
        ST_INDEX,
        [BIN_INDEX],
    ),
    "an index and a single file": (
        {ST_INDEX: index_of(SHARD), SHARD: SAFE, "consolidated.safetensors": SAFE},
        ST_INDEX,
        ["consolidated.safetensors"],
    ),
    "an index of one file": (
        {ST_INDEX: index_of("a.safetensors"), "a.safetensors": SAFE},
        ST_INDEX,
        [],
    ),
    "two single files of Mistral's": (
        {"model.safetensors": SAFE, "consolidated.safetensors": SAFE},
        "model.safetensors",
        ["consolidated.safetensors"],
    ),
    "a trainer's folder": (
        {"model.safetensors": SAFE, "optimizer.pt": TORCH, "latest": b"x", "zero_to_fp32.py": b""},
        "model.safetensors",
        [],
    ),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_what_is_taken(kind: str, tmp_path: Path) -> None:
    files, taken, others = TAKEN[kind]
    found = open_checkpoint(fill(tmp_path, files))
    assert found.path == tmp_path / taken
    told = [note for note in found.contents.notes if note.startswith(f"took {taken} ")]
    assert len(told) == bool(others)
    assert all(repr(name) in told[0] for name in others)


def test_a_plan_tells_which_file_was_taken_on_both_sides(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(SAFE)
    (tmp_path / "pytorch_model.bin").write_bytes(TORCH)
    plan = cs.plan(tmp_path, into=tmp_path, allow=["nothing"])
    told = [note.text.partition(": took ")[0] for note in plan.notes if note.kind == "read"]
    assert told == ["source", "destination"]


STEP = "iter_0000100"
HASH = "0a1b2c"
GGUF, ONNX, HDF5 = b"GGUF\3\0\0\0", b"\x08\7\x12\7pytorch:\1\0", b"\x89HDF\r\n\x1a\n"

REFUSED: Mapping[str, tuple[Mapping[str, bytes], str]] = {
    "empty": ({}, "it is empty"),
    "a config alone": ({"config.json": b"{}"}, "has no index|'config.json'"),
    "two files": ({"a.safetensors": SAFE, "b.safetensors": SAFE}, "has 2 checkpoints|name one"),
    "an adapter beside a model": (
        {"adapter_model.safetensors": SAFE, "pytorch_model.bin": TORCH},
        "2 checkpoints, 'adapter_model.safetensors', 'pytorch_model.bin'; name one",
    ),
    "variants": (
        {"unet.safetensors": SAFE, "unet.fp16.safetensors": SAFE},
        "has 2 checkpoints|name one",
    ),
    "DCP": ({".metadata": b"", "__0_0.distcp": b"PK"}, "(DCP)|dcp_to_torch"),
    "DCP beside safetensors": ({".metadata": b"", "a.safetensors": SAFE}, "(DCP)|dcp_to_torch"),
    "DCP without .metadata": ({"__0_0.distcp": b"PK"}, "(DCP) without its .metadata"),
    "DCP below": ({"pytorch_model_fsdp_0/__0_0.distcp": b"PK"}, "a folder that does|fsdp_0"),
    "DeepSpeed": (
        {
            "latest": b"global_step1",
            "zero_to_fp32.py": b"",
            "global_step1/mp_rank_00_model_states.pt": TORCH,
            "global_step1/zero_pp_rank_0_mp_rank_00_optim_states.pt": TORCH,
        },
        "DeepSpeed|/zero_to_fp32.py",
    ),
    "DeepSpeed without its script": (
        {
            "latest": b"global_step1",
            "global_step1/mp_rank_00_model_states.pt": TORCH,
            "global_step1/zero_pp_rank_0_mp_rank_00_optim_states.pt": TORCH,
        },
        "DeepSpeed|`python -m deepspeed.utils.zero_to_fp32 ",
    ),
    "TensorFlow's last, of many": (
        {
            "checkpoint": b'model_checkpoint_path: "/runs/7/model.ckpt-1000"\n',
            "model.ckpt-900.index": b"",
            "model.ckpt-1000.index": b"",
        },
        "TensorFlow|/model.ckpt-1000'",
    ),
    "TensorFlow's that leads nowhere": (
        {"checkpoint": b'model_checkpoint_path: ".."\n', "model.ckpt-9.index": b""},
        "TensorFlow|/model.ckpt-9'",
    ),
    "steps of Orbax by number": (
        {"007/_CHECKPOINT_METADATA": b"", "10/_CHECKPOINT_METADATA": b"", "008/x": b""},
        "Orbax|/10",
    ),
    "DeepSpeed without ZeRO": (
        {"latest": b"global_step1\n", "global_step1/mp_rank_00_model_states.pt": TORCH},
        "DeepSpeed|name its file|global_step1/mp_rank_00_model_states.pt",
    ),
    "a step of DeepSpeed": (
        {
            "mp_rank_00_model_states.pt": TORCH,
            "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt": TORCH,
        },
        "one step of a checkpoint of DeepSpeed|zero_to_fp32.py . OUT -t",
    ),
    "Megatron": (
        {
            "latest_checkpointed_iteration.txt": b"100",
            f"{STEP}/mp_rank_00/model_optim_rng.pt": TORCH,
        },
        f"Megatron|name its file|{STEP}/mp_rank_00/model_optim_rng.pt",
    ),
    "Megatron's release": (
        {"latest_checkpointed_iteration.txt": b"release", "release/mp_rank_00/m.pt": TORCH},
        "Megatron|release/mp_rank_00/m.pt",
    ),
    "Megatron of ranks": (
        {
            "latest_checkpointed_iteration.txt": b"100",
            f"{STEP}/mp_rank_00/model_optim_rng.pt": TORCH,
            f"{STEP}/mp_rank_01/model_optim_rng.pt": TORCH,
        },
        "Megatron|for its ranks|s*=|mp_rank_*/model_optim_rng.pt",
    ),
    "Megatron of DCP": (
        {"latest_checkpointed_iteration.txt": b"100", f"{STEP}/.metadata": b""},
        "Megatron|(DCP)|dcp_to_torch",
    ),
    "an iteration of Megatron": ({"mp_rank_00/model_optim_rng.pt": TORCH}, "Megatron|name its"),
    "diffusers": (
        {
            "model_index.json": b"{}",
            "transformer/diffusion_pytorch_model.safetensors": SAFE,
            "vae/diffusion_pytorch_model.safetensors": SAFE,
            "scheduler/scheduler_config.json": b"{}",
        },
        "a diffusers pipeline|'transformer', 'vae'",
    ),
    "diffusers with a single file": (
        {"model_index.json": b"{}", "unet/x.bin": TORCH, "sd.safetensors": SAFE},
        "component|'unet'|'sd.safetensors'",
    ),
    "hub model": (
        {f"snapshots/{HASH}/model.safetensors": SAFE, "snapshots/b/x": b"", "refs/main": b"0a1b2c"},
        f"hub cache|snapshots/{HASH}",
    ),
    "hub root": (
        {"models--x--y/snapshots/0a/m.safetensors": SAFE, "models--x--z/snapshots/0b/": b""},
        "a hub cache of 2 models|models--x--y/snapshots/0a",
    ),
    "SavedModel": (
        {"saved_model.pb": b"x", "variables/variables.index": b"x"},
        "SavedModel of TensorFlow|variables/variables')",
    ),
    "TensorFlow": (
        {
            "checkpoint": b'model_checkpoint_path: "model.ckpt-9"',
            "model.ckpt-10.index": b"",
            "model.ckpt-10.data-00000-of-00001": b"",
            "model.ckpt-9.index": b"",
            "model.ckpt-9.data-00000-of-00001": b"",
        },
        "a checkpoint of TensorFlow|model.ckpt-9')",
    ),
    "Orbax": ({"_METADATA": b"{}", "d/0a": b"", "manifest.ocdbt": b""}, "Orbax|.restore("),
    "Orbax of version 1": ({"orbax.checkpoint": b"", "pytree/_METADATA": b""}, "Orbax|/pytree')"),
    "Orbax's root": (
        {
            "9/_CHECKPOINT_METADATA": b"",
            "10/_CHECKPOINT_METADATA": b"",
            "10/default/_METADATA": b"",
        },
        "of Orbax|10/default')",
    ),
    "CoreML": ({"Data/com.apple.CoreML/model.mlmodel": b"", "Manifest.json": b"{}"}, "CoreML"),
    "CoreML, compiled": ({"coremldata.bin": b"", "model.mil": b""}, "a compiled CoreML model"),
    "zarr": ({".zgroup": b"{}", "w/.zarray": b"{}"}, "zarr"),
    "GGUF": ({"m.gguf": GGUF, "README.md": b"x"}, "m.gguf is a GGUF file"),
    "ONNX": ({"model.onnx": ONNX, "config.json": b"{}"}, "model.onnx is an ONNX model"),
    "Flax": ({"flax_model.msgpack": b"\x81\xa6params\x81"}, "flax_model.msgpack is a msgpack file"),
    "TensorFlow's of the hub": ({"tf_model.h5": HDF5, "config.json": b"{}"}, "an HDF5 file"),
    "engines": ({"rank0.engine": b"\xa0\xa1", "config.json": b"{}"}, "an engine of TensorRT"),
    "one torch file": ({"best.pt": TORCH, "args.yaml": b"a: 1"}, "name it|best.pt"),
    "several torch files": (
        {"epoch=1.ckpt": TORCH, "last.ckpt": TORCH},
        "2 files that may be checkpoints: name one, 'epoch=1.ckpt', 'last.ckpt'",
    ),
    "times that are no shards": (
        {"epoch-1-of-2.ckpt": TORCH, "epoch-2-of-2.ckpt": TORCH},
        "2 files that may be checkpoints",
    ),
    "folders below": (
        {"checkpoint-5/model.safetensors": SAFE, "checkpoint-9/model.safetensors": SAFE},
        "folders that do: name one, 'checkpoint-5', 'checkpoint-9'",
    ),
    "shards without an index": ({SHARD: SAFE, OTHER: SAFE}, "index|sources={'s*': "),
    "one shard of two": ({SHARD: SAFE}, "1 of the 2 are not there, nor is the index"),
    "torch shards": (
        {f"pytorch_model-0000{i}-of-00003.bin": TORCH for i in (1, 2, 3)},
        "shards of one checkpoint|pytorch_model-*-of-00003.bin",
    ),
}

SHARDS = ("shards without an index", "one shard of two", "torch shards")


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_said(kind: str, tmp_path: Path) -> None:
    files, wanted = REFUSED[kind]
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(fill(tmp_path, files))
    found = str(caught.value)
    assert found.startswith(f"{tmp_path}: ")
    for words in wanted.split("|"):
        assert words in found
    if kind in SHARDS:
        assert "name one" not in found
        assert "name the file" not in found


def test_the_prefix_of_a_tensorflow_checkpoint(tmp_path: Path) -> None:
    fill(tmp_path, {"model.ckpt-10.index": b"", "model.ckpt-10.data-00000-of-00001": b""})
    (tmp_path / "model.ckpt-10.meta").write_bytes(b"\n\xe2\6")
    for name in ("model.ckpt-10", "model.ckpt-10.meta"):
        with pytest.raises(CheckpointError, match=r"is a checkpoint of TensorFlow.*ckpt-10'\)\]"):
            open_checkpoint(tmp_path / name)
