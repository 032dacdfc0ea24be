"""How alike two keys are: words that both have, rare ones counting more, and integers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

WORD = re.compile(r"[A-Za-z]+|[0-9]+")


class Likeness:
    """Compares source keys with target keys; 1 is all words in common, more is the same key."""

    def __init__(self, sources: Iterable[str], targets: Iterable[str]) -> None:
        keys = [*sources, *targets]
        counts = Counter(word for key in keys for word in set(words_of(key)))
        self._weights = {word: math.log(1 + len(keys) / count) for word, count in counts.items()}

    def of(self, source: str, target: str) -> float:
        """How alike a source and a target key are, from 0 on."""
        if source == target:
            return 3.0
        left, right = Counter(words_of(source)), Counter(words_of(target))
        common = self._sum(left & right)
        whole = self._sum(left | right)
        return common / whole if whole else 0.0

    def _sum(self, words: Counter[str]) -> float:
        return sum(self._weights[word] * count for word, count in words.items())


def words_of(key: str) -> list[str]:
    """The words and integers of a key."""
    return WORD.findall(key.lower())
