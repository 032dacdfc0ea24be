"""NumPy's basic indexing, checked: what an index takes of a shape, and the ops slice and take."""

from __future__ import annotations

import functools
from typing import ClassVar, Literal

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops.base import MAX_DIMS, Move, Op, only, position
from ckptsurgeon.ops.layout import Reshape
from ckptsurgeon.ops.movable import M
from ckptsurgeon.specs import Specs

IndexRange = tuple[int | None, int | None, int | None]
"""Start, stop and step, as in NumPy."""

IndexItem = int | IndexRange | Literal["..."]
Index = tuple[IndexItem, ...]
Region = tuple[range, ...]
"""What an index takes: the positions on each dim, one where an integer stands."""

WHOLE: IndexRange = (None, None, None)


def along(dim: int, item: IndexItem) -> Index:
    """The index that takes an item of one dim, and all of the others."""
    return (*(WHOLE,) * dim, item)


@functools.lru_cache
def index_text(index: Index) -> str:
    """The index as it would be written, `[:, :3]`."""
    return f"[{', '.join(map(_item_text, index))}]"


def _item_text(item: IndexItem) -> str:
    if isinstance(item, tuple):
        parts = ["" if part is None else str(part) for part in item]
        return ":".join(parts[:2] if item[2] is None else parts)
    return str(item)


def resolve_index(index: Index, shape: tuple[int, ...]) -> Region:
    """The positions that the index takes on every dim; raises ShapeError where it does not fit.

    Nothing is clipped: integers are in [-n, n - 1], start and stop in [-n, n], the step above 0,
    and of a dim that has items at least one is taken.
    """
    if len(shape) > MAX_DIMS:
        raise ShapeError(f"of {len(shape)} dims no parts are taken; {MAX_DIMS} is the most")
    items = items_by_dim(index, len(shape))
    return tuple(
        _take_range(item, size, dim, index)
        if isinstance(item, tuple)
        else _take_position(item, size, dim, index)
        for dim, (item, size) in enumerate(zip(items, shape, strict=True))
    )


def taken_shape(index: Index, region: Region) -> tuple[int, ...]:
    """The shape of the region that an index takes: a dim with an integer goes."""
    items = items_by_dim(index, len(region))
    pairs = zip(items, region, strict=True)
    return tuple(len(part) for item, part in pairs if isinstance(item, tuple))


def as_slices(region: Region) -> tuple[slice, ...]:
    """The region as arrays and tensors are indexed with it; every dim stays."""
    return tuple(slice(part.start, part.stop, part.step) for part in region)


def items_by_dim(index: Index, dims: int) -> tuple[int | IndexRange, ...]:
    """One item per dim: `...`, or the end, stands for whole dims."""
    given = sum(item != "..." for item in index)
    if given > dims:
        raise ShapeError(f"{index_text(index)} has {given} items for the {dims} dims it meets")
    if len(index) - given > 1:
        raise ShapeError(f"{index_text(index)} has more than one `...`")
    whole = (WHOLE,) * (dims - given)
    at = index.index("...") if "..." in index else len(index)
    items = (*index[:at], *whole, *index[at + 1 :])
    return tuple(item for item in items if not isinstance(item, str))


def _take_position(item: int, size: int, dim: int, index: Index) -> range:
    if -size <= item < size:
        return range(item % size, item % size + 1)
    raise ShapeError(f"{index_text(index)} takes item {item} of dim {dim}, which has {size}")


def _take_range(item: IndexRange, size: int, dim: int, index: Index) -> range:
    start, stop, step = item
    for bound in (start, stop):
        if bound is not None and not -size <= bound <= size:
            raise ShapeError(f"{index_text(index)} reaches {bound} on dim {dim}, which has {size}")
    if step is not None and step < 1:
        raise ShapeError(f"{index_text(index)} has the step {step}; it must be 1 or more")
    taken = range(*slice(start, stop, step).indices(size))
    if size and not taken:
        raise ShapeError(f"{index_text(index)} takes nothing of dim {dim}, which has {size}")
    return taken


class Slice(Move, frozen=True, kw_only=True):
    """[a, b, …] -> the part that an index takes; a dim with an integer goes."""

    name: ClassVar[str] = "slice"
    first: ClassVar[str | None] = "index"

    index: Index

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        spec = only(self, specs)
        try:
            region = resolve_index(self.index, spec.shape)
        except ShapeError as error:
            raise self.error(str(error), specs) from None
        (tensor,) = tensors
        for dim, part in enumerate(region):
            tensor = tensor.part(dim, part)
        return (tensor.reshape(taken_shape(self.index, region)),)

    def inverse(self, specs: Specs) -> Op | None:
        everything = self.infer(specs)[0].count == specs[0].count
        return Reshape(shape=specs[0].shape) if everything else None


class Take(Move, frozen=True, kw_only=True):
    """[n, …] -> [indices, …] on any one dim: the items of that dim, in the order of the indices.

    `file` names a `.npy` to read the indices from; whoever plans does so (`load_indices`).
    """

    name: ClassVar[str] = "take"
    first: ClassVar[str | None] = "indices"
    sized: ClassVar[tuple[str, ...]] = ("indices",)

    indices: tuple[int, ...] | None = None
    file: str | None = None
    dim: int = 0

    def __post_init__(self) -> None:
        if (self.indices is None) == (self.file is None):
            raise self.error("takes `indices` or `file`, one of the two")
        if self.indices is None:
            return
        if not self.indices:
            raise self.error("`indices` must name at least one item")
        if min(self.indices) < 0:
            raise self.error(f"each index counts from 0, found {min(self.indices)}")

    def _known(self, specs: Specs) -> tuple[int, ...]:
        if self.indices is None:
            raise self.error(f"the indices of {self.file} were not read yet", specs)
        return self.indices

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        spec = only(self, specs)
        dim = position(self, self.dim, spec)
        indices, size = self._known(specs), spec.shape[dim]
        if max(indices) >= size:
            raise self.error(f"index {max(indices)} is past the {size} items of dim {dim}", specs)
        return (tensors[0].take(dim, indices),)

    def places(self, specs: Specs) -> dict[int, int]:
        """Where each item that is taken stands in the result, for the first time."""
        return {index: place for place, index in reversed([*enumerate(self._known(specs))])}

    def inverse(self, specs: Specs) -> Op | None:
        dim = position(self, self.dim, only(self, specs))
        places = self.places(specs)
        if len(places) != specs[0].shape[dim]:
            return None
        return Take(indices=tuple(places[index] for index in sorted(places)), dim=dim)
