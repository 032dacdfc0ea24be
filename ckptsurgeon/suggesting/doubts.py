"""What speaks against steps that shapes allow: each is changed for it, or made less certain."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ckptsurgeon.drafting.steps import Degree, Step
from ckptsurgeon.plans.scales import INTEGERS
from ckptsurgeon.specs import FLOATING
from ckptsurgeon.suggesting.blocks import block_of
from ckptsurgeon.suggesting.known import NOTHING, Known
from ckptsurgeon.suggesting.layers import Layers
from ckptsurgeon.suggesting.names import cut_leaf, words_of
from ckptsurgeon.suggesting.norms import Norms
from ckptsurgeon.suggesting.numbers import Numbers
from ckptsurgeon.suggesting.roles import NETWORKS, roles_of_tensor, value_of
from ckptsurgeon.suggesting.rows import Rows, doubt_fused
from ckptsurgeon.suggesting.squares import TURNED, Squares, holder_of, holders_of_turned
from ckptsurgeon.suggesting.units import Specs

COMPUTED = frozenset({"log", "inv", "inverse", "exp", "sqrt"})
"""Words of what is computed of a tensor, where only one of two names has them."""

FLIPPED = frozenset({"transpose", "transposed", "deconv", "upscaling"})
"""Words of transposed convolutions, whose kernels Flax has as torch has them turned around."""


def doubt_steps(
    steps: Sequence[Step],
    source: Specs,
    target: Specs,
    guessed: Collection[str] = (),
    known: Known = NOTHING,
) -> list[Step]:
    """The steps, those that something speaks against changed, or made less certain.

    Of `guessed` source keys the shape tells nothing.
    """
    known = known.beside(source, target)
    source, target = known.source, known.target
    rows = Rows(source, target)
    every = [*steps, *known.steps]
    turned = Squares(every, source, target, guessed)
    steps = [turned.judge(step) for step in steps]
    if not any(step.degree < Degree.LIKELY for step in steps):
        return [rows.judge(step) for step in steps]
    beside = holders_of_turned(every, source, target)
    layers = Layers(every, source, target)
    is_reordered = _has_reordered(source, target)
    norms, numbers = Norms(source, target), Numbers(source, target)
    found = []
    for step in steps:
        step = numbers.judge(norms.judge(step))
        if step.degree < Degree.LIKELY:
            told = (
                _doubt_place(step, source, target, beside)
                or (_doubt_dims(step, source) if is_reordered else "")
                or layers.doubt(step)
                or _doubt_networks(step)
                or _doubt_attention(step)
                or _doubt_values(step)
                or _doubt_dtypes(step, source, target)
                or doubt_fused(step)
            )
            step = step.doubted(told)
        found.append(rows.judge(step))
    return found


def _doubt_place(step: Step, source: Specs, target: Specs, turned: Collection[str]) -> str:
    """Why a step is less than sure: a square beside turned ones, a kernel, a name that stays."""
    if TURNED in step.calls or step.unit is not None or len(step.gives) != 1 or not step.takes:
        return ""
    own, key = step.takes[0], step.gives[0]
    shape = target[key].shape if key in target else ()
    square = len(shape) > 1 and shape[-1] == shape[-2]
    if square and len(shape) > 2 and holder_of(key) in turned:
        return "a square: others beside it are transposed"
    kernels = [one.rpartition(".")[2] == "kernel" for one in (own, key)]
    if kernels[0] != kernels[1] and len(shape) > 1 and shape == shape[::-1]:
        return "a kernel of equal sides: no shape tells whether it is transposed"
    if step.is_move and own != key and own in target and source[own].shape != target[own].shape:
        return f"{own} is here, too, in another size"
    return ""


def _doubt_attention(step: Step) -> str:
    """Why attention may be another: one name says that it looks at the encoder."""
    keys = [keys[0] for keys in (step.takes, step.gives) if keys]
    crosses = {value_of(roles_of_tensor(key), "attention") == "cross" for key in keys}
    return "cross-attention by one name alone" if len(crosses) > 1 else ""


def _has_reordered(source: Specs, target: Specs) -> bool:
    """Whether a kernel stands under its own name with its dims in another order: channels last."""
    return any(
        len(spec.shape) > 2
        and key in source
        and source[key].shape != spec.shape
        and sorted(source[key].shape) == sorted(spec.shape)
        for key, spec in target.items()
    )


def _doubt_dims(step: Step, source: Specs) -> str:
    """Why the dims of a kernel may be in another order, where others' are: two are equal."""
    shape = source[step.takes[0]].shape if step.is_move and step.takes[0] in source else ()
    is_kernel = len(shape) > 2 and len(set(shape)) < len(shape)
    return "dims of other kernels are in another order, and its shape doesn't tell" * is_kernel


def _doubt_networks(step: Step) -> str:
    """Why a tensor may be another network's: a word of its containers that is on one side alone."""
    if not step.is_move or step.takes == step.gives:
        return ""
    one, other = (_containers(key) for key in (step.takes[0], step.gives[0]))
    if NETWORKS.intersection(words_of(one)) == NETWORKS.intersection(words_of(other)):
        return ""
    return f"{one}** and {other}** may be two networks"


def _containers(key: str) -> str:
    """What stands before the first number, or else the module, of a key, as a prefix."""
    block = block_of(key)
    name = block.rstrip("0123456789.") if block else cut_leaf(key)[0].rpartition(".")[0]
    return f"{name}." if name else ""


def _doubt_dtypes(step: Step, source: Specs, target: Specs) -> str:
    """Why the values of a matrix may be quantized: integers for floating numbers."""
    if not step.is_move or step.takes[0] not in source or step.gives[0] not in target:
        return ""
    own, wanted = source[step.takes[0]], target[step.gives[0]]
    is_packed = own.dtype in INTEGERS and len(own.shape) > 1 and wanted.dtype in FLOATING
    return f"{own.dtype} there, {wanted.dtype} here: are they quantized?" if is_packed else ""


def _doubt_values(step: Step) -> str:
    """Why the values of a tensor may be others, where its names say so."""
    if not (step.takes and step.gives):
        return ""
    own, to = step.takes[0], step.gives[0]
    words = [set(words_of(key.rpartition(".")[2])) for key in (own, to)]
    if words[0] & COMPUTED != words[1] & COMPUTED:
        return (
            f"one is called {own.rpartition('.')[2]}, the other {to.rpartition('.')[2]}: computed?"
        )
    is_kernel = own.endswith(".kernel") != to.endswith(".kernel")
    if is_kernel and not FLIPPED.isdisjoint(words_of(to.rpartition(".")[0])):
        return "a transposed convolution: its kernel may be turned around"
    return ""
