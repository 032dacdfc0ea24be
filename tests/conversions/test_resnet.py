"""torchvision's ResNet -> transformers': the same tensors and the same scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from comparison import load
from networks import BasicBlock, Bottleneck, ResNet, randomise
from safetensors.torch import save_file
from transformers import ResNetConfig, ResNetForImageClassification

import ckptsurgeon as cs

RULES = "torchvision_resnet_to_transformers"


def transformers_resnet(block: type[BasicBlock] | type[Bottleneck]) -> ResNetForImageClassification:
    kind = "basic" if block is BasicBlock else "bottleneck"
    widths = [8 * 2**number * block.expansion for number in range(4)]
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=widths, depths=[2] * 4, layer_type=kind, num_labels=5
    )
    model = ResNetForImageClassification(config).eval()
    randomise(model, seed=1)
    return model


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_torchvision_resnet_gives_its_scores_in_transformers(
    block: type[BasicBlock] | type[Bottleneck], suffix: str, tmp_path: Path
) -> None:
    network, model = ResNet(block).eval(), transformers_resnet(block)
    randomise(network)
    torch.save(network.state_dict(), tmp_path / "source.pt")
    save_file(model.state_dict(), tmp_path / "destination.safetensors")
    output = tmp_path / f"output{suffix}"
    cs.transplant(tmp_path / "source.pt", output, RULES, into=tmp_path / "destination.safetensors")
    model.load_state_dict(load(output), strict=True)
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model(image).logits, network(image))


def test_every_batchnorm_of_five_tensors_arrives_and_nothing_is_left(tmp_path: Path) -> None:
    network, model = ResNet(Bottleneck), transformers_resnet(Bottleneck)
    torch.save(network.state_dict(), tmp_path / "source.pt")
    save_file(model.state_dict(), tmp_path / "destination.safetensors")
    plan = cs.plan(tmp_path / "source.pt", RULES, into=tmp_path / "destination.safetensors")
    assert plan.findings == ()
    assert len(plan.outputs) == len(network.state_dict())
    assert sum(key.endswith("num_batches_tracked") for key in plan.outputs) == 29
