"""The input that two networks are given: seeded, shaped for their first layers, cut alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.proof.channels import Mix, Part, Relation, find_relation
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

    Where they take other numbers of channels, it is looked up in the weights how the one was made
    of the other, and the inputs are made so that both layers should give the same.
    """
    import torch

    layers = first_layer(reference), first_layer(checked)
    notes, generator = [], torch.Generator().manual_seed(seed)
    if shape is None:
        shape, note = _guess(checked, layers[1])
        notes.append(note)
    if layers[1] is not None and not layers[1].dim:
        words = min(layer.width for layer in layers if layer is not None and not layer.dim)
        indices = torch.randint(words, shape, generator=generator)
        return Feed(indices, indices, (*notes, f"indices below {words:,}"))
    sides = _different_widths(shape, *layers)
    if sides is None:
        whole = torch.randn(shape, generator=generator, dtype=dtype)
        return Feed(whole, whole, tuple(notes))
    made, origin, mix, told = _mixed(*sides)
    dim = len(shape) + made.dim
    given = torch.randn(with_item(shape, dim, made.width), generator=generator, dtype=dtype)
    mixed = mix.feed(given, dim, origin.width)
    first, second = (mixed, given) if origin is layers[0] else (given, mixed)
    return Feed(first, second, (*notes, *told))


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


def _different_widths(
    shape: tuple[int, ...], reference: Layer | None, checked: Layer | None
) -> tuple[Layer, Layer] | None:
    """The two layers, where they take other numbers of channels and the shape is one's."""
    if reference is None or checked is None or reference.dim != checked.dim:
        return None
    widths = {reference.width, checked.width}
    if len(widths) < 2 or len(shape) < -checked.dim or shape[checked.dim] not in widths:
        return None
    return reference, checked


def _mixed(reference: Layer, checked: Layer) -> tuple[Layer, Layer, Mix, list[str]]:
    """Which of two layers is made of which, how, and what is to be told of it.

    The wider one of the narrower, where that fits, for then all channels are compared; else what
    fits best, and the first channels where nothing does.
    """
    wide, narrow = sorted((reference, checked), key=lambda layer: -layer.width)
    found: list[tuple[float, Layer, Layer, Relation]] = []
    for origin, made in ((narrow, wide), (wide, narrow)):
        if origin.weight is not None and made.weight is not None:
            relation = find_relation(origin.weight, made.weight)
            if relation is not None:
                found.append((max(relation.error, EXACT), made, origin, relation))
    if found:
        error, made, origin, relation = min(found, key=lambda one: one[0])
        notes = [_told(origin, checked, relation.mix)]
        if error > EXACT:
            notes.append(f"these weights are so within {error:.1e}, as rounded ones are: {LOOSER}")
        if relation.partial and origin is checked:
            notes.append(PARTIAL)
        return made, origin, relation.mix, notes
    mix = Part(0, narrow.width)
    looked = wide.weight is not None and narrow.weight is not None
    return narrow, wide, mix, [_told(wide, checked, mix), UNKNOWN if looked else UNSEEN]


PARTIAL = "its channels have weights of their own besides, which are not compared"

EXACT = 1e-6
"""Relative error up to which weights in float32 are said to be made of each other."""

LOOSER = "outputs may want a larger tolerance"

UNKNOWN = "its weight is no part of the other's, nor made of it by `adapt_input_channels`"

UNSEEN = "how the two weights belong together is not looked up: one is grouped, or recurrent"


def _told(origin: Layer, checked: Layer, mix: Mix) -> str:
    name = "checked" if origin is checked else "source's"
    layer = f"`{origin.name}` of the {name} network" if origin.name else f"the {name} network"
    return f"{layer} takes {origin.width} channels: it is given {mix.told}"
