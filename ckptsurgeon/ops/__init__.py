"""The ops of the rule language, by name. Nothing here imports NumPy before an op is applied."""

from __future__ import annotations

from collections.abc import Mapping

from ckptsurgeon.errors import ShapeError, nearest
from ckptsurgeon.ops.attention import FuseQkv, PermuteRope, SplitQkv
from ckptsurgeon.ops.base import Arity, Op
from ckptsurgeon.ops.batchnorms import BatchNormScale, BatchNormShift, FoldIdentity, FoldKernel
from ckptsurgeon.ops.blockwise import DequantizeBlocks, QuantizeBlocks
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.ops.channels import AdaptInputChannels
from ckptsurgeon.ops.elementwise import Add, Average, Divide, Multiply, Scale, Shift
from ckptsurgeon.ops.indexing import Slice, Take
from ckptsurgeon.ops.joining import Concat, Copies, Same, Split, Stack, Unstack
from ckptsurgeon.ops.layout import Flip, Permute, Reshape, Roll, Transpose
from ckptsurgeon.ops.merging import FuseSpectralNorm, FuseWeightNorm, MergeLora
from ckptsurgeon.ops.noise import Noise, PlacedNoise
from ckptsurgeon.ops.padding import Pad, Repeat
from ckptsurgeon.ops.parameters import make
from ckptsurgeon.ops.positions import ResamplePatchEmbed, ResizePosEmbed
from ckptsurgeon.ops.rearrange import Rearrange
from ckptsurgeon.ops.reductions import Mean, Sum
from ckptsurgeon.ops.relative_positions import ResizeRelPosBias

__all__ = ["INTERNAL", "OPS", "Arity", "Op", "build"]

_CLASSES: tuple[type[Op], ...] = (
    Slice,
    Take,
    Pad,
    Split,
    Concat,
    Stack,
    Unstack,
    Copies,
    Same,
    Transpose,
    Permute,
    Reshape,
    Flip,
    Roll,
    Rearrange,
    Repeat,
    PermuteRope,
    SplitQkv,
    FuseQkv,
    Cast,
    Scale,
    Shift,
    Sum,
    Mean,
    Add,
    Multiply,
    Divide,
    Average,
    Noise,
    AdaptInputChannels,
    ResizePosEmbed,
    ResamplePatchEmbed,
    ResizeRelPosBias,
    FuseWeightNorm,
    FuseSpectralNorm,
    MergeLora,
    DequantizeBlocks,
    QuantizeBlocks,
)

OPS: Mapping[str, type[Op]] = {cls.name: cls for cls in _CLASSES}
"""Every op by its word in a rule file, in the order of the reference."""

INTERNAL: Mapping[str, type[Op]] = {
    cls.name: cls for cls in (BatchNormScale, BatchNormShift, FoldKernel, FoldIdentity, PlacedNoise)
}
"""Ops that the planner makes, and that stand in saved plans; no rule file names them."""


def build(name: str, parameters: Mapping[str, object]) -> Op:
    """The op of that name with concrete parameters, as a plan has them (no `over`, no expressions).

    Raises ShapeError: `split: `dim` must be an integer, found true`.
    """
    cls = OPS.get(name) or INTERNAL.get(name)
    if cls is None:
        hint = nearest(name, OPS) or f"known: {', '.join(OPS)}"
        raise ShapeError(f"unknown op {name!r}; {hint}")
    return make(cls, parameters)
