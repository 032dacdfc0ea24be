"""A checkpoint loaded into a network as a user would load it: strictly, by torch's own code."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.models import state_of
from ckptsurgeon.checkpoints.tensors import to_torch
from ckptsurgeon.checkpoints.torch.rivals import TAKEN_OFF
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.proof.results import Finding, Kind
from ckptsurgeon.specs import UnreadableSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint's tensors, what was wrong when they were loaded, and what is worth telling."""

    state: State
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def read_state(checkpoint: Checkpoint) -> State:
    """The tensors of a checkpoint, torch's, with its `_metadata`.

    Raises CheckpointError where it has shapes alone, or tensors that torch can't hold.
    """
    if not checkpoint.has_values:
        raise CheckpointError(f"{checkpoint.path}: has shapes alone, and no values to verify")
    specs = checkpoint.contents.specs
    for key, spec in specs.items():
        if isinstance(spec, UnreadableSpec):
            raise CheckpointError(
                f"{checkpoint.path}: `{key}` is unreadable: it is {spec.what}; {spec.remedy}"
            )
        if spec.carrier is None:
            raise CheckpointError(f"{checkpoint.path}: `{key}` is {spec}, which torch can't load")
    state: Any = OrderedDict(
        (key, to_torch(checkpoint.read(key), spec, "cpu")) for key, spec in specs.items()
    )
    metadata = checkpoint.contents.module_metadata
    if metadata is not None:
        state._metadata = OrderedDict((key, dict(entry)) for key, entry in metadata.items())
    return state  # type: ignore[no-any-return]


def without_wrappers(state: State) -> State:
    """The tensors by their names in the model inside of DataParallel or torch.compile."""
    for prefix in TAKEN_OFF:
        if state and all(key.startswith(prefix) for key in state):
            return without_wrappers({key[len(prefix) :]: one for key, one in state.items()})
    return state


def load_strictly(state: State, model: nn.Module) -> Loaded:
    """Loads `state` with `assign=True`, so that a model on the meta device gets values, too."""
    wanted = state_of(model)
    mismatched = list(_mismatched(state, wanted))
    wrong = {finding.key for finding in mismatched}
    findings = [*mismatched, *_loaded(_without(state, wrong), model, wrong)]
    told = {finding.key for finding in findings}
    findings += (finding for finding in _on_meta(model) if finding.key not in told)
    findings += _untied(state, wanted)
    return Loaded(state, tuple(findings), tuple(_dtype_notes(state, wanted)))


def _without(state: State, keys: set[str]) -> State:
    left: Any = OrderedDict((key, value) for key, value in state.items() if key not in keys)
    if hasattr(state, "_metadata"):
        left._metadata = state._metadata
    return left  # type: ignore[no-any-return]


def _mismatched(state: State, wanted: State) -> Iterator[Finding]:
    """Keys of different shapes; torch takes [1] for a scalar."""
    for key, tensor in state.items():
        found, shape = tuple(tensor.shape), tuple(wanted[key].shape) if key in wanted else None
        if shape is not None and found != shape and (found, shape) != ((1,), ()):
            text = f"is {list(found)} in the checkpoint, {list(shape)} in the model"
            yield Finding(Kind.MISMATCHED, key, text)


def _loaded(state: State, model: nn.Module, mismatched: set[str]) -> Iterator[Finding]:
    """What torch says of a load; keys that were left out for their shape are not missing."""
    try:
        result = model.load_state_dict(state, strict=False, assign=True)
    except (RuntimeError, ValueError, TypeError) as error:
        yield Finding(Kind.REFUSED, "", " ".join(str(error).split()))
        return
    for key in result.missing_keys:
        if key not in mismatched:
            yield Finding(Kind.MISSING, key, "the checkpoint has no such key")
    for key in result.unexpected_keys:
        yield Finding(Kind.UNEXPECTED, key, "the model has no such key")


def _on_meta(model: nn.Module) -> Iterator[Finding]:
    """Tensors of the model that the load left without values.

    Buffers that are not persistent are no part of a checkpoint: the model's own code makes them.
    """
    for key, tensor in state_of(model).items():
        if tensor.is_meta:
            yield Finding(Kind.META, key, "has no values after the load")


def _untied(state: State, wanted: State) -> Iterator[Finding]:
    """Keys that are one tensor in the model, and different ones in the checkpoint."""
    groups: dict[int, list[str]] = defaultdict(list)
    for key, tensor in wanted.items():
        if key in state:
            groups[id(tensor)].append(key)
    for leader, *others in groups.values():
        for key in others:
            if not _equal(state[leader], state[key]):
                text = f"is one tensor with `{leader}` in the model, and differs from it here"
                yield Finding(Kind.UNTIED, key, text)


def _equal(one: Tensor, other: Tensor) -> bool:
    import torch

    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)


def _dtype_notes(state: State, wanted: State) -> Iterator[str]:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for key, tensor in state.items():
        if key in wanted and tensor.dtype != wanted[key].dtype:
            counts[_name(tensor), _name(wanted[key])] += 1
    for (found, own), count in counts.items():
        yield f"{count:,} tensor{'s' * (count != 1)} of {found} where the model has {own}"


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
