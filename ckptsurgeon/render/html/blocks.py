"""Shapes drawn as blocks: rows downwards, columns to the right, further dims as sheets behind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

from ckptsurgeon.cutting import cut_middle
from ckptsurgeon.ops.indexing import Index, index_text, resolve_index
from ckptsurgeon.specs import TensorSpec, UnreadableSpec

SMALLEST, STEP, LARGEST = 4.0, 2.6, 30.0
"""The side of a size of 1, what each doubling adds to it, and where it ends."""

SHEET = 2.0
"""How far each sheet stands behind the one before."""

GAP, ARROW, DOT = 4.0, 16.0, 2.0
"""What lies between blocks, where one becomes another, and what stands for further sources."""

MOST_SHEETS, MOST_SOURCES, MOST_DOTS, MOST_SHAPES = 4, 3, 3, 3

MOST_DRAWINGS = 1000
"""Drawings that a page has."""

LONGEST = 120
"""Characters of a shape that is told."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor that is drawn, and what of it is taken."""

    shape: Shape
    index: Index | None = None


class Rectangle(NamedTuple):
    """One rectangle; `kind` is `sheet`, `face` or `taken`, `dot` where a source is not drawn."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """Blocks beside one another, with an arrow at `arrow` where one becomes the other.

    `label` says in words what they show.
    """

    name: str
    width: float
    height: float
    rectangles: tuple[Rectangle, ...]
    arrow: float | None
    label: str


Blocks = tuple[tuple[Part, ...], Shape]


@dataclass(slots=True)
class Drawings:
    """The drawings of a page: what looks alike is drawn once."""

    known: dict[Blocks, Drawing] = field(default_factory=dict)

    def draw(self, sources: Sequence[Part], result: Shape) -> tuple[Drawing, ...]:
        """What the sources become, or the result alone; nothing once there are very many."""
        blocks = tuple(sources), result
        if blocks not in self.known:
            if len(self.known) == MOST_DRAWINGS:
                return ()
            self.known[blocks] = _draw(f"shape-{len(self.known)}", *blocks)
        return (self.known[blocks],)

    def draw_all(self, specs: Iterable[TensorSpec]) -> tuple[Drawing, ...]:
        """The first shapes that differ, each alone; none where none is known."""
        shapes = islice(dict.fromkeys(one.shape for one in specs if is_known(one)), MOST_SHAPES)
        return tuple(chain.from_iterable(self.draw((), shape) for shape in shapes))

    @property
    def all(self) -> list[Drawing]:
        """Each drawing once."""
        return list(self.known.values())


def is_known(spec: TensorSpec) -> bool:
    """Whether there is a shape to be drawn."""
    return not isinstance(spec, UnreadableSpec) or spec.has_shape


def _draw(name: str, sources: tuple[Part, ...], result: Shape) -> Drawing:
    shown, last = sources[:MOST_SOURCES], Part(result)
    height = max(_size_of(part.shape)[1] for part in (*shown, last))
    rectangles, x = list[Rectangle](), 0.0
    for part in shown:
        rectangles += _block(part, x, height)
        x += _size_of(part.shape)[0] + GAP
    for _ in sources[len(shown) : len(shown) + MOST_DOTS]:
        rectangles.append(Rectangle("dot", x, height / 2 - DOT / 2, DOT, DOT))
        x += 2 * DOT
    arrow = x if sources else None
    x += ARROW if sources else 0
    rectangles += _block(last, x, height)
    width = x + _size_of(result)[0]
    return Drawing(name, width + 1, height + 1, tuple(rectangles), arrow, _label(sources, result))


def _side(size: int) -> float:
    return min(SMALLEST + STEP * math.log2(max(size, 1)), LARGEST)


def _face(shape: Shape) -> tuple[float, float]:
    """The width and the height of a block's face."""
    return _side(shape[1]) if len(shape) > 1 else SMALLEST, _side(shape[0]) if shape else SMALLEST


def _sheets(shape: Shape) -> int:
    """How many sheets stand behind the face."""
    behind = math.prod(shape[2:])
    return min(MOST_SHEETS, math.ceil(math.log2(behind) / 2)) if behind > 1 else 0


def _size_of(shape: Shape) -> tuple[float, float]:
    """How much room a block takes."""
    (wide, tall), depth = _face(shape), SHEET * _sheets(shape)
    return wide + depth, tall + depth


def _block(part: Part, x: float, height: float) -> list[Rectangle]:
    """The rectangles of a block in the middle of a height, the last sheet first."""
    (wide, tall), sheets = _face(part.shape), _sheets(part.shape)
    y = (height - _size_of(part.shape)[1]) / 2
    offsets = [(SHEET * sheet, SHEET * (sheets - sheet)) for sheet in range(sheets, -1, -1)]
    drawn = [
        Rectangle("sheet" if right else "face", x + right, y + down, wide, tall)
        for right, down in offsets
    ]
    if part.index is None:
        return drawn
    top, high = _share(part, 0)
    left, broad = _share(part, 1)
    face = drawn[-1]
    taken = (face.x + left * wide, face.y + top * tall, broad * wide, high * tall)
    return [*drawn, Rectangle("taken", *taken)]


def _share(part: Part, dim: int) -> tuple[float, float]:
    """Where what is taken of a dim begins, and how much it is, as shares of the dim."""
    shape = part.shape
    if part.index is None or dim >= len(shape) or not shape[dim]:
        return 0.0, 1.0
    taken = resolve_index(part.index, shape)[dim]
    return taken[0] / shape[dim], (taken[-1] + 1 - taken[0]) / shape[dim]


def _label(sources: Sequence[Part], result: Shape) -> str:
    """`64 x 4 x 7 x 7, of which [:, :3], becomes 64 x 3 x 7 x 7`."""
    if not sources:
        return _sizes(result)
    parts = [
        _sizes(part.shape) + (f", of which {index_text(part.index)}," if part.index else "")
        for part in sources[:MOST_SOURCES]
    ]
    more = len(sources) - len(parts)
    told = " and ".join([*parts, *([f"{more:,} more"] if more else [])])
    return f"{told} {'becomes' if len(sources) == 1 else 'become'} {_sizes(result)}"


def _sizes(shape: Shape) -> str:
    return cut_middle(" x ".join(map(str, shape)) or "a scalar", LONGEST, LONGEST // 2, str)
