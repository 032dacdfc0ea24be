"""`fold` against torch.nn.utils.fusion, and what it must leave alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from comparison import assert_rounded_alike
from networks import BasicBlock, Bottleneck, PitchNetwork, ResNet, randomise
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.nn.utils.parametrizations import weight_norm
from transformers import ResNetConfig, ResNetModel

from ckptsurgeon import CkptSurgeonError
from ckptsurgeon.batchnorm import convert_to_frozen, fold


def lively(*modules: nn.Module) -> nn.Sequential:
    model = nn.Sequential(*modules)
    randomise(model)
    return model.eval()


# --- exactness ------------------------------------------------------------------------------------


ROUNDINGS = 5
"""Of weight / sqrt(running_var + eps) and of what it scales; a vector unit's rsqrt errs by more."""

PAIRS: list[tuple[nn.Module, nn.Module, tuple[int, ...]]] = [
    (nn.Conv1d(4, 6, 3, bias=False), nn.BatchNorm1d(6), (2, 4, 9)),
    (nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6, eps=1e-3), (2, 4, 9, 9)),
    (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6, affine=False), (2, 4, 9, 9)),
    (nn.Conv3d(4, 6, 3), nn.BatchNorm3d(6), (2, 4, 5, 5, 5)),
    (nn.ConvTranspose2d(4, 6, 3, 2, bias=False), nn.BatchNorm2d(6), (2, 4, 5, 5)),
    (nn.ConvTranspose1d(4, 6, 3), nn.BatchNorm1d(6), (2, 4, 5)),
    (nn.Conv2d(4, 6, 3), nn.SyncBatchNorm(6), (2, 4, 9, 9)),
]


@pytest.mark.parametrize(("conv", "batchnorm", "shape"), PAIRS, ids=str)
def test_it_is_what_torch_fuses(
    conv: nn.Module, batchnorm: nn.Module, shape: tuple[int, ...]
) -> None:
    model, given = lively(copy.deepcopy(conv), copy.deepcopy(batchnorm)), torch.randn(shape)
    wanted = model(given)
    transposed = isinstance(conv, nn.ConvTranspose1d | nn.ConvTranspose2d)
    oracle = fuse_conv_bn_eval(model[0], model[1], transposed)
    assert fold(model).pairs == (("0", "1"),)
    assert_rounded_alike(model[0].weight, oracle.weight, ROUNDINGS)
    # A bias is a sum of three, each of a size of about 1.
    assert_rounded_alike(model[0].bias, oracle.bias, ROUNDINGS + 2, 1)
    assert torch.allclose(model(given), wanted, atol=1e-5)
    assert isinstance(model[1], nn.Identity)


def test_transposed_convolutions_with_groups_fold() -> None:
    model = lively(nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6))
    given = torch.randn(2, 4, 5, 5)
    wanted = model(given)
    fold(model)
    assert torch.allclose(model(given), wanted, atol=1e-6)


def test_a_named_linear_folds_as_torch_does_it() -> None:
    model, given = lively(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6)), torch.randn(3, 4)
    wanted, oracle = model(given), fuse_linear_bn_eval(model[0], model[1])
    told = fold(copy.deepcopy(model))
    assert told.pairs == ()
    assert told.unfolded[0].reason.endswith("name the pair if its inputs are [N, C]")
    fold(model, {"0": "1"})
    assert_rounded_alike(model[0].weight, oracle.weight, ROUNDINGS)
    assert torch.allclose(model(given), wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_it_computes_in_float32_or_wider(dtype: torch.dtype) -> None:
    model = lively(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)).to(dtype)
    wide = copy.deepcopy(model).to(torch.float64)
    fold(model)
    fold(wide)
    assert model[0].weight.dtype is model[0].bias.dtype is dtype
    assert_rounded_alike(model[0].weight, wide[0].weight, ROUNDINGS)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("frozen", [True, False])
def test_whole_networks_fold(block: Any, frozen: bool) -> None:
    model = ResNet(block, 2).eval()
    randomise(model)
    image = torch.randn(2, 3, 32, 32)
    wanted = model(image)
    count = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    if frozen:
        convert_to_frozen(model.train())
    told = fold(model)
    assert (len(told.pairs), told.unfolded) == (count, ())
    assert torch.allclose(model(image), wanted, rtol=1e-4, atol=1e-5)
    assert not [key for key in model.state_dict() if "running" in key]


