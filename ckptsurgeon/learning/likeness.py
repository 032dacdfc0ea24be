"""How alike two keys are: by their words, and by what is known of keys near them."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ckptsurgeon.keys import integers_in, prefixes_of
from ckptsurgeon.language.patterns.pieces import MAX_DIGITS

WORD = re.compile(r"[A-Za-z]+|[0-9]+")

EQUAL = 4.0
"""How alike a key is to itself; no other two are as much."""

Offsets = tuple[int, ...]


class Likeness:
    """Compares source keys with target keys, of which some pairs are known to belong together.

    Rare words count more than common ones. A pair is the likelier if others under the same
    prefixes belong together, and if its integers differ as theirs do.
    """

    def __init__(
        self, sources: Iterable[str], targets: Iterable[str], known: Sequence[tuple[str, str]]
    ) -> None:
        keys = [*sources, *targets]
        counts = Counter(word for key in keys for word in set(raw_words_of(key)))
        self._weights = {word: math.log(1 + len(keys) / count) for word, count in counts.items()}
        self._prefixes = {pair for source, target in known for pair in _prefixes(source, target)}
        self._alike: dict[tuple[tuple[str, ...], tuple[str, ...]], float] = {}
        self._offsets = Counter(_offsets(source, target) for source, target in known)

    def of(self, source: str, target: str, *, is_same: bool = True) -> float:
        """How alike a source and a target key are, from 0 on.

        An equal key says most, unless what is known of those beside it speaks against it (`is_same`
        is false).
        """
        if source == target and is_same:
            return EQUAL
        return self._by_words(source, target) + self._by_place(source, target)

    def _by_words(self, source: str, target: str) -> float:
        words = _own_words(source), _own_words(target)
        if words not in self._alike:
            left, right = map(Counter, words)
            whole = self._sum(left | right)
            self._alike[words] = self._sum(left & right) / whole if whole else 0.0
        return self._alike[words]

    def _sum(self, words: Counter[str]) -> float:
        return sum(self._weights[word] * count for word, count in words.items())

    def _by_place(self, source: str, target: str) -> float:
        depth = source.count(".") + target.count(".")
        known = (pair for pair in _prefixes(source, target) if pair in self._prefixes)
        found = (a.count(".") + b.count(".") + 2 for a, b in known)
        offsets = _offsets(source, target)
        alike = 0.5 if offsets is not None and self._offsets[offsets] else 0.0
        if not (alike or self._offsets) and offsets and not any(offsets):
            alike = 0.25
        return max(found, default=0) / (depth + 2) + alike


def raw_words_of(key: str) -> list[str]:
    """The words and integers of a key."""
    return WORD.findall(key.lower())


@functools.lru_cache(1 << 12)
def _own_words(key: str) -> tuple[str, ...]:
    """The words of a key without the numbers of items, which names share by chance."""
    pieces = (piece for piece in key.split(".") if not piece.isdecimal())
    return tuple(word for piece in pieces for word in raw_words_of(piece))


def _prefixes(source: str, target: str) -> Iterator[tuple[str, str]]:
    """What both keys begin with, up to any of their dots."""
    return itertools.product(prefixes_of(source), prefixes_of(target))


@functools.lru_cache(1 << 12)
def _integers(key: str) -> tuple[int, ...]:
    return tuple(int(one[-MAX_DIGITS:]) for one in integers_in(key))


def _offsets(source: str, target: str) -> Offsets | None:
    """By how much the integers of two keys differ, where they have as many."""
    left, right = _integers(source), _integers(target)
    if len(left) != len(right):
        return None
    return tuple(b - a for a, b in zip(left, right, strict=True))
