"""A tensor with zeros before or behind it in one dim."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ckptsurgeon.drafting.steps import Call
from ckptsurgeon.learning.shaping import Shape, actual_dim, of_dim, without_dim
from ckptsurgeon.learning.signatures import WORDS, Signature
from ckptsurgeon.learning.tables import MOST_ALIKE, WHOLE, Tables, salted
from ckptsurgeon.learning.ways import Way
from ckptsurgeon.ops.splitmix import scramble_number


def pads_of(tables: Tables, signature: Signature, shape: Shape) -> Iterator[Way]:
    """The pads that may make a tensor, told by its first plane that is not zero."""
    for dim, hashes in enumerate(signature.planes):
        size = signature.count // len(hashes)
        filled = np.flatnonzero(hashes != np.uint64(size * scramble_number(0) % WORDS))
        if not len(filled) or len(filled) == len(hashes):
            continue
        first = int(filled[0])
        start, stop = tables.planes.find(salted(hashes[first : first + 1], size))
        for place in range(int(start[0]), int(stop[0]))[:MOST_ALIKE]:
            yield from _pads(tables, place, first, dim, signature, shape)


def _pads(
    tables: Tables, place: int, first: int, dim: int, signature: Signature, shape: Shape
) -> Iterator[Way]:
    """The pads of the tensor of a plane that lead to where the plane stands."""
    planes = tables.planes
    tensor = int(planes.tensors[place])
    if planes.items[place] != WHOLE or planes.dims[place] != dim or tensor >= tables.whole:
        return
    own, wanted = tables.signatures[tensor].shape, signature.shape
    if without_dim(own, dim) != without_dim(wanted, dim):
        return
    added, before = wanted[dim] - own[dim], first - int(planes.indices[place])
    where = {0: "end", added: "start", added / 2: "both"}.get(before)
    if where is not None and added > 0 and len(shape) == len(tables.shapes[tensor]):
        given: tuple[tuple[str, int | str], ...] = (("to", wanted[dim]),)
        given += of_dim(actual_dim(tables.shapes[tensor], dim))
        given += (("at", where),) if where != "end" else ()
        yield Way((tables.keys[tensor],), after=(Call("pad", given),))
