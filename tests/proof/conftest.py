"""The command line's fixtures, and networks in the working folder to name."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import ckpt

__all__ = ["ckpt"]

MODULE = """\
import torch
from networks import ResNet, VisionTransformer
from torch import nn


def resnet(channels=3, classes=5):
    return ResNet(channels=channels, classes=classes, layers=2)


def body():
    network = resnet()
    network.fc = nn.Identity()
    return network


class Rotary(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.linear = nn.Linear(width, 3)
        self.register_buffer("angles", torch.arange(width).float(), persistent=False)

    def forward(self, input):
        return {"logits": self.linear(input + self.angles), "hidden": (input, None)}


class Words(nn.Module):
    def __init__(self, words=11):
        super().__init__()
        self.embedding = nn.Embedding(words, 4)
        self.head = nn.Linear(4, words, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, indices):
        return self.head(self.embedding(indices))


def Rows():
    return nn.Embedding(11, 4)


class Mute(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)

    def forward(self, input):
        return "nothing"


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, input):
        return input * self.scale
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(MODULE)
