"""The values that `init` makes: the same for the same key, seed and shape, on every machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from ckptsurgeon.planner.model import Made

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def fill(made: Made) -> Array:
    """The tensor in its carrier dtype.

    `normal` draws from NumPy's legacy generator, whose stream is frozen, seeded by SHA-256 of the
    seed and the key; it is drawn in float64, scaled by std, and cast.
    """
    import numpy as np

    from ckptsurgeon.ops.carriers import encode, numpy_dtype

    dtype, shape = numpy_dtype(made.spec.dtype), made.spec.shape
    if made.fill == "normal":
        numbers = np.random.RandomState(_seed(made)).standard_normal(shape)
        values = np.asarray(numbers * made.std).astype(dtype)
    elif made.fill == "eye":
        values = np.eye(*shape, dtype=np.float32).astype(dtype)
    else:
        number = {"zeros": 0, "ones": 1}.get(str(made.fill), made.fill)
        values = np.full(shape, number).astype(dtype)
    carrier = made.spec.carrier
    return values if carrier is None else encode(np.ascontiguousarray(values), carrier)


def _seed(made: Made) -> list[int]:
    digest = hashlib.sha256(f"{made.seed}\0{made.key}".encode()).digest()
    return [int.from_bytes(digest[at : at + 4], "little") for at in range(0, 32, 4)]
