"""All ways in which a key is read where captures stand for names that are known."""

from __future__ import annotations

import itertools
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
    programs = [re.compile(regex_of(part)) for part in parts]
    names = [part.name for part in parts if isinstance(part, Capture)]
    twice = {name for name, count in Counter(names).items() if count > 1} - {"_"}
    last = {part.name: n for n, part in enumerate(parts) if isinstance(part, Capture)}

    def values(number: int, capture: Capture, text: str) -> Iterable[Value]:
        if capture.separator is not None:
            return paths.get(capture.name, {}).get(text, ())
        if programs[number].fullmatch(text) is None:
            return ()
        return ("",) if capture.nameless else (capture.value(text),)

    def bind(number: int, name: str, value: Value, bound: Bound) -> Bound | None:
        """What is bound behind a capture; None where its name has another value."""
        if name not in twice:
            return bound
        others = tuple(pair for pair in bound if pair[0] != name)
        if len(others) < len(bound) and (name, value) not in bound:
            return None
        return others if last[name] == number else (*others, (name, value))

    def read(key: str) -> list[dict[str, Value]]:
        known: dict[tuple[int, int, Bound], tuple[Row, ...]] = {}
        tried = itertools.count()

        def rows(number: int, start: int, bound: Bound) -> tuple[Row, ...]:
            if number == len(parts):
                return ((),) if start == len(key) else ()
            at = number, start, bound
            if at not in known:
                known[at] = tuple(dict.fromkeys(_rows(*at)))[:MOST_READINGS]
            return known[at]

        def _rows(number: int, start: int, bound: Bound) -> Iterator[Row]:
            part = parts[number]
            if isinstance(part, Literal):
                if key.startswith(part.text, start):
                    yield from rows(number + 1, start + len(part.text), bound)
                return
            for end in _ends(parts, number, key, start):
                if bound and next(tried) >= MOST_TRIED:
                    raise PatternError(f"`{key}` may be read in too many ways", help=ONE_READING)
                for value in values(number, part, key[start:end]):
                    after = bind(number, part.name, value, bound)
                    if after is not None:
                        yield from ((value, *rest) for rest in rows(number + 1, end, after))

        return _distinct(dict(zip(names, row, strict=True)) for row in rows(0, 0, ()))

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


def _distinct(found: Iterable[dict[str, Value]]) -> list[dict[str, Value]]:
    """The readings, each once, without what has no name."""
    distinct: list[dict[str, Value]] = []
    for one in found:
        one.pop("_", None)
        if one not in distinct:
            distinct.append(one)
    return distinct
