"""All ways in which a key is read where captures stand for names that are known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ckptsurgeon.errors import PatternError
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns.pieces import Capture, Literal
from ckptsurgeon.language.rows import Row

Paths = Mapping[str, tuple[str, ...]]
"""The paths that are known, by their texts without dots."""

Part = Literal | Capture

MOST_READINGS = 4
"""Ways in which a key can be read that are told apart."""

MOST_TRIED = 50_000
"""Texts of a key that are tried behind the first of a name that stands twice."""

ONE_READING = "put a `table` entry for it before this rule, or narrow the names by `for`"

Bound = tuple[tuple[str, Value], ...]
"""Values of names that stand again further on."""


def readings_of(
    parts: Sequence[Part], paths: Mapping[str, Paths], regex_of: Callable[[Part], str]
) -> Callable[[str], list[dict[str, Value]]]:
    """What gives the captures' values for each way to read a key, the first few of them.

    `paths` are those that the texts of captures may be, by their names. A name that stands twice
    has one value. Takes time by the number of places where a capture may end; it raises
    PatternError where there are too many for a name that stands twice.
    """
    known = _Known(parts, paths, [re.compile(regex_of(part)) for part in parts])
    names = [part.name for part in parts if isinstance(part, Capture)]

    def read(key: str) -> list[dict[str, Value]]:
        rows = _Reading(key, known).rows(0, 0, ())
        return _distinct(dict(zip(names, row, strict=True)) for row in rows)

    return read


class _Known:
    """What the captures of a pattern may stand for."""

    def __init__(
        self,
        parts: Sequence[Part],
        paths: Mapping[str, Paths],
        programs: Sequence[re.Pattern[str]],
    ) -> None:
        self.parts, self._paths, self._programs = parts, paths, programs
        captures = [(part.name, n) for n, part in enumerate(parts) if isinstance(part, Capture)]
        counted = Counter(name for name, _ in captures)
        self._twice = {name for name, count in counted.items() if count > 1} - {"_"}
        self._last = dict(captures)

    def values(self, number: int, capture: Capture, text: str) -> Iterable[Value]:
        """What a capture may be where it has this text."""
        if capture.separator is not None:
            return self._paths.get(capture.name, {}).get(text, ())
        if self._programs[number].fullmatch(text) is None:
            return ()
        return ("",) if capture.nameless else (capture.value(text),)

    def bind(self, number: int, name: str, value: Value, bound: Bound) -> Bound | None:
        """What is bound behind a capture; None where its name has another value."""
        if name not in self._twice:
            return bound
        others = tuple(pair for pair in bound if pair[0] != name)
        if len(others) < len(bound) and (name, value) not in bound:
            return None
        return others if self._last[name] == number else (*others, (name, value))


class _Reading:
    """The ways to read one key, each rest of it once."""

    def __init__(self, key: str, known: _Known) -> None:
        self._key, self._known, self._parts = key, known, known.parts
        self._rows: dict[tuple[int, int, Bound], tuple[Row, ...]] = {}
        self._tried = 0

    def rows(self, number: int, start: int, bound: Bound) -> tuple[Row, ...]:
        """The values of the captures from a part on, for the key from a place on."""
        if number == len(self._parts):
            return ((),) if start == len(self._key) else ()
        at = number, start, bound
        if at not in self._rows:
            self._rows[at] = tuple(dict.fromkeys(self._found(*at)))[:MOST_READINGS]
        return self._rows[at]

    def _found(self, number: int, start: int, bound: Bound) -> Iterator[Row]:
        part = self._parts[number]
        if isinstance(part, Literal):
            if self._key.startswith(part.text, start):
                yield from self.rows(number + 1, start + len(part.text), bound)
            return
        for end in _ends(self._parts, number, self._key, start):
            self._count_try(bound)
            for value in self._known.values(number, part, self._key[start:end]):
                after = self._known.bind(number, part.name, value, bound)
                if after is not None:
                    rests = self.rows(number + 1, end, after)
                    yield from ((value, *rest) for rest in rests)

    def _count_try(self, bound: Bound) -> None:
        self._tried += bool(bound)
        if self._tried > MOST_TRIED:
            text = f"`{self._key}` may be read in too many ways"
            raise PatternError(text, help=ONE_READING)


def _ends(parts: Sequence[Part], number: int, key: str, start: int) -> Iterator[int]:
    """Where the text of a capture may end: before the literal behind it, or anywhere."""
    if number + 1 == len(parts):
        yield len(key)
        return
    after = parts[number + 1]
    if not isinstance(after, Literal):
        yield from range(start, len(key) + 1)
        return
    end = key.find(after.text, start)
    while end >= 0:
        yield end
        end = key.find(after.text, end + 1)


def _distinct(found: Iterable[dict[str, Value]]) -> list[dict[str, Value]]:
    """The readings, each once, without what has no name."""
    distinct: list[dict[str, Value]] = []
    for one in found:
        one.pop("_", None)
        if one not in distinct:
            distinct.append(one)
    return distinct
