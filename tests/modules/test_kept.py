"""What a load leaves to the model stays to the bit, whatever dtype the rules ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ckptsurgeon import modules

KEPT = ("2.weight", "2.bias")

WAYS: Mapping[str, tuple[list[Any], tuple[str, ...]]] = {
    # how the tensors of KEPT come to be the model's own: rules, and what is allowed
    "by keep": ([{"keep": "2.*"}], ("unused",)),
    "in place of the source's": ([{"drop": "2.*"}, {"keep": "2.*"}], ()),
    "allowed to be missing": ([{"drop": "2.*"}], ("missing",)),
    "allowed to be mismatched": (
        ["2.bias -> 2.weight", {"drop": "2.weight"}],
        ("mismatched", "missing"),
    ),
}

OUTPUTS: Mapping[str, Mapping[str, Any]] = {
    "no dtype": {},
    "BF16": {"output": {"dtype": "BF16"}},
    "F16": {"output": {"dtype": "F16"}},
    "F64": {"output": {"dtype": "F64"}},
    "destination": {"output": {"dtype": "destination"}},
}


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def bits(model: nn.Module, *keys: str) -> dict[str, list[int]]:
    state = model.state_dict()
    return {key: state[key].view(torch.int32).flatten().tolist() for key in keys}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("way", WAYS)
def test_kept_tensors_stay_to_the_bit(way: str, output: str) -> None:
    rules, allow = WAYS[way]
    model, source = network(1), network(2)
    before = bits(model, *KEPT)
    modules.load(model, source, {"format": 1, **OUTPUTS[output], "rules": rules}, allow=allow)
    assert bits(model, *KEPT) == before


@pytest.mark.parametrize("output", OUTPUTS)
def test_kept_tensors_stay_to_the_bit_at_every_load(output: str) -> None:
    model = network(1)
    before = bits(model, *KEPT)
    old = {f"net.{key}": one for key, one in network(2).state_dict().items() if key not in KEPT}
    rules = {"format": 1, **OUTPUTS[output], "rules": ["net.<k:path> -> <k>", {"keep": "2.*"}]}
    modules.convert_on_load(model, rules)
    model.load_state_dict(old)
    assert bits(model, *KEPT) == before
    assert not torch.equal(model.get_parameter("0.weight"), network(1).get_parameter("0.weight"))


ROUNDED = [("BF16", torch.bfloat16), ("F16", torch.float16), ("F64", torch.float64)]


@pytest.mark.parametrize(("code", "dtype"), ROUNDED)
def test_what_the_checkpoint_gives_is_of_the_dtype_that_is_asked(
    code: str, dtype: torch.dtype
) -> None:
    model, source = network(1), network(2)
    given = source.get_parameter("0.weight").detach()
    rules = {"format": 1, "output": {"dtype": code}, "rules": [{"keep": "2.*"}]}
    modules.load(model, source, rules, allow=("unused",))
    assert torch.equal(model.get_parameter("0.weight"), given.to(dtype).float())


@pytest.mark.parametrize("output", OUTPUTS)
def test_new_tensors_have_the_dtype_of_their_rule(output: str) -> None:
    model, source = network(1), network(2)
    rules: list[Any] = [{"drop": "2.bias"}, {"init": {"to": "2.bias", "fill": 0.1, "dtype": "F32"}}]
    modules.load(model, source, {"format": 1, **OUTPUTS[output], "rules": rules})
    made: Tensor = model.get_parameter("2.bias")
    assert torch.equal(made, torch.full((2,), 0.1))
