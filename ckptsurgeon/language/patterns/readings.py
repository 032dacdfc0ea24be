"""All ways in which a key is read where captures stand for names that are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns.pieces import Capture, Literal
from ckptsurgeon.language.rows import Row

Paths = Mapping[str, tuple[str, ...]]
"""The paths that are known, by their texts without dots."""

Part = Literal | Capture

MOST_READINGS = 4
"""Ways in which a key can be read that are told apart."""


def readings_of(
    parts: Sequence[Part], paths: Mapping[str, Paths], regex_of: Callable[[Part], str]
) -> Callable[[str], list[dict[str, Value]]]:
    """What gives the captures' values for each way to read a key, the first few of them.

    `paths` are those that the texts of captures may be, by their names. Takes time by the number of
    places where a capture may end.
    """
    programs = [re.compile(regex_of(part)) for part in parts]

    def values(number: int, capture: Capture, text: str) -> Iterable[Value]:
        if capture.separator is not None:
            return paths.get(capture.name, {}).get(text, ())
        if programs[number].fullmatch(text) is None:
            return ()
        return ("",) if capture.nameless else (capture.value(text),)

    def read(key: str) -> list[dict[str, Value]]:
        known: dict[tuple[int, int], tuple[Row, ...]] = {}

        def rows(number: int, start: int) -> tuple[Row, ...]:
            if number == len(parts):
                return ((),) if start == len(key) else ()
            if (number, start) not in known:
                found = dict.fromkeys(_rows(number, start))
                known[number, start] = tuple(found)[:MOST_READINGS]
            return known[number, start]

        def _rows(number: int, start: int) -> Iterator[Row]:
            part = parts[number]
            if isinstance(part, Literal):
                if key.startswith(part.text, start):
                    yield from rows(number + 1, start + len(part.text))
                return
            for end in _ends(parts, number, key, start):
                for value in values(number, part, key[start:end]):
                    yield from ((value, *rest) for rest in rows(number + 1, end))

        names = [part.name for part in parts if isinstance(part, Capture)]
        return _distinct(dict(zip(names, row, strict=True)) for row in _agreeing(names, rows(0, 0)))

    return read


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


def _agreeing(names: Sequence[str], rows: Iterable[Row]) -> Iterator[Row]:
    """The rows in which a name that stands twice has one value."""
    for row in rows:
        firsts: dict[str, Value] = {}
        if all(firsts.setdefault(*pair) == pair[1] for pair in zip(names, row, strict=True)):
            yield row


def _distinct(found: Iterable[dict[str, Value]]) -> list[dict[str, Value]]:
    """The readings, each once, without what has no name."""
    distinct: list[dict[str, Value]] = []
    for one in found:
        one.pop("_", None)
        if one not in distinct:
            distinct.append(one)
    return distinct
