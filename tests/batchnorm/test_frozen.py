"""`FrozenBatchNorm` against torch's BatchNorms, and the frozen ones of three other libraries."""

from __future__ import annotations

import copy
import io
from collections import OrderedDict
from typing import Any

import pytest
import torch
from comparison import assert_rounded_alike
from networks import BasicBlock, ResNet, randomise
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.detr.modeling_detr import DetrFrozenBatchNorm2d

from ckptsurgeon import CkptSurgeonError
from ckptsurgeon.batchnorm import FrozenBatchNorm, convert_from_frozen, convert_to_frozen, freeze

SHAPES: dict[type[nn.Module], tuple[int, ...]] = {
    nn.BatchNorm1d: (4, 6, 5),
    nn.BatchNorm2d: (4, 6, 5, 3),
    nn.BatchNorm3d: (4, 6, 2, 3, 2),
    nn.SyncBatchNorm: (4, 6, 5),
}


def layer(kind: type[nn.Module] = nn.BatchNorm2d, **options: Any) -> Any:
    made = kind(6, **options)
    randomise(made)
    return made.eval()


# --- exactness ------------------------------------------------------------------------------------


ROUNDINGS = 8
"""Of a root, a quotient, two products and two sums, some of which may be one rounding."""


def assert_normalised_alike(found: Tensor, wanted: Tensor) -> None:
    """Fails where two normalised batches, or their gradients, differ by more than rounding.

    The same function of torch's makes both, but nothing says that it gives equal bits wherever in
    memory its input lies. What it adds up is no larger than a few times the largest item.
    """
    assert_rounded_alike(found, wanted, ROUNDINGS, 3 * wanted.detach().float().abs().max())


