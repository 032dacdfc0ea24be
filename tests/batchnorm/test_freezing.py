"""`freeze` in training: what is frozen keeps every bit, the rest moves."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from networks import BasicBlock, ResNet, randomise
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ckptsurgeon import CkptSurgeonError
from ckptsurgeon.batchnorm import freeze, unfreeze

AFFINE, STATISTICS, COUNTER = "affine", "statistics", "counter"


def network(layers: int = 2) -> ResNet:
    torch.manual_seed(0)
    model = ResNet(BasicBlock, layers)
    randomise(model)
    return model.train()


def train(model: nn.Module, steps: int = 10) -> None:
    """SGD steps in train mode, with all that moves parameters: momentum and weight decay."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=0.01)
    for _ in range(steps):
        model.train()
        optimizer.zero_grad()
        images = torch.randn(4, 3, 16, 16, generator=generator)
        model(images).square().mean().backward()
        optimizer.step()


def part_of(key: str) -> str:
    """Which part of a BatchNorm a key is; "" for a key of another module."""
    module, _, name = key.rpartition(".")
    if "bn" not in module and not module.endswith("downsample.1"):
        return ""
    kinds = {"weight": AFFINE, "bias": AFFINE, "num_batches_tracked": COUNTER}
    return kinds.get(name, STATISTICS)


def moved(model: nn.Module, before: dict[str, Tensor]) -> dict[str, set[bool]]:
    """Whether the tensors of a kind moved: {True} where all did, {False} where none did."""
    told: dict[str, set[bool]] = {}
    for key, tensor in model.state_dict().items():
        told.setdefault(part_of(key), set()).add(not torch.equal(tensor, before[key]))
    return told


def state(model: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    ("affine", "stats"), [(True, True), (True, False), (False, True), (None, None)]
)
def test_ten_steps_move_all_but_what_is_frozen(affine: bool | None, stats: bool | None) -> None:
    model = network()
    if affine is not None and stats is not None:
        freeze(model, affine=affine, stats=stats)
    before = state(model)
    train(model)
    assert moved(model, before) == {
        "": {True},
        AFFINE: {not affine},
        STATISTICS: {not stats},
        COUNTER: {not stats},
    }


# --- what people try, and what comes of it --------------------------------------------------------


def test_assigning_requires_grad_of_a_module_freezes_nothing() -> None:
    model = network()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_ = False  # type: ignore[method-assign, assignment]
    before = state(model)
    train(model)
    assert moved(model, before)[AFFINE] == {True}


def test_eval_of_the_layers_is_undone_by_the_next_train() -> None:
    model = network()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    before = state(model)
    train(model)
    assert moved(model, before)[STATISTICS] == {True}


def test_a_momentum_of_zero_keeps_the_statistics_but_normalises_by_the_batch() -> None:
    frozen, still = network(), network()
    freeze(frozen)
    for module in still.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    images = torch.randn(4, 3, 16, 16)
    assert not torch.allclose(frozen(images), still(images))
    torch.testing.assert_close(frozen(images), network().eval()(images))


# --- what a freeze outlives -----------------------------------------------------------------------


def assert_holds(model: nn.Module) -> None:
    before = state(model)
    train(model, 2)
    told = moved(model, before)
    assert (told[""], told[AFFINE], told[STATISTICS]) == ({True}, {False}, {False})


def test_it_outlives_train_and_eval() -> None:
    model = network()
    freeze(model)
    for mode in (True, False, True):
        assert not model.train(mode).bn1.training
        assert model.training is mode
    assert_holds(model)


def test_it_outlives_deepcopy_which_is_free_of_its_original() -> None:
    model = network()
    freeze(model)
    other = copy.deepcopy(model)
    assert_holds(other)
    unfreeze(model)
    assert model.train().bn1.training
    assert not other.train().bn1.training


def test_it_outlives_pickle_and_torch_save(tmp_path: Path) -> None:
    model = network()
    freeze(model)
    torch.save(model, tmp_path / "model.pt")
    saved = torch.load(tmp_path / "model.pt", weights_only=False)
    for other in (saved, pickle.loads(pickle.dumps(model))):
        assert_holds(other)
        assert len(unfreeze(other).layers) == 10
        assert other.train().bn1.training


