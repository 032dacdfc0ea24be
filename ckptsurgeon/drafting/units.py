"""Keys cut into units: words, the signs between them, integers, and what stands for several."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ckptsurgeon.keys import without_integers
from ckptsurgeon.language.patterns.pieces import MAX_DIGITS

_UNITS = re.compile(r"[0-9]+|::|[._/:]|[^0-9._/:]+")


@dataclass(frozen=True, slots=True)
class Number:
    """An integer of a key; `width` is the digits of a zero-padded one, else 0."""

    value: int
    width: int = 0


@dataclass(frozen=True, slots=True)
class Capture:
    """An integer that varies; `place` counts the integers of the source pattern."""

    place: int
    width: int = 0


@dataclass(frozen=True, slots=True)
class Formula:
    """An integer of a target, computed: the sum of captures times factors, and an offset."""

    terms: tuple[tuple[int, int], ...]
    offset: int = 0
    width: int = 0


@dataclass(frozen=True, slots=True)
class Open:
    """What is gathered in a source or spread in a target: a dim of the grid.

    Without words these are integers from 0 on.
    """

    dim: int
    words: tuple[str, ...] = ()
    width: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """Words, each with what is written for it in the target; the same choice stands in both."""

    words: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Star:
    """One piece, or with `path` any number of them."""

    path: bool


Unit = str | Number | Capture | Formula | Open | Choice | Star
Units = tuple[Unit, ...]
LIST = "\n"
"""The unit between the patterns of a list."""

ALIAS = "::"
"""The unit between the alias of a source and a key."""

Piece = Units
"""The units between two dots."""


def cut_key(key: str) -> Units:
    """The units of a key."""
    return tuple(map(_read_unit, _UNITS.findall(key)))


@functools.lru_cache(maxsize=1 << 14)
def _read_unit(text: str) -> Unit:
    if not (text.isascii() and text.isdigit()) or len(text) > MAX_DIGITS:
        return text
    return Number(int(text), len(text) if text[0] == "0" and text != "0" else 0)


def text_of(units: Sequence[Unit]) -> str:
    """The text of units without captures."""
    return "".join(map(_text, units))


def _text(unit: Unit) -> str:
    if isinstance(unit, Number):
        return f"{unit.value:0{unit.width}d}"
    if isinstance(unit, Star):
        return "**" if unit.path else "*"
    return str(unit)


def is_literal(units: Sequence[Unit]) -> bool:
    """Whether units match one text alone."""
    return all(isinstance(unit, str | Number) for unit in units)


def cut_pieces(units: Units) -> tuple[Piece, ...]:
    """The units between the dots."""
    pieces: list[list[Unit]] = [[]]
    for unit in units:
        if unit == ".":
            pieces.append([])
        else:
            pieces[-1].append(unit)
    return tuple(map(tuple, pieces))


def cut_list(units: Units) -> tuple[Units, ...]:
    """The patterns of a list."""
    patterns: list[list[Unit]] = [[]]
    for unit in units:
        if unit == LIST:
            patterns.append([])
        else:
            patterns[-1].append(unit)
    return tuple(map(tuple, patterns))


def join_list(patterns: Sequence[Units]) -> Units:
    """The units of several patterns, as a list."""
    units: list[Unit] = []
    for pattern in patterns:
        units += [LIST, *pattern]
    return tuple(units[1:])


def join_pieces(pieces: Sequence[Piece]) -> Units:
    """The units of pieces, with dots between them."""
    return tuple(_joined(pieces))


def _joined(pieces: Sequence[Piece]) -> Iterator[Unit]:
    for number, piece in enumerate(pieces):
        if number:
            yield "."
        yield from piece


def common_ends(patterns: Sequence[Units]) -> tuple[int, int]:
    """How many units patterns begin with alike, and end with behind these."""
    first = patterns[0]
    start = min(_common_start(first, one) for one in patterns[1:])
    end = min(_common_start(first[::-1], one[::-1]) for one in patterns[1:])
    return start, min(end, min(map(len, patterns)) - start)


def _common_start(one: Units, other: Units) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def places_of(units: Iterable[Unit]) -> set[int]:
    """The captures that a pattern has, or uses."""
    found: set[int] = set()
    for unit in units:
        if isinstance(unit, Capture):
            found.add(unit.place)
        elif isinstance(unit, Formula):
            found |= {place for place, _ in unit.terms}
    return found


# --- grids ----------------------------------------------------------------------------------------


def is_counted(keys: Sequence[str], sizes: Sequence[int], dim: int) -> bool:
    """Whether a dim of keys is told by integers, which don't say how many there are."""
    pattern = pattern_of(tuple(keys), tuple(sizes)) or ()
    opens = [unit for unit in pattern if isinstance(unit, Open) and unit.dim == dim]
    return any(not unit.words for unit in opens)


