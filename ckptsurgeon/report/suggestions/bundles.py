"""Families of keys: repeated tensors, with such that belong into one: experts, or q, k and v."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.keys import MAX_HOLES, Point
from ckptsurgeon.language.patterns import write_literal
from ckptsurgeon.report.suggestions.model import Specs
from ckptsurgeon.report.suggestions.writing import LONGEST_KEY

WORDS = (
    ("q", "k", "v"),
    ("query", "key", "value"),
    ("wq", "wk", "wv"),
    ("k", "v"),
    ("key", "value"),
    ("gate", "up"),
    ("w1", "w3"),
)
"""Names of tensors that other code keeps in one, in the order in which it mostly does."""

NAMES = "ijklmno"
STACKED, WORD = "e", "p"
"""The captures' names of tensors to stack, and of words."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A piece of a key that holds one of the words."""

    before: str
    words: tuple[str, ...]
    after: str


Skeleton = tuple[str | Choice | None, ...]
"""The pieces of a key: as they are, None for an integer, and what holds one of some words."""


@dataclass(frozen=True, slots=True)
class Family:
    """Keys of one skeleton. Each of `members` are the keys that belong into one tensor.

    They stand word by word, each word's by their integer in the hole `stacked`. The points lack
    that hole's integer.
    """

    skeleton: Skeleton
    stacked: int | None
    members: Mapping[Point, tuple[str, ...]]

    @property
    def words(self) -> tuple[str, ...]:
        return next((piece.words for piece in self.skeleton if isinstance(piece, Choice)), ())

    @property
    def keys(self) -> list[str]:
        return [key for keys in self.members.values() for key in keys]

    @property
    def module(self) -> Skeleton:
        """The pieces before those in which the members of one tensor differ."""
        for at, piece in enumerate(self.skeleton):
            holes = sum(piece is None for piece in self.skeleton[:at])
            if isinstance(piece, Choice) or (piece is None and holes == self.stacked):
                return self.skeleton[:at]
        return self.skeleton

    @property
    def varying(self) -> tuple[int, ...]:
        """The holes, of those in the points, whose integers differ."""
        axes = zip(*self.members, strict=True)
        return tuple(hole for hole, values in enumerate(axes) if len(set(values)) > 1)

    @property
    def lowest(self) -> Point:
        return tuple(min(point[hole] for point in self.members) for hole in self.varying)

    def signature(self, shapes: Mapping[Point, tuple[int, ...]]) -> Hashable:
        """The shapes by repetition, counted from 0 in each hole that varies."""
        places = list(zip(self.varying, self.lowest, strict=True))
        return frozenset(
            (tuple(point[hole] - low for hole, low in places), shape)
            for point, shape in shapes.items()
        )

    def pattern(self, shifts: Sequence[int]) -> str:
        """The keys as a pattern, with a shift for each hole that varies."""
        point, texts = next(iter(self.members)), []
        varying, number, hole = self.varying, 0, 0
        for piece in self.skeleton:
            if isinstance(piece, Choice):
                words = f"<{WORD}:{'|'.join(piece.words)}>"
                texts.append(_literal(piece.before) + words + _literal(piece.after))
            elif piece is not None:
                texts.append(_literal(piece))
            elif number == self.stacked:
                texts.append(f"<{STACKED}>")
            elif hole in varying:
                at = varying.index(hole)
                texts.append(f"<{NAMES[at]}{f'{shifts[at]:+d}' if shifts[at] else ''}>")
            else:
                texts.append(str(point[hole]))
            hole += piece is None and number != self.stacked
            number += piece is None
        return ".".join(texts)

    @property
    def fixed(self) -> dict[int, int]:
        """The integers that are the same in every key, by hole; the stacked hole counts as one."""
        known, varying = next(iter(self.members)), self.varying
        return {
            hole + (self.stacked is not None and hole >= self.stacked): value
            for hole, value in enumerate(known)
            if hole not in varying
        }

    @property
    def plain(self) -> Iterator[Skeleton]:
        """The skeletons of the keys, a word in each."""
        for word in self.words or ("",):
            yield tuple(
                piece.before + word + piece.after if isinstance(piece, Choice) else piece
                for piece in self.skeleton
            )


def _literal(text: str) -> str:
    return write_literal(text) if text else ""


def read_skeleton(key: str) -> tuple[Skeleton, Point] | None:
    """The pieces of a key with its integers taken out; None for keys of odd or many pieces."""
    pieces = key.split(".")
    if len(key) > LONGEST_KEY or not all(pieces):
        return None
    holes = [piece.isdecimal() and piece.isascii() and str(int(piece)) == piece for piece in pieces]
    if sum(holes) > min(MAX_HOLES, len(NAMES)):
        return None
    skeleton = tuple(None if hole else piece for piece, hole in zip(pieces, holes, strict=True))
    return skeleton, tuple(int(piece) for piece, hole in zip(pieces, holes, strict=True) if hole)


