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

from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.errors import CheckpointError

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


def test_what_is_no_number_is_opaque(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(
        path,
        w=np.ones(2, np.float32),
        pickled=np.array([{}], object),
        words=np.array(["x"]),
        when=np.array(["2020-01-01"], "M8[D]"),
        pairs=np.zeros(2, [("a", "f4"), ("b", "i4")]),
    )
    found = open_checkpoint(path)
    assert list(found.contents.specs) == ["w"]
    told = {entry.key: (entry.kind, entry.text) for entry in found.contents.opaque}
    assert told["pickled"] == ("numpy |O", "pickled Python objects, which are never loaded")
    assert told["words"] == ("numpy <U1", "items of type '<U1', which no checkpoint dtype holds")
    assert told["when"][0] == "numpy <M8[D]"
    assert told["pairs"][0] == "numpy structured"


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
    with pytest.raises(CheckpointError, match=r"has the member 'a\.npy' twice"):
        open_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", npy(GOOD))
        archive.writestr("readme.txt", "")
    with pytest.raises(CheckpointError, match=r"member 'readme\.txt' is no \.npy array"):
        open_checkpoint(path)


def claim(path: Path, member: bytes, size: int, method: int) -> None:
    """An archive whose directory claims another inflated size for its one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.npy", member)
    held = bytearray(buffer.getvalue())
    central = held.index(b"PK\x01\x02")
    held[central + 24 : central + 28] = size.to_bytes(4, "little")
    path.write_bytes(held)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_size_that_the_archive_cannot_hold(method: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = GOOD.replace("(2,)", "(500000000,)")
    claim(path, npy(header), len(npy(header, b"")) + 2_000_000_000, method)
    with pytest.raises(
        CheckpointError, match=r"claims 20000000[0-9]+ bytes, more than it can hold"
    ):
        open_checkpoint(path)


@pytest.mark.parametrize(("held", "words"), [(1000, "bytes that it claims"), (3000, "Bad CRC")])
def test_a_stream_that_holds_more_or_less(held: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = GOOD.replace("(2,)", "(500,)")
    claim(path, npy(header, bytes(held)), len(npy(header, bytes(2000))), zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(path).read("a")


def test_a_flipped_bit_in_a_deflated_member(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).integers(0, 255, 5000, np.uint8))
    held = bytearray(path.read_bytes())
    held[3000] ^= 1
    path.write_bytes(held)
    with pytest.raises(CheckpointError, match="'a': can't be inflated"):
        open_checkpoint(path).read("a")


def test_deflate_never_inflates_further_than_the_bound() -> None:
    from ckptsurgeon.checkpoints.npz import MAX_INFLATION

    assert 10**8 / len(zlib.compress(bytes(10**8), 9)) < MAX_INFLATION
