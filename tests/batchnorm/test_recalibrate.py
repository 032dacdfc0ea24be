"""`recalibrate`: statistics from data, and everything else as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from networks import randomise
from torch import Tensor, nn

from ckptsurgeon import CkptSurgeonError
from ckptsurgeon.batchnorm import freeze, recalibrate


class Statistics(nn.Module):
    """A layer that is reached, one that is not, and a dropout that must stay off."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.norm, self.idle = nn.Dropout(0.5), nn.BatchNorm1d(3), nn.BatchNorm1d(3)

    def forward(self, input: Tensor) -> Tensor:
        return self.norm(self.drop(input))  # type: ignore[no-any-return]


def batches(count: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(8, 3, generator=generator) * 3 + 2 for _ in range(count)]


def test_statistics_are_the_mean_over_the_batches() -> None:
    model, data = Statistics(), batches()
    randomise(model)
    model.norm.eval()
    idle, weight = copy.deepcopy(model.idle), model.norm.weight.clone()
    told = recalibrate(model, data)
    means = torch.stack([batch.mean(0) for batch in data]).mean(0)
    variances = torch.stack([batch.var(0) for batch in data]).mean(0)
    assert torch.allclose(model.norm.running_mean, means, atol=1e-6)
    assert torch.allclose(model.norm.running_var, variances, atol=1e-5)
    assert model.norm.num_batches_tracked == told.batches == 4
    assert (told.layers, told.untouched) == (("norm",), ("idle",))
    assert torch.equal(model.idle.running_var, idle.running_var)
    assert torch.equal(model.norm.weight, weight)
    assert (model.training, model.norm.training, model.norm.momentum) == (True, False, 0.1)


def test_it_agrees_with_torch_where_both_go() -> None:
    one = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    other = copy.deepcopy(one)
    torch.optim.swa_utils.update_bn(batches(), other)
    recalibrate(one, batches())
    torch.testing.assert_close(one[1].running_var, other[1].running_var)


@pytest.mark.parametrize("wrap", [lambda b: (b, 1), lambda b: [b], lambda b: {"input": b}])
def test_batches_come_as_loaders_give_them(wrap: Any) -> None:
    one, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    recalibrate(one, map(wrap, batches()))
    recalibrate(other, enumerate(batches()), forward=lambda item: other(item[1]))
    torch.testing.assert_close(one.running_mean, other.running_mean)


def failing() -> Iterator[Tensor]:
    yield from batches(2)
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([], CkptSurgeonError),
        ([torch.full((2, 3), torch.nan)], CkptSurgeonError),
        ([torch.randn(1, 3)], ValueError),
        (failing(), KeyboardInterrupt),
    ],
    ids=["none", "nan", "too few", "interrupted"],
)
def test_a_failure_leaves_everything_as_it_was(data: Any, error: type[BaseException]) -> None:
    model = Statistics()
    randomise(model)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error):
        recalibrate(model, data)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert model.norm.momentum == 0.1


def test_frozen_layers_keep_their_statistics() -> None:
    model = nn.ModuleList([nn.BatchNorm1d(3), nn.BatchNorm1d(3)])
    freeze(model[0])
    told = recalibrate(model, batches(), forward=lambda batch: model[1](model[0](batch)))
    assert (told.layers, told.untouched) == (("1",), ("0",))
    assert model[0].running_var.eq(1).all()
    assert not model[0].training
    freeze(model)
    with pytest.raises(CkptSurgeonError, match="ModuleList has no BatchNorm with running stat"):
        recalibrate(model, batches())