def find_families(keys: Iterable[str], words: bool, stacked: bool) -> Iterator[Family]:
    """Families with or without a choice of words, and with or without a hole to be stacked."""
    groups: dict[Skeleton, dict[Point, dict[str, str]]] = {}
    for key in keys:
        if (read := read_skeleton(key)) is not None:
            for skeleton, word in _choices(read[0]) if words else [(read[0], "")]:
                groups.setdefault(skeleton, {}).setdefault(read[1], {})[word] = key
    for skeleton, found in groups.items():
        family = _complete(skeleton, found)
        if family is None:
            continue
        if not stacked:
            yield family
            continue
        for hole in range(len(next(iter(found)))):
            if (folded := _stacked(family, hole)) is not None:
                yield folded


def _choices(skeleton: Skeleton) -> Iterator[tuple[Skeleton, str]]:
    """The skeleton with one of its words left open, for each word and each set that has it."""
    for at, piece in enumerate(skeleton):
        parts = piece.split("_") if isinstance(piece, str) else []
        for number, word in enumerate(parts):
            for words in WORDS:
                if word in words:
                    before, after = (
                        "_".join([*parts[:number], ""]),
                        "_".join(["", *parts[number + 1 :]]),
                    )
                    yield (*skeleton[:at], Choice(before, words, after), *skeleton[at + 1 :]), word


def _complete(skeleton: Skeleton, found: Mapping[Point, Mapping[str, str]]) -> Family | None:
    """The family, if each repetition has all of the words."""
    words = next((piece.words for piece in skeleton if isinstance(piece, Choice)), ("",))
    if any(len(by_word) != len(words) for by_word in found.values()):
        return None
    members = {point: tuple(by_word[w] for w in words) for point, by_word in found.items()}
    return Family(skeleton, None, members)


def _stacked(family: Family, hole: int) -> Family | None:
    """The family with the integers of a hole gathered, if they run from 0 alike everywhere."""
    groups: dict[Point, dict[int, tuple[str, ...]]] = {}
    for point, keys in family.members.items():
        groups.setdefault(point[:hole] + point[hole + 1 :], {})[point[hole]] = keys
    number, size = len(next(iter(groups.values()))), max(1, len(family.words))
    if number < 2 or any(set(group) != set(range(number)) for group in groups.values()):
        return None
    members = {
        point: tuple(group[at][word] for word in range(size) for at in range(number))
        for point, group in groups.items()
    }
    return Family(family.skeleton, hole, members)


# --- shapes ---------------------------------------------------------------------------------------


def shapes_of(family: Family, specs: Specs) -> dict[Point, tuple[int, ...]]:
    """The shapes of a family of single keys."""
    return {point: specs[key].shape for point, (key,) in family.members.items()}


def joined_shapes(
    family: Family, specs: Specs
) -> Iterator[tuple[int | None, dict[Point, tuple[int, ...]]]]:
    """The dims in which the words' tensors can be joined (None: no words), and what results."""
    rank = len(specs[family.keys[0]].shape)
    lead = 0 if family.stacked is None else 1
    dims: list[int | None] = [None]
    if family.words:
        dims = list(dict.fromkeys((lead, lead + rank - 1))) if rank else []
    for dim in dims:
        shapes = {
            point: _joined(family, keys, specs, dim) for point, keys in family.members.items()
        }
        known = {point: shape for point, shape in shapes.items() if shape is not None}
        if len(known) == len(shapes):
            yield dim, known


def _joined(
    family: Family, keys: Sequence[str], specs: Specs, dim: int | None
) -> tuple[int, ...] | None:
    """The shape of the one tensor that the members make; None where they don't fit."""
    number = len(keys) // max(1, len(family.words))
    parts = []
    for at in range(0, len(keys), number):
        found = {specs[key] for key in keys[at : at + number]}
        shape = specs[keys[at]].shape
        if len(found) > 1 or specs[keys[at]].dtype != specs[keys[0]].dtype:
            return None
        parts.append(shape if family.stacked is None else (number, *shape))
    if dim is None:
        return parts[0]
    if any(len(shape) <= dim for shape in parts):
        return None
    if len({(shape[:dim], shape[dim + 1 :]) for shape in parts}) > 1:
        return None
    return (*parts[0][:dim], sum(shape[dim] for shape in parts), *parts[0][dim + 1 :])


def word_sizes(family: Family, specs: Specs, dim: int) -> set[tuple[int, ...]]:
    """How the words share a dim of the one tensor, in every repetition."""
    lead = 0 if family.stacked is None else 1
    sizes = set()
    for keys in family.members.values():
        number = len(keys) // len(family.words)
        sizes.add(tuple(specs[key].shape[dim - lead] for key in keys[::number]))
    return sizes
