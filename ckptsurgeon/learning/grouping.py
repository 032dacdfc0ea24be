"""What was found for single tensors as steps: parts of one tensor that tile it become a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ckptsurgeon.drafting.steps import Call, Grid, Size, Step
from ckptsurgeon.drafting.units import is_counted
from ckptsurgeon.learning.permutations import name_split, name_strided, name_take
from ckptsurgeon.learning.shaping import of_dim
from ckptsurgeon.learning.ways import Part, Way
from ckptsurgeon.learning.words import Array
from ckptsurgeon.ops.indexing import Index, IndexItem

Member = tuple[str, Way]
Shapes = Mapping[str, tuple[int, ...]]


def steps_of(found: Mapping[str, Way], shapes: Shapes) -> list[Step]:
    """The proved steps that make all of these targets; `shapes` are those of the sources."""
    groups: dict[object, list[Member]] = defaultdict(list)
    for target, one in found.items():
        groups[_group_of(one)].append((target, one))
    tiled = _tiled(found, shapes)
    steps: list[Step] = []
    for members in groups.values():
        steps += _steps_of_group(members, shapes, tiled)
    return steps


def _tiled(found: Mapping[str, Way], shapes: Shapes) -> set[str]:
    """The targets that are equal parts of one dim, all of which is taken, whatever follows."""
    groups: dict[object, list[Member]] = defaultdict(list)
    for target, one in found.items():
        if len(one.parts) == 1 and not one.parts[0].gone and one.parts[0].is_run:
            groups[one.keys, one.sizes, one.before, one.joins, one.parts[0].dim].append(
                (target, one)
            )
    tiled: set[str] = set()
    for members in groups.values():
        parts = [one.parts[0] for _, one in members]
        parts.sort(key=lambda part: int(part.order[0]))
        sizes = _tiling(parts, shapes[members[0][1].keys[0]][parts[0].dim])
        if sizes is not None and len(sizes) > 1 == len(set(sizes)):
            tiled.update(target for target, _ in members)
    return tiled


def _group_of(one: Way) -> object:
    """What targets share that may be parts of one tensor, or all of it again."""
    where = tuple((part.dim, part.gone) for part in one.parts)
    return one.keys, one.sizes, one.before, one.joins, one.after, where


def _steps_of_group(
    members: Sequence[Member], shapes: Shapes, tiled: Collection[str]
) -> Iterator[Step]:
    one = members[0][1]
    if one.parts and len(members) > 1 and (step := _split(members, shapes)) is not None:
        yield step
        return
    if not one.parts:
        targets = tuple(target for target, _ in members)
        yield _step(one, Grid(targets))
        return
    for target, member in members:
        yield _part(target, member, shapes, is_tiled=target in tiled)


def _step(one: Way, targets: Grid, *splits: Call, index: Index = ()) -> Step:
    calls = (*splits, *one.before, *one.joins, *one.after)
    return Step(Grid(one.keys, one.sizes), targets, calls, index)


# --- parts ----------------------------------------------------------------------------------------


def _part(target: str, one: Way, shapes: Shapes, *, is_tiled: bool) -> Step:
    """A part of its own: a slice, one of equal parts (`is_tiled`), or items taken one by one."""
    shape = shapes[one.keys[0]]
    items: dict[int, IndexItem] = {}
    takes: tuple[Call, ...] = ()
    for part in one.parts:
        item = None if is_tiled else _index_item(part, shape[part.dim])
        if item is None:
            one, takes = _takes(one, part, shape)
        else:
            items[part.dim] = item
    last = max(items, default=-1)
    index = tuple(items.get(dim, (None, None, None)) for dim in range(last + 1))
    return _step(one, Grid((target,)), *takes, index=index)


def _takes(one: Way, part: Part, shape: tuple[int, ...]) -> tuple[Way, tuple[Call, ...]]:
    """The way, and the ops that take items of a dim: of a grid of these, or one by one."""
    if len(one.parts) == 1 and (strided := name_strided(part.order, part.dim, shape)):
        return one, strided
    one, order = _with_order(one, part)
    return one, name_take(order, part.dim)


def _with_order(one: Way, part: Part) -> tuple[Way, Array]:
    """The way without a second take of the same dim, and the items that both take."""
    second = dict(one.after[0].parameters) if one.after and one.after[0].op == "take" else {}
    indices = second.get("indices")
    if not isinstance(indices, tuple) or second.get("dim", 0) != part.dim:
        return one, part.order
    return replace(one, after=one.after[1:]), part.order[list(indices)]


def _index_item(part: Part, size: int) -> IndexItem | None:
    order = part.order
    if part.gone:
        return int(order[0])
    steps = np.unique(np.diff(order))
    if len(steps) > 1:
        return None
    step = int(steps[0]) if len(steps) else 1
    start, stop = int(order[0]), int(order[-1]) + 1
    stop = stop if stop + step - 1 < size or step == 1 else size
    return (start or None, None if stop == size else stop, None if step == 1 else step)


# --- splits ---------------------------------------------------------------------------------------


def _split(members: Sequence[Member], shapes: Shapes) -> Step | None:
    """The step that gives all of the members, where their parts tile the sources."""
    one = members[0][1]
    size = shapes[one.keys[0]][one.parts[-1].dim]
    if len(one.parts) == 2:
        return _split_items(members, shapes)
    first = one.parts[0]
    ordered = sorted(members, key=lambda member: int(member[1].parts[0].order[0]))
    targets = Grid(tuple(target for target, _ in ordered), (len(ordered),))
    parts = [member.parts[0] for _, member in ordered]
    if first.gone:
        if [int(part.order[0]) for part in parts] != list(range(size)):
            return None
        return _step(one, targets, Call("unstack", of_dim(first.dim), 0))
    if all(part.is_run for part in parts):
        sizes = _tiling(parts, size)
        if sizes is None:
            return None
        return _step(one, targets, _split_call(first.dim, sizes, targets))
    named = None if first.dim else name_split([part.order for part in parts], size)
    return None if named is None else _step(one, targets, Call(named.op, named.parameters, 0))


def _split_items(members: Sequence[Member], shapes: Shapes) -> Step | None:
    """The step of parts of items: every item cut at the same places."""
    one = members[0][1]
    shape = shapes[one.keys[0]]
    rows: dict[int, list[Member]] = defaultdict(list)
    for member in members:
        rows[int(member[1].parts[0].order[0])].append(member)
    outer = one.parts[0]
    if outer.dim or sorted(rows) != list(range(shape[0])):
        return None
    ordered = [
        sorted(row, key=lambda member: int(member[1].parts[1].order[0]))
        for _, row in sorted(rows.items())
    ]
    inner = one.parts[1]
    if inner.gone or any(not way.parts[1].is_run for _, way in members):
        return None
    cuts = [_tiling([way.parts[1] for _, way in row], shape[inner.dim]) for row in ordered]
    if cuts[0] is None or any(cut != cuts[0] for cut in cuts):
        return None
    keys = tuple(target for row in ordered for target, _ in row)
    targets = Grid(keys, (len(ordered), len(ordered[0])))
    split = _split_call(inner.dim, cuts[0], targets, over=1)
    return _step(one, targets, split, Call("unstack", of_dim(0), 0))


def _tiling(parts: Sequence[Part], size: int) -> tuple[int, ...] | None:
    """The sizes of parts that follow each other and make up all of a dim."""
    ends = [(int(part.order[0]), int(part.order[-1]) + 1) for part in parts]
    starts = [start for start, _ in ends] + [size]
    if starts[0] or any(stop != start for (_, stop), start in zip(ends, starts[1:], strict=True)):
        return None
    return tuple(stop - start for start, stop in ends)


def _split_call(dim: int, sizes: tuple[int, ...], targets: Grid, over: int = 0) -> Call:
    """The op that cuts a dim: q, k and v of grouped queries by their ratio, else by sizes."""
    if not dim and _are_grouped(sizes):
        heads, kv_heads = Size(sizes[0] // sizes[1], "heads"), Size(1, "kv_heads")
        named = (("layout", "flat"), ("heads", heads), ("kv_heads", kv_heads))
        return Call("split_qkv", named, over)
    given: tuple[tuple[str, int | tuple[int, ...]], ...] = of_dim(dim)
    if len(set(sizes)) > 1:
        given = (*given, ("sizes", sizes))
    elif is_counted(targets.keys, targets.sizes, over):
        given = (*given, ("parts", len(sizes)))
    return Call("split", given, over)


def _are_grouped(sizes: tuple[int, ...]) -> bool:
    """Whether sizes are those of q, k and v where several heads of q share one of k and of v."""
    if len(sizes) != 3 or sizes[1] != sizes[2]:
        return False
    return sizes[0] > sizes[1] and sizes[0] % sizes[1] == 0