@pytest.mark.parametrize("kind", SHAPES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_it_is_a_batchnorm_in_eval(kind: type[nn.Module], dtype: torch.dtype) -> None:
    batchnorm = layer(kind, eps=1e-3).to(dtype)
    frozen = convert_to_frozen(batchnorm).train()
    given = [torch.randn(SHAPES[kind]).to(dtype).requires_grad_() for _ in range(2)]
    given[1].data.copy_(given[0].data)
    one, other = batchnorm(given[0]), frozen(given[1])
    assert_normalised_alike(other, one)
    one.sum().backward()
    other.sum().backward()
    assert_normalised_alike(given[1].grad, given[0].grad)


def test_it_calls_what_a_batchnorm_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same values and switches, which is why the results agree."""
    calls: list[tuple[Any, ...]] = []
    computed = torch.batch_norm

    def noted(*arguments: Any) -> Tensor:
        calls.append(arguments)
        return computed(*arguments)

    monkeypatch.setattr(torch, "batch_norm", noted)
    batchnorm, image = layer(), torch.randn(2, 6, 4, 4)
    batchnorm(image)
    convert_to_frozen(batchnorm)(image)
    *tensors, training, _, eps, _ = zip(*calls, strict=True)
    assert all(torch.equal(one, other) for one, other in tensors)
    assert (training, eps) == ((False, False), (1e-5, 1e-5))


def test_it_takes_float32_statistics_for_inputs_of_half_the_width() -> None:
    batchnorm = layer()
    frozen = convert_to_frozen(batchnorm)
    image = torch.randn(2, 6, 4, 4).bfloat16()
    assert_normalised_alike(frozen(image), batchnorm(image))
    with torch.autocast("cpu", torch.bfloat16):
        assert_normalised_alike(frozen(image.float()), batchnorm(image.float()))


def torchvision_formula(frozen: nn.Module, image: Tensor) -> Tensor:
    """The forward of torchvision.ops.FrozenBatchNorm2d; detectron2's does the same sum."""
    weight, bias, variance, mean = (
        frozen.get_buffer(name).reshape(1, -1, 1, 1)
        for name in ("weight", "bias", "running_var", "running_mean")
    )
    scale = weight * (variance + frozen.eps).rsqrt()  # type: ignore[operator]
    return image * scale + (bias - mean * scale)


def test_it_agrees_with_torchvision_and_transformers() -> None:
    frozen = convert_to_frozen(layer())
    detr = DetrFrozenBatchNorm2d(6)
    detr.load_state_dict(frozen.state_dict())
    image = torch.randn(4, 6, 5, 5)
    wanted = torchvision_formula(frozen, image)
    assert torch.allclose(frozen(image), wanted, rtol=1e-6, atol=1e-6)
    assert torch.allclose(frozen(image), detr(image), rtol=1e-6, atol=1e-6)


# --- state_dicts ----------------------------------------------------------------------------------


def state_of_version(version: int | None, counter: bool) -> OrderedDict[str, Tensor]:
    """A state_dict as some library and version may have written it, with a variance near zero."""
    state = layer().state_dict()
    state["running_var"][0] = 1e-6
    if not counter:
        del state["num_batches_tracked"]
    state._metadata = OrderedDict({"": {} if version is None else {"version": version}})
    return state


@pytest.mark.parametrize("version", [None, 1, 2, 3])
@pytest.mark.parametrize("counter", [True, False])
def test_no_version_changes_the_variance(version: int | None, counter: bool) -> None:
    state = state_of_version(version, counter)
    keys = list(state)
    frozen = FrozenBatchNorm(6)
    frozen.load_state_dict(state)
    assert list(state) == keys
    assert torch.equal(frozen.running_var, state["running_var"])
    assert frozen(torch.randn(2, 6, 3, 3)).isfinite().all()


class DetectronFrozen(FrozenBatchNorm):
    """What detectron2's layer does to what it takes for an old state_dict of its own."""

    _version = 3

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
        version = metadata.get("version", None)
        if version is not None and version < 3:
            state[f"{prefix}running_var"] = state[f"{prefix}running_var"] - self.eps
        super()._load_from_state_dict(state, prefix, metadata, *rest)


def test_detectron_subtracts_eps_from_a_batchnorm_and_leaves_ours_alone() -> None:
    broken, fine = DetectronFrozen(6), DetectronFrozen(6)
    broken.load_state_dict(state_of_version(2, counter=True))
    assert broken.running_var[0] < 0
    frozen = convert_to_frozen(layer())
    fine.load_state_dict(frozen.state_dict())
    assert torch.equal(fine.running_var, frozen.running_var)


def test_batchnorms_load_its_state_dict_strictly() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 1), layer())
    frozen = convert_to_frozen(copy.deepcopy(model))
    file = io.BytesIO()
    torch.save(frozen.state_dict(), file)
    file.seek(0)
    other = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6)).eval()
    other.load_state_dict(torch.load(file, weights_only=True))
    image = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(model(image), other(image))


def test_what_is_missing_or_foreign_is_still_told() -> None:
    state = layer().state_dict()
    del state["weight"]
    state["scale"] = torch.ones(6)
    with pytest.raises(RuntimeError, match=r"(?s)Missing.*weight.*Unexpected.*scale") as caught:
        FrozenBatchNorm(6).load_state_dict(state)
    assert "num_batches_tracked" not in str(caught.value)


# --- what a module must live through --------------------------------------------------------------


def test_torch_export_gives_the_same_results() -> None:
    model = convert_to_frozen(nn.Sequential(nn.Conv2d(3, 6, 3), layer(), nn.ReLU()))
    image = torch.randn(2, 3, 8, 8)
    exported = torch.export.export(model, (image,))
    torch.testing.assert_close(exported.module()(image), model(image))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.filterwarnings("ignore:Exporting a model while it is in training")
def test_onnx_gives_the_same_results(dtype: torch.dtype) -> None:
    model = convert_to_frozen(nn.Sequential(nn.ReLU(), layer().to(dtype))).train()
    image = torch.randn(2, 6, 3, 3).to(dtype)
    program = torch.onnx.export(model, (image,), dynamo=True, verbose=False)
    proto = program.model_proto
    assert [node.op_type for node in proto.graph.node] == ["Relu", "BatchNormalization"]
    run = ReferenceEvaluator(proto)
    (found,) = run.run(None, {proto.graph.input[0].name: image.numpy()})
    tolerance = 1e-6 if dtype is torch.float32 else 2e-3
    wanted = model(image)
    assert torch.allclose(torch.from_numpy(found), wanted, rtol=tolerance, atol=tolerance)


