"""Builders of small files, good and bad, for the tests of formats."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import ckpt

from ckptsurgeon.checkpoints.base import Layout
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.output import open_writer
from ckptsurgeon.specs import TensorSpec

__all__ = ["ckpt"]

RawFile = Callable[[Any, bytes], Path]
Write = Callable[..., Path]


@pytest.fixture
def raw_file(tmp_path: Path) -> RawFile:
    """A safetensors file of any header (JSON value, text or bytes) and any data."""

    def build(header: Any, data: bytes = b"") -> Path:
        text = header if isinstance(header, (str, bytes)) else json.dumps(header)
        head = text if isinstance(text, bytes) else text.encode()
        path = tmp_path / "raw.safetensors"
        path.write_bytes(len(head).to_bytes(8, "little") + head + data)
        return path

    return build


@pytest.fixture
def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Carrier arrays of every item width, a scalar and an empty one among them."""
    random = np.random.default_rng(0)
    return {
        "small": random.integers(0, 255, (3,), np.uint8),
        "half": random.integers(0, 65535, (2, 5), np.uint16),
        "scalar": np.array(7, np.uint64),
        "empty": np.zeros((0, 4), np.uint32),
        "single": random.integers(0, 2**32, (4, 3), np.uint32),
        "complex": np.arange(3, dtype=np.complex64).view(np.uint64),
    }


@pytest.fixture
def specs() -> dict[str, TensorSpec]:
    """The specs of `arrays`."""
    return {
        "small": TensorSpec("F8_E4M3", (3,)),
        "half": TensorSpec("BF16", (2, 5)),
        "scalar": TensorSpec("I64", ()),
        "empty": TensorSpec("F32", (0, 4)),
        "single": TensorSpec("F32", (4, 3)),
        "complex": TensorSpec("C64", (3,)),
    }


@pytest.fixture
def write(specs: Mapping[str, TensorSpec], arrays: Mapping[str, Any]) -> Write:
    """Writes `arrays` to a target with `open_writer`, and gives the target back."""

    def build(
        target: Path | str, *, force: bool = False, limit: int | None = None, **layout: Any
    ) -> Path:
        planned = Layout(specs, **layout)
        with open_writer(target, planned, force=force, max_shard_size=limit) as writer:
            for key, array in arrays.items():
                writer.write(key, array)
        return Path(target)

    return build


@pytest.fixture
def holds(specs: Mapping[str, TensorSpec], arrays: Mapping[str, Any]) -> Callable[[Path], bool]:
    """Whether a checkpoint holds exactly `arrays`, read both ways."""

    def compare(path: Path) -> bool:
        found = open_checkpoint(path)
        assert dict(found.contents.specs) == dict(specs)
        for key, array in arrays.items():
            extent = found.extent(key)
            assert extent is not None
            with extent.path.open("rb") as file:
                ranged = os.pread(file.fileno(), extent.nbytes, extent.offset)
            read = found.read(key)
            assert ranged == array.tobytes() == read.tobytes()
            assert (read.shape, read.dtype) == (array.shape, array.dtype)
        return True

    return compare
