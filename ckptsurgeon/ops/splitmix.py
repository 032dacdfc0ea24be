"""splitmix64: numbers that look random, of numbers (Steele, Lea and Flood 2014; Vigna's C code)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Words = np.ndarray[Any, np.dtype[np.uint64]]

GAMMA = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def mix(words: Words) -> Words:
    """Mixes the bits of each word, in place."""
    import numpy as np

    words ^= words >> np.uint64(30)
    words *= np.uint64(_FIRST)
    words ^= words >> np.uint64(27)
    words *= np.uint64(_SECOND)
    words ^= words >> np.uint64(31)
    return words


def scramble(words: Words) -> Words:
    """A number for each word that looks random."""
    import numpy as np

    return mix(words + np.uint64(GAMMA))


@lru_cache(1024)  # for all tensors of a checkpoint
def scramble_number(seed: int, number: int = 0) -> int:
    """The number at a place of the row that a seed begins."""
    mixed = (seed + (number + 1) * GAMMA) % 2**64
    mixed = (mixed ^ (mixed >> 30)) * _FIRST % 2**64
    mixed = (mixed ^ (mixed >> 27)) * _SECOND % 2**64
    return mixed ^ (mixed >> 31)
