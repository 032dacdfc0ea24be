"""Normal numbers that a text determines: NumPy's legacy generator, seeded by its SHA-256.

The generator's stream is frozen, so that the numbers are the same on every machine with the same C
library, whose `log` has a part in them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

RUN = 1 << 16
"""Numbers of a row that are seeded together, so that any part of it can be drawn alone."""


def generator(text: str) -> np.random.RandomState:
    """What draws the numbers of a text, one after the other."""
    import numpy as np

    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    words = [int.from_bytes(digest[at : at + 4], "little") for at in range(0, 32, 4)]
    return np.random.RandomState(words)


def normals(text: str, start: int, count: int) -> Array:
    """So many numbers in float64, from one of the row that a text begins."""
    import numpy as np

    stop = start + count
    runs = [
        generator(f"{text}\0{number}").standard_normal(min(RUN, stop - number * RUN))
        for number in range(start // RUN, -(-stop // RUN))
    ]
    if not count:
        return np.empty(0)
    runs[0] = runs[0][start % RUN :]
    return np.concatenate(runs)
