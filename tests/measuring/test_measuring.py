"""Checkpoints measured: every dtype and layout, held against NumPy and torch in float64."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trained_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.memory import open_dict
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.measuring import measuring, tallies
from ckptsurgeon.measuring.channels import count_zero_rows, find_rows
from ckptsurgeon.measuring.measured import Measured
from ckptsurgeon.measuring.measuring import measure

Array = np.ndarray[Any, Any]

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SHORT_FLOATS = (
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16)
DTYPES = (*FLOATS, *SHORT_FLOATS, *INTEGERS, torch.bool, torch.complex64, torch.complex128)


def measure_all(tensors: Mapping[str, Tensor]) -> Mapping[str, Measured]:
    opened = open_dict(tensors)
    return measure(opened, opened.contents.specs, limits={}).tensors


def bits(dtype: torch.dtype, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """A tensor of random bits, some of which are NaN, infinite or zero."""
    drawn = torch.Generator().manual_seed(seed)
    count = int(np.prod(shape))
    flat = torch.randint(0, 256, (count * dtype.itemsize,), generator=drawn, dtype=torch.uint8)
    if dtype == torch.bool:
        return (flat > 127).reshape(shape)
    return flat.view(dtype).reshape(shape)


def numbers_of(tensor: Tensor) -> Array:
    """The tensor's numbers in float64, as torch converts them."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    wide: Array = tensor.to(torch.float64).reshape(-1).numpy()
    return wide


def assert_told(measured: Measured, tensor: Tensor) -> None:
    """Fails where something of the numbers is told otherwise than NumPy tells it."""
    found, numbers = measured.statistics, numbers_of(tensor)
    finite = numbers[np.isfinite(numbers)]
    assert found.count == len(numbers)
    assert found.nans == int(np.isnan(numbers).sum())
    assert found.positive_infinities == int((numbers == np.inf).sum())
    assert found.negative_infinities == int((numbers == -np.inf).sum())
    assert found.zeros == int((finite == 0).sum())
    assert (found.least, found.most) == (finite.min(), finite.max())
    counts = np.histogram(finite, np.append(found.histogram.edges, np.inf))[0]
    assert [*found.histogram.counts, 0] == counts.tolist()
    with np.errstate(over="ignore"):
        assert found.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-12 * abs(finite).mean())
        assert found.std == pytest.approx(finite.std(), rel=1e-9)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(7, 11), (600, 601)], ids=["few", "many"])
def test_every_dtype_is_told_as_numpy_tells_it(
    dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path
) -> None:
    tensor = bits(dtype, shape)
    if dtype == torch.float64 or dtype == torch.complex128:
        tensor = torch.where(tensor.abs() < 1e100, tensor, torch.zeros((), dtype=dtype))
    assert (shape[0] * shape[1] >= tallies.FEWEST) == (shape == (600, 601))
    torch.save({"w": tensor}, tmp_path / "w.pt")
    found = measure(open_checkpoint(tmp_path / "w.pt"), ["w"], limits={}).tensors["w"]
    assert_told(found, tensor)
    assert found.statistics == measure_all({"w": tensor})["w"].statistics


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint64])
def test_wide_integers_keep_their_last_digit(dtype: torch.dtype) -> None:
    tensor = torch.tensor([2**62 + 1, 2**62 + 3, 5], dtype=dtype)
    found = measure_all({"w": tensor})["w"].statistics
    assert (found.least, found.most) == (5, 2**62 + 3)
    assert isinstance(found.most, int)


def test_integers_are_told_as_integers() -> None:
    found = measure_all(
        {"w": torch.tensor([True, False]), "n": torch.tensor([3], dtype=torch.int8)}
    )
    assert [repr(one.statistics.most) for one in found.values()] == ["1", "3"]


def test_complex_numbers_are_pairs() -> None:
    found = measure_all({"w": torch.tensor([[1 + 2j], [3 - 4j]])})["w"].statistics
    assert (found.count, found.least, found.most, found.mean) == (4, -4, 3, 0.5)


