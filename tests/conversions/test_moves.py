"""Renames that overlap: all read the source as it was, so that swaps and shifts are safe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from comparison import assert_same, load
from networks import ResNet, VisionTransformer, randomise
from torch import Tensor

import ckptsurgeon as cs

RULES = Path(__file__).with_name("rules")

IN_ONE_LINE = {
    "format": 1,
    "rules": ["layer<i>.<j>.bn<n:1=2|2=1>.* -> layer<i>.<j>.bn<n>.*"],
}


def swapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with each block's bn1 and bn2 exchanged; the stem's bn1 stays."""
    exchange = {".bn1.": ".bn2.", ".bn2.": ".bn1."}
    renamed = {}
    for key, tensor in state.items():
        name = next((name for name in exchange if name in key), None)
        renamed[key.replace(name, exchange[name]) if name else key] = tensor
    return renamed


@pytest.mark.parametrize("rules", [RULES / "swap_batchnorms.yaml", IN_ONE_LINE])
def test_bn1_and_bn2_are_swapped(rules: object, tmp_path: Path) -> None:
    network = ResNet()
    randomise(network)
    torch.save(network.state_dict(), tmp_path / "network.pt")
    cs.transplant(
        tmp_path / "network.pt", tmp_path / "output.pt", rules, into=tmp_path / "network.pt"
    )
    output = load(tmp_path / "output.pt")
    assert_same(output, swapped(network.state_dict()))
    assert list(output) == list(network.state_dict())


def test_a_swap_done_twice_is_no_change(tmp_path: Path) -> None:
    network = ResNet(layers=2)
    randomise(network)
    once, _ = cs.apply(network.state_dict(), RULES / "swap_batchnorms.yaml")
    twice, _ = cs.apply(once, RULES / "swap_batchnorms.yaml")
    assert_same(twice, network.state_dict())


def test_all_blocks_are_shifted_by_one(tmp_path: Path) -> None:
    network, deeper = VisionTransformer(depth=11), VisionTransformer(depth=12)
    randomise(network)
    randomise(deeper, seed=1)
    torch.save(network.state_dict(), tmp_path / "source.pt")
    torch.save(deeper.state_dict(), tmp_path / "destination.pt")
    cs.transplant(
        tmp_path / "source.pt",
        tmp_path / "output.pt",
        RULES / "shift_blocks.yaml",
        into=tmp_path / "destination.pt",
    )
    wanted = {k: t for k, t in deeper.state_dict().items() if k.startswith("blocks.0.")}
    for key, tensor in network.state_dict().items():
        pieces = key.split(".")
        if pieces[0] == "blocks":
            pieces[1] = str(int(pieces[1]) + 1)
        wanted[".".join(pieces)] = tensor
    assert_same(load(tmp_path / "output.pt"), wanted)