def pattern_of(keys: Sequence[str], sizes: tuple[int, ...]) -> Units | None:
    """The one pattern of keys on a grid, with an `Open` for each dim; None where there is none."""
    patterns = [cut_key(key) for key in keys]
    for dim in reversed(range(len(sizes))):
        size = sizes[dim]
        groups = [patterns[at : at + size] for at in range(0, len(patterns), size)]
        merged = [_open(group, dim) for group in groups]
        patterns = [one for one in merged if one is not None]
        if len(patterns) < len(merged):
            return None
    return patterns[0]


def _open(patterns: Sequence[Units], dim: int) -> Units | None:
    """The pattern of several that differ in the integers or the words of one dim."""
    if len(set(patterns)) < len(patterns):
        return None
    return _count(patterns, dim) or _list_words(patterns, dim)


def _count(patterns: Sequence[Units], dim: int) -> Units | None:
    """The pattern where nothing differs but integers, which run from 0 in order."""
    first = patterns[0]
    if any(len(one) != len(first) for one in patterns):
        return None
    result: list[Unit] = []
    for units in zip(*patterns, strict=True):
        if len(set(units)) == 1:
            result.append(units[0])
            continue
        values = [unit.value if isinstance(unit, Number) else -1 for unit in units]
        widths = {unit.width for unit in units if isinstance(unit, Number)}
        if values != list(range(len(patterns))) or len(widths) > 1:
            return None
        result.append(Open(dim, width=widths.pop()))
    return tuple(result)


def _list_words(patterns: Sequence[Units], dim: int) -> Units | None:
    """The pattern where one stretch of text differs."""
    first = patterns[0]
    start, end = common_ends(patterns)
    middles = [one[start : len(one) - end] for one in patterns]
    if any(isinstance(unit, Open) for middle in middles for unit in middle):
        return None
    words = tuple(map(text_of, middles))
    return (*first[:start], Open(dim, words), *first[len(first) - end :])


# --- forms ----------------------------------------------------------------------------------------


def forms_of(units: Units) -> Iterator[str]:
    """The forms (`keys.without_integers`) of all keys that a pattern without stars matches."""
    for texts in itertools.product(*map(_texts, units)):
        yield without_integers("".join(texts))


def sort_by_form(keys: Iterable[str]) -> dict[str, list[str]]:
    """Keys by their forms."""
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(without_integers(key), []).append(key)
    return found


def _texts(unit: Unit) -> Sequence[str]:
    """The words that a unit matches, or an integer for all."""
    if isinstance(unit, Choice):
        return [left for left, _ in unit.words]
    if isinstance(unit, Open) and unit.words:
        return unit.words
    return (unit if isinstance(unit, str) else "0",)


# --- patterns as expressions ----------------------------------------------------------------------


def regex_of_units(units: Units) -> str:
    """The regular expression of the keys that a pattern matches."""
    return "".join("|" if unit == LIST else regex_of_unit(unit) for unit in units)


def regex_of_unit(unit: Unit) -> str:
    """The regular expression of what a unit of a pattern matches."""
    if isinstance(unit, Star):
        return ".+" if unit.path else "[^.]+"
    if isinstance(unit, Choice):
        return f"(?:{'|'.join(re.escape(left) for left, _ in unit.words)})"
    if isinstance(unit, Open) and unit.words:
        return f"(?:{'|'.join(map(re.escape, unit.words))})"
    if isinstance(unit, Capture | Open):
        return f"[0-9]{{{unit.width}}}" if unit.width else "(?:0|[1-9][0-9]*)"
    return re.escape(text_of((unit,))) if isinstance(unit, str | Number) else ""
