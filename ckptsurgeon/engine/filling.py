"""The values that `init` makes: the same for the same key, seed and shape.

That is so on every machine with the same C library, whose `log` has a part in `normal`; between
others the last place of a float64 may differ, which a cast to a narrower dtype all but hides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ckptsurgeon.ops.normals import generator
from ckptsurgeon.plans.fills import numbers_of
from ckptsurgeon.plans.graph import Made

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BLOCK = 1 << 20
"""Numbers that are drawn at a time."""


def fill(made: Made) -> Array:
    """The tensor in its carrier dtype.

    `normal` is seeded by the seed and the key (`ops/normals.py`), drawn in float64, scaled by std,
    and cast.
    """
    import numpy as np

    from ckptsurgeon.ops.carriers import encode

    code, shape = made.spec.dtype, made.spec.shape
    if made.fill == "normal":
        return _normal(made)
    if made.fill == "eye":
        return encode(np.eye(*shape, dtype=np.float32), code)
    (number,) = numbers_of(made.fill)
    return np.full(shape, encode(number, code))


def _normal(made: Made) -> Array:
    """The draws one after the other, in blocks: float64 takes several times the result's memory."""
    import numpy as np

    from ckptsurgeon.ops.carriers import numpy_dtype

    dtype = numpy_dtype(made.spec.dtype)
    draws = generator(f"{made.seed}\0{made.key}")
    values = np.empty(made.spec.count, dtype)
    for start in range(0, values.size, BLOCK):
        block = values[start : start + BLOCK]
        block[:] = (draws.standard_normal(block.size) * made.std).astype(dtype)
    return values.reshape(made.spec.shape).view(made.spec.carrier)