# --- parts and layouts ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64], ids=str)
def test_parts_of_a_tensor_are_the_whole(
    dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = bits(dtype, (500, 40))
    tensor[::7] = 0
    save_file({"w": tensor}, tmp_path / "w.safetensors")
    opened = open_checkpoint(tmp_path / "w.safetensors")
    whole = measure(opened, ["w"], limits={}).tensors["w"]
    monkeypatch.setattr(measuring, "PART", 1000 * dtype.itemsize)
    parts = measure(opened, ["w"], limits={}).tensors["w"]
    assert parts.zero_channels == whole.zero_channels == 72
    told, wanted = parts.statistics, whole.statistics
    assert (told.least, told.most, told.zeros, told.histogram) == (
        wanted.least,
        wanted.most,
        wanted.zeros,
        wanted.histogram,
    )
    assert told.std == pytest.approx(wanted.std, rel=1e-12)


LAYOUTS = {
    "dense": lambda whole: whole.clone(),
    "transposed": lambda whole: whole.T,
    "columns": lambda whole: whole[:, 2:30],
    "every third row": lambda whole: whole[::3],
    "expanded": lambda whole: whole[:1].expand(50, -1),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("memory", [None, 60_000])
def test_tensors_of_a_torch_file_in_any_layout(
    name: str, memory: int | None, tmp_path: Path
) -> None:
    tensor = LAYOUTS[name](torch.randn(300, 40))
    torch.save({"w": tensor}, tmp_path / "w.pt")
    opened = open_checkpoint(tmp_path / "w.pt")
    assert_told(measure(opened, ["w"], limits={}, memory=memory).tensors["w"], tensor)


@pytest.mark.parametrize("name", ["transposed", "columns", "expanded"])
def test_what_can_be_read_in_parts_needs_no_room(name: str, tmp_path: Path) -> None:
    tensor = LAYOUTS[name](torch.randn(300, 40))
    torch.save({"w": tensor}, tmp_path / "w.pt")
    opened = open_checkpoint(tmp_path / "w.pt")
    assert_told(measure(opened, ["w"], limits={}, memory=1).tensors["w"], tensor)


def test_what_must_be_read_whole_and_has_no_room_is_left_out(tmp_path: Path) -> None:
    far_apart = LAYOUTS["every third row"](torch.randn(150, 40))
    torch.save({"w": far_apart, "b": torch.ones(2)}, tmp_path / "w.pt")
    opened = open_checkpoint(tmp_path / "w.pt")
    found = measure(opened, ["w", "b"], limits={}, memory=1000)
    assert list(found.tensors) == ["b"]
    told = "can only be read whole, in 7.8 KiB; memory=… gives it room"
    assert found.left_out == {"w": told}


def test_arrays_that_are_deflated(tmp_path: Path) -> None:
    array = np.arange(10_000, dtype=">i4").reshape(100, 100)
    np.savez_compressed(tmp_path / "w.npz", w=array)
    found = measure(open_checkpoint(tmp_path / "w.npz"), ["w"], limits={}).tensors["w"]
    assert_told(found, torch.from_numpy(array.astype(np.int32)))


def test_tensors_without_a_number() -> None:
    found = measure_all({"w": torch.zeros(0, 3), "one": torch.tensor(2.0)})
    assert (found["w"].statistics.count, found["w"].statistics.mean) == (0, None)
    assert (found["one"].statistics.mean, found["one"].zero_channels) == (2.0, 0)


def test_tied_tensors_are_read_once(tmp_path: Path) -> None:
    shared = torch.randn(10, 3)
    torch.save({"a": shared, "b": shared, "c": torch.ones(2)}, tmp_path / "w.pt")
    told: list[tuple[int, int, str]] = []
    opened = open_checkpoint(tmp_path / "w.pt")
    found = measure(opened, ["b", "a", "c"], limits={}, progress=lambda *now: told.append(now))
    assert list(found.tensors) == ["b", "a", "c"]
    assert found.tensors["a"] is found.tensors["b"]
    assert told[-1][:2] == (128, 128)
    assert sorted(key for _, _, key in told) == ["b", "c"]


def test_items_below_a_byte_have_no_numbers(tmp_path: Path) -> None:
    header = b'{"w": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}'
    head = len(header).to_bytes(8, "little") + header
    (tmp_path / "w.safetensors").write_bytes(head + b"\1\2")
    found = measure(open_checkpoint(tmp_path / "w.safetensors"), ["w"], limits={})
    assert found.left_out == {"w": "F4: its items are smaller than a byte"}


def test_tensors_that_have_no_numbers_say_why(tmp_path: Path) -> None:
    sparse = torch.eye(3).to_sparse()
    torch.save({"a": sparse, "b": torch.ones(2)}, tmp_path / "w.pt")
    opened = open_checkpoint(tmp_path / "w.pt")
    found = measure(opened, opened.contents.specs, limits={})
    assert list(found.tensors) == ["b"]
    assert "sparse" in found.left_out["a"]


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"w": torch.randn(1000)}, path)
    opened = open_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"w.safetensors: .*cut"):
        measure(opened, ["w"], limits={})


