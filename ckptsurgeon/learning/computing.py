"""What is computed: ops of the language tried on the tensors whose values nothing else explains.

A hypothesis is a step; it holds where it makes the converted values but for rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from ckptsurgeon.drafting.steps import Call, Degree, Grid, Size, Step, Value, move
from ckptsurgeon.learning.example import Example
from ckptsurgeon.learning.likeness import Likeness

MOST_NEAREST = 4
"""Sources of the likest names that ops are tried on."""

Parameters = tuple[tuple[str, Value], ...]

CHANNELS: tuple[Parameters, ...] = tuple(
    (("how", how),) for how in ("sum", "tile", "mean", "zeros")
)

POSITIONS: tuple[Parameters, ...] = tuple(
    (
        *((("prefix_tokens", tokens),) if tokens != 1 else ()),
        *(() if antialias else (("antialias", False),)),
        *((("mode", mode),) if mode != "bicubic" else ()),
    )
    for tokens in (1, 0, 2, 5)
    for mode in ("bicubic", "bilinear")
    for antialias in (True, False)
)

PATCHES: tuple[Parameters, ...] = ((), (("antialias", False),), (("mode", "bilinear"),))

TABLES: tuple[Parameters, ...] = tuple(
    (("how", how),) if how != "geometric" else () for how in ("geometric", "bicubic", "bilinear")
)


def hypotheses(example: Example, target: str, likeness: Likeness) -> Iterator[Step]:
    """Steps that may compute a target, of the sources with the likest names.

    What is nearly a source's tensor as it is must be given exactly: else any small change would do.
    """
    if not example.wanted[target].count:
        return
    ranked = sorted(example.tensors, key=lambda key: -likeness.of(key, target))
    nearest = ranked[:MOST_NEAREST]
    is_copy = any(example.is_near(move(key, target)) for key in nearest)
    for calls, keys in itertools.chain(
        _of_all_sources(example, nearest),
        _weight_norm(example, target, nearest),
        _lora(example, target, nearest),
        _of_one(example, target, nearest),
    ):
        sizes = (len(keys),) if len(keys) > 1 else ()
        step = Step(Grid(tuple(keys), sizes), Grid((target,)), tuple(calls), degree=Degree.NEAR)
        if not is_copy or example.gives(step):
            yield step


Ways = Iterator[tuple[Sequence[Call], Sequence[str]]]


def _of_one(example: Example, target: str, nearest: Sequence[str]) -> Ways:
    """Ops that change sizes, and factors and sums that are one number throughout."""
    wanted = example.wanted[target].shape
    for key in nearest:
        shape = example.tensors[key].spec.shape
        if shape == wanted:
            for call in example.constants(key, target):
                yield [call], [key]
        for name, ways in _sized(shape, wanted):
            for given in ways:
                yield [Call(name, (("to", _size(name, wanted)), *given))], [key]


def _sized(
    shape: tuple[int, ...], wanted: tuple[int, ...]
) -> Iterator[tuple[str, tuple[Parameters, ...]]]:
    """The ops that may lead from a shape to another."""
    if len(shape) != len(wanted) or shape == wanted:
        return
    differ = [dim for dim, (a, b) in enumerate(zip(shape, wanted, strict=True)) if a != b]
    if len(shape) > 3 and differ == [1]:
        yield "adapt_input_channels", CHANNELS
    if len(shape) == 4 and set(differ) <= {2, 3}:
        yield "resample_patch_embed", PATCHES
    if differ == [len(shape) - 2] and len(shape) in (2, 3):
        yield "resize_pos_embed", POSITIONS
    if differ == [0] and len(shape) == 2:
        yield "resize_rel_pos_bias", TABLES


def _size(name: str, wanted: tuple[int, ...]) -> Value:
    """What an op that changes sizes is told of them."""
    if name == "adapt_input_channels":
        return wanted[1]
    if name == "resample_patch_embed":
        return wanted[2] if wanted[2] == wanted[3] else (wanted[2], wanted[3])
    return wanted[-2]


def _of_all_sources(example: Example, nearest: Sequence[str]) -> Ways:
    """The average of a tensor over all sources, as of a soup."""
    if len(example.ground.sources) < 2:
        return
    for key in nearest:
        own = example.tensors[key].key
        keys = [one for one, leaf in example.tensors.items() if leaf.key == own]
        if len(keys) == len(example.ground.sources):
            yield [Call("average", (), 0)], keys


def _weight_norm(example: Example, target: str, nearest: Sequence[str]) -> Ways:
    """Norms and directions beside each other: `weight_g` and `weight_v`, or `original0` and `1`."""
    wanted = example.wanted[target].shape
    for direction in nearest if len(wanted) > 1 else ():
        if example.tensors[direction].spec.shape != wanted:
            continue
        for norm in _beside(example, direction):
            shape = example.tensors[norm].spec.shape
            sized = [dim for dim, size in enumerate(shape) if size != 1]
            if len(shape) == len(wanted) and len(sized) < 2 and norm != direction:
                dim = (("dim", sized[0]),) if sized and sized[0] else ()
                yield [Call("fuse_weight_norm", dim, 0)], [norm, direction]


def _lora(example: Example, target: str, nearest: Sequence[str]) -> Ways:
    """A weight with its low-rank update: A [rank, in] and B [out, rank]."""
    wanted = example.wanted[target].shape
    if len(wanted) != 2:
        return
    for weight in nearest:
        if example.tensors[weight].spec.shape != wanted:
            continue
        pairs = itertools.permutations(_under(example, weight), 2)
        for a, b in pairs:
            down, up = example.tensors[a].spec.shape, example.tensors[b].spec.shape
            if len(down) == 2 == len(up) and (up[0], down[1], up[1]) == (*wanted, down[0]):
                alpha = example.lora_alpha(weight, a, b, target)
                if alpha is not None:
                    named = Size(alpha, "alpha") if isinstance(alpha, int) else alpha
                    yield [Call("merge_lora", (("alpha", named),), 0)], [weight, a, b]


def _beside(example: Example, key: str) -> list[str]:
    """The tensors of the same module."""
    prefix = key.rpartition(".")[0]
    return [other for other in example.tensors if other.rpartition(".")[0] == prefix]


def _under(example: Example, key: str) -> list[str]:
    """The tensors below the module of a weight, or below the one that this one wraps."""
    outer = outer_module(key)
    return [other for other in example.tensors if other.startswith(f"{outer}.") and other != key]


def outer_module(key: str) -> str:
    """The module of a weight, or the one that wraps it with updates."""
    return key.rpartition(".")[0].removesuffix(".base_layer")
