"""What runs say of what they can't read, leave out or are not sure of, word for word.

`golden/words.cases` holds command lines with their exit codes and what they say. Run this file as
a program to write it anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import tempfile
from pathlib import Path

import pytest
import torch
from command_line import Ckpt, Ran

from ckptsurgeon.cli import run

GOLDEN = Path(__file__).parent / "golden" / "words.cases"
MARK = "===="

COMMANDS = (
    "plan train.pt",
    "plan train.pt --root ema",
    "plan train.pt --into odd.pt --root model",
    "plan plain.pt --into train.pt",
    "plan odd.pt",
    "plan odd.pt --allow unreadable",
    "plan odd.pt -e 'drop: adj' -e 'drop: bits'",
    "plan odd.pt -e '** -> net.**'",
    "plan odd.pt -e 'adj -> graph'",
    "plan odd.pt -e '{from: [w, adj], to: x, ops: add}'",
    "plan plain.pt --into odd.pt",
    "plan plain.pt --into odd.pt --allow unreadable --allow missing",
    "plan plain.pt --into odd.pt -e 'keep: adj'",
    "explain adj odd.pt -e '** -> net.**'",
    "explain adj plain.pt --into odd.pt",
    "inspect odd.pt",
    "inspect train.pt",
    "plan plain.pt --into other.pt --allow missing --allow unused",
    "plan plain.pt -e 'drop: \"**\"'",
    "plan plain.pt --into wide.pt --allow mismatched",
    "plan plain.pt --into plain.pt -e 'w -> w'",
    "transplant plain.pt -e 'drop: b' -o out.pt --force",
    "plan arrays.pkl",
    "plan plain.pt -e 'w -> x y'",
    "plan --source a=plain.pt -e 'a::* -> *' --root b=model",
)


def make_files(folder: Path) -> None:
    """The files that the commands read."""
    import pickle

    import numpy as np

    def net(value: float) -> dict[str, torch.Tensor]:
        return {f"blocks.{i}.w": torch.full((2, 2), value) for i in range(3)}

    files = {
        "train": {
            "model": net(0),
            "ema": net(1),
            "optimizer": {"state": {0: {"m": torch.zeros(3), "v": torch.zeros(3)}}},
            "epoch": 3,
        },
        "odd": {
            "w": torch.ones(2, 2),
            "adj": torch.eye(3).to_sparse(),
            "bits": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
        },
        "plain": {"w": torch.ones(2, 2), "b": torch.ones(2)},
        "wide": {"w": torch.ones(4, 2), "b": torch.ones(4)},
        "other": {"net.w": torch.ones(2, 2), "net.b": torch.ones(2)},
    }
    for name, value in files.items():
        torch.save(value, folder / f"{name}.pt")
    arrays = {"model": {"w": np.ones((2, 2), np.float32)}, "__author__": "zoo"}
    (folder / "arrays.pkl").write_bytes(pickle.dumps(arrays, 2))


def tell(command: str, ran: Ran) -> str:
    """A command with what it said; the time and memory of a write are left out."""
    err = "".join(
        line.split(", 0.")[0].rstrip("\n") + "\n" for line in ran.err.splitlines(keepends=True)
    )
    return f"$ {command}\n{ran.code}\n{ran.out}{MARK} stderr\n{err}{MARK}\n"


def test_the_words(ckpt: Ckpt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path)
    told = "".join(tell(command, ckpt(*shlex.split(command))) for command in COMMANDS)
    assert told == GOLDEN.read_text(encoding="utf-8")


def _write() -> None:
    texts = []
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        make_files(Path(place))
        for command in COMMANDS:
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(shlex.split(command))
            texts.append(tell(command, Ran(code, out.getvalue(), err.getvalue())))
    GOLDEN.write_text("".join(texts), encoding="utf-8")


if __name__ == "__main__":
    _write()
