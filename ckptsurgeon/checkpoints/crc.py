"""CRC-32 of bytes that come in parts and in any order.

The CRC of two stretches together follows from theirs and the length of the second (M. Adler's
method, in zlib's `crc32_combine`): appending n zero bytes multiplies by x^(8n) in GF(2)[x] modulo
the CRC's polynomial.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from ckptsurgeon.errors import CheckpointError

POLYNOMIAL = 0xEDB88320
"""CRC-32's, bits reversed."""

ONE = 1 << 31
"""The polynomial 1, bits reversed."""


def refuse_damaged(found: int, said: int | None) -> None:
    """Raises CheckpointError where bytes don't have the CRC-32 that their file says, if it does."""
    if said is not None and found != said:
        raise CheckpointError(
            "its bytes don't have the CRC-32 that the file gives: damaged; fetch or copy it again"
        )


def combine_all(parts: Iterable[tuple[int, int, int]]) -> int:
    """The CRC-32 of (offset, length, crc) parts that leave no gap between them."""
    total = 0
    for _, length, crc in sorted(parts):
        total = _multiply(_power(length), total) ^ crc
    return total


def crc_of_rest(whole: int, first: int, length: int) -> int:
    """The CRC-32 of the last `length` bytes, from that of all and that of those before them."""
    return _multiply(_power(length), first) ^ whole


def _multiply(one: int, other: int) -> int:
    """The product modulo the polynomial, bit 31 standing for x^0."""
    product, bit = 0, ONE
    while bit:
        if one & bit:
            product ^= other
        bit >>= 1
        other = (other >> 1) ^ POLYNOMIAL if other & 1 else other >> 1
    return product


@lru_cache(maxsize=1024)
def _power(length: int) -> int:
    """x^(8 * length) modulo the polynomial."""
    result, square = ONE, ONE >> 8
    while length:
        if length & 1:
            result = _multiply(square, result)
        square = _multiply(square, square)
        length >>= 1
    return result