def test_what_was_held_of_the_model_before_is_not_altered() -> None:
    model = lively(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6))
    model[0].weight.requires_grad_(False)
    held = model.state_dict()
    before = copy.deepcopy(held)
    fold(model)
    assert all(torch.equal(held[key], before[key]) for key in held)
    assert not model[0].weight.requires_grad


# --- what stays -----------------------------------------------------------------------------------


def test_a_batchnorm_after_the_activation_stays() -> None:
    layers = PitchNetwork().eval().layers
    before = copy.deepcopy(layers.state_dict())
    told = fold(layers)
    assert told.pairs == ()
    assert {one.reason for one in told.unfolded} == {"comes after relu, not after a convolution"}
    assert all(torch.equal(value, before[key]) for key, value in layers.state_dict().items())


class Odd(nn.Module):
    """Convolutions and BatchNorms in every way that forbids a fold, and one that is fine."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("fine", "forked", "twice", "read", "tied", "tied2", "normed"):
            self.add_module(f"{name}_conv", nn.Conv2d(3, 3, 1))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(3))
        self.tied2_conv.weight = self.tied_conv.weight
        weight_norm(self.normed_conv)
        self.idle_bn = nn.BatchNorm2d(3)
        self.first_bn = nn.BatchNorm2d(3)

    def forward(self, image: Tensor, scale: float | None = None) -> Tensor:
        image = self.first_bn(image) if scale is None else image * scale
        image = self.fine_bn(self.fine_conv(image))
        forked = self.forked_conv(image)
        image = self.forked_bn(forked) + forked
        image = self.twice_bn(self.twice_conv(self.twice_conv(image)))
        image = self.read_bn(self.read_conv(image)) + self.read_conv.weight.sum()
        image = self.tied2_bn(self.tied2_conv(self.tied_bn(self.tied_conv(image))))
        return self.normed_bn(self.normed_conv(image))  # type: ignore[no-any-return]


def test_only_what_a_run_shows_is_folded() -> None:
    model, image = lively(Odd())[0], torch.randn(2, 3, 4, 4)
    wanted = model(image)
    told = fold(model, example=image)
    assert told.pairs == (("fine_conv", "fine_bn"),)
    elsewhere = "what `{}` gives, or a tensor of the two, is read elsewhere too"
    assert {one.batchnorm: one.reason for one in told.unfolded} == {
        "forked_bn": elsewhere.format("forked_conv"),
        "twice_bn": "`twice_conv` runs 2 times",
        "read_bn": elsewhere.format("read_conv"),
        "tied_bn": "the weight of `tied_conv` is shared with another module",
        "tied2_bn": elsewhere.format("tied2_conv"),
        "normed_bn": "`normed_conv` is a ParametrizedConv2d, which may do more; name the pair",
        "idle_bn": "runs 0 times",
        "first_bn": "its input is not what a convolution gives",
    }
    assert torch.allclose(model(image), wanted, atol=1e-5)
    assert not any(module._forward_hooks for module in model.modules())


class Outgiven(nn.Module):
    """A network that gives its convolution's output, too, or changes it in place."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.bn, self.how = nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), how

    def forward(self, image: Tensor) -> Any:
        hidden = self.conv(image)
        if self.how == "in place":
            return self.bn(hidden.relu_())
        if self.how == "view":
            return self.bn(hidden), hidden.flatten(1)
        return {"result": self.bn(hidden), "hidden": [hidden] if self.how == "given" else None}


@pytest.mark.parametrize("how", ["in place", "view", "given", "fine"])
def test_a_run_sees_every_reader(how: str) -> None:
    told = fold(lively(Outgiven(how))[0], example=(torch.randn(2, 3, 4, 4),))
    assert len(told.pairs) == (how == "fine")


