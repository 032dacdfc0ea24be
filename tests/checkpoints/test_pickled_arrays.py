"""NumPy's arrays in pickles, plain ones and torch's, held against what NumPy itself unpickles."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from command_line import Ckpt
from safetensors.numpy import load_file

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.specs import UnreadableSpec

Array = np.ndarray[Any, Any]

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.random((3, 5), np.float32)
LONG = RANDOM.random((50, 400), np.float32)

ARRAYS: dict[str, Array] = {
    "rows": ROWS,
    "long": LONG,
    "columns": np.asfortranarray(ROWS),
    "long columns": np.asfortranarray(LONG),
    "turned": ROWS.T,
    "big-endian": ROWS.astype(">f4"),
    "long big-endian": LONG.astype(">f4"),
    "complex, big-endian": (ROWS + 1j).astype(">c8"),
    "scalar": np.array(3.5),
    "empty": np.zeros((0, 4), np.int16),
    "bool": np.array([True, False]),
    "half": ROWS.astype(np.float16),
    "integers": np.arange(-3, 4),
    "bytes": np.arange(256, dtype=np.uint8),
    "bfloat16": ROWS.astype(ml_dtypes.bfloat16),
    "float8": ROWS.astype(ml_dtypes.float8_e4m3fn),
    "a view": LONG[::7, 3:9],
    "read only": np.frombuffer(ROWS.tobytes(), np.float32),
}

NUMPY = {"BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn}

WRITERS: dict[str, Callable[[Any, Path, int], object]] = {
    "pickle": lambda value, path, protocol: path.write_bytes(pickle.dumps(value, protocol)),
    "torch": lambda value, path, protocol: torch.save(value, path, pickle_protocol=protocol),
    "legacy": lambda value, path, protocol: torch.save(
        value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False
    ),
}


def opened(value: Any, path: Path, write: str, protocol: int) -> Checkpoint:
    WRITERS[write](value, path, protocol)
    return open_checkpoint(path)


FORMS = [(write, protocol) for write in WRITERS for protocol in range(6)]
FORMS = [form for form in FORMS if form not in (("torch", 0), ("torch", 1))]
"""torch's zip files begin with protocol 2."""


@pytest.mark.parametrize(("write", "protocol"), FORMS)
def test_every_array_of_every_protocol(write: str, protocol: int, tmp_path: Path) -> None:
    found = opened({"model": ARRAYS}, tmp_path / "a.pkl", write, protocol)
    assert found.contents.root == "model"
    assert list(found.contents.specs) == list(ARRAYS)
    for key, array in ARRAYS.items():
        spec = found.contents.specs[key]
        assert (spec.shape, type(spec) is UnreadableSpec) == (array.shape, False), key
        native = array.astype(array.dtype.newbyteorder("="))
        assert found.read(key).tobytes() == native.tobytes(), key
        blocks = found.blocks(key)
        if blocks is not None:
            assert b"".join(blocks) == native.tobytes(), key
        extent = found.extent(key)
        if extent is not None:
            data = found.path.read_bytes()[extent.offset : extent.offset + extent.nbytes]
            assert data == native.tobytes(), key


def test_long_items_of_a_pickle_are_copied_where_they_lie(tmp_path: Path) -> None:
    found = opened({"a": LONG}, tmp_path / "a.pkl", "pickle", 4)
    extent = found.extent("a")
    assert extent is not None
    assert extent.nbytes == LONG.nbytes


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.array([{}, 1], object), "an array of Python objects, which are never loaded"),
        (np.zeros(2, np.longdouble), "an array of the NumPy type 'f16'"),
        (np.zeros(2, [("a", "f4"), ("b", "i4")]), "an array of the NumPy type 'structured'"),
        (np.zeros(2, "V3"), "an array of 'V3', raw bytes without a type"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), "a masked NumPy array"),
    ],
    ids=["object", "long double", "structured", "void", "masked"],
)
def test_arrays_that_no_dtype_holds_are_unreadable(array: Array, told: str, tmp_path: Path) -> None:
    found = opened({"w": ROWS, "odd": array}, tmp_path / "a.pkl", "pickle", 4)
    spec = found.contents.specs["odd"]
    assert isinstance(spec, UnreadableSpec)
    assert spec.what.startswith(told)


