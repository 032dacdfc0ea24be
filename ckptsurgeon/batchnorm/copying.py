"""`copy` and `copy_all`: values of BatchNorms into others, all checked before any is moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ckptsurgeon.batchnorm.layers import Layer, different_eps, layers, refuse_lazy, tensors_of
from ckptsurgeon.batchnorm.links import Copied, Link, links_between
from ckptsurgeon.errors import CkptSurgeonError, ShapeError
from ckptsurgeon.language.rulesets import Rules
from ckptsurgeon.ops.indexing import resolve_index
from ckptsurgeon.planner.compiling.compiled import BATCHNORM_VECTORS

Channels = slice | Sequence[int] | Tensor
"""Which of a layer's channels: a slice, or indices in the order wanted (repeats are fine)."""


def copy(source: nn.Module, destination: nn.Module, channels: Channels | None = None) -> None:
    """Copies weight, bias, running_mean, running_var and num_batches_tracked between two layers.

    Both are BatchNorms or `FrozenBatchNorm`s. `channels` says which of the source's C channels the
    destination takes, in order: `slice(0, 32)`, or `[0, 1, 2, 0]` for one that is wider. Dtype and
    device of the destination are kept; a counter is left alone where the source has none.

    Raises ShapeError where the widths differ, and CkptSurgeonError where one of the layers lacks a
    part that the other has, where `eps` differs (it is in no state_dict, yet the results depend on
    it), and where a finite value is infinite in the destination's dtype. Nothing is changed then.
    """
    one, other = _layer(source, "source"), _layer(destination, "destination")
    _check_alike(one, other)
    indices = _indices(channels, one.num_features)
    width = one.num_features if indices is None else len(indices)
    if width != other.num_features:
        raise ShapeError(_widths(one, other, width, channels is None))
    values = {
        part: tensor if indices is None or part not in BATCHNORM_VECTORS else tensor[indices]
        for part, tensor in tensors_of(one).items()
    }
    targets = tensors_of(other)
    write((targets[part], value, part) for part, value in values.items() if part in targets)


def copy_all(
    source_model: nn.Module, destination_model: nn.Module, rules: Rules | None = None
) -> Copied:
    """What was copied from the BatchNorms of one model to those of another.

    Without rules, layers of the same name; wrappers (DistributedDataParallel, `torch.compile`) are
    looked through. Rules are as everywhere in ckptsurgeon: a path, a shipped ruleset's name, a
    list. They are planned over both whole state_dicts, as the command line would (so keys that no
    rule names go by their own name), and what they give to BatchNorms is copied.

    Raises RulesetError and PlanError for the rules, FindingsError for widths that differ, keys that
    the destination lacks and layers that would be given in part, and what `copy` raises. Nothing is
    changed then.
    """
    links, copied = links_between(source_model, destination_model, rules)
    write_links(links, cloned=True)
    return copied


def write_links(links: Iterable[Link], cloned: bool = False) -> None:
    """Gives every linked tensor its value; all values are there before the first is written.

    `cloned` ones may come from tensors that are written to.
    """
    write(
        (target, value.detach().clone() if cloned else value, key)
        for link in links
        for target, value, key in link.values()
    )


def write(writes: Iterable[tuple[Tensor, Tensor, str]]) -> None:
    """Copies (target, value, name) in place; raises CkptSurgeonError for an overflow, before."""
    every = [(target, _converted(target, value, name)) for target, value, name in writes]
    with torch.no_grad():
        for target, value in every:
            target.copy_(value)


def _converted(target: Tensor, value: Tensor, name: str) -> Tensor:
    if value.dtype == target.dtype:
        return value
    converted = value.detach().to(target.dtype)
    if value.isfinite().ne(converted.isfinite()).any():
        raise CkptSurgeonError(
            f"`{name}`: finite values of {value.dtype} are infinite in {target.dtype}; "
            "nothing was copied: convert the destination to a wider dtype first"
        )
    return converted


def _layer(module: nn.Module, role: str) -> Layer:
    if not isinstance(module, Layer):
        inside = f"; it holds {len(layers(module))}: copy_all takes models"
        raise CkptSurgeonError(f"copy: the {role} is {type(module).__name__}, no BatchNorm{inside}")
    refuse_lazy({role: module})
    return module


def _check_alike(one: Layer, other: Layer) -> None:
    """Raises CkptSurgeonError for parts that only one of them has, and for another eps."""
    has, wants = (tensors_of(layer).keys() & set(BATCHNORM_VECTORS) for layer in (one, other))
    if has != wants:
        alone = ", ".join(sorted(has ^ wants))
        raise CkptSurgeonError(
            f"copy: only the {'source' if has - wants else 'destination'} has "
            f"{alone}; both must have the same of the four tensors"
        )
    if one.eps != other.eps:
        raise CkptSurgeonError(different_eps(one.eps, other.eps))


def _indices(channels: Channels | None, count: int) -> list[int] | None:
    """The channels that are taken, counted from 0; raises ShapeError for what is out of bounds."""
    if channels is None:
        return None
    if isinstance(channels, slice):
        (taken,) = resolve_index(((channels.start, channels.stop, channels.step),), (count,))
        return list(taken)
    if not isinstance(channels, Iterable):
        raise ShapeError(f"channels={channels!r}: wanted a slice or a list, such as slice(0, 32)")
    indices = channels.tolist() if isinstance(channels, Tensor) else list(channels)
    for index in indices:
        if isinstance(index, bool) or not isinstance(index, int) or not -count <= index < count:
            raise ShapeError(f"channels: {index!r} is no channel of the source's {count}")
    return [index % count for index in indices]


def _widths(one: Layer, other: Layer, width: int, whole: bool) -> str:
    found = f"{one.num_features} channels" if whole else f"{width} of {one.num_features} channels"
    more = " (one may be taken twice)" if one.num_features < other.num_features else ""
    advice = f"; say which: channels=slice(…) or a list of indices{more}" if whole else ""
    return f"copy: the source gives {found}, the destination has {other.num_features}{advice}"
