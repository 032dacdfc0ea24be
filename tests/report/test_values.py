"""Which values want a look, and which don't: a row for each kind."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import trained_weights
from torch import Tensor, nn

import ckptsurgeon as cs
from ckptsurgeon.report.values import OUTLIER, ValueKind, tell_values

NAN, INF = float("nan"), float("inf")


def norm(**parts: list[float]) -> dict[str, Tensor]:
    """A BatchNorm of three channels, with other values for some parts."""
    usual = {"weight": [1.0, 2.0, 3.0], "running_mean": [0.1, 0.2, 0.3]}
    values = {**usual, "running_var": [1.0, 2.0, 3.0], **parts}
    return {f"bn.{name}": torch.tensor(some) for name, some in values.items()}


ROWS: dict[str, tuple[dict[str, Tensor], str]] = {
    "nan": ({"w": torch.tensor([1.0, NAN])}, "w: 1 of 2 values is NaN"),
    "infinite": ({"w": torch.tensor([INF, -INF, 1.0])}, "w: 2 of 3 values are infinite"),
    "zero": ({"w": torch.zeros(2, 2)}, "w: all 4 values are zero"),
    "constant": ({"w": torch.full((2, 3), 0.5)}, "w: all 6 values are equal"),
    "zero channels": (
        {"w": torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 0.0]])},
        "w: 1 of 3 channels of dim 0 is zero",
    ),
    "variance": (
        norm(running_var=[-1.0, 0.0, 1.0]),
        "bn.running_var: 1 of 3 values is below zero",
    ),
    "small variance": (
        norm(running_var=[1e-6, 0.5, 1.0]),
        "bn.running_var: 1 of 3 values is below 1e-05, BatchNorm's eps",
    ),
    "zero scale": (
        norm(weight=[0.0, 1.0, 2.0]),
        "bn.weight: 1 of 3 values is zero, of a BatchNorm's weight",
    ),
    "fresh": (
        norm(running_mean=[0.0] * 3, running_var=[1.0] * 3),
        "bn.running_mean: mean 0 and variance 1 in every channel, as in a new BatchNorm",
    ),
}


def told(tensors: Mapping[str, Tensor]) -> list[str]:
    return [f"{one.key}: {one.text}" for one in cs.inspect(dict(tensors), stats=True).remarks]


@pytest.mark.parametrize("name", ROWS)
def test_what_wants_a_look_is_told(name: str) -> None:
    tensors, text = ROWS[name]
    found = cs.inspect(tensors, stats=True).remarks
    assert [(one.kind.value, f"{one.key}: {one.text}") for one in found] == [(name, text)]


def test_what_is_left_out_still_tells_what_a_tensor_is() -> None:
    tensors, text = ROWS["zero scale"]
    (found,) = cs.inspect(tensors, only="bn.weight", stats=True).remarks
    assert f"{found.key}: {found.text}" == text


def test_every_kind_has_a_row() -> None:
    assert set(ROWS) == {kind.value for kind in ValueKind}


FINE: dict[str, Tensor] = {
    "bias": torch.zeros(3),
    "norm.weight": torch.ones(3),
    "scale": torch.zeros(1),
    "empty": torch.zeros(0, 3),
    "row": torch.tensor([[0.0], [1.0]]),
    "integers": torch.zeros(3, 3, dtype=torch.int64),
    "running_var": torch.tensor([0.0, 1.0]),
}


@pytest.mark.parametrize("name", FINE)
def test_what_is_usual_is_not_told(name: str) -> None:
    assert told({name: FINE[name]}) == []


def test_a_new_network_is_told_for_its_norms_alone() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)
    )
    found = cs.inspect(net, stats=True).remarks
    assert [(one.kind, one.key) for one in found] == [
        (ValueKind.FRESH, "1.running_mean"),
        (ValueKind.FRESH, "3.running_mean"),
    ]


def test_a_variance_is_known_by_what_stands_beside_it_in_the_file() -> None:
    state = norm(running_var=[1e-6, 0.5, 1.0])
    (found,) = cs.inspect(state, stats=True, only="*.running_var").remarks
    assert found.kind is ValueKind.SMALL_VARIANCE


def test_remarks_of_many_tensors_are_one_sentence() -> None:
    found = tell_values(ValueKind.ZERO_CHANNELS, (1, 17), (32, 1152))
    assert found == "1 to 17 of 32 to 1,152 channels of dim 0 are zero"


@pytest.mark.parametrize("name", ["crepe_tiny", "efficientnet_lite0", "g2p"])
def test_trained_weights_hold_no_outlier(name: str) -> None:
    found = cs.inspect(str(getattr(trained_weights, name)()), stats=True).statistics
    assert found is not None
    assert [key for key, one in found.items() if one.farthest >= OUTLIER] == []
