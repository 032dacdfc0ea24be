"""`modules.transplant`: what fits is copied, rules do the rest, nothing is half-done."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import ResNet, randomise
from torch import Tensor, nn

from ckptsurgeon import modules
from ckptsurgeon.errors import CheckpointError, FindingsError, PlanError

STEM = "conv1.weight[:, :3] -> conv1.weight"
OWN_HEAD = [{"drop": "fc.*"}, {"keep": "fc.*"}]


def resnet(seed: int, channels: int = 3, classes: int = 5, layers: int = 2) -> ResNet:
    network = ResNet(channels=channels, classes=classes, layers=layers)
    randomise(network, seed)
    return network


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class Tied(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self, words: int = 7) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 4)
        self.head = nn.Linear(4, words, bias=False)
        self.head.weight = self.embedding.weight


def test_the_four_channel_resnet_gives_the_same_logits_on_three() -> None:
    source, destination = resnet(1, channels=4, layers=4), resnet(2, layers=4)
    report = modules.transplant(source, destination, [STEM])
    assert report.clean
    image = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    image[:, 3] = 0
    with torch.no_grad():
        wanted, scores = source.eval()(image), destination.eval()(image[:, :3])
    torch.testing.assert_close(scores, wanted, rtol=1e-6, atol=1e-6)


def test_without_rules_what_fits_is_copied_and_all_else_is_named() -> None:
    source, destination = resnet(1, channels=4, classes=7), resnet(2)
    before = snapshot(destination)
    with pytest.raises(FindingsError) as caught:
        modules.transplant(source, destination)
    keys = [problem.message.partition(" (")[0] for problem in caught.value.problems]
    assert keys == [f"mismatched: `{key}`" for key in ("conv1.weight", "fc.weight", "fc.bias")]
    assert same(before, snapshot(destination))


def test_what_is_allowed_keeps_the_destinations_value_and_is_told() -> None:
    source, destination = resnet(1, channels=4, classes=7), resnet(2)
    before = snapshot(destination)
    report = modules.transplant(source, destination, allow=["mismatched"])
    kept = [row.key for row in report.rows if row.allowed]
    assert kept == ["conv1.weight", "fc.weight", "fc.bias"]
    after, given = snapshot(destination), snapshot(source)
    assert all(torch.equal(after[key], (before if key in kept else given)[key]) for key in after)


def test_every_tensor_stays_the_object_it_was_with_its_dtype_and_gradient_flag() -> None:
    source, destination = resnet(1), resnet(2).half()
    destination.fc.requires_grad_(False)
    before = {key: id(one) for key, one in destination.named_parameters()}
    modules.transplant(source, destination)
    assert {key: id(one) for key, one in destination.named_parameters()} == before
    assert destination.conv1.weight.dtype is torch.float16
    assert torch.equal(destination.conv1.weight, source.conv1.weight.half())
    assert destination.conv1.weight.requires_grad
    assert not destination.fc.weight.requires_grad


def test_a_value_that_overflows_is_told_and_nothing_is_written() -> None:
    source, destination = nn.Linear(2, 2), nn.Linear(2, 2).half()
    with torch.no_grad():
        source.bias.fill_(1e6)
    before = snapshot(destination)
    with pytest.raises(FindingsError, match=r"`bias`: 2 finite values overflow in F16"):
        modules.transplant(source, destination)
    assert same(before, snapshot(destination))


def test_an_error_of_a_later_rule_leaves_the_destination_as_it_was() -> None:
    source, destination = resnet(1), resnet(2)
    before = snapshot(destination)
    with pytest.raises(PlanError, match="no key matches `nope`"):
        modules.transplant(source, destination, ["nope -> fc.bias"])
    rules = [{"from": ["bn1.weight", "bn1.bias"], "to": "bn1.weight", "ops": "same"}]
    with pytest.raises(PlanError, match="same"):
        modules.transplant(source, destination, rules, allow=["missing", "unused"])
    assert same(before, snapshot(destination))


def test_parameters_that_are_tied_stay_tied() -> None:
    source, destination = Tied(), Tied()
    report = modules.transplant(source, destination)
    assert destination.head.weight is destination.embedding.weight
    assert torch.equal(destination.head.weight, source.embedding.weight)
    assert dict(report.ties) == {"head.weight": "embedding.weight"}


def test_a_rename_of_tied_parameters_reaches_both_keys() -> None:
    source = nn.ModuleDict({"words": nn.Embedding(7, 4)})
    destination = Tied()
    report = modules.transplant(source, destination, ["words.weight -> embedding.weight"])
    assert report.clean
    assert torch.equal(destination.head.weight, source.words.weight)


def test_different_values_for_tied_parameters_are_an_error() -> None:
    source, destination = Tied(), Tied()
    source.head.weight = nn.Parameter(torch.rand(7, 4))
    before = snapshot(destination)
    with pytest.raises(PlanError, match="hold different values"):
        modules.transplant(source, destination)
    assert same(before, snapshot(destination))
    modules.transplant(source, destination, [{"drop": "head.weight"}])
    assert torch.equal(destination.head.weight, source.embedding.weight)


def test_a_model_may_be_source_and_destination_at_once() -> None:
    model = resnet(1)
    before = snapshot(model)
    modules.transplant(model, model, ["layer1.0.bn<n:1=2|2=1>.* -> layer1.0.bn<n>.*"])
    after = snapshot(model)
    for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(after[f"layer1.0.bn1.{part}"], before[f"layer1.0.bn2.{part}"])
        assert torch.equal(after[f"layer1.0.bn2.{part}"], before[f"layer1.0.bn1.{part}"])


def test_buffers_that_are_not_persistent_are_not_touched() -> None:
    source, destination = nn.Linear(2, 2), nn.Linear(2, 2)
    for value, model in enumerate((source, destination)):
        model.register_buffer("table", torch.full((3,), float(value)), persistent=False)
    modules.transplant(source, destination)
    assert torch.equal(destination.table, torch.ones(3))


def test_wrappers_are_looked_through() -> None:
    source, destination = resnet(1), resnet(2)
    report = modules.transplant(nn.DataParallel(source), nn.DataParallel(destination))
    assert report.clean
    assert same(snapshot(source), snapshot(destination))


def test_extra_state_is_left_alone() -> None:
    class Stateful(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"epoch": 3}

        def set_extra_state(self, state: object) -> None:
            raise NotImplementedError

    source, destination = Stateful(2, 2), Stateful(2, 2)
    assert modules.transplant(source, destination).clean
    assert torch.equal(source.weight, destination.weight)


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return nn.Linear(2, 2)


def expanded() -> nn.Module:
    model = nn.Linear(2, 2)
    model.weight = nn.Parameter(torch.rand(2, 1).expand(2, 2))
    return model


def inferred() -> nn.Module:
    with torch.inference_mode():
        return nn.Linear(2, 2)


def made_up() -> nn.Module:
    class MadeUp(nn.Linear):
        def state_dict(self, *args: object, **options: object) -> dict[str, Tensor]:
            state = super().state_dict(*args, **options)
            state["weight"] = state["weight"] * 2
            return state

    return MadeUp(2, 2)


UNWRITABLE = {
    "is on the meta device": on_meta,
    "is an expanded view": expanded,
    "was made in inference mode": inferred,
    "is made up by its module": made_up,
}


@pytest.mark.parametrize(("told", "make"), UNWRITABLE.items(), ids=UNWRITABLE)
def test_what_could_not_be_written_is_refused_before(told: str, make: object) -> None:
    model = make()  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=told):
        modules.transplant(nn.Linear(2, 2), model)


def test_lazy_layers_are_refused_on_either_side() -> None:
    lazy = nn.Sequential(nn.LazyLinear(2), nn.LazyBatchNorm1d())
    told = "Sequential has lazy layers without shapes: `0`, `1`; run a batch through it first"
    for source, destination in ((lazy, nn.Linear(2, 2)), (nn.Linear(2, 2), lazy)):
        with pytest.raises(CheckpointError, match=told):
            modules.transplant(source, destination)


def test_a_source_on_the_meta_device_has_nothing_to_give() -> None:
    destination = nn.Linear(2, 2)
    before = snapshot(destination)
    with pytest.raises(CheckpointError, match=r"<Linear>: holds shapes alone, no values"):
        modules.transplant(on_meta(), destination)
    assert same(before, snapshot(destination))


def test_optimizers_go_on_with_the_parameters_that_they_hold() -> None:
    source, destination = resnet(1), resnet(2)
    optimizer = torch.optim.SGD(destination.parameters(), lr=0.1)
    modules.transplant(source, destination)
    copied = copy.deepcopy(destination)
    destination.train()(torch.rand(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    assert not torch.equal(destination.conv1.weight, copied.conv1.weight)


def test_own_head_by_rules() -> None:
    source, destination = resnet(1, classes=9), resnet(2)
    head = destination.fc.weight.clone()
    assert modules.transplant(source, destination, OWN_HEAD).clean
    assert torch.equal(destination.fc.weight, head)
