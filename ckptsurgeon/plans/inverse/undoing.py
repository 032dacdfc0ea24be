"""What undoes an op, and what of its input an op that takes parts leaves to be seen."""

from __future__ import annotations

from itertools import accumulate, pairwise

from ckptsurgeon.ops.base import Op, position
from ckptsurgeon.ops.indexing import WHOLE, Index, Slice, Take
from ckptsurgeon.ops.joining import Concat, Split, Unstack
from ckptsurgeon.ops.layout import Repeat
from ckptsurgeon.specs import Specs


def undoing(op: Op, specs: Specs) -> Op | None:
    """The op that gives inputs of these specs back from all results of `op`; None where none can.

    An op that repeats items is undone by taking each of them once.
    """
    if isinstance(op, Take):
        return op.inverse(specs) or _each_once(op, specs)
    if isinstance(op, Repeat):
        return _one_of_each(op, specs)
    return op.inverse(specs)


def _each_once(op: Take, specs: Specs) -> Op | None:
    """The first place of every item, where all of them are taken."""
    dim = position(op, op.dim, specs[0])
    places: dict[int, int] = {}
    for place, index in enumerate(op.indices or ()):
        places.setdefault(index, place)
    if len(places) != specs[0].shape[dim]:
        return None
    return Take(indices=tuple(places[index] for index in sorted(places)), dim=dim)


def completing(op: Take, specs: Specs) -> tuple[Concat, Take]:
    """The ops that give a taken tensor back: joined to one like it was, then the best of both.

    Items that were taken come from the result, the others from the tensor that it is joined to.
    """
    dim = position(op, op.dim, specs[0])
    indices = op.indices or ()
    places = {index: place for place, index in reversed(list(enumerate(indices)))}
    best = (places.get(item, len(indices) + item) for item in range(specs[0].shape[dim]))
    return Concat(dim=dim), Take(indices=tuple(best), dim=dim)


def _one_of_each(op: Repeat, specs: Specs) -> Op:
    dim = position(op, op.dim, specs[0])
    items = (0, None, op.times) if op.each else (0, specs[0].shape[dim], None)
    return Slice(index=(*(WHOLE,) * dim, items))


def regions(op: Op, specs: Specs) -> tuple[Index, ...]:
    """For each result of an op that takes parts, which part of its input it is; else nothing."""
    if isinstance(op, Slice):
        return (op.index,)
    if isinstance(op, Unstack):
        dim = position(op, op.dim, specs[0])
        return tuple((*(WHOLE,) * dim, at) for at in range(specs[0].shape[dim]))
    if isinstance(op, Split):
        dim = position(op, op.dim, specs[0])
        ends = accumulate((part.shape[dim] for part in op.infer(specs)), initial=0)
        return tuple((*(WHOLE,) * dim, (*pair, None)) for pair in pairwise(ends))
    return ()
