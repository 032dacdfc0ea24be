"""Ops of attention weights: the order of a head's rotary rows, the layouts of fused q, k and v."""

from __future__ import annotations

from typing import ClassVar, Literal

from ckptsurgeon.ops.base import Arity, Move, Op, alike, only
from ckptsurgeon.ops.movable import M, cut
from ckptsurgeon.specs import Specs, with_item


class PermuteRope(Move, frozen=True, kw_only=True):
    """weight[heads * head_dim, …] -> the same with the rows of each head in the other order.

    Rotary embeddings turn rows in pairs. `interleaved` (Meta, GPT-J) has the two of a pair side by
    side, `half` (transformers, GPT-NeoX) has them rotary_dim / 2 apart; `to` says which results.
    Rows of a head from rotary_dim on stay. It takes the head's size, not a number of heads, as
    with grouped queries k has fewer heads than q.
    """

    name: ClassVar[str] = "permute_rope"
    first: ClassVar[str | None] = "head_dim"
    sized: ClassVar[tuple[str, ...]] = ("rotary_dim",)

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

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        shape = only(self, specs).shape
        if len(shape) not in (1, 2):
            raise self.error("takes tensors of 1 or 2 dims", specs)
        if not shape[0] or shape[0] % self.head_dim:
            raise self.error(f"{shape[0]} rows don't divide into heads of {self.head_dim}", specs)
        rows = (shape[0] // self.head_dim, self.head_dim, *shape[1:])
        return (self._reordered(tensors[0].reshape(rows)).reshape(shape),)

    def _reordered(self, tensor: M) -> M:
        """[heads, head_dim, …] with the other order on the second dim."""
        heads, _, *rest = tensor.shape
        rotary, others = cut(tensor, 1, (self._rotary, self.head_dim - self._rotary))
        half = self._rotary // 2
        grid = (2, half) if self.to == "interleaved" else (half, 2)
        pairs = rotary.reshape((heads, *grid, *rest)).permute((0, 2, 1, *range(3, 3 + len(rest))))
        return pairs.reshape(rotary.shape).concat(1, [others])

    def inverse(self, specs: Specs) -> Op | None:
        other: Literal["half", "interleaved"] = "interleaved" if self.to == "half" else "half"
        return PermuteRope(head_dim=self.head_dim, to=other, rotary_dim=self.rotary_dim)


Layout = Literal["flat", "per_head", "per_group", "megatron_v1"]
Shape = tuple[int, ...]


class FusedLayout(Move, frozen=True, kw_only=True):
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

    def _grid(self, rows: tuple[int, int, int]) -> tuple[Shape, int, tuple[int, int, int]]:
        """The fused rows as a grid, the dim that q, k and v lie on, and the size of each there."""
        heads, kv_heads = self._counts
        queries, head_dim = heads // kv_heads, rows[1] // kv_heads
        if self.layout == "flat":
            return (sum(rows),), 0, rows
        if self.layout == "megatron_v1":
            return (heads, head_dim, 3), 2, (1, 1, 1)
        return (kv_heads, queries + 2, head_dim), 1, (queries, 1, 1)


class SplitQkv(FusedLayout, frozen=True, kw_only=True):
    """qkv[(heads + 2 * kv_heads) * d, …] -> q[heads * d, …], k and v[kv_heads * d, …]."""

    name: ClassVar[str] = "split_qkv"
    arity: ClassVar[Arity] = Arity.SPLIT
    first: ClassVar[str | None] = "layout"

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        shape = only(self, specs).shape
        if not shape:
            raise self.error("takes a tensor with rows", specs)
        rows = self._rows(shape[0], specs)
        grid, dim, sizes = self._grid(rows)
        parts = cut(tensors[0].reshape((*grid, *shape[1:])), dim, sizes)
        pairs = zip(parts, rows, strict=True)
        return tuple(part.reshape(with_item(shape, 0, count)) for part, count in pairs)

    def inverse(self, specs: Specs) -> Op | None:
        return FuseQkv(layout=self.layout, heads=self.heads, kv_heads=self.kv_heads)


class FuseQkv(FusedLayout, frozen=True, kw_only=True):
    """q[heads * d, …], k and v[kv_heads * d, …] -> qkv[(heads + 2 * kv_heads) * d, …]."""

    name: ClassVar[str] = "fuse_qkv"
    arity: ClassVar[Arity] = Arity.JOIN
    first: ClassVar[str | None] = "layout"

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        rows = self._fitting_rows(specs)
        grid, dim, sizes = self._grid(rows)
        rest = specs[0].shape[1:]
        q, k, v = (
            part.reshape((*with_item(grid, dim, size), *rest))
            for part, size in zip(tensors, sizes, strict=True)
        )
        return (q.concat(dim, [k, v]).reshape((sum(rows), *rest)),)

    def _fitting_rows(self, specs: Specs) -> tuple[int, int, int]:
        """The rows of q, k and v, which must fit together."""
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
        return wanted

    def inverse(self, specs: Specs) -> Op | None:
        return SplitQkv(layout=self.layout, heads=self.heads, kv_heads=self.kv_heads)


def _three(rows: tuple[int, ...]) -> str:
    return f"{rows[0]}, {rows[1]} and {rows[2]}"
