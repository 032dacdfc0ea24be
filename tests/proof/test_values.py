"""What `verify` says of values: one row per kind, and what it must not say."""

from __future__ import annotations

import pytest
import torch
import trained_weights
from networks import ResNet, VisionTransformer, randomise
from torch import Tensor, nn

from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.proof.loading import read_state
from ckptsurgeon.proof.values import check_values

ROWS = {
    "nan": ("weight", torch.tensor([[1.0, float("nan")]]), "1 of 2 values is NaN"),
    "nan mask": ("mask", torch.tensor([float("nan")] * 2), "2 of 2 values are NaN"),
    "infinite": ("weight", torch.tensor([1.0, float("inf")]), "1 of 2 values is infinite"),
    "zero": ("weight", torch.zeros(2, 2), "all 4 values are zero"),
    "zero scale": ("weight", torch.zeros(3), "all 3 values are zero"),
    "constant": ("weight", torch.full((2, 3), 0.5), "all 6 values are 0.5"),
    "variance": ("running_var", torch.tensor([1.0, -2.0]), "1 of 2 values is below zero"),
    "garbage": (
        "weight",
        torch.tensor([1.0, 1e30]),
        "the largest magnitude is 1.0e+30: memory that was never written looks like this",
    ),
    "garbage subnormal": (
        "running_mean",
        torch.tensor([1e-40, 1e-41, 1.0]),
        "2 of 3 values are subnormal: memory that was never written looks like this",
    ),
    "garbage in bfloat16": (
        "weight",
        torch.tensor([1.0, 1e30]).bfloat16(),
        "the largest magnitude is 1.0e+30: memory that was never written looks like this",
    ),
    "garbage in float64": (
        "weight",
        torch.tensor([1e-310, 1e-320], dtype=torch.float64),
        "2 of 2 values are subnormal: memory that was never written looks like this",
    ),
    "nan in float8": (
        "weight",
        torch.tensor([1.0, float("nan")]).to(torch.float8_e4m3fn),
        "1 of 2 values is NaN",
    ),
    "nan in complex": ("weight", torch.tensor([1 + 1j, complex("nan")]), "1 of 4 values is NaN"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_value_that_is_wrong_is_told(name: str) -> None:
    key, tensor, text = ROWS[name]
    found = list(check_values({key: tensor}, {"weight"}))
    assert [(one.kind.value, one.key, one.text) for one in found] == [(name.split()[0], key, text)]


def test_statistics_as_a_new_layer_has_them_are_told() -> None:
    found = list(check_values(nn.BatchNorm2d(3).state_dict(), {"weight", "bias"}))
    assert [(one.kind.value, one.key) for one in found] == [("fresh", "running_mean")]


FINE: dict[str, Tensor] = {
    "bias": torch.zeros(3),
    "in_proj_bias": torch.zeros(3),
    "norm.weight": torch.ones(3),
    "scale": torch.zeros(1),
    "empty": torch.zeros(0, 3),
    "small half": torch.tensor([1e-6, 2e-6]).half(),
    "integers": torch.zeros(3, 3, dtype=torch.int64),
}

BUFFERS = {
    "mask": torch.full((3, 3), float("-inf")),
    "table": torch.zeros(3, 3),
    "least": torch.full((2, 2), torch.finfo(torch.float32).min),
}


def test_what_training_and_masks_hold_is_no_finding() -> None:
    assert list(check_values({**FINE, **BUFFERS}, FINE.keys())) == []


def test_no_trained_network_is_accused() -> None:
    paths = (
        trained_weights.efficientnet_lite0(),
        trained_weights.crepe_tiny(),
        trained_weights.minilm(),
    )
    for path in paths:
        state = read_state(open_checkpoint(path))
        assert list(check_values(state, {k for k in state if "running" not in k})) == []


@pytest.mark.parametrize("network", [ResNet(), VisionTransformer()], ids=["resnet", "vit"])
def test_no_network_of_random_weights_is_accused(network: nn.Module) -> None:
    randomise(network)
    parameters = {name for name, _ in network.named_parameters()}
    assert list(check_values(network.state_dict(), parameters)) == []
