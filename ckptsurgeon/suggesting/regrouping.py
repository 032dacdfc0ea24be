"""Fused layers of tensor-parallel ranks: each rank has its part of q, of k and of v in one tensor.

Joined as they are, these lie rank by rank: each rank is split first, and the parts are joined.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from ckptsurgeon.drafting.steps import Call, Degree, Step
from ckptsurgeon.suggesting.names import cut_leaf
from ckptsurgeon.suggesting.roles import WHOLES, part_of, part_of_tensor
from ckptsurgeon.suggesting.squares import TURNED
from ckptsurgeon.suggesting.units import Shape, Specs

Sizes = tuple[int, ...]

PART = "part"
"""The name of what a split opens, and a join of the same rule closes."""

BY_PART = "each rank is split before it is joined: its rows are taken part by part"

NESTED = "each rank has a part of each fused part, and of what is fused in that"

UNTOLD = "each rank has its part of each fused part: split each by their sizes, then join by part"


def whole_shapes(target: Specs) -> Mapping[str, set[Shape]]:
    """The shapes that parts of the target have together, by what the whole is."""
    groups: dict[tuple[str, str], dict[str, Shape]] = defaultdict(dict)
    for key, spec in target.items():
        module, _, kind = cut_leaf(key)
        if part := part_of(module):
            groups[module.rpartition(".")[0], kind][part] = spec.shape
    found: dict[str, set[Shape]] = defaultdict(set)
    for group in groups.values():
        for whole, (_, ways) in WHOLES.items():
            for parts in ways:
                if group.keys() >= set(parts):
                    found[whole].update(_stacked([group[part] for part in parts]))
    return found


def _stacked(shapes: list[Shape]) -> set[Shape]:
    """The shape of several tensors whose rows are joined; of matrices also the turned one."""
    first = shapes[0]
    if not all(shape and shape[1:] == first[1:] for shape in shapes):
        return set()
    joined = (sum(shape[0] for shape in shapes), *first[1:])
    return {joined, joined[::-1]} if len(joined) == 2 else {joined}


def dim_of(call: Call) -> int:
    """The dim in which tensors are joined."""
    dim = dict(call.parameters).get("dim", 0)
    assert isinstance(dim, int)  # as they are made here
    return dim


def sizes_of(whole: str, size: int, queries: int, ranks: int) -> Sizes:
    """The sizes of the parts in one rank, of a whole that all have; empty where none tell them.

    `queries` are the rows of q, where something tells these, else 0.
    """
    sizes: Sizes = (size // 2, size // 2)
    if whole == "qkv":
        others = (size - queries) // 2
        sizes = (queries, others, others) if 0 < others <= queries else (0,)
    is_even = sum(sizes) == size and not any(one % ranks for one in sizes)
    return tuple(one // ranks for one in sizes) if is_even else ()


def equal_sizes(count: int, size: int, ranks: int) -> Sizes:
    """The sizes of so many equal parts in one rank, of a whole that all have; empty with a rest."""
    return () if size % (count * ranks) else (size // count // ranks,) * count


def regroup(step: Step, join: Call, sizes: Sizes, ranks: int) -> Step:
    """The step of ranks of a fused layer, whose parts are joined one by one.

    `sizes` are those of the parts in one rank.
    """
    split = next((call for call in step.calls if call.op == "split"), None)
    calls = _join_whole(step, join, sizes) if split is None else _join_parts(step, join, ranks)
    nested = split is not None and not WHOLES.keys().isdisjoint(map(part_of_tensor, step.gives))
    if not calls or nested:
        told = NESTED if nested else UNTOLD
        return replace(step, calls=(join, *step.calls)).doubted(told, Degree.OPEN)
    remark = step.remark if step.degree > Degree.LIKELY else BY_PART
    return replace(step, calls=calls, degree=max(step.degree, Degree.LIKELY), remark=remark)


def _join_whole(step: Step, join: Call, sizes: Sizes) -> tuple[Call, ...]:
    """Each rank split, each part joined over the ranks, and the parts joined."""
    if not sizes:
        return ()
    dim = tuple(one for one in join.parameters if one[0] == "dim")
    parts = ("parts", len(sizes)) if len(set(sizes)) == 1 else ("sizes", sizes)
    split, whole = Call("split", (*dim, parts), PART), Call("concat", dim, PART)
    return (split, join, whole, *step.calls)


def _join_parts(step: Step, join: Call, ranks: int) -> tuple[Call, ...]:
    """Each rank split, and each part joined; nothing where the parts lie in another dim."""
    at = next(at for at, call in enumerate(step.calls) if call.op == "split")
    before, split, after = step.calls[:at], step.calls[at], step.calls[at + 1 :]
    if before not in ((), (TURNED,)) or dim_of(join) != len(before):
        return ()
    sizes = dict(split.parameters).get("sizes", ())
    assert isinstance(sizes, tuple)  # as the op has it
    if any(size % ranks for size in sizes):
        return ()
    if sizes:
        of_rank = tuple(size // ranks for size in sizes)
        split = replace(split, parameters=(("sizes", of_rank),))
    return (*before, split, replace(join, parameters=()), *after)
