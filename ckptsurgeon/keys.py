"""Many keys as few: `layer1.0.bn1`, `layer1.1.bn1`, … as `layer<1..4>.<0..1>.bn1`, and back.

A key is a *template* with integers in its holes. Keys of one template fold into *boxes*: products
of sets of integers, exact and disjoint, so that a box says no key that was not there.
"""

from __future__ import annotations

import itertools
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ckptsurgeon.errors import nearest

MAX_HOLES = 8
"""Integers of a key that fold; a key with more keeps the rest as text, and recursion ends."""

INTEGER = re.compile(r"(?<![0-9])([0-9]{1,18})(?![0-9])")

LISTED = 3
"""Integers with gaps that are told one by one, even where all gaps are alike."""

MAX_MASKS = 1 << 16
"""Masks that are remembered, so that memory stays small where all keys differ."""

_MASK = bytes.maketrans(b"23456789", b"11111111")

Point = tuple[int, ...]
Template = tuple[tuple[str, ...], tuple[int, ...]]
"""The texts around the holes, and each hole's width (0, or the digits of a zero-padded integer)."""


SEARCHED_KEYS = 5000
"""How many keys are compared when the nearest one is looked for."""


def nearest_key(key: str, keys: Iterable[str]) -> str:
    """`did you mean 'fc.weight'?`, of the first keys, or nothing where none is near."""
    return nearest(key, itertools.islice(keys, SEARCHED_KEYS))


MOST_PREFIXES = 64
"""Modules within modules that a key tells of; what is deeper is no network's."""


def prefixes_of(key: str) -> Iterator[str]:
    """What a key begins with up to each of its first dots, the shortest first."""
    at = key.find(".")
    for _ in range(MOST_PREFIXES):
        if at < 0:
            return
        yield key[:at]
        at = key.find(".", at + 1)


_DIGITS = re.compile("[0-9]+")


def has_digits(text: str) -> bool:
    """Whether there are integers in a text."""
    return _DIGITS.search(text) is not None


def integers_in(text: str) -> list[str]:
    """The integers of a text as they are written, in order."""
    return _DIGITS.findall(text)


def without_integers(key: str, hole: str = "0") -> str:
    """The key with a `hole` for each integer: few such forms stand for a million keys."""
    return _DIGITS.sub(hole, key)


def group_forms(keys: Iterable[str]) -> dict[str, array[int]]:
    """The numbers of keys by their forms, in order; keys of one mask have one form."""
    forms: dict[str, array[int]] = {}
    by_mask: dict[bytes, array[int]] = {}
    for number, key in enumerate(keys):
        numbers = by_mask.get(mask := mask_key(key))
        if numbers is None:
            numbers = by_mask[mask] = forms.setdefault(without_integers(key), array("q"))
        numbers.append(number)
    return forms


def read_key(key: str) -> tuple[Template, Point]:
    """The template of a key and the integers in its holes; `write_key` turns it around."""
    parts = INTEGER.split(key, maxsplit=MAX_HOLES)
    digits = parts[1::2]
    widths = tuple(len(text) if text[0] == "0" and text != "0" else 0 for text in digits)
    return (tuple(parts[0::2]), widths), tuple(map(int, digits))


def write_key(template: Template, point: Point) -> str:
    """The key of a template with these integers."""
    texts, widths = template
    holes = (f"{value:0{width}d}" for value, width in zip(point, widths, strict=True))
    return _interleave(texts, holes)


def _interleave(texts: Sequence[str], holes: Iterable[str]) -> str:
    return texts[0] + "".join(hole + text for hole, text in zip(holes, texts[1:], strict=True))


@dataclass(frozen=True, slots=True)
class Box:
    """Keys of one template: all combinations of `axes`, a sorted set of integers per hole."""

    template: Template
    axes: tuple[Point, ...]

    @property
    def count(self) -> int:
        return math.prod(map(len, self.axes))

    @property
    def keys(self) -> Iterator[str]:
        """Every key of the box, none twice."""
        return (write_key(self.template, point) for point in itertools.product(*self.axes))

    def __str__(self) -> str:
        texts, widths = self.template
        return _interleave(texts, map(range_text, self.axes, widths))


