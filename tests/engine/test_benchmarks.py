"""The benchmarks run, compare what they time, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("only", "rows"),
    [
        ("ResNet", ["ResNet-18 (45 MB), 3-channel stem"]),
        ("plan", ["plan: rename, 2,500 keys --into", "plan: stack, 2,500 keys --into"]),
        ("values", ["values: inspect --stats, F32", "values: inspect --stats, BF16"]),
        ("start", ["check of 20 rules, over an empty Python"]),
    ],
)
def test_a_quick_run_prints_a_table(only: str, rows: list[str], tmp_path: Path) -> None:
    folder, table = tmp_path / "bench", tmp_path / "table.md"
    counts = ("--runs", "1", "--tables", "2")
    words = ("--quick", *counts, "--folder", folder, "--markdown", table, "--only", only)
    command = [sys.executable, "-m", "benchmarks", *map(str, words)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert table.read_text() in ran.stdout
    firsts = [line.split("|")[1].strip() for line in ran.stdout.splitlines() if line[:1] == "|"]
    assert set(rows) <= set(firsts)
    assert list(folder.iterdir()) == []
