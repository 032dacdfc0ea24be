"""The input that two networks are given: seeded, shaped for their first layers, cut alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.specs import with_item
from ckptsurgeon.wording import choose

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

BATCH = 2
"""Rows of an input whose shape is guessed."""

SPATIAL = {1: (4096,), 2: (224, 224), 3: (16, 112, 112)}
"""Sizes of the other dims of a guessed input, by how many a convolution has."""

TOKENS = 16


@dataclass(frozen=True, slots=True)
class Layer:
    """A network's first layer: `dim` of its input, counted from the end, has `width` channels.

    For an embedding, `width` is the number of words and `dim` is 0: its input holds indices.
    """

    name: str
    kind: str
    width: int
    dim: int
    weight: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """Inputs for the reference and for the network that is checked, and what to tell of them."""

    reference: Tensor
    checked: Tensor
    notes: tuple[str, ...]


def first_layer(model: nn.Module) -> Layer | None:
    """The first convolution, linear, recurrent or embedding layer in the order of registration."""
    for name, module in model.named_modules():
        if (layer := _layer(name, module)) is not None:
            return layer
    return None


def _layer(name: str, module: nn.Module) -> Layer | None:
    from torch import nn

    kind = type(module).__name__
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        dims = len(module.kernel_size)
        weight = module.weight if module.groups == 1 else None
        return Layer(name, kind, module.in_channels, -1 - dims, weight)
    if isinstance(module, nn.Linear):
        return Layer(name, kind, module.in_features, -1, module.weight)
    if isinstance(module, nn.RNNBase):
        return Layer(name, kind, module.input_size, -1)
    if isinstance(module, nn.Embedding):
        return Layer(name, kind, module.num_embeddings, 0)
    return None


def make_feed(
    reference: nn.Module,
    checked: nn.Module,
    shape: tuple[int, ...] | None,
    seed: int,
    dtype: torch.dtype,
) -> Feed:
    """Inputs of one seed for both networks; `shape` is the checked one's, guessed unless given.

    Where one takes more channels, both get the same ones and the others are zeros. Which ones is
    looked up in the weights: where the narrower layer is a part of the wider, else the first.
    """
    import torch

    layers = first_layer(reference), first_layer(checked)
    notes, generator = [], torch.Generator().manual_seed(seed)
    if shape is None:
        shape, note = _guess(checked, layers[1])
        notes.append(note)
    if layers[1] is not None and not layers[1].dim:
        words = min(layer.width for layer in layers if layer is not None)
        indices = torch.randint(words, shape, generator=generator)
        return Feed(indices, indices, (*notes, f"indices below {words:,}"))
    wide, narrow = _widths(shape, *layers)
    start = _start(*layers) if wide != narrow else 0
    whole = torch.randn(wide, generator=generator, dtype=dtype)
    feeds = [_cut(whole, narrow, start, layer) for layer in layers]
    if wide != narrow:
        notes.append(_told_cut(*layers, start))
    return Feed(feeds[0], feeds[1], tuple(notes))


def _guess(model: nn.Module, layer: Layer | None) -> tuple[tuple[int, ...], str]:
    """The shape of an input for a network of that first layer, and a note of it."""
    if layer is None:
        raise CkptSurgeonError(
            "no convolution, linear, recurrent or embedding layer tells the shape of an input; "
            f"give it, such as {choose('--input 1,3,224,224', 'shape=(1, 3, 224, 224)')}"
        )
    another = choose("--input", "shape=")
    note = f"shape guessed from `{layer.name}` ({layer.kind}); {another} says another"
    if not layer.dim:
        return (BATCH, TOKENS), note
    if layer.dim == -1:
        tokens = (TOKENS,) if layer.kind in RECURRENT else ()
        return (BATCH, *tokens, layer.width), note
    return (BATCH, layer.width, *_image_size(model, -1 - layer.dim)), note


RECURRENT = ("RNN", "LSTM", "GRU")


def _image_size(model: nn.Module, dims: int) -> tuple[int, ...]:
    """The sizes that timm's and transformers' vision models say they want, else usual ones."""
    told: Any = getattr(model, "default_cfg", None)
    size: Any = told.get("input_size", ())[1:] if isinstance(told, dict) else ()
    size = size or getattr(getattr(model, "config", None), "image_size", None) or SPATIAL[dims]
    return tuple(size) if isinstance(size, list | tuple) else (size,) * dims


# --- channels -------------------------------------------------------------------------------------


def _widths(
    shape: tuple[int, ...], reference: Layer | None, checked: Layer | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The input's shape with the channels of the wider and of the narrower network."""
    if reference is None or checked is None or reference.dim != checked.dim:
        return shape, shape
    widths = reference.width, checked.width
    if len(shape) < -checked.dim or shape[checked.dim] not in widths:
        return shape, shape
    dim = len(shape) + checked.dim
    return with_item(shape, dim, max(widths)), with_item(shape, dim, min(widths))


def _start(reference: Layer | None, checked: Layer | None) -> int:
    """Where in the wider layer's channels the narrower one's lie, by the weights; else 0."""
    import torch

    weights = [layer.weight for layer in (reference, checked) if layer is not None]
    known = [weight.double() for weight in weights if weight is not None]
    if len(known) < 2:
        return 0
    narrow, wide = sorted(known, key=lambda weight: weight.shape[1])
    size = narrow.shape[1]
    starts = range(wide.shape[1] - size + 1)
    return next((at for at in starts if torch.equal(wide[:, at : at + size], narrow)), 0)


def _cut(whole: Tensor, narrow: tuple[int, ...], start: int, layer: Layer | None) -> Tensor:
    """The narrower network's part of an input, or the whole with zeros everywhere else."""
    import torch

    if layer is None or whole.shape == narrow:
        return whole
    part = whole.narrow(layer.dim, start, narrow[layer.dim])
    if layer.width == narrow[layer.dim]:
        return part.contiguous()
    padded = torch.zeros_like(whole)
    padded.narrow(layer.dim, start, narrow[layer.dim]).copy_(part)
    return padded


def _told_cut(reference: Layer | None, checked: Layer | None, start: int) -> str:
    layers = {"source's": reference, "checked": checked}
    known = {name: layer for name, layer in layers.items() if layer is not None}
    wide = max(known, key=lambda name: known[name].width)
    narrow = min(layer.width for layer in known.values())
    return (
        f"the {wide} network takes {known[wide].width} channels: "
        f"it is given the other's as {start}..{start + narrow - 1}, and zeros besides"
    )
