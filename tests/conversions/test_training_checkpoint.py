"""A training checkpoint, wrapped and prefixed as DataParallel leaves it, into a changed network."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from comparison import load, same_bits
from networks import ResNet, randomise
from torch import nn

import ckptsurgeon as cs

RULES = Path(__file__).with_name("rules") / "training_checkpoint.yaml"


def save_training_checkpoint(network: ResNet, path: Path) -> None:
    """What a training script saves: tensors beside an optimizer, a counter and its arguments."""
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.rand(2, 4, 64, 64)).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "state_dict": nn.DataParallel(network).state_dict(),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.001),
    }
    torch.save(checkpoint, path)


def test_four_channels_become_three_and_the_head_is_the_destination_s(tmp_path: Path) -> None:
    trained, network = ResNet(channels=4), ResNet(channels=3, classes=7)
    randomise(trained)
    randomise(network, seed=1)
    save_training_checkpoint(trained, tmp_path / "source.pt")
    torch.save(network.state_dict(), tmp_path / "destination.pt")
    own = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    output = tmp_path / "output.safetensors"
    cs.transplant(tmp_path / "source.pt", output, RULES, into=tmp_path / "destination.pt")
    found = load(output)
    network.load_state_dict(found, strict=True)
    for key, tensor in trained.state_dict().items():
        if key == "conv1.weight":
            tensor = tensor[:, :3]
        assert same_bits(found[key], own[key] if key.startswith("fc.") else tensor), key


def test_a_network_is_its_own_destination_after_training(tmp_path: Path) -> None:
    network = ResNet(channels=4)
    save_training_checkpoint(network, tmp_path / "source.pt")
    torch.save(ResNet(channels=4).state_dict(), tmp_path / "destination.pt")
    rules = {
        "format": 1,
        "source": {"root": "state_dict", "strip": ["module."]},
        "rules": ["<all:path> -> <all>"],
    }
    plan = cs.plan(tmp_path / "source.pt", rules, into=tmp_path / "destination.pt")
    assert plan.findings == ()
    assert list(plan.outputs) == list(network.state_dict())
