"""A tensor of any size is measured in the memory that is given."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from sparse_files import write_sparse

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (300_000_000, 300_000_000))
from ckptsurgeon.cli import main
main()
"""
"""The command line where the kernel refuses memory: RLIMIT_DATA counts all private pages, those of
Python and NumPy among them."""

ROWS, COLUMNS = 20_000, 19_000


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_a_large_tensor_is_measured_in_little_memory(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    start = write_sparse(path, dtype, {"w": (ROWS, COLUMNS)})["w"]
    item = struct.pack("<f", 1.0)[-2 if dtype == "BF16" else 0 :]
    with path.open("r+b") as file:
        file.seek(start + len(item) * (12_345 * COLUMNS + 17))
        file.write(item)
    words = ("inspect", path, "--stats", "--memory", "32MiB", "--format", "json")
    command = [sys.executable, "-c", LIMITED, *map(str, words)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)["tensors"]["w"]["statistics"]
    count = ROWS * COLUMNS
    assert (found["count"], found["zeros"], found["max"]) == (count, count - 1, 1.0)
    assert found["mean"] == pytest.approx(1 / count, rel=1e-12)
    assert found["zero_channels"] == ROWS - 1
