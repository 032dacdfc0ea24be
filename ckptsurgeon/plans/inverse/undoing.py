"""What ops that take parts of their input leave of it to be seen."""

from __future__ import annotations

from itertools import accumulate, pairwise

from ckptsurgeon.ops.base import Op, position
from ckptsurgeon.ops.indexing import Index, Slice, Take, along
from ckptsurgeon.ops.joining import Concat, Split, Unstack
from ckptsurgeon.specs import Specs


def completing(op: Take, specs: Specs) -> tuple[Concat, Take]:
    """The ops that give a taken tensor back: joined to one like it was, then the best of both.

    Items that were taken come from the result, the others from the tensor that it is joined to.
    """
    dim = position(op, op.dim, specs[0])
    places, taken = op.places(specs), op.infer(specs)[0].shape[dim]
    best = (places.get(item, taken + item) for item in range(specs[0].shape[dim]))
    return Concat(dim=dim), Take(indices=tuple(best), dim=dim)


def regions(op: Op, specs: Specs) -> tuple[Index, ...]:
    """For each result of an op that takes parts, which part of its input it is; else nothing."""
    if isinstance(op, Slice):
        return (op.index,)
    if not isinstance(op, Unstack | Split):
        return ()
    dim = position(op, op.dim, specs[0])
    if isinstance(op, Unstack):
        return tuple(along(dim, at) for at in range(specs[0].shape[dim]))
    ends = accumulate((part.shape[dim] for part in op.infer(specs)), initial=0)
    return tuple(along(dim, (*pair, None)) for pair in pairwise(ends))
