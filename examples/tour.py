"""Two checkpoints for the tour in README.md: `trained.pt` and `mine.pt`, in the folder named.

`trained.pt` is what a training script leaves: a network for four channels and 100 classes, wrapped
by DataParallel, beside an epoch and an optimizer. `mine.pt` is another network: three channels, ten
classes, other names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

DEPTH = 6


class TrainedLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(64)


class Trained(nn.Module):
    """Layers counted from 1, query, key and value in one projection."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 64, 7, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        for number in range(1, DEPTH + 1):
            self.add_module(f"layer{number}", TrainedLayer())
        self.qkv = nn.Linear(64, 3 * 64)
        self.fc = nn.Linear(64, 100)


class Part(nn.Sequential):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(channels, 64, kernel, bias=False))
        self.add_module("norm", nn.BatchNorm2d(64))


class Mine(nn.Module):
    """Blocks counted from 0, query, key and value apart."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Part(3, 7)
        self.blocks = nn.ModuleList([Part(64, 3) for _ in range(DEPTH)])
        self.attention = nn.ModuleDict({part: nn.Linear(64, 64) for part in "qkv"})
        self.head = nn.Linear(64, 10)


def training_checkpoint(network: nn.Module) -> dict[str, object]:
    """What training leaves behind."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    state: dict[str, Tensor] = nn.DataParallel(network).state_dict()
    return {"epoch": 90, "state_dict": state, "optimizer": optimizer.state_dict()}


def write_checkpoints(folder: Path) -> None:
    torch.manual_seed(0)
    torch.save(training_checkpoint(Trained()), folder / "trained.pt")
    torch.save(Mine().state_dict(), folder / "mine.pt")


if __name__ == "__main__":
    write_checkpoints(Path(sys.argv[1]))
