"""`copy`, `copy_all` and `mirror`: values between layers and between models."""

from __future__ import annotations

import copy as copying
import pickle
from typing import Any

import pytest
import torch
from networks import BasicBlock, ResNet, randomise
from torch import Tensor, nn
from transformers.models.detr.modeling_detr import DetrFrozenBatchNorm2d

import ckptsurgeon as cs
from ckptsurgeon import batchnorm
from ckptsurgeon.batchnorm import FrozenBatchNorm, convert_to_frozen, copy, copy_all, mirror
from ckptsurgeon.errors import FindingsError, ShapeError

VECTORS = ("weight", "bias", "running_mean", "running_var")
PARTS = (*VECTORS, "num_batches_tracked")


def layer(width: int = 6, seed: int = 0, **options: Any) -> Any:
    made = nn.BatchNorm2d(width, **options)
    randomise(made, seed)
    return made


def network(seed: int = 0, **options: Any) -> ResNet:
    model = ResNet(BasicBlock, 2, **options)
    randomise(model, seed)
    return model


def same(one: nn.Module, other: nn.Module, index: Any = slice(None)) -> bool:
    """Whether all parts of one layer, or the channels that are taken, are the other's."""
    vectors = all(torch.equal(getattr(one, p)[index], getattr(other, p)) for p in VECTORS)
    return vectors and torch.equal(one.get_buffer(PARTS[-1]), other.get_buffer(PARTS[-1]))


# --- copy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "index"),
    [
        (None, slice(None)),
        (slice(0, 4), slice(0, 4)),
        (slice(None, None, 2), slice(None, None, 2)),
        (slice(-2, None), slice(4, 6)),
        ([5, 0, 0, -2], [5, 0, 0, 4]),
        (range(3), [0, 1, 2]),
        (torch.tensor([0, 1, 2, 3, 4, 5, 0, 1]), [0, 1, 2, 3, 4, 5, 0, 1]),
    ],
    ids=str,
)
def test_all_five_tensors_of_the_channels_are_copied(channels: Any, index: Any) -> None:
    source = layer()
    destination = layer(len(source.weight[index]), 1)
    parameter = destination.weight
    copy(source, destination, channels)
    assert same(source, destination, index)
    assert destination.weight is parameter
    assert destination.weight.requires_grad


def test_dtype_and_frozen_layers_are_kept() -> None:
    source, half, frozen = layer(), layer(6, 1).half(), FrozenBatchNorm(6)
    copy(source, half)
    assert half.weight.dtype is torch.float16
    assert torch.equal(half.weight, source.weight.half())
    copy(source, frozen)
    back = layer(6, 2)
    back.num_batches_tracked.fill_(7)
    copy(frozen, back)
    assert torch.equal(back.running_var, source.running_var)
    assert back.num_batches_tracked == 7


def test_channels_of_a_layer_can_be_put_in_another_order_in_place() -> None:
    one = layer()
    before = copying.deepcopy(one)
    copy(one, one, [5, 4, 3, 2, 1, 0])
    assert same(before, one, [5, 4, 3, 2, 1, 0])