def test_small_numbers_are_counted_where_that_is_asked() -> None:
    opened = open_dict({"v": torch.tensor([1e-6, 1.0, -1.0, 0.0]), "w": torch.zeros(3)})
    found = measure(opened, ["v", "w"], limits={"v": (1e-5, 0.0)}).tensors
    assert (found["v"].below, found["w"].below) == ((3, 1), ())


def test_little_memory_means_fewer_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    run = measuring.Crew.run

    def note(self: measuring.Crew, jobs: Any, threads: int) -> Any:
        asked.append(threads)
        return run(self, jobs, threads)

    monkeypatch.setattr(measuring.Crew, "run", note)
    monkeypatch.setattr(measuring, "default_jobs", lambda: 4)
    opened = open_dict({str(number): torch.ones(2) for number in range(9)})
    for memory in (None, 128 << 20, 80 << 20, 1):
        measure(opened, opened.contents.specs, limits={}, memory=memory)
    assert asked == [4, 4, 2, 1]


# --- channels -------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(
    rows=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    size=st.integers(1, 6),
    cuts=st.lists(st.integers(1, 71), max_size=4),
)
def test_channels_of_zeros_are_counted_across_parts(
    rows: list[int], size: int, cuts: list[int]
) -> None:
    flags = np.array([[row == 0 or (row == 1 and at > 0) for at in range(size)] for row in rows])
    flat = flags.reshape(-1)
    ends = sorted({0, *(cut for cut in cuts if cut < len(flat)), len(flat)})
    parts = [find_rows(flat[a:b], a, size) for a, b in itertools.pairwise(ends)]
    assert count_zero_rows(parts) == int(flags.all(1).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.complex64])
def test_dead_channels_are_counted(dtype: torch.dtype) -> None:
    tensor = torch.ones(700, 20, 30, dtype=dtype)
    tensor[3] = tensor[600:603] = 0
    tensor[650, :, 1:] = 0
    assert measure_all({"w": tensor})["w"].zero_channels == 4


def test_limits_hold_for_tied_tensors_whichever_is_read(tmp_path: Path) -> None:
    shared = torch.tensor([1e-9, 1.0, 1.0])
    mean = torch.tensor([0.5, 0.1, 0.2])
    state = {"other": shared, "bn.running_mean": mean, "bn.running_var": shared}
    torch.save(state, tmp_path / "w.pt")
    found = [(one.kind.value, one.key) for one in cs.inspect(tmp_path / "w.pt", stats=True).remarks]
    assert found == [("small variance", "bn.running_var")]


@pytest.mark.parametrize("kind", ["pt", "npz"])
@pytest.mark.parametrize("size", [100, 100_000], ids=["whole", "in parts"])
def test_damaged_values_are_not_told(
    kind: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "PART", 200_000)
    values, path = np.random.default_rng(6).normal(size=size), tmp_path / f"a.{kind}"
    if kind == "pt":
        torch.save({"w": torch.tensor(values)}, path)
    else:
        np.savez(path, w=values)
    assert cs.inspect(path, stats=True).statistics is not None
    data = bytearray(path.read_bytes())
    data[data.index(values[size // 2].tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="'w': its bytes don't have the CRC-32"):
        cs.inspect(path, stats=True)


@pytest.mark.parametrize("shape", [(3, 1), (3, 1, 1, 1), (200_000, 1)])
def test_channels_of_one_number_may_be_dead(shape: tuple[int, ...]) -> None:
    tensor = torch.ones(shape)
    tensor[1] = 0
    assert measure_all({"w": tensor})["w"].zero_channels == 1


# --- trained weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crepe_tiny", "efficientnet_lite0"])
def test_trained_weights_are_told_as_torch_tells_them(name: str) -> None:
    path = getattr(trained_weights, name)()
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    opened = open_checkpoint(path)
    found = measure(opened, opened.contents.specs, limits={}).tensors
    assert found.keys() == loaded.keys()
    for key, measured in found.items():
        told, wide = measured.statistics, loaded[key].double()
        assert (told.least, told.most) == (wide.min(), wide.max())
        assert told.zeros == wide.numel() - int(wide.count_nonzero())
        torch.testing.assert_close(told.mean, float(wide.mean()), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(told.std, float(wide.std(correction=0)), rtol=1e-9, atol=1e-12)
        if wide.dim() > 1:
            dead = (wide.flatten(1) == 0).all(1).sum()
            assert measured.zero_channels == int(dead)


# --- files ----------------------------------------------------------------------------------------


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"w": torch.randn(1000)}, path)

    def touch(done: int, total: int, key: str) -> None:
        os.utime(path, ns=(0, 0))

    with pytest.raises(CheckpointError, match="was changed while it was read; inspect again"):
        cs.inspect(path, stats=True, progress=touch)
