"""Networks before and after: a worked rule file keeps what the network gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from networks import randomise
from torch import Tensor

import ckptsurgeon as cs
from worked.convolutions import yolo_implicit
from worked.job import RULES
from worked.mobileone import fused_network, network


@pytest.mark.parametrize("branches", [1, 4])
def test_mobileone_gives_the_same_without_its_branches(branches: int, tmp_path: Path) -> None:
    net = network((8, 8, 12), branches)
    randomise(net)
    result, _ = cs.apply(
        net.state_dict(),
        RULES / "mobileone.yaml",
        variables={"n": branches, "width": [8, 12]},
    )
    plain = fused_network(net)
    plain.load_state_dict(result)
    image = torch.randn(2, 8, 16, 16)
    with torch.inference_mode():
        wanted = in_order(net, image)
        assert wanted.abs().max() > 0.1
        torch.testing.assert_close(in_order(plain, image), wanted, rtol=1e-4, atol=1e-4)


def in_order(net: torch.nn.ModuleDict, image: Tensor) -> Tensor:
    for stage in net.values():
        image = stage(image)
    return image


@pytest.mark.parametrize("channels", [(8, 16, 32), (4,)])
def test_yolo_gives_the_same_without_its_implicit_layers(channels: tuple[int, ...]) -> None:
    state = yolo_implicit(channels, outputs=21).source["model"]
    result, _ = cs.apply(state, RULES / "yolo_implicit.yaml")
    for number, size in enumerate(channels):
        image = torch.randn(2, size, 5, 5)
        layer = f"model.105.m.{number}"
        before = state[f"model.105.ia.{number}.implicit"]
        after = state[f"model.105.im.{number}.implicit"]
        wanted = F.conv2d(image + before, state[f"{layer}.weight"], state[f"{layer}.bias"]) * after
        found = F.conv2d(image, result[f"{layer}.weight"], result[f"{layer}.bias"])
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