def test_networks_that_torch_fx_can_not_trace_fold_by_a_run() -> None:
    model = ResNetModel(ResNetConfig(depths=[1, 1], hidden_sizes=[8, 16], embedding_size=8))
    randomise(model.eval())
    image = torch.randn(2, 3, 32, 32)
    wanted = model(image).last_hidden_state
    with pytest.raises(CkptSurgeonError, match="example=image"):
        fold(model)
    count = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    told = fold(model, example={"pixel_values": image, "output_hidden_states": True})
    assert (len(told.pairs), told.unfolded) == (count, ())
    assert torch.allclose(model(image).last_hidden_state, wanted, rtol=1e-3, atol=1e-4)


def test_only_what_the_trace_proves_is_folded() -> None:
    model, image = lively(Odd())[0], torch.randn(2, 3, 4, 4)
    wanted = model(image)
    told = fold(model)
    assert told.pairs == (("fine_conv", "fine_bn"),)
    assert {one.batchnorm: one.reason for one in told.unfolded} == {
        "forked_bn": "what `forked_conv` gives is read elsewhere too",
        "twice_bn": "`twice_conv` runs 2 times",
        "read_bn": "the forward reads its tensors, or its convolution's, by itself",
        "tied_bn": "the weight of `tied_conv` is shared with another module",
        "tied2_bn": "the weight of `tied2_conv` is shared with another module",
        "normed_bn": "`normed_conv` is a ParametrizedConv2d, which may do more; name the pair",
        "idle_bn": "runs 0 times",
        "first_bn": "comes after the model's input, not after a convolution",
    }
    assert torch.allclose(model(image), wanted, atol=1e-5)


class Standardised(nn.Conv2d):
    """A subclass whose forward does more with the weight."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight - self.weight.mean(), self.bias)


class Branching(nn.Module):
    """A network that torch.fx can't trace."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6)

    def forward(self, image: Tensor) -> Tensor:
        return self.bn(self.conv(image)) if image.sum() > 0 else image


def test_subclasses_and_untraceable_networks_are_for_named_pairs() -> None:
    told = fold(lively(Standardised(3, 6, 1), nn.BatchNorm2d(6)))
    assert told.unfolded[0].reason == "`0` is a Standardised, which may do more; name the pair"
    model = Branching().eval()
    randomise(model)
    with pytest.raises(CkptSurgeonError, match="can't trace Branching: symbolically"):
        fold(model)
    image = torch.rand(2, 3, 4, 4) + 1
    wanted = model(image)
    assert fold(model, {"conv": "bn"}).pairs == (("conv", "bn"),)
    assert torch.allclose(model(image), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ({"0": "9"}, "`9`: the model has no such module"),
        ({"2": "1"}, "`2` is ReLU, wanted a convolution or Linear"),
        ({"0": "2"}, "`2` is ReLU, wanted a BatchNorm"),
        ({"0": "4"}, "`0`, `4`: 6 channels come out, and the BatchNorm has 5"),
        ({"3": "1"}, "`3`, `1`: BatchNorm2d does not follow Linear"),
        ({"0": "1", "5": "1"}, "`1` is named more than once"),
        ({"5": "6"}, "`5`, `6`: keeps no running statistics"),
    ],
)
def test_named_pairs_that_do_not_fit_are_refused(pairs: dict[str, str], told: str) -> None:
    model = lively(
        nn.Conv2d(3, 6, 1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Linear(6, 6),
        nn.BatchNorm2d(5),
        nn.Conv2d(6, 6, 1),
        nn.BatchNorm2d(6, track_running_stats=False),
    )
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CkptSurgeonError) as caught:
        fold(model, pairs)
    assert told in str(caught.value)
    assert list(model.state_dict()) == list(before)


def test_train_mode_and_broken_numbers_are_refused() -> None:
    model = lively(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6))
    statistics = model[1].running_mean.clone()
    for example in (None, torch.randn(2, 3, 4, 4)):
        with pytest.raises(CkptSurgeonError, match="`1` is in train mode"):
            fold(model.train(), example=example)
    assert torch.equal(model[1].running_mean, statistics)
    model.eval()[1].running_var[0] = -1
    with pytest.raises(CkptSurgeonError, match="`0`: the folded weight or bias is NaN"):
        fold(model)
    assert isinstance(model[1], nn.BatchNorm2d)
