"""Modules that the other side has as one, or in parts: query, key and value, gate and up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ckptsurgeon.suggesting.candidates import Candidate, Scope
from ckptsurgeon.suggesting.names import spell
from ckptsurgeon.suggesting.roles import PARTS, WHOLES, Found, value_of
from ckptsurgeon.suggesting.units import Leaf, Shape, Unit

Candidates = list[Candidate]


def fuse(source: Candidates, target: Candidates) -> tuple[Candidates, Candidates]:
    """Both sides, parts replaced by wholes where the other side has wholes and no such parts."""
    return _fused(source, target), _fused(target, source)


def _fused(own: Candidates, other: Candidates) -> Candidates:
    found = own
    for whole, (facet, ways) in WHOLES.items():
        for parts in ways:
            found = _fuse_one(found, other, whole, facet, parts)
    return found


def _fuse_one(
    own: Candidates, other: Candidates, whole: str, facet: str, parts: tuple[str, ...]
) -> Candidates:
    groups: dict[tuple[Scope | None, str, frozenset[str]], dict[str, Candidate]] = defaultdict(dict)
    for one in own:
        value = value_of(one.roles, facet)
        if value in parts and "norm" not in one.words:
            groups[one.scope, one.parent, _rest(one)].setdefault(value, one)
    wanted = _count(other, facet, whole)
    ordered = parts[::-1] if any(_is_reversed(one, facet, whole, parts) for one in other) else parts
    lacking = _count(other, facet, parts[0])
    gone: set[int] = set()
    made: Candidates = []
    for (scope, _, _), group in groups.items():
        if group.keys() != set(parts) or wanted.get(scope, 0) == 0 or lacking.get(scope, 0):
            continue
        members = [group[part] for part in ordered]
        joined = _join(members, whole, facet)
        if joined is not None:
            gone |= {id(one) for one in members}
            made.append(joined)
    return [one for one in own if id(one) not in gone] + made


def _is_reversed(one: Candidate, facet: str, whole: str, parts: tuple[str, ...]) -> bool:
    """Whether a whole's name has its parts in the other order, as `up_gate`."""
    turned = f" {' '.join(parts[::-1])} "
    return value_of(one.roles, facet) == whole and turned in spell(one.unit.spelled)


def _rest(one: Candidate) -> frozenset[str]:
    """The words of a part but for those that tell which it is."""
    return one.words - PARTS


def _count(side: Sequence[Candidate], facet: str, value: str) -> dict[object, int]:
    found: dict[object, int] = defaultdict(int)
    for one in side:
        if value_of(one.roles, facet) == value and "norm" not in one.words:
            found[one.scope] += 1
    return found


def _join(members: Sequence[Candidate], whole: str, facet: str) -> Candidate | None:
    """The whole of some parts; None where they don't lie on top of each other."""
    first = members[0].unit
    if any(one.unit.indices != first.indices for one in members):
        return None
    if any(one.unit.leaves.keys() != first.leaves.keys() for one in members):
        return None
    leaves: dict[str, Leaf] = {}
    for kind in first.leaves:
        leaf = _join_leaf([one.unit.leaves[kind] for one in members])
        if leaf is None:
            return None
        leaves[kind] = leaf
    unit = Unit(first.module, first.indices, leaves, fused=whole)
    words = frozenset.intersection(*(one.words for one in members)) | {whole}
    roles = {**members[0].roles, facet: Found(whole, any(one.roles[facet].weak for one in members))}
    return replace(members[0], unit=unit, roles=roles, words=words)


def _join_leaf(leaves: Sequence[Leaf]) -> Leaf | None:
    shapes: list[Shape] = []
    for items in zip(*(leaf.shapes for leaf in leaves), strict=True):
        if not items[0] or any(shape[1:] != items[0][1:] for shape in items):
            return None
        shapes.append((sum(shape[0] for shape in items), *items[0][1:]))
    count = len(leaves[0].shapes)
    sizes = tuple(tuple(leaf.shapes[at][0] for leaf in leaves) for at in range(count))
    return Leaf(leaves[0].name, tuple(_keys(leaves)), tuple(shapes), len(leaves), sizes)


def _keys(leaves: Sequence[Leaf]) -> Iterator[str]:
    for at in range(len(leaves[0].shapes)):
        for leaf in leaves:
            yield from leaf.keys[at * leaf.parts : (at + 1) * leaf.parts]
