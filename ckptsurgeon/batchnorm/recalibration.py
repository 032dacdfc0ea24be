"""`recalibrate`: running statistics anew, from data, after a network was changed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ckptsurgeon.batchnorm.freezing import is_frozen
from ckptsurgeon.batchnorm.layers import BatchNorm, batchnorms, has_statistics, listed, tensors_of
from ckptsurgeon.batchnorm.results import Block, NormResult
from ckptsurgeon.checkpoints.models import require_model
from ckptsurgeon.checkpoints.planting import is_tensor
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.specs import plural
from ckptsurgeon.wanted import kind_of, refuse


@dataclass(frozen=True, slots=True, repr=False)
class Recalibrated(NormResult):
    """The layers whose statistics are new, and from how many batches.

    `untouched` are those that no batch reached, or that `freeze` holds: they keep what they had.
    """

    layers: tuple[str, ...]
    untouched: tuple[str, ...]
    batches: int

    @property
    def summary(self) -> str:
        """How many layers have new statistics, from how many batches."""
        kept = f", {len(self.untouched):,} kept theirs" if self.untouched else ""
        new = plural(len(self.layers), "BatchNorm")
        batches = f"{self.batches:,} batch{'es' * (self.batches != 1)}"
        return f"{new} with statistics of {batches}{kept}"

    @property
    def blocks(self) -> Sequence[Block]:
        """The layers, and those that no batch reached or that are frozen."""
        return (
            Block.names("new statistics", self.layers),
            Block.names("untouched: no batch reached them, or they are frozen", self.untouched),
        )


def recalibrate(
    model: nn.Module,
    batches: Iterable[Any],
    forward: Callable[[Any], object] | None = None,
) -> Recalibrated:
    """The BatchNorms that were given fresh running statistics: the mean over all batches' own.

    Every batch counts the same, whatever its size (`momentum=None` in torch; a last batch that is
    smaller is best left out). Only BatchNorms are in train mode meanwhile, so that dropout is off;
    nothing is trained. Afterwards all modes and momentums are what they were, and
    `num_batches_tracked` is the number of batches that the layer saw.

    A batch goes through as `model(batch)`; of a list or tuple, as data loaders give, the first
    item alone; a mapping as keyword arguments. Say `forward` for anything else.

    Raises CkptSurgeonError where there is no layer, where `batches` is one batch and no iterable of
    them, where there is no batch, or statistics come out as NaN or infinite; then, and where the
    model raises, the statistics are what they were before.
    """
    require_model(model)
    _refuse_one_batch(batches)
    if forward is not None and not callable(forward):
        refuse("recalibrate: forward", forward, "a function of a batch")
    found = {name: m for name, m in batchnorms(model).items() if has_statistics(m)}
    counting = {name: layer for name, layer in found.items() if _counts(layer)}
    if not counting:
        raise CkptSurgeonError(
            f"{type(model).__name__} has no BatchNorm with running statistics that move"
        )
    before = {
        layer: {name: buffer.detach().clone() for name, buffer in layer.named_buffers()}
        for layer in counting.values()
    }
    try:
        count = _run(model, counting, batches, forward or (lambda batch: _pass(model, batch)))
        reached = _reached(counting)
    except BaseException:
        _put_back(before)
        raise
    _put_back({layer: before[layer] for name, layer in counting.items() if name not in reached})
    return Recalibrated(reached, tuple(name for name in found if name not in reached), count)


def _refuse_one_batch(batches: object) -> None:
    """Raises CkptSurgeonError for one batch, whose rows or parts would be taken for several."""
    what = ""
    if is_tensor(batches):
        what = f"a tensor of {list(batches.shape)}"  # type: ignore[attr-defined]
    elif isinstance(batches, tuple) and any(map(is_tensor, batches)):
        what = "a tuple of tensors, as a loader gives for one batch,"
    elif isinstance(batches, list) and not _are_alike(batches):
        what = "a list of unlike tensors, as a loader gives for one batch,"
    if what:
        raise CkptSurgeonError(
            f"recalibrate: {what} where batches are wanted: an iterable of them, such as a "
            "DataLoader; for one batch give a list of it: `recalibrate(model, [batch])`"
        )
    if not isinstance(batches, Iterable) or isinstance(batches, str | bytes | Mapping):
        raise CkptSurgeonError(
            f"recalibrate: {type(batches).__name__} where batches are wanted: an iterable of them, "
            "such as a DataLoader, or a list"
        )


def _are_alike(batches: Sequence[Any]) -> bool:
    """Whether all tensors of a list may be batches of one network."""
    return len({(one.dtype, one.shape[1:]) for one in batches if is_tensor(one)}) < 2


def _counts(layer: BatchNorm) -> bool:
    """Whether statistics move, and are counted (networks pickled before torch 0.4.1 don't)."""
    return "num_batches_tracked" in tensors_of(layer) and not is_frozen(layer)


def _run(
    model: nn.Module,
    counting: Mapping[str, BatchNorm],
    batches: Iterable[Any],
    forward: Callable[[Any], object],
) -> int:
    """How many batches went through, the layers averaging over them."""
    count = 0
    with _counting_alone(model, counting.values()), torch.no_grad():
        for batch in batches:
            forward(batch)
            count += 1
    if not count:
        raise CkptSurgeonError("recalibrate: no batch was given; a generator may be used up")
    return count


def _pass(model: nn.Module, batch: Any) -> object:
    """What the model gives for a batch; raises CkptSurgeonError where it can't take it so."""
    if isinstance(batch, Mapping):
        try:
            return model(**batch)
        except TypeError as error:
            _refuse_keywords(model, batch, error)
            raise
    if isinstance(batch, list | tuple) and not batch:
        raise CkptSurgeonError("recalibrate: a batch is empty")
    first = batch[0] if isinstance(batch, list | tuple) else batch
    try:
        return model(first)
    except (TypeError, AttributeError) as error:
        if isinstance(first, torch.Tensor):
            raise
        raise CkptSurgeonError(
            f"recalibrate: a batch is {kind_of(first)}, which {type(model).__name__} can't take "
            f"({error}); say how it goes through: `forward=lambda batch: model(…)`"
        ) from error


def _refuse_keywords(model: nn.Module, batch: Mapping[Any, Any], error: TypeError) -> None:
    """Raises CkptSurgeonError for a mapping that the model can't take as keyword arguments."""
    try:
        takes = inspect.signature(model.forward)
    except (TypeError, ValueError):  # what is compiled may say nothing of itself
        return
    try:
        takes.bind(**batch)
    except TypeError as why:
        names = ", ".join(map(repr, batch)) or "nothing"
        one = next((name for name in batch if name in takes.parameters), next(iter(batch), "NAME"))
        raise CkptSurgeonError(
            f"recalibrate: a batch is a mapping of {names}, and {type(model).__name__} takes other "
            f"keyword arguments ({why}); say how it goes through: "
            f"`forward=lambda batch: model(batch[{one!r}])`"
        ) from error


def _reached(counting: Mapping[str, BatchNorm]) -> tuple[str, ...]:
    """The layers that counted a batch; raises CkptSurgeonError where one holds no numbers."""
    tensors = {name: tensors_of(layer) for name, layer in counting.items()}
    reached = [name for name, own in tensors.items() if int(own["num_batches_tracked"])]
    statistics = ("running_mean", "running_var")
    broken = [
        name
        for name in reached
        if not all(tensors[name][part].isfinite().all() for part in statistics)
    ]
    if broken:
        raise CkptSurgeonError(
            f"{listed(broken)}: the new statistics are NaN or infinite; look for such values in "
            "the batches, or for an overflow before these layers"
        )
    return tuple(reached)


@contextmanager
def _counting_alone(model: nn.Module, layers: Iterable[BatchNorm]) -> Iterator[None]:
    """The model in eval mode but for some layers, which average from nothing; modes come back."""
    modes = {module: module.training for module in model.modules()}
    momentums = {layer: layer.momentum for layer in layers}
    try:
        for module in modes:
            # The flag itself: `train()` may be a method of the user's, or held by `freeze`.
            module.training = module in momentums
        for layer in momentums:
            layer.momentum = None
            layer.reset_running_stats()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for layer, momentum in momentums.items():
            layer.momentum = momentum


@torch.no_grad()
def _put_back(before: Mapping[BatchNorm, Mapping[str, Tensor]]) -> None:
    """Gives layers the buffers that they had."""
    for layer, buffers in before.items():
        for name, value in buffers.items():
            layer.get_buffer(name).copy_(value)
