"""npz archives: what numpy.savez writes, and what strangers write."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.archive import MAX_INFLATION
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import UnreadableSpec

SAVED: dict[str, Any] = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "layer/kernel": np.arange(6, dtype=np.float16).reshape(1, 2, 3),
    "scalar": np.array(3, np.int64),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3)),
    "complex": np.array([1 + 2j], np.complex64),
    "byte": np.array([1, 2], ">u1"),
    "big": np.arange(5, dtype=">i4"),
    "big_complex": np.array([1 + 2j, 3 - 4j], ">c8"),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "big_fortran": np.asfortranarray(np.arange(24, dtype=">f4").reshape(2, 3, 4)),
}
MOVED = {"big", "big_complex", "fortran", "big_fortran"}


def little(array: np.ndarray[Any, Any]) -> bytes:
    """The items row-major and little-endian."""
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_what_numpy_saves(save: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save(path, **SAVED)
    found = open_checkpoint(path)
    assert (found.format, found.has_values) == ("npz", True)
    assert list(found.contents.specs) == list(SAVED)
    for key, array in SAVED.items():
        assert found.read(key).tobytes() == little(array)
        assert found.read(key).shape == array.shape == found.contents.specs[key].shape
        extent = found.extent(key)
        assert (extent is None) == (key in MOVED or save is np.savez_compressed)
        if extent is not None:
            held = path.read_bytes()[extent.offset : extent.offset + extent.nbytes]
            assert held == array.tobytes()


def test_what_is_no_number_is_an_entry_or_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(
        path,
        w=np.ones(2, np.float32),
        pickled=np.array([{}], object),
        words=np.array(["x"]),
        when=np.array(["2020-01-01"], "M8[D]"),
        pairs=np.zeros(2, [("a", "f4"), ("b", "i4")]),
        bits=np.zeros(3, "V2"),
        wide=np.zeros(3, np.longdouble),
    )
    specs = open_checkpoint(path).contents.specs
    told = {key: spec.what for key, spec in specs.items() if isinstance(spec, UnreadableSpec)}
    assert list(specs) == ["w", "pickled", "pairs", "bits", "wide"]
    assert list(told) == ["pickled", "pairs", "bits", "wide"]
    assert told["pickled"] == "an array of Python objects, which are never loaded"
    assert "NumPy's files lose that of bfloat16" in told["bits"]
    assert str(specs["bits"]) == "?[3]"
    entries = {one.key: one.kind for one in open_checkpoint(path).contents.opaque}
    assert entries == {"words": "numpy <U1", "when": "numpy <M8[D]"}


def npy(header: str, data: bytes = bytes(8), version: int = 1) -> bytes:
    """A `.npy` file of any header."""
    text = header.encode("latin-1")
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (b"", "no .npy array"),
        (b"PK", "no .npy array"),
        (npy(GOOD, version=4), "no .npy array"),
        (npy(GOOD, bytes(7)), "takes 8 bytes, its member has 7"),
        (npy(GOOD, bytes(9)), "takes 8 bytes, its member has 9"),
        (npy("x" * 20_000), "a header of 20000 bytes, at most 10000"),
        (npy("__import__('os')"), "no literal"),
        (npy("(" * 5_000), "no literal"),
        (npy("[]"), "wanted descr, fortran_order and shape"),
        (npy(GOOD.replace("False", "0")), "wanted descr"),
        (npy(GOOD.replace("(2,)", "[2]")), "wanted descr"),
        (npy(GOOD.replace("(2,)", "(-2,)")), "wanted descr"),
        (npy(GOOD.replace("(2,)", "(True, 2)")), "wanted descr"),
        (npy(GOOD.replace("(2,)", "(2, 1 << 99)")), "no literal"),
        (npy(GOOD.replace("(2,)", "(4611686018427387904, 4)")), "too large"),
        (npy(GOOD.replace("}", "'x': 1}")), "wanted descr"),
    ],
)
def test_hostile_member_is_told(member: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", member)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_versions_two_and_three(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("two.npy", npy(GOOD, version=2))
        archive.writestr("three.npy", npy(GOOD, version=3))
    found = open_checkpoint(path)
    assert found.read("two").tolist() == found.read("three").tolist() == [0, 0]


def test_member_twice_and_member_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", npy(GOOD))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", npy(GOOD))
    with pytest.raises(CheckpointError, match=r"two members are named 'a\.npy'"):
        open_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", npy(GOOD))
        archive.writestr("readme.txt", "")
    found = open_checkpoint(path).contents
    assert list(found.specs) == ["a"]
    told = [(one.key, one.text) for one in found.opaque]
    assert told == [("readme.txt", "0 bytes, no .npy array")]


def claim(path: Path, member: bytes, size: int, method: int) -> None:
    """An archive whose directory claims another inflated size for its one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.npy", member)
    held = bytearray(buffer.getvalue())
    central = held.index(b"PK\x01\x02")
    for place in (central + 24, held.index(b"PK\x03\x04") + 22):
        held[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(held)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_size_that_the_archive_cannot_hold(method: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = GOOD.replace("(2,)", "(500000000,)")
    claim(path, npy(header), len(npy(header, b"")) + 2_000_000_000, method)
    told = r"stored but has two sizes|claims 20000000[0-9]+ bytes, more than \d+ can stand for"
    with pytest.raises(CheckpointError, match=told):
        open_checkpoint(path)


@pytest.mark.parametrize("held", [1000, 3000])
def test_a_stream_that_holds_more_or_less(held: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = GOOD.replace("(2,)", "(500,)")
    claim(path, npy(header, bytes(held)), len(npy(header, bytes(2000))), zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="bytes that it claims"):
        open_checkpoint(path).read("a")


def test_a_flipped_bit_in_a_deflated_member(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).integers(0, 255, 5000, np.uint8))
    held = bytearray(path.read_bytes())
    held[3000] ^= 1
    path.write_bytes(held)
    with pytest.raises(CheckpointError, match=r"'a': (can't be inflated|its bytes don't have)"):
        open_checkpoint(path).read("a")


@pytest.mark.parametrize("turn", [np.asarray, np.asfortranarray, lambda a: a.astype(">f4")])
def test_a_flipped_bit_in_a_stored_member(turn: Callable[[Any], Any], tmp_path: Path) -> None:
    """NumPy finds it, too; the header's part of the CRC-32 is taken off."""
    path = tmp_path / "a.npz"
    wanted = np.arange(60, dtype=np.float32).reshape(5, 12)
    np.savez(path, a=turn(wanted))
    cs.transplant(path, tmp_path / "b.safetensors", ["a -> b"])
    assert (load_file(tmp_path / "b.safetensors")["b"] == wanted).all()
    held = bytearray(path.read_bytes())
    held[held.index(np.array(7, turn(wanted).dtype).tobytes())] ^= 1
    path.write_bytes(held)
    with pytest.raises(zipfile.BadZipFile, match="CRC-32"):
        np.load(path)["a"]
    with pytest.raises(CheckpointError, match=r"'\w'.* its bytes don't have the CRC-32"):
        cs.transplant(path, tmp_path / "c.safetensors", ["a -> b"])


def test_deflate_never_inflates_further_than_the_bound() -> None:
    assert 10**8 / len(zlib.compress(bytes(10**8), 9)) < MAX_INFLATION


def test_a_root_before_a_slash(tmp_path: Path) -> None:
    """As Flax's keys have it, joined by `/`."""
    arrays = {f"params/fc/{name}": np.ones(2) for name in ("kernel", "bias")}
    np.savez(tmp_path / "a.npz", **arrays, **{"opt/m": np.ones(3)})
    found = open_checkpoint(tmp_path / "a.npz", "params").contents
    assert list(found.specs) == ["fc/kernel", "fc/bias"]
    assert [(one.key, one.tensors) for one in found.outside] == [("opt", 1)]
    tensors, _ = cs.apply(tmp_path / "a.npz", [], root="params/fc")
    assert list(tensors) == ["kernel", "bias"]
    with pytest.raises(CheckpointError, match="did you mean 'params'"):
        open_checkpoint(tmp_path / "a.npz", "param")