def test_the_state_dict_is_what_it_was() -> None:
    model = network()
    before = model.state_dict()
    freeze(model)
    after = model.state_dict()
    assert list(after) == list(before)
    assert after._metadata == before._metadata  # type: ignore[attr-defined]
    buffer = io.BytesIO()
    torch.save(after, buffer)
    buffer.seek(0)
    network().load_state_dict(torch.load(buffer, weights_only=True))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_it_outlives_torch_compile(backend: str) -> None:
    model = network(1)
    freeze(model)
    compiled = torch.compile(model, backend=backend)
    before = state(model)
    train(compiled, 2)
    assert moved(model, before)[STATISTICS] == {False}
    assert moved(model, before)[""] == {True}
    images = torch.randn(4, 3, 16, 16)
    assert torch.allclose(compiled(images), model.eval()(images), atol=1e-5)
    torch.compiler.reset()


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_it_outlives_distributed_data_parallel(process_group: None) -> None:
    model = network()
    freeze(model)
    wrapped = DistributedDataParallel(model)
    before = state(model)
    train(wrapped, 2)
    assert moved(model, before)[AFFINE] == {False}
    assert moved(model, before)[STATISTICS] == {False}
    assert moved(model, before)[""] == {True}


def test_frozen_sync_batchnorms_run_where_live_ones_can_not(process_group: None) -> None:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(network())
    with pytest.raises(ValueError, match="GPU"):
        train(model, 1)
    freeze(model)
    assert_holds(model)


def test_parameters_stop_before_they_are_wrapped_not_after(process_group: None) -> None:
    wrapped = DistributedDataParallel(network())
    with pytest.raises(CkptSurgeonError, match="freeze the model first, then wrap it"):
        freeze(wrapped)
    told = freeze(wrapped, affine=False)
    assert told.affine == ()
    before = state(wrapped.module)
    train(wrapped, 2)
    assert moved(wrapped.module, before)[STATISTICS] == {False}
    assert moved(wrapped.module, before)[AFFINE] == {True}


# --- the summary, and the way back ----------------------------------------------------------------


def test_the_summary_names_the_layers() -> None:
    model = nn.Sequential(
        nn.BatchNorm1d(3),
        nn.BatchNorm1d(3, affine=False),
        nn.BatchNorm1d(3, track_running_stats=False),
    )
    told = freeze(model)
    assert told.affine == ("0", "2")
    assert told.statistics == ("0", "1")
    assert told.layers == ("0", "2", "1")
    assert told.summary == "3 BatchNorms: weight and bias of 2, running statistics of 2"
    assert str(told).splitlines() == [
        "both  1",
        "  0",
        "",
        "weight and bias  1",
        "  2",
        "",
        "running statistics  1",
        "  1",
        "",
        told.summary,
    ]
    assert freeze(nn.BatchNorm3d(2)).layers == ("",)


def test_unfreeze_turns_on_only_what_freeze_turned_off() -> None:
    model = network()
    model.bn1.weight.requires_grad_(False)
    model.eval()
    freeze(model, stats=False)
    freeze(model)
    told = unfreeze(model)
    assert not model.bn1.weight.requires_grad
    assert model.bn1.bias.requires_grad
    assert len(told.affine) == len(told.statistics) == 10
    assert not model.bn1.training  # it was in eval, and no train() was asked for since
    assert unfreeze(model).layers == ()
    assert "train" not in vars(model.bn1)


def test_one_half_can_be_let_go() -> None:
    model = network()
    freeze(model)
    assert unfreeze(model, affine=False).affine == ()
    assert model.bn1.training
    assert not model.bn1.weight.requires_grad
    assert unfreeze(model).statistics == ()
    assert model.bn1.weight.requires_grad


def test_an_optimizer_does_not_apply_a_gradient_from_before() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.1)
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    freeze(model)
    before = state(model)
    optimizer.step()
    assert moved(model, before)[AFFINE] == {False}


def test_what_can_not_be_frozen_is_said() -> None:
    with pytest.raises(CkptSurgeonError, match="Linear has no BatchNorm"):
        freeze(nn.Linear(2, 2))
    with pytest.raises(CkptSurgeonError, match="neither affine nor stats"):
        freeze(network(), affine=False, stats=False)
    lazy = nn.Sequential(nn.LazyBatchNorm1d(), nn.Linear(3, 2))
    with pytest.raises(CkptSurgeonError, match="0: lazy, and without a size"):
        freeze(lazy)
    lazy(torch.randn(4, 3))
    assert freeze(lazy).layers == ("0",)