def range_text(values: Point, width: int = 0) -> str:
    """`7` for one, `<0..11>` for a run, `<0..2,5>` for a set with gaps, `<0..12 step 2>`."""
    steps = {after - before for before, after in itertools.pairwise(values)}
    if len(values) > LISTED and len(steps) == 1 and steps != {1}:
        return f"<{values[0]:0{width}d}..{values[-1]:0{width}d} step {steps.pop()}>"
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    texts = [f"{a:0{width}d}" if a == b else f"{a:0{width}d}..{b:0{width}d}" for a, b in runs]
    return texts[0] if len(values) == 1 else f"<{','.join(texts)}>"


def boxes(points: Iterable[Point]) -> list[tuple[Point, ...]]:
    """Disjoint boxes that hold exactly these points, in the order of their first ones."""
    different = dict.fromkeys(points)
    axes = [set(values) for values in zip(*different, strict=True)]
    if math.prod(map(len, axes)) == len(different):
        return [tuple(tuple(sorted(axis)) for axis in axes)]
    by_first: dict[int, list[Point]] = {}
    for first, *rest in different:
        by_first.setdefault(first, []).append(tuple(rest))
    by_rest: dict[tuple[tuple[Point, ...], ...], list[int]] = {}
    for first, rests in by_first.items():
        by_rest.setdefault(tuple(sorted(boxes(rests))), []).append(first)
    return [(tuple(sorted(firsts)), *box) for rest, firsts in by_rest.items() for box in rest]


# --- many keys ------------------------------------------------------------------------------------


def mask_key(key: str) -> bytes:
    """Where the integers of a key stand, and all else of it: the key with 1 for every digit but 0.

    A zero at the front makes another integer, so it tells them apart.
    """
    return key.encode("utf-8", "surrogatepass").translate(_MASK)


class KeyReader:
    """Reads very many keys. What is known of one is remembered for all of its mask."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[str, list[tuple[int, int]]]] = {}

    def read(self, key: str) -> tuple[str, list[int]]:
        """The shape of a key, which has its template but zeros for its integers, and these."""
        shape, spans = self._find_integers(key)
        return shape, [int(key[start:end]) for start, end in spans]

    def read_alike(self, keys: Sequence[str]) -> tuple[str, list[list[int]]]:
        """The shape of keys of one mask, which `tells` all, and their integers by hole."""
        shape, spans = self._find_integers(keys[0])
        return shape, [[int(key[start:end]) for key in keys] for start, end in spans]

    def tells(self, key: str) -> bool:
        """Whether the key's mask tells its shape: it doesn't tell digits that stay text."""
        self._find_integers(key)
        return mask_key(key) in self._known

    def _find_integers(self, key: str) -> tuple[str, list[tuple[int, int]]]:
        mask = mask_key(key)
        return self._known.get(mask) or self._learn(mask, key)

    def _learn(self, mask: bytes, key: str) -> tuple[str, list[tuple[int, int]]]:
        template, point = read_key(key)
        found = itertools.islice(INTEGER.finditer(key), MAX_HOLES)
        known = write_key(template, (0,) * len(point)), [match.span() for match in found]
        if len(self._known) >= MAX_MASKS:
            self._known.clear()
        if not any(map(has_digits, template[0])):
            self._known[mask] = known
        return known

    def fold(self, keys: Iterable[str]) -> Iterator[tuple[str, tuple[Point, ...]]]:
        """The boxes that hold exactly these keys, by their shapes in order of appearance."""
        by_shape: dict[str, list[Point]] = {}
        for key in keys:
            shape, point = self.read(key)
            by_shape.setdefault(shape, []).append(tuple(point))
        return ((shape, axes) for shape, points in by_shape.items() for axes in boxes(points))


def fold_keys(keys: Iterable[str]) -> list[Box]:
    """Boxes that hold exactly these keys, in the order in which the templates come first."""
    return [Box(read_key(shape)[0], axes) for shape, axes in KeyReader().fold(keys)]
