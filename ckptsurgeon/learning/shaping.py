"""Shapes, and the op that leads from one to another: dims in an order, joined or taken apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ckptsurgeon.drafting.steps import Call, Size
from ckptsurgeon.learning.signatures import Signature, squeeze
from ckptsurgeon.learning.ways import Part

NAMES = "abcdefghijklmnop"

MOST_PERMUTED = 5
"""Dims of which all orders are tried."""

Shape = tuple[int, ...]
Group = tuple[Shape, Shape]


def reorder(shape: Shape, dims: Sequence[int], wanted: Shape) -> tuple[Call, ...]:
    """The op that makes `wanted` of a shape: `dims` are its dims, of those not of size 1."""
    plain = 1 not in shape and 1 not in wanted
    if list(dims) == sorted(dims) and shape == wanted:
        return ()
    if plain:
        moved = [at for at, dim in enumerate(dims) if at != dim]
        if len(moved) == 2:
            named = () if len(dims) == 2 else (("dims", (moved[0], moved[1])),)
            return (Call("transpose", named),)
        return (Call("permute", (("dims", tuple(dims)),)),)
    names = list(NAMES[: len(dims)])
    before = _with_ones(shape, names)
    after = _with_ones(wanted, [names[dim] for dim in dims])
    return (Call("rearrange", (("pattern", f"{before} -> {after}"),)),)


def rearrangements(shape: Shape, wanted: Shape) -> Iterator[Call]:
    """The patterns that bring dims into another order and join them, or take them apart."""
    if 1 in (*shape, *wanted) or len(shape) == len(wanted):
        return
    many, few = (shape, wanted) if len(shape) > len(wanted) else (wanted, shape)
    for dims in itertools.permutations(range(len(many))) if len(many) <= MOST_PERMUTED else ():
        groups = _groups(tuple(many[dim] for dim in dims), few)
        if groups is None or any(len(right) > 1 for _, right in groups):
            continue
        apart = " ".join(NAMES[: len(many)])
        parts = list(_parts_of(groups, [NAMES[dim] for dim in dims]))
        joined = " ".join(
            names[0] if len(names) == 1 else f"({' '.join(names)})" for names in parts
        )
        if many is shape:
            yield Call("rearrange", (("pattern", f"{apart} -> {joined}"),))
        else:
            known = dict(zip(NAMES, many, strict=False))
            named = [name for names in parts for name in names[:-1]]
            sizes = tuple((name, Size(known[name], name)) for name in named)
            yield Call("rearrange", (("pattern", f"{joined} -> {apart}"), *sizes))


def _parts_of(groups: Sequence[Group], names: Sequence[str]) -> Iterator[Sequence[str]]:
    """The names of each group of dims."""
    at = 0
    for left, _ in groups:
        yield names[at : at + len(left)]
        at += len(left)


def _with_ones(shape: Shape, names: Sequence[str]) -> str:
    waiting = iter(names)
    return " ".join("1" if size == 1 else next(waiting) for size in shape)


def reshape(shape: Shape, wanted: Shape) -> tuple[Call, ...]:
    """The op that makes `wanted` of a shape, the elements keeping their order.

    Dims that are put together, or taken apart, stand in a pattern; else sizes do.
    """
    if shape == wanted:
        return ()
    if squeeze(shape) == squeeze(wanted) and shape:
        return reorder(shape, range(len(squeeze(shape))), wanted)
    groups = _groups(shape, wanted) if shape and wanted else None
    if groups is None or len(shape) + len(wanted) > len(NAMES):
        return (Call("reshape", (("shape", wanted),)),)
    return (_pattern(groups),)


def _groups(shape: Shape, wanted: Shape) -> list[Group] | None:
    """Dims of both shapes with one number of elements; None where one is no single dim."""
    groups: list[Group] = []
    at = to = 0
    while at < len(shape) or to < len(wanted):
        left, right = list(shape[at : at + 1]), list(wanted[to : to + 1])
        at, to = at + len(left), to + len(right)
        while _product(left) != _product(right):
            if _product(left) < _product(right) and at < len(shape):
                left.append(shape[at])
                at += 1
            elif _product(left) > _product(right) and to < len(wanted):
                right.append(wanted[to])
                to += 1
            else:
                return None
        if len(left) > 1 and len(right) > 1:
            return None
        groups.append((tuple(left), tuple(right)))
    return groups


def _product(sizes: Sequence[int]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result


def _pattern(groups: Sequence[Group]) -> Call:
    """The rearrange of groups, with the sizes of dims that are taken apart but for the last."""
    names = iter(NAMES)
    left: list[str] = []
    right: list[str] = []
    sizes: list[tuple[str, Size]] = []
    for before, after in groups:
        named = [next(names) if size != 1 else "1" for size in max(before, after, key=len)]
        whole = f"({' '.join(named)})" if len(named) > 1 else (named[0] if named else "")
        left += named if len(before) > 1 else [whole] if before else []
        right += named if len(after) > 1 else [whole] if after else []
        if len(after) > 1:
            pairs = zip(named, after, strict=True)
            sizes += [(name, Size(size, name)) for name, size in pairs if name != "1"][:-1]
    return Call("rearrange", (("pattern", f"{' '.join(left)} -> {' '.join(right)}"), *sizes))


# --- parts of shapes ------------------------------------------------------------------------------


def of_dim(dim: int) -> tuple[tuple[str, int], ...]:
    """The parameter `dim`, where it is not at its default of 0."""
    return (("dim", dim),) if dim else ()


def actual_dim(shape: Shape, dim: int) -> int:
    """A dim counted with those of size 1, that is counted without them."""
    places = [place for place, size in enumerate(shape) if size != 1]
    return places[dim] if places else 0


def orders_between(shape: Shape, wanted: Shape) -> Iterator[tuple[int, ...]]:
    """The orders of dims that lead from a shape to another, the unchanged one first."""
    if len(shape) == len(wanted) <= MOST_PERMUTED:
        for dims in itertools.permutations(range(len(shape))):
            if tuple(shape[dim] for dim in dims) == wanted:
                yield dims


def without_dim(shape: Shape, dim: int) -> Shape:
    """The shape that lacks a dim."""
    return (*shape[:dim], *shape[dim + 1 :])


def with_size(shape: Shape, dim: int, size: int) -> Shape:
    """The shape with another size of a dim."""
    return (*shape[:dim], size, *shape[dim + 1 :])


def cut_shape(shape: Shape, parts: Sequence[Part]) -> Shape:
    """The shape of parts: with their sizes, and without dims that go."""
    sizes = dict(enumerate(shape))
    for part in parts:
        sizes[part.dim] = len(part.order)
    gone = {part.dim for part in parts if part.gone}
    return tuple(size for dim, size in sizes.items() if dim not in gone)


def resize(signature: Signature, shape: Shape, dim: int, size: int) -> tuple[Signature, Shape]:
    """A tensor whose dim, counted without those of size 1, has so many items, if more than one."""
    if size in (1, signature.shape[dim]):
        return signature, shape
    squeezed = with_size(signature.shape, dim, size)
    return replace(signature, shape=squeezed), with_size(shape, actual_dim(shape, dim), size)
