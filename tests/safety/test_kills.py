"""A process that is killed at any moment of the write leaves no output, or the one before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[2]

KILLED_AT = """\
import sys
from ckptsurgeon.cli import run
from kills import Moments

moments = Moments(int(sys.argv[1]))
moments.watch("open", "ftruncate", "pwrite", "copy_file_range")
moments.watch("fsync", "link", "rename", "replace")
code = run(sys.argv[2:])
print(moments.count)
sys.exit(code)
"""
"""Kills itself at the n-th call of those that make, fill and name files."""


def run(folder: Path, moment: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED_AT, str(moment), "transplant", *words, "-q"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def visible(folder: Path) -> set[str]:
    """Names in a folder that do not begin with a dot."""
    return {name for name in os.listdir(folder) if not name.startswith(".")}


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    if path.is_dir():
        return {k: v for shard in path.glob("*.safetensors") for k, v in shapes_of(shard).items()}
    load: Callable[[Path], dict[str, torch.Tensor]]
    load = load_file if path.suffix == ".safetensors" else torch.load
    return {key: tuple(value.shape) for key, value in load(path).items()}


OLD, NEW = {"old": (2,)}, {"new": (64, 3), "turned": (3, 64)}


@pytest.mark.parametrize("name", ["out.safetensors", "out.pt", "out"])
def test_there_is_the_old_output_or_the_new_one_at_any_moment(name: str, tmp_path: Path) -> None:
    source = {"a": torch.rand(64, 3), "b": torch.rand(64, 3)}
    save_file(source, tmp_path / "src.safetensors")
    save_file({"old": torch.rand(2)}, tmp_path / "old.safetensors")
    rules = ("-e", "a -> new", "-e", "{from: b, to: turned, ops: transpose}", "--force")
    words = ("src.safetensors", *rules, "-o", name)
    assert run(tmp_path, 0, "old.safetensors", "-o", name).returncode == 0
    whole = run(tmp_path, 0, *words[:-1], f"other{Path(name).suffix}")
    moments = int(whole.stdout)
    assert moments > 8
    step = max(1, moments // 4)
    for moment in (*range(1, moments - 3, step), *range(moments - 3, moments + 1)):
        before = shapes_of(tmp_path / name)
        killed = run(tmp_path, moment, *words)
        assert killed.returncode == -9, killed.stderr
        assert shapes_of(tmp_path / name) in (before, NEW)
        assert visible(tmp_path) == {
            "src.safetensors",
            "old.safetensors",
            name,
            f"other{Path(name).suffix}",
        }
    assert before in (OLD, NEW)


def test_no_output_is_there_before_it_is_whole(tmp_path: Path) -> None:
    save_file({"a": torch.rand(64, 3)}, tmp_path / "src.safetensors")
    moments = int(run(tmp_path, 0, "src.safetensors", "-o", "a.pt").stdout)
    for moment in range(2, moments + 1, 3):
        run(tmp_path, moment, "src.safetensors", "-o", "out.pt")
        if "out.pt" in visible(tmp_path):
            assert shapes_of(tmp_path / "out.pt") == {"a": (64, 3)}
            os.unlink(tmp_path / "out.pt")
    assert visible(tmp_path) == {"src.safetensors", "a.pt"}


def test_two_processes_with_one_output_leave_one_whole_output(tmp_path: Path) -> None:
    for number in range(2):
        save_file({f"k{number}": torch.full((1 << 20,), float(number))}, tmp_path / f"{number}.st")
    command = [sys.executable, "-m", "ckptsurgeon", "transplant"]
    running = [
        subprocess.Popen(
            [*command, f"{number % 2}.st", "-o", "out.safetensors", "-q", "--force"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
        )
        for number in range(4)
    ]
    assert [process.communicate(timeout=60)[1][:4] for process in running] == [b"out."] * 4
    ((key, value),) = load_file(tmp_path / "out.safetensors").items()
    assert bool((value == float(key[1:])).all())
    assert sorted(os.listdir(tmp_path)) == ["0.st", "1.st", "out.safetensors"]
