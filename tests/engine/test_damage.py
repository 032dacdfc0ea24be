"""A flipped bit of a file with CRC-32s is told, whatever reads the tensor: nothing is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ckptsurgeon as cs

OPS = {
    "rename": "w -> v",
    "cast": {"w -> v": {"cast": "F16"}},
    "transpose": {"w -> v": "transpose"},
    "mean": {"w -> v": {"mean": {"dim": 0}}},
    "scale": {"w -> v": {"scale": 2}},
    "reshape": {"w -> v": {"reshape": [300, 400]}},
    "split": {"from": "w", "to": ["a", "b"], "ops": "split"},
    "concat": {"from": ["w", "w"], "to": "v", "ops": "concat"},
    "stack": {"from": ["w", "w"], "to": "v", "ops": "stack"},
    "slice": "w[:100] -> v",
}


@pytest.fixture(params=["pt", "npz", "strided"])
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    values = np.random.default_rng(6).normal(size=(400, 300)).astype(np.float32)
    path = tmp_path / f"a.{'npz' if request.param == 'npz' else 'pt'}"
    if request.param == "npz":
        np.savez(path, w=values)
    else:
        tensor = torch.tensor(values)
        torch.save({"w": tensor if request.param == "pt" else tensor.t()}, path)
    data = bytearray(path.read_bytes())
    data[data.index(values[200].tobytes()) + 40] ^= 1
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("memory", ["64KiB", "64MiB"])
@pytest.mark.parametrize("name", OPS)
def test_no_op_writes_damaged_values(name: str, memory: str, damaged: Path) -> None:
    output = damaged.parent / "out.safetensors"
    with pytest.raises(cs.CheckpointError, match="its bytes don't have the CRC-32"):
        cs.transplant(damaged, output, [OPS[name]], memory=memory)
    assert not output.exists()


def test_no_reader_gives_damaged_values(damaged: Path) -> None:
    told = "'w': its bytes don't have the CRC-32"
    with pytest.raises(cs.CheckpointError, match=told):
        cs.apply(damaged)
    for memory in ("64KiB", "64MiB"):
        with pytest.raises(cs.CheckpointError, match=told):
            cs.inspect(damaged, stats=True, memory=memory)
        with pytest.raises(cs.CheckpointError, match=told):
            cs.diff(damaged, damaged, memory=memory)
