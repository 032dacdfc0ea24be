"""Fixtures: a command line run in this process, and a folder of checkpoints to run it on."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ckptsurgeon.cli import run


class Ran(NamedTuple):
    """What a command did: its exit code, and what it wrote to each stream."""

    code: int
    out: str
    err: str


Ckpt = Callable[..., Ran]


@pytest.fixture
def ckpt(capsys: pytest.CaptureFixture[str]) -> Ckpt:
    def command(*words: object) -> Ran:
        capsys.readouterr()
        code = run([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return command


def stem_and_head(channels: int, classes: int) -> OrderedDict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(channels)
    sizes = {
        "conv.weight": (8, channels, 3, 3),
        "bn.weight": (8,),
        "bn.bias": (8,),
        "fc.weight": (classes, 8),
        "fc.bias": (classes,),
    }
    return OrderedDict((k, torch.rand(s, generator=generator)) for k, s in sizes.items())


RULES = """\
format: 1
source: {strip: ["module."]}
rules:
  - conv.weight[:, :3] -> conv.weight
  - drop: fc.*
  - keep: fc.*
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `train.pt` (nested, DataParallel), `dst.pt`, and `rules.yaml`.

    `src.safetensors` is the source without its prefix and wrapper, `a.npz` the same for NumPy.
    """
    monkeypatch.chdir(tmp_path)
    state = stem_and_head(4, 100)
    training = {
        "state_dict": OrderedDict((f"module.{key}", value) for key, value in state.items()),
        "epoch": 3,
        "optimizer": {"state": {0: {"exp_avg": torch.rand(3)}}},
        "args": argparse.Namespace(lr=1),
    }
    torch.save(training, "train.pt")
    torch.save(stem_and_head(3, 10), "dst.pt")
    save_file(state, "src.safetensors")
    np.savez("a.npz", **{key.replace(".", "/"): value.numpy() for key, value in state.items()})
    Path("rules.yaml").write_text(RULES)
    return tmp_path