def test_torch_compile_gives_the_same_results() -> None:
    model = convert_to_frozen(nn.Sequential(nn.Conv2d(3, 6, 3), layer()))
    image = torch.randn(2, 3, 8, 8)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(image), model(image), atol=1e-6)
    torch.compiler.reset()


def test_no_optimizer_sees_it_and_nothing_moves_it() -> None:
    model = convert_to_frozen(nn.Sequential(nn.Conv2d(3, 6, 1), layer()))
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model.train()(torch.randn(4, 3, 2, 2)).sum().backward()
    optimizer.step()
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"0.weight", "0.bias"}
    assert repr(model[1]) == "FrozenBatchNorm(6, eps=1e-05)"


# --- there and back -------------------------------------------------------------------------------


def test_a_network_comes_back_as_it_was() -> None:
    model = ResNet(BasicBlock, 2)
    randomise(model)
    model.bn1.weight.requires_grad_(False)
    model.layer1[0].bn1.momentum = None
    before, shown = copy.deepcopy(model.state_dict()), repr(model)
    image = torch.randn(2, 3, 16, 16)
    wanted = model.eval()(image)
    assert convert_to_frozen(model) is model
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    torch.testing.assert_close(model.train()(image), wanted)
    assert convert_from_frozen(model) is model
    assert repr(model) == shown
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert not model.bn1.weight.requires_grad
    assert model.bn1.bias.requires_grad
    assert all(module.training for module in model.modules())


def test_a_layer_without_affine_comes_back_without_it_unless_it_got_one() -> None:
    frozen = convert_to_frozen(layer(nn.BatchNorm1d, affine=False))
    assert convert_from_frozen(copy.deepcopy(frozen)).weight is None
    frozen.weight.fill_(2)
    back = convert_from_frozen(frozen)
    assert torch.equal(back.weight, torch.full((6,), 2.0))
    assert back.affine


def test_a_shared_layer_stays_shared() -> None:
    shared = layer()
    model = nn.Sequential(shared, nn.Sequential(shared, nn.ReLU()))
    convert_to_frozen(model)
    assert model[0] is model[1][0]
    convert_from_frozen(model)
    assert model[0] is model[1][0]


def test_layers_that_freeze_holds_follow_the_model_when_they_come_back() -> None:
    model = nn.Sequential(layer()).train()
    freeze(model)
    convert_from_frozen(convert_to_frozen(model))
    assert model[0].training


def test_one_that_was_made_by_hand_needs_a_class_to_become() -> None:
    model = nn.Sequential(FrozenBatchNorm(6, eps=1e-3), nn.ReLU())
    with pytest.raises(CkptSurgeonError, match=r"(?s)`0`: was not made.*kind=torch.nn.BatchNorm2d"):
        convert_from_frozen(model)
    convert_from_frozen(model, kind=nn.BatchNorm3d)
    assert type(model[0]) is nn.BatchNorm3d
    assert model[0].eps == 1e-3


class NormAndActivation(nn.BatchNorm2d):
    """As timm's BatchNormAct2d: more than a BatchNorm, though it is one by class."""

    def forward(self, input: Tensor) -> Tensor:
        return functional.relu(super().forward(input))


def test_what_would_lose_something_is_not_converted() -> None:
    hooked = layer()
    hooked.register_forward_hook(print)
    model = nn.ModuleDict(
        {
            "plain": layer(),
            "activated": NormAndActivation(6),
            "hooked": hooked,
            "stateless": nn.BatchNorm2d(6, track_running_stats=False),
        }
    )
    with pytest.raises(CkptSurgeonError) as caught:
        convert_to_frozen(model)
    assert str(caught.value).splitlines() == [
        "`activated`: NormAndActivation has a forward of its own",
        "`hooked`: it has forward hooks",
        "`stateless`: keeps no running statistics (track_running_stats=False)",
        "nothing was converted; convert the parts of the model without them",
    ]
    assert type(model["plain"]) is nn.BatchNorm2d


def test_meta_models_convert() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False))
    convert_from_frozen(convert_to_frozen(model))
    assert model[0].weight.is_meta
    assert model[1].weight is None