def test_texts_and_dates_are_entries(tmp_path: Path) -> None:
    value = {"w": ROWS, "names": np.array(["a", "b"]), "when": np.array(["2020"], "M8[Y]")}
    found = opened(value, tmp_path / "a.pkl", "pickle", 4)
    assert list(found.contents.specs) == ["w"]
    assert [entry.key for entry in found.contents.opaque] == ["names", "when"]


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_become_tensors_in_torch_files(protocol: int, ckpt: Ckpt, tmp_path: Path) -> None:
    source, output = tmp_path / "zoo.pkl", tmp_path / "out.pt"
    value = {"model": {"w": LONG, "b": ROWS}, "__author__": "zoo"}
    source.write_bytes(pickle.dumps(value, protocol))
    ran = ckpt("transplant", source, "-o", output)
    assert ran.code == 0, ran.err
    assert "2 NumPy arrays read as tensors" in ran.out
    found = torch.load(output, weights_only=True)
    assert found["__author__"] == "zoo"
    assert torch.equal(found["model"]["w"], torch.from_numpy(LONG))
    assert torch.equal(found["model"]["b"], torch.from_numpy(ROWS))


@pytest.mark.parametrize("rule", ["w -> w", "w -> w: transpose"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_arrays_that_have_no_room_in_memory(
    rule: str, protocol: int, ckpt: Ckpt, tmp_path: Path
) -> None:
    source, output = tmp_path / "zoo.pkl", tmp_path / "out.safetensors"
    array = RANDOM.random((1024, 2048), np.float32)
    source.write_bytes(pickle.dumps({"w": array}, protocol))
    ran = ckpt("transplant", source, "-e", rule, "-o", output, "--memory", "1MiB", "--jobs", "1")
    assert ran.code == 0, ran.err
    wanted = array if rule == "w -> w" else array.T
    assert load_file(output)["w"].tobytes() == wanted.tobytes()


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ((1, (3,), np.dtype("f4"), False, b"\0" * 11), "of which 11 bytes are there"),
        ((1, (-3,), np.dtype("f4"), False, b""), "a NumPy array of the shape"),
        ((1, (1,) * 65, np.dtype("f4"), False, b"\0" * 4), "a NumPy array of the shape"),
        ((1, (2**62, 4), np.dtype("f4"), False, b""), "a shape too large"),
        ((1, (3,), np.dtype("f4"), False, None), "whose items are no bytes"),
        (("?",), "whose state is none that NumPy writes"),
    ],
)
def test_arrays_that_lie(state: Any, told: str, tmp_path: Path) -> None:
    class Lying:
        def __reduce__(self) -> Any:
            return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state

    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"w": Lying()}, 2))
    with pytest.raises(Exception, match=told):
        open_checkpoint(path)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize(
    "first", ["resnet", None, 1.5, 300, True, {"a": 1}, [1], {1}, np.ones(2)], ids=repr
)
def test_a_tuple_at_the_top(first: Any, protocol: int, tmp_path: Path) -> None:
    """Plain pickles of early protocols begin with the first value, and no mark of a pickle."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps((first, {"w": array}), protocol=protocol))
    assert list(open_checkpoint(tmp_path / "a.pkl").contents.specs)[-1] == "1.w"


class Variable:
    """A variable of Paddle's, which pickles as a named array."""

    def __init__(self, name: str, array: np.ndarray[Any, Any]) -> None:
        self.named = (name, array)

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (self.named,)


def test_variables_of_paddle_are_arrays(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    held = {"fc.weight": Variable("linear_0.w_0", array), "epoch": 1}
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(held, protocol=4))
    found = open_checkpoint(tmp_path / "a.pdparams")
    assert list(found.contents.specs) == ["fc.weight"]
    assert found.read("fc.weight").view(np.float32).tolist() == array.tolist()
