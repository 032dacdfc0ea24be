"""The memory budget holds, and a plan says beforehand where it can't."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import Ckpt
from safetensors.numpy import load_file, save_file
from sparse_files import write_sparse

ROWS, COLUMNS = 20_000, 19_000
MARKS = {(0, 0): 1.5, (1, 17_000): -2.25, (12_345, 6_789): 3.0, (ROWS - 1, COLUMNS - 1): 0.5}
"""Elements that are not zero."""

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (300_000_000, 300_000_000))
from ckptsurgeon.cli import main
main()
"""
"""The command line where the kernel refuses memory: RLIMIT_DATA counts every private page that may
be written, touched or not, and so more than what is resident (RssAnon)."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One matrix of 1.5 GB, zeros but for the marks, that takes no room on the disk."""
    path = tmp_path_factory.mktemp("memory") / "source.safetensors"
    start = write_sparse(path, "F32", {"w": (ROWS, COLUMNS)})["w"]
    with path.open("r+b") as file:
        for (row, column), value in MARKS.items():
            file.seek(start + 4 * (row * COLUMNS + column))
            file.write(struct.pack("<f", value))
    yield path
    path.unlink()


def limited(*words: object) -> None:
    """Runs the command line under the limit; it must end well."""
    command = [sys.executable, "-c", LIMITED, *map(str, words)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def marks_in(path: Path, shape: tuple[int, int], dtype: str) -> dict[tuple[int, int], float]:
    """The elements of the one tensor of a file that are not zero."""
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        assert header["w"]["shape"] == list(shape)
        found = {}
        rows = 1 + (16 << 20) // (shape[1] * np.dtype(dtype).itemsize)
        for start in range(0, shape[0], rows):
            data = file.read(rows * shape[1] * np.dtype(dtype).itemsize)
            part = np.frombuffer(data, dtype).reshape(-1, shape[1])
            if data.strip(b"\0"):
                found |= {
                    (start + int(row), int(column)): float(part[row, column])
                    for row, column in np.argwhere(part)
                }
        assert not file.read(1)
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds little elsewhere")
@pytest.mark.parametrize("case", ["rename", "slice", "transpose", "cast"])
def test_a_job_of_1_5_gb_under_a_limit_of_300_mb(case: str, source: Path, tmp_path: Path) -> None:
    rules = {
        "rename": "w -> w",
        "slice": "w[:, 1:] -> w",
        "transpose": "{from: w, to: w, ops: transpose}",
        "cast": "{from: w, to: w, ops: {cast: BF16}}",
    }
    wanted = {
        "rename": MARKS,
        "slice": {(row, column - 1): value for (row, column), value in MARKS.items() if column},
        "transpose": {(column, row): value for (row, column), value in MARKS.items()},
        "cast": MARKS,
    }
    shapes = {"slice": (ROWS, COLUMNS - 1), "transpose": (COLUMNS, ROWS)}
    out = tmp_path / "out.safetensors"
    try:
        limited("transplant", source, "-e", rules[case], "-o", out, "--memory", "128MiB", "-q")
        dtype = "<u2" if case == "cast" else "<f4"
        found = marks_in(out, shapes.get(case, (ROWS, COLUMNS)), dtype)
    finally:
        out.unlink(missing_ok=True)
    if case == "cast":
        found = {at: bfloat16(int(bits)) for at, bits in found.items()}
    assert found == wanted[case]


def bfloat16(bits: int) -> float:
    value: float = struct.unpack("<f", struct.pack("<I", bits << 16))[0]
    return value


INIT = "{init: {to: big, fill: normal, shape: [1024, 1024], dtype: F32}}"


def test_a_plan_says_what_needs_more(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": np.ones((512, 512), np.float32)}, path)
    asked = ("plan", path, "-e", INIT, "-e", "{from: w, to: v, ops: transpose}")
    ran = ckpt(*asked, "--memory", "1MiB")
    assert ran.code == 0
    assert "memory" in ran.out
    assert "needs 4.0 MiB at once, of 1.0 MiB: big" in ran.out
    assert ran.out.count("at once") == 1  # a transpose is made in blocks
    assert "at once" not in ckpt(*asked).out
    told = json.loads(ckpt(*asked, "--memory", "1MiB", "--format", "json").out)["notes"]
    assert [note["key"] for note in told if note["kind"] == "memory"] == ["big"]


@pytest.mark.parametrize("size", ["none", "0", "-1", "5G", "1e9 GB", "9999999PB"])
def test_sizes_that_are_none(size: str, ckpt: Ckpt, tmp_path: Path) -> None:
    ran = ckpt("plan", tmp_path, f"--memory={size}")
    assert ran.code == 2
    assert f"{size!r} is no size; wanted one as 128MiB or 5GB" in ran.err


@pytest.mark.parametrize("rule", ["w -> w", "w -> w: transpose", "w[1000:] -> w"])
def test_an_archive_that_is_compressed_is_read_in_order(
    rule: str, ckpt: Ckpt, tmp_path: Path
) -> None:
    """What is wanted again is inflated again, where memory has no room for all of it."""
    path, output = tmp_path / "a.npz", tmp_path / "o.safetensors"
    array = np.random.default_rng(0).random((1024, 1024), np.float32)
    np.savez_compressed(path, w=array)
    ran = ckpt("transplant", path, "-e", rule, "-o", output, "--memory", "1MiB")
    assert ran.code == 0, ran.err
    wanted = {"w -> w": array, "w -> w: transpose": array.T, "w[1000:] -> w": array[1000:]}[rule]
    assert load_file(output)["w"].tobytes() == wanted.tobytes()


def test_columns_of_an_archive_are_read_whole(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, w=np.ones((1024, 1024), np.float32, order="F"))
    ran = ckpt("plan", path, "--memory", "1MiB")
    assert "needs 4.0 MiB at once, of 1.0 MiB: w" in ran.out
    ran = ckpt("transplant", path, "-o", tmp_path / "o.safetensors", "--memory", "1MiB")
    assert ran.code == 0, ran.err
    assert os.path.getsize(tmp_path / "o.safetensors") > 4 << 20
