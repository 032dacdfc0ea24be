"""The numbers of a recipe, by whole-number arithmetic alone: the same bytes on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ckptsurgeon.ops.splitmix import GAMMA, mix, scramble_number
from ckptsurgeon.probing.recipes import Band, Recipe

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ROUNDS = 3


def draw(recipe: Recipe, first: int, count: int) -> Array:
    """`count` numbers of a tensor from its number `first` on, as the bits of their carrier."""
    if recipe.columns:
        drawn = _indexes(recipe, first, count)
    elif recipe.permuted:
        drawn = _in_band(_permuted(recipe, first, count), recipe.band)
    else:
        drawn = _in_band(_hashed(recipe, first, count), recipe.band)
    return drawn.astype(f"<u{recipe.band.width // 8}", copy=False)


def _indexes(recipe: Recipe, first: int, count: int) -> Array:
    """0, 1, 2, … along each row, as far as the dtype counts."""
    import numpy as np

    places: Array = np.arange(first, first + count, dtype="<u8") % np.uint64(recipe.columns)
    np.minimum(places, np.uint64((1 << recipe.band.bits) - 1), out=places)
    return places


def _in_band(ranks: Array, band: Band) -> Array:
    """The bit patterns of these ranks in a band; the lowest bit of a rank is the sign, if any."""
    wide = ranks.astype(f"<u{max(4, band.width // 8)}", copy=False)
    low, one = wide.dtype.type(band.low), wide.dtype.type(1)
    if not band.signed:
        wide += low
        return wide
    signs = (wide & one) << wide.dtype.type(band.width - 1)
    wide >>= one
    wide += low
    wide |= signs
    return wide


def _permuted(recipe: Recipe, first: int, count: int) -> Array:
    """The places of a pool in another order: each step can be undone, so no two become one."""
    import numpy as np

    bits = recipe.band.bits
    dtype = np.dtype("<u4" if bits <= 32 else "<u8")
    mask, half = dtype.type((1 << bits) - 1), dtype.type((bits + 1) // 2)
    places = np.arange(count, dtype=dtype)
    places += dtype.type((recipe.start + first + scramble_number(recipe.seed)) & int(mask))
    places &= mask
    for number in range(1, ROUNDS + 1):
        places ^= places >> half
        places *= dtype.type((scramble_number(recipe.seed, number) | 1) & int(mask))
        places &= mask
    places ^= places >> half
    return places


def _hashed(recipe: Recipe, first: int, count: int) -> Array:
    """The uppermost bits of splitmix64 of each place."""
    import numpy as np

    numbers = np.arange(first + 1, first + count + 1, dtype="<u8")
    numbers *= np.uint64(GAMMA)
    numbers += np.uint64(recipe.seed)
    mix(numbers)
    numbers >>= np.uint64(64 - recipe.band.bits)
    return numbers
