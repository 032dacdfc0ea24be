"""Patterns that match given keys and no other: whole modules, and integers where all match."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ckptsurgeon.keys import MAX_HOLES, Point, Template, boxes, read_key
from ckptsurgeon.language.patterns import write_literal
from ckptsurgeon.report.suggestions.writing import LONGEST_KEY, sayable

NAMES = "ijklmnop"
DEEPEST = 16
"""Pieces of a key that are looked at for whole modules."""

MOST_WORDS = 60
MOST_COMPARISONS = 10**6


@dataclass(frozen=True, slots=True)
class Glob:
    """One pattern, as what reads keys and as what names them behind an arrow."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class _Node:
    """A key (`tail` is empty), or all keys under a module (`.*` or `.**`)."""

    path: str
    tail: str


def exact_globs(
    wanted: Collection[str], universe: Iterable[str], shallowest: int = 1, most: int | None = None
) -> list[Glob]:
    """Patterns that match, of all keys in `universe`, the wanted ones alone; none twice.

    Keys that no rule can name (with outer spaces, say) are left out. Whole modules are named
    by `shallowest` or more pieces. The first `most` patterns. Linear in the keys.
    """
    return list(itertools.islice(_exact_globs(wanted, universe, shallowest), most))


def _exact_globs(
    wanted: Collection[str], universe: Iterable[str], shallowest: int
) -> Iterator[Glob]:
    chosen = dict.fromkeys(wanted)
    everything = list(universe)
    plain = [key for key in everything if _regular(key)]
    nodes = dict.fromkeys(_nodes(chosen, plain, shallowest))
    groups: dict[tuple[Template, int, str], list[Point]] = {}
    for node in nodes:
        template, point = read_key(node.path)
        depth = node.path.count(".") + 1
        groups.setdefault((template, depth, node.tail), []).append(point)
    strangers = _strangers(groups, everything)
    for kind, points in groups.items():
        template, _, tail = kind
        parts, others = boxes(points), strangers.get(kind, [])
        comparable = len(parts) * (len(others) + len(points)) <= MOST_COMPARISONS
        for axes in parts:
            # What another box's pattern takes is no more to be had.
            alone = len(parts) == 1 or not comparable
            known = others if alone else [*others, *(p for p in points if not _holds(axes, p))]
            yield from _globs(template, axes, tail, known if comparable else None)


def _regular(key: str) -> bool:
    return len(key) <= LONGEST_KEY and all(key.split("."))


def _nodes(chosen: Collection[str], universe: Iterable[str], shallowest: int) -> Iterator[_Node]:
    """The largest modules that hold wanted keys alone, and single keys where there are none."""
    totals: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    deep: set[str] = set()
    for key in universe:
        modules = list(_modules(key))
        totals.update(modules)
        deep.update(modules[:-1] if key.count(".") < DEEPEST else modules)
        if key in chosen:
            hits.update(modules)
    for key in chosen:
        if not sayable(key):
            continue
        whole = None
        if _regular(key):
            deep_enough = itertools.islice(_modules(key), max(0, shallowest - 1), None)
            whole = next((m for m in deep_enough if hits[m] == totals[m] > 1), None)
        if whole is None or not sayable(whole):
            yield _Node(key, "")
        else:
            yield _Node(whole, ".**" if whole in deep else ".*")


def _modules(key: str) -> Iterator[str]:
    """`a.b.c` -> `a`, `a.b`."""
    at = key.find(".")
    for _ in range(DEEPEST):
        if at < 0:
            return
        yield key[:at]
        at = key.find(".", at + 1)


def _strangers(
    groups: dict[tuple[Template, int, str], list[Point]],
    universe: Iterable[str],
) -> dict[tuple[Template, int, str], list[Point]]:
    """Integers of keys that have a group's template and are none of its own.

    They may be wanted, and another pattern's.
    """
    shapes = {(depth, tail) for _, depth, tail in groups}
    own = {kind: set(points) for kind, points in groups.items()}
    found: dict[tuple[Template, int, str], list[Point]] = {}
    for key in universe:
        if len(key) > LONGEST_KEY:
            continue
        pieces = key.split(".")
        for depth, tail in shapes:
            if len(pieces) > depth if tail else len(pieces) == depth:
                template, point = read_key(".".join(pieces[:depth]))
                kind = template, depth, tail
                if kind in groups and point not in own[kind]:
                    found.setdefault(kind, []).append(point)
    return found


def _globs(
    template: Template, axes: Sequence[Point], tail: str, strangers: Sequence[Point] | None
) -> Iterator[Glob]:
    """The patterns of a box; without known strangers any integer may be that of one."""
    holes = [hole for hole, axis in enumerate(axes) if len(axis) > 1]
    padded = any(template[1][hole] for hole in holes)
    alone = strangers is not None and not any(_fits(p, axes, holes) for p in strangers)
    if not padded and alone:
        yield _glob(template, axes, tail, dict.fromkeys(holes, ""))
    elif not padded and all(len(axes[hole]) <= MOST_WORDS for hole in holes):
        yield _glob(template, axes, tail, {h: ":" + "|".join(map(str, axes[h])) for h in holes})
    else:
        for point in _points(axes):
            yield _glob(template, [(value,) for value in point], tail, {})


def _points(axes: Sequence[Point]) -> Iterator[Point]:
    if not axes:
        yield ()
        return
    for rest in _points(axes[:-1]):
        for value in axes[-1]:
            yield (*rest, value)


def _holds(axes: Sequence[Point], point: Point) -> bool:
    return all(value in axis for axis, value in zip(axes, point, strict=True))


def _fits(point: Point, axes: Sequence[Point], holes: Sequence[int]) -> bool:
    """Whether a pattern with any integer in the holes would match the stranger as well."""
    return all(
        hole in holes or axis == (value,)
        for hole, (axis, value) in enumerate(zip(axes, point, strict=True))
    )


def _glob(template: Template, axes: Sequence[Point], tail: str, kinds: dict[int, str]) -> Glob:
    texts, widths = template
    source = target = text = ""
    for number, part in enumerate(texts):
        text += part
        if number == len(axes):
            break
        if number in kinds:
            name = NAMES[list(kinds).index(number) % MAX_HOLES]
            literal = write_literal(text)
            source += f"{literal}<{name}{kinds[number]}>"
            target += f"{literal}<{name}>"
            text = ""
        else:
            text += f"{axes[number][0]:0{widths[number]}d}"
    literal = write_literal(text) if text else ""
    return Glob(source + literal + tail, target + literal + tail)


def exact_key(key: str) -> Glob:
    """The pattern of one key."""
    return Glob(write_literal(key), write_literal(key))