@pytest.mark.parametrize(
    ("source", "destination", "channels", "error", "told"),
    [
        (layer(), layer(4), None, ShapeError, "6 channels, the destination has 4; say which"),
        (layer(), layer(4), [0, 1], ShapeError, "2 of 6 channels, the destination has 4"),
        (layer(), layer(4), [0, 1, 2, 6], ShapeError, "6 is no channel of the source's 6"),
        (layer(), layer(4), [True, 1, 2, 3], ShapeError, "True is no channel"),
        (layer(), layer(4), slice(3, 8), ShapeError, "reaches 8 on dim 0, which has 6"),
        (layer(), layer(eps=1e-3), None, cs.CkptSurgeonError, "1e-05, the destination's 0.001"),
        (layer(), layer(affine=False), None, cs.CkptSurgeonError, "the source has bias, weight"),
        (nn.Linear(2, 2), layer(), None, cs.CkptSurgeonError, "is Linear, no BatchNorm"),
        (nn.LazyBatchNorm2d(), layer(), None, cs.CkptSurgeonError, "source: lazy"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_changed(
    source: nn.Module, destination: nn.Module, channels: Any, error: type[Exception], told: str
) -> None:
    before = copying.deepcopy(destination.state_dict())
    with pytest.raises(error, match=told):
        copy(source, destination, channels)
    assert all(torch.equal(value, before[key]) for key, value in destination.state_dict().items())


def test_an_overflow_is_refused_before_anything_moves() -> None:
    source, destination = layer(), layer(6, 1).half()
    source.running_var[2] = 1e6
    before = copying.deepcopy(destination)
    with pytest.raises(cs.CkptSurgeonError, match="`running_var`: finite values"):
        copy(source, destination)
    assert same(before, destination)


# --- copy_all -------------------------------------------------------------------------------------


def test_layers_of_one_name_are_copied_and_nothing_else() -> None:
    source, destination = network(), network(1, channels=4, classes=7)
    before = copying.deepcopy(destination)
    told = copy_all(source, destination)
    assert [pair.destination for pair in told.pairs][:2] == ["bn1", "layer1.0.bn1"]
    assert told.pairs[0].sources == ("bn1",)
    assert (len(told.pairs), told.kept, told.unused) == (10, (), ())
    names = [pair.destination for pair in told.pairs]
    assert all(same(source.get_submodule(n), destination.get_submodule(n)) for n in names)
    assert torch.equal(destination.conv1.weight, before.conv1.weight)
    assert torch.equal(destination.fc.weight, before.fc.weight)


class Renamed(nn.Module):
    """Two layers under other names, one of them narrower."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleDict({"norm": layer(4, 3)})
        self.norms = nn.ModuleList([layer(8, 4), layer(8, 5)])
        self.extra = layer(8, 6)


def test_rules_say_which_goes_where() -> None:
    source, destination = network(), Renamed()
    rules = [{"batchnorm": "bn1[:4] -> stem.norm"}, {"batchnorm": "layer1.0.bn<n> -> norms.<n-1>"}]
    told = copy_all(source, destination, rules)
    assert same(source.bn1, destination.stem["norm"], slice(0, 4))
    assert same(source.layer1[0].bn1, destination.norms[0])
    assert same(source.layer1[0].bn2, destination.norms[1])
    assert [(pair.destination, pair.sources) for pair in told.pairs] == [
        ("stem.norm", ("bn1",)),
        ("norms.0", ("layer1.0.bn1",)),
        ("norms.1", ("layer1.0.bn2",)),
    ]
    assert told.kept == ("extra",)
    assert len(told.unused) == 7


def test_rules_may_put_parts_together() -> None:
    source, destination = nn.ModuleList([layer(3, 1), layer(5, 2)]), nn.ModuleDict({"n": layer(8)})
    told = copy_all(source, destination, [{f"<i>.<p:{'|'.join(VECTORS)}> -> n.<p>": "concat"}])
    assert torch.equal(destination["n"].weight, torch.cat([m.weight for m in source]))
    assert told.pairs[0].sources == ("0", "1")


@pytest.mark.parametrize(("narrow", "advice"), [(True, "A -> B[:n]"), (False, "A[:n] -> B")])
def test_layers_of_other_widths_are_told_which_side_to_slice(narrow: bool, advice: str) -> None:
    source, destination = nn.ModuleDict({"n": layer(3)}), nn.ModuleDict({"n": layer(8)})
    pair = (source, destination) if narrow else (destination, source)
    with pytest.raises(FindingsError) as raised:
        copy_all(*pair)
    assert {problem.help for problem in raised.value.problems} == {
        f"say which channels: `- batchnorm: {advice}`"
    }


def test_a_slice_of_the_destination_keeps_its_rest() -> None:
    source, destination = nn.ModuleDict({"n": layer(3, 1)}), nn.ModuleDict({"n": layer(8)})
    rest = destination["n"].weight[3:].clone()
    copy_all(source, destination, [{"batchnorm": "n -> n[:3]"}])
    assert torch.equal(destination["n"].weight, torch.cat([source["n"].weight, rest]))


def test_a_swap_within_one_model_is_safe() -> None:
    model = nn.ModuleDict({"a": layer(4, 1), "b": layer(4, 2)})
    before = copying.deepcopy(model)
    copy_all(model, model, [{"batchnorm": "a -> b"}, {"batchnorm": "b -> a"}])
    assert same(before["a"], model["b"])
    assert same(before["b"], model["a"])


def test_wrappers_and_frozen_layers_are_looked_through() -> None:
    source = nn.DataParallel(convert_to_frozen(network()))
    destination = torch.compile(network(1), backend="eager")
    assert len(copy_all(source, destination).pairs) == 10
    assert torch.equal(destination.bn1.running_var, source.module.bn1.running_var)
    frozen = convert_to_frozen(network(2))
    told = copy_all(network(), frozen, [{"batchnorm": "<rest:path> -> <rest>"}])
    assert len(told.pairs) == 10
    detr = nn.ModuleDict({"bn1": DetrFrozenBatchNorm2d(8)})
    detr["bn1"].running_var.fill_(3)
    copy_all(detr, frozen)
    assert frozen.bn1.running_var[0] == 3


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (None, "mismatched: `n.weight`, found F32[6], wanted F32[4]"),
        (["n.weight[:4] -> n.weight", {"drop": "n.*"}], "missing: `n.bias`, `n.running_mean`"),
        ([{"batchnorm": "n -> m"}], "unexpected: `m.weight`, found F32[6]"),
        ([{"batchnorm": "m -> n"}], "no key matches `m.running_mean`"),
    ],
)
def test_rules_that_do_not_come_out_even_are_refused(rules: Any, told: str) -> None:
    source, destination = nn.ModuleDict({"n": layer(6)}), nn.ModuleDict({"n": layer(4, 1)})
    before = copying.deepcopy(destination)
    with pytest.raises(cs.CkptSurgeonError) as caught:
        copy_all(source, destination, rules)
    assert told in str(caught.value)
    assert same(before["n"], destination["n"])


def test_nothing_to_copy_and_another_eps_are_errors() -> None:
    one, other = nn.ModuleDict({"a": layer()}), nn.ModuleDict({"b": layer(eps=1e-3)})
    with pytest.raises(cs.CkptSurgeonError, match="none of the destination's 1 BatchNorms"):
        copy_all(one, other)
    with pytest.raises(cs.CkptSurgeonError, match=r"`a` -> `b`: the source's eps is 1e-05"):
        copy_all(one, other, [{"batchnorm": "a -> b"}])


# --- mirror ---------------------------------------------------------------------------------------


class Pair(nn.Module):
    """One layer and what gives it something to learn from."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.norm = layer(3, seed)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(image)  # type: ignore[no-any-return]


def image() -> Tensor:
    return torch.randn(4, 3, 5, 5)


def test_each_forward_sees_the_values_of_the_source() -> None:
    source, destination = Pair(0).eval(), Pair(1).eval()
    with mirror(source, destination) as handle:
        given = image()
        torch.testing.assert_close(destination(given), source(given))
        with torch.no_grad():
            source.norm.weight.mul_(2)
        source.train()(image())
        source.eval()
        torch.testing.assert_close(destination(given), source(given))
        assert same(source.norm, destination.norm)
        assert handle.copies == 2
        assert handle.pairs.pairs[0].destination == "norm"
    before = copying.deepcopy(destination)
    source.norm.running_mean.add_(1)
    destination(given)
    assert same(before.norm, destination.norm)


def test_nothing_is_copied_where_nothing_changed() -> None:
    source, destination = Pair(0).eval(), Pair(1).eval()
    handle = mirror(source, destination)
    for _ in range(5):
        destination(image())
    assert handle.copies == 1
    handle.remove()
    handle.remove()


def test_what_the_destination_does_to_its_own_layers_is_undone() -> None:
    source, destination = Pair(0).eval(), Pair(1).train()
    with mirror(source, destination) as handle:
        optimizer = torch.optim.SGD(destination.parameters(), 0.1)
        for count in range(1, 4):
            destination(image()).square().mean().backward()
            optimizer.step()
            assert handle.copies == count
        destination.eval()
        given = image()
        torch.testing.assert_close(destination(given), source(given))
        assert same(source.norm, destination.norm)


def test_statistics_that_a_forward_of_the_source_moves_are_noticed() -> None:
    source, destination = Pair(0).train(), Pair(1).eval()
    with torch.no_grad(), mirror(source, destination) as handle:
        destination(image())
        source(image())
        destination(image())
        assert handle.copies == 2
        assert same(source.norm, destination.norm)


def test_tensors_that_were_replaced_are_noticed() -> None:
    source, destination = Pair(0).eval(), Pair(1).eval()
    with mirror(source, destination):
        destination(image())
        source.norm.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        destination(image())
        assert same(source.norm, destination.norm)
        source.load_state_dict(Pair(5).state_dict(), assign=True)
        destination(image())
        assert same(Pair(5).norm, destination.norm)
        source.double()
        with torch.no_grad():
            source.norm.running_mean.add_(1)
        destination(image())
        assert torch.equal(destination.norm.running_mean, source.norm.running_mean.float())


def test_rules_and_submodules_called_alone() -> None:
    source, destination = Pair(0).eval(), nn.ModuleDict({"stem": nn.Sequential(layer(2, 1))})
    with mirror(source, destination.eval(), [{"batchnorm": "norm[:2] -> stem.0"}]):
        destination["stem"](image()[:, :2])
        assert same(source.norm, destination["stem"][0], slice(0, 2))


def test_copies_of_the_destination_do_not_mirror() -> None:
    source, destination = Pair(0).eval(), Pair(1).eval()
    handle = mirror(source, destination)
    for other in (copying.deepcopy(destination), pickle.loads(pickle.dumps(destination))):
        other(image())
        assert same(Pair(1).norm, other.norm)
    assert handle.copies == 0


@pytest.mark.parametrize("outside", [True, False])
def test_compiled_destinations_mirror(outside: bool) -> None:
    source, inner = Pair(0).eval(), Pair(1).eval()
    given, compiled = image(), torch.compile(inner, backend="eager")
    if outside:
        compiled(given)
    with mirror(source, compiled if outside else inner):
        for factor in (1, 2):
            with torch.no_grad():
                source.norm.weight.mul_(factor)
            assert torch.allclose(compiled(given), source(given), atol=1e-6)
    torch.compiler.reset()


def test_what_can_not_mirror_is_said() -> None:
    source, destination = Pair(0), Pair(1)
    with pytest.raises(cs.CkptSurgeonError, match="both models hold norm"):
        mirror(source, source)
    destination.compile(backend="eager")
    with pytest.raises(cs.CkptSurgeonError, match="mirror first, then call its compile"):
        mirror(source, destination)
    assert set(batchnorm.__all__) <= set(dir(batchnorm))
