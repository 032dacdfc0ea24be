"""Ops of attention weights: the order of a head's rotary rows, the layouts of fused q, k and v."""

from __future__ import annotations

from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from ckptsurgeon.ops.base import Arity, Op, alike, made, only, replaced
from ckptsurgeon.ops.mosaic import Mosaic, concatenated
from ckptsurgeon.specs import Specs, TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays, Mosaics


class PermuteRope(Op, frozen=True, kw_only=True):
    """weight[heads * head_dim, …] -> the same with the rows of each head in the other order.

    Rotary embeddings turn rows in pairs. `interleaved` (Meta, GPT-J) has the two of a pair side by
    side, `half` (transformers, GPT-NeoX) has them rotary_dim / 2 apart; `to` says which results.
    Rows of a head from rotary_dim on stay. It takes the head's size, not a number of heads, as
    with grouped queries k has fewer heads than q.
    """

    name: ClassVar[str] = "permute_rope"
    first: ClassVar[str | None] = "head_dim"

    head_dim: int
    to: Literal["half", "interleaved"]
    rotary_dim: int | None = None

    def __post_init__(self) -> None:
        if self.head_dim < 2:
            raise self.error(f"`head_dim` must be 2 or more, found {self.head_dim}")
        if self._rotary % 2 or not 2 <= self._rotary <= self.head_dim:
            raise self.error(
                f"`rotary_dim` must be even and from 2 to `head_dim` ({self.head_dim}),"
                f" found {self._rotary}"
            )

    @property
    def _rotary(self) -> int:
        return self.head_dim if self.rotary_dim is None else self.rotary_dim

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        if len(spec.shape) not in (1, 2):
            raise self.error("takes tensors of 1 or 2 dims", specs)
        if not spec.shape[0] or spec.shape[0] % self.head_dim:
            raise self.error(
                f"{spec.shape[0]} rows don't divide into heads of {self.head_dim}", specs
            )
        return (spec,)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        shape = self.infer(specs)[0].shape
        heads = arrays[0].reshape(shape[0] // self.head_dim, self.head_dim, *shape[1:])
        return (np.take(heads, self._order(), axis=1).reshape(shape),)

    def _order(self) -> list[int]:
        """For each row of the resulting head the row that it was."""
        half, rest = self._rotary // 2, range(self._rotary, self.head_dim)
        if self.to == "half":
            return [*range(0, self._rotary, 2), *range(1, self._rotary, 2), *rest]
        pairs = zip(range(half), range(half, 2 * half), strict=True)
        return [*chain.from_iterable(pairs), *rest]

    def trace(self, mosaics: Mosaics, specs: Specs) -> Mosaics:
        shape = self.infer(specs)[0].shape
        heads = mosaics[0].reshaped((shape[0] // self.head_dim, self.head_dim, *shape[1:]))
        half, rotary = self._rotary // 2, heads.part(1, range(self._rotary))
        grid = (2, half) if self.to == "interleaved" else (half, 2)
        pairs = rotary.reshaped((rotary.shape[0], *grid, *shape[1:]))
        turned = pairs.permuted((0, 2, 1, *range(3, 2 + len(shape))))
        parts = [turned.reshaped(rotary.shape)]
        if self._rotary < self.head_dim:
            parts.append(heads.part(1, range(self._rotary, self.head_dim)))
        return (concatenated(parts, 1).reshaped(shape),)

    def inverse(self, specs: Specs) -> Op | None:
        other: Literal["half", "interleaved"] = "interleaved" if self.to == "half" else "half"
        return PermuteRope(head_dim=self.head_dim, to=other, rotary_dim=self.rotary_dim)


Layout = Literal["flat", "per_head", "per_group", "megatron_v1"]


class FusedLayout(Op, frozen=True, kw_only=True):
    """How rows of q, k and v lie in one tensor; what `split_qkv` and `fuse_qkv` share.

    flat         all of q, all of k, all of v (torch's in_proj, ViT, GPT-2, Phi-3)
    per_head     [heads, 3, head_dim] (GPT-NeoX, BLOOM, Megatron 2 and later)
    per_group    [kv_heads, heads / kv_heads + 2, head_dim]: the group's q heads, its k, its v
                 (Megatron and Falcon with grouped queries)
    megatron_v1  [heads, head_dim, 3] (Megatron's checkpoint version 1.0)
    """

    layout: Layout
    heads: int | None = None
    kv_heads: int | None = None

    def __post_init__(self) -> None:
        for field in ("heads", "kv_heads"):
            count = getattr(self, field)
            if count is not None and count < 1:
                raise self.error(f"`{field}` must be 1 or more, found {count}")
        if self.heads is None and (self.layout != "flat" or self.kv_heads is not None):
            raise self.error(f"layout {self.layout} needs `heads`")
        heads, kv_heads = self._counts
        if heads % kv_heads:
            raise self.error(f"{heads} heads don't divide into {kv_heads} groups (`kv_heads`)")
        if heads != kv_heads and self.layout in ("per_head", "megatron_v1"):
            raise self.error(
                f"layout {self.layout} has as many k as q heads, not {kv_heads} and {heads};"
                " per_group is the one with fewer"
            )

    @property
    def _counts(self) -> tuple[int, int]:
        """How many heads q has, and k and v have; one where only a flat third is known."""
        heads = self.heads or 1
        return heads, self.kv_heads or heads

    def _rows(self, total: int, specs: Specs) -> tuple[int, int, int]:
        """The rows of q, k and v in a fused tensor of that many."""
        heads, kv_heads = self._counts
        head_dim, rest = divmod(total, heads + 2 * kv_heads)
        if rest or not total:
            raise self.error(
                f"{total} rows don't divide into {heads} + 2 * {kv_heads} heads of q, k and v"
                if self.heads
                else f"{total} rows don't divide into q, k and v",
                specs,
            )
        return heads * head_dim, kv_heads * head_dim, kv_heads * head_dim

    def _grid(self, rows: tuple[int, int, int]) -> tuple[int, int, int]:
        """Groups, q heads in a group, and the size of a head."""
        heads, kv_heads = self._counts
        return kv_heads, heads // kv_heads, rows[1] // kv_heads


class SplitQkv(FusedLayout, frozen=True, kw_only=True):
    """qkv[(heads + 2 * kv_heads) * d, …] -> q[heads * d, …], k and v[kv_heads * d, …]."""

    name: ClassVar[str] = "split_qkv"
    arity: ClassVar[Arity] = Arity.SPLIT
    first: ClassVar[str | None] = "layout"

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        if not spec.shape:
            raise self.error("takes a tensor with rows", specs)
        rows = self._rows(spec.shape[0], specs)
        return tuple(TensorSpec(spec.dtype, replaced(spec.shape, 0, count)) for count in rows)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        fused, results = arrays[0], self.infer(specs)
        rows = (results[0].shape[0], results[1].shape[0], results[2].shape[0])
        parts = self._parts(fused, rows)
        return tuple(
            part.reshape(result.shape) for part, result in zip(parts, results, strict=True)
        )

    def _parts(self, fused: Array, rows: tuple[int, int, int]) -> tuple[Array, ...]:
        if self.layout == "flat":
            ends = accumulate(rows, initial=0)
            return tuple(fused[start:stop] for start, stop in pairwise(ends))
        groups, queries, head_dim = self._grid(rows)
        if self.layout == "megatron_v1":
            grid = fused.reshape(groups, head_dim, 3, *fused.shape[1:])
            return grid[:, :, 0], grid[:, :, 1], grid[:, :, 2]
        grid = fused.reshape(groups, queries + 2, head_dim, *fused.shape[1:])
        return grid[:, :queries], grid[:, queries], grid[:, queries + 1]

    def trace(self, mosaics: Mosaics, specs: Specs) -> Mosaics:
        fused, results = mosaics[0], self.infer(specs)
        rows = (results[0].shape[0], results[1].shape[0], results[2].shape[0])
        parts = self._traced_parts(fused, rows)
        return tuple(part.reshaped(one.shape) for part, one in zip(parts, results, strict=True))

    def _traced_parts(self, fused: Mosaic, rows: tuple[int, int, int]) -> Mosaics:
        if self.layout == "flat":
            ends = accumulate(rows, initial=0)
            return tuple(fused.part(0, range(*pair)) for pair in pairwise(ends))
        groups, queries, head_dim = self._grid(rows)
        if self.layout == "megatron_v1":
            grid = fused.reshaped((groups, head_dim, 3, *fused.shape[1:]))
            return tuple(grid.part(2, range(at, at + 1)) for at in range(3))
        grid = fused.reshaped((groups, queries + 2, head_dim, *fused.shape[1:]))
        taken = (range(queries), range(queries, queries + 1), range(queries + 1, queries + 2))
        return tuple(grid.part(1, part) for part in taken)

    def inverse(self, specs: Specs) -> Op | None:
        return FuseQkv(layout=self.layout, heads=self.heads, kv_heads=self.kv_heads)


class FuseQkv(FusedLayout, frozen=True, kw_only=True):
    """q[heads * d, …], k and v[kv_heads * d, …] -> qkv[(heads + 2 * kv_heads) * d, …]."""

    name: ClassVar[str] = "fuse_qkv"
    arity: ClassVar[Arity] = Arity.JOIN
    first: ClassVar[str | None] = "layout"

    def infer(self, specs: Specs) -> Specs:
        if len(specs) != 3:
            raise self.error(f"takes q, k and v, was given {len(specs)}", specs)
        first = alike(self, specs)
        if not first.shape or len({spec.shape[1:] for spec in specs}) > 1:
            raise self.error("q, k and v must have equal shapes beside their rows", specs)
        found = tuple(spec.shape[0] for spec in specs)
        wanted = self._rows(sum(found), specs)
        if found != wanted:
            raise self.error(
                f"q, k and v have {_three(found)} rows; {_three(wanted)} would fit"
                f"{'' if self.heads else ' unless `heads` and `kv_heads` say otherwise'}",
                specs,
            )
        return (made(self, first.dtype, replaced(first.shape, 0, sum(found)), specs),)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        shape = self.infer(specs)[0].shape
        if self.layout == "flat":
            return (np.concatenate(arrays),)
        rows = (specs[0].shape[0], specs[1].shape[0], specs[2].shape[0])
        groups, queries, head_dim = self._grid(rows)
        if self.layout == "megatron_v1":
            heads = [part.reshape(groups, head_dim, 1, *shape[1:]) for part in arrays]
            return (np.concatenate(heads, axis=2).reshape(shape),)
        heads = [
            part.reshape(groups, count, head_dim, *shape[1:])
            for part, count in zip(arrays, (queries, 1, 1), strict=True)
        ]
        return (np.concatenate(heads, axis=1).reshape(shape),)

    def trace(self, mosaics: Mosaics, specs: Specs) -> Mosaics:
        shape = self.infer(specs)[0].shape
        if self.layout == "flat":
            return (concatenated(mosaics, 0),)
        rows = (specs[0].shape[0], specs[1].shape[0], specs[2].shape[0])
        groups, queries, head_dim = self._grid(rows)
        dim = 2 if self.layout == "megatron_v1" else 1
        counts = (1, 1, 1) if dim == 2 else (queries, 1, 1)
        heads = [
            part.reshaped(
                (groups, head_dim, 1, *shape[1:])
                if dim == 2
                else (groups, count, head_dim, *shape[1:])
            )
            for part, count in zip(mosaics, counts, strict=True)
        ]
        return (concatenated(heads, dim).reshaped(shape),)

    def inverse(self, specs: Specs) -> Op | None:
        return SplitQkv(layout=self.layout, heads=self.heads, kv_heads=self.kv_heads)


def _three(rows: tuple[int, ...]) -> str:
    return f"{rows[0]}, {rows[1]} and {rows[2]}"
