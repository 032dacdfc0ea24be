"""Which numbers a tensor of a probe may hold, and which of them it gets.

A `Band` is a run of neighbouring bit patterns, all of which are good values: 2**bits of them. The
numbers of a tensor are drawn from its band by their place alone, so that they depend on nothing but
the seed, the keys and the specs.

All F32 numbers of a checkpoint are of one pool, and so are those of F64: as long as a band has room
for a pool, no two of its numbers are equal. For narrower dtypes each tensor is a pool.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ckptsurgeon.ops.ranges import COMPLEX, INTEGER_RANGES
from ckptsurgeon.probing.kinds import KEPT, Kind
from ckptsurgeon.specs import BITS, TensorSpec

Pool = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A floating dtype: bits of its fraction, bias of its exponent, and where small numbers end.

    Small numbers are below 2**top, of 2**LOG_BINADES binades; a pool that has no room there
    gets twice as many binades up to `spare` times.
    """

    fraction: int
    bias: int
    top: int = -4
    spare: int = 0


FLOATS: Mapping[str, FloatFormat] = {
    "F64": FloatFormat(52, 1023),
    "F32": FloatFormat(23, 127, spare=3),
    "BF16": FloatFormat(7, 127, spare=1),
    "F16": FloatFormat(10, 15),
    "F8_E4M3": FloatFormat(3, 7, top=2),
    "F8_E5M2": FloatFormat(2, 15, top=2),
    "F8_E4M3FNUZ": FloatFormat(3, 8, top=2),
    "F8_E5M2FNUZ": FloatFormat(2, 16, top=2),
}
"""Floating dtypes with a sign. In 8 bits weights are stored scaled, and up to 4 here."""

LOG_BINADES = 3
"""Eight binades, with both signs: of numbers so spread below 2**-4 the deviation is 0.02."""

LEAST_SCALE, SCALE_BITS = 111, 5
"""F8_E8M0 is an exponent without a sign: 2**-16 to 2**15."""

COUNTER_BITS = 10

MOST_BITS = 31
"""Bits of a random integer of 64."""

SHARED = 2
"""Parts of the name of a pool that many tensors share: a dtype, and a kind."""

TELLING_BITS = 24
"""Bits that hardly two tensors of a checkpoint have in common."""

WIDE = 32
"""Bits of a dtype from which on all its numbers in a checkpoint may differ."""


@dataclass(frozen=True, slots=True)
class Band:
    """The bit patterns `low` to `low + 2**bits - 1` of a width, or half as many with both signs."""

    width: int
    low: int
    bits: int
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes the numbers of a tensor: `count` of them, of a band, beginning at a `start`.

    In a pool that has room (`permuted`) each place has a number of its own, else each is drawn for
    itself. Of indexes, `columns` are in a row.
    """

    band: Band
    count: int
    seed: int
    start: int = 0
    permuted: bool = True
    columns: int = 0


def make_recipes(
    specs: Mapping[str, TensorSpec], kinds: Mapping[str, Kind], seed: int
) -> dict[str, Recipe]:
    """The recipes by key of all tensors that are not kept; the order of the keys is of no matter.

    Pools are filled in the order of names.
    """
    made = [key for key in sorted(specs) if kinds[key] not in KEPT]
    pools = {key: _pool_of(key, specs[key], kinds[key]) for key in made}
    totals, filled = Counter[Pool](), Counter[Pool]()
    for key in made:
        totals[pools[key]] += numbers_of(specs[key])[1]
    recipes = {}
    for key in made:
        spec, kind, pool = specs[key], kinds[key], pools[key]
        recipes[key] = _make_recipe(key, spec, kind, pool, totals[pool], filled[pool], seed)
        filled[pool] += recipes[key].count
    return recipes


def _make_recipe(
    key: str, spec: TensorSpec, kind: Kind, pool: Pool, total: int, start: int, seed: int
) -> Recipe:
    code, count = numbers_of(spec)
    if kind is Kind.INDEX:
        band = Band(BITS[code], 0, INTEGER_RANGES[code][1].bit_length())
        return Recipe(band, count, 0, columns=max((1, *spec.shape[-1:])))
    band = band_of(kind, code, total)
    if total <= 1 << band.bits:
        return Recipe(band, count, _hash(seed, *pool), start)
    return Recipe(band, count, _hash(seed, *pool, key), permuted=False)


def numbers_of(spec: TensorSpec) -> tuple[str, int]:
    """The dtype of the numbers that a tensor is made of, and how many they are.

    A complex number is two; of items under a byte, all bytes are numbers.
    """
    if spec.dtype in COMPLEX:
        return ("F32" if spec.dtype == "C64" else "F64"), 2 * spec.count
    return (spec.dtype, spec.count) if spec.carrier else ("U8", spec.nbytes)


def confusable(
    recipes: Mapping[str, Recipe], kinds: Mapping[str, Kind], specs: Mapping[str, TensorSpec]
) -> list[str]:
    """The keys of so few bits that another tensor of their kind may well hold the same numbers."""
    groups: dict[Pool, list[str]] = defaultdict(list)
    for key, recipe in recipes.items():
        pool = _pool_of(key, specs[key], kinds[key])
        apart = len(pool) == SHARED and recipe.permuted
        if not apart and not recipe.columns and recipe.count * recipe.band.bits < TELLING_BITS:
            groups[_kind_of(pool, recipe)].append(key)
    return [key for group in groups.values() if len(group) > 1 for key in group]


def _kind_of(pool: Pool, recipe: Recipe) -> Pool:
    return (*pool[:SHARED], str(recipe.count))


def _pool_of(key: str, spec: TensorSpec, kind: Kind) -> Pool:
    code = numbers_of(spec)[0]
    is_shared = kind is Kind.COUNTER or (code in FLOATS and BITS[code] >= WIDE)
    return (code, kind.value) if is_shared else (code, kind.value, key)


def band_of(kind: Kind, code: str, total: int) -> Band:
    """The band of a kind of numbers in a dtype, as wide as so many numbers want it, if it may."""
    width = BITS[code]
    if code == "F8_E8M0":
        return Band(width, LEAST_SCALE, SCALE_BITS)
    if kind is Kind.COUNTER:
        return Band(width, 1, _between(COUNTER_BITS, total, width - 2))
    if code not in FLOATS:
        return Band(width, 0, 1 if code == "BOOL" else MOST_BITS if width > WIDE else width)
    form = FLOATS[code]
    if kind is Kind.SMALL:
        least = form.fraction + LOG_BINADES + 1
        bits = _between(least, total, least + form.spare)
        return Band(width, _pattern(form, form.top) - (1 << (bits - 1)), bits, signed=True)
    bits = _between(form.fraction, total, form.fraction + 1)
    if kind is Kind.POSITIVE:
        return Band(width, _pattern(form, 1), bits)
    return Band(width, _pattern(form, 0) - (1 << (bits - 1)), bits)


def _between(least: int, total: int, most: int) -> int:
    """The bits that so many numbers take, between two bounds of which the upper one wins."""
    return min(max(least, (total - 1).bit_length()), most)


def _pattern(form: FloatFormat, exponent: int) -> int:
    """The bits of 2**exponent."""
    return (form.bias + exponent) << form.fraction


def _hash(seed: int, *names: str) -> int:
    """64 bits of a seed and names."""
    text = "\0".join((f"{seed:x}", *names)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def block_starts(recipe: Recipe, size: int) -> Iterator[tuple[int, int]]:
    """Where blocks of a tensor begin, in numbers, and how many numbers are in them."""
    return ((at, min(size, recipe.count - at)) for at in range(0, recipe.count, size))
