"""What numbers a dtype code can hold: the facts behind `cast` and `pad`, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ckptsurgeon.specs import BITS

INTEGER_RANGES: Mapping[str, tuple[int, int]] = {"BOOL": (0, 1)} | {
    code: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if code[0] == "I" else (0, 2**bits - 1)
    for code, bits in BITS.items()
    if code[0] in "IU"
}
"""Least and greatest value by integer code; BOOL counts as an integer of 0 and 1."""

COMPLEX = frozenset({"C64", "C128"})

LARGEST: Mapping[str, float] = {
    "F8_E4M3": 448.0,
    "F8_E5M2": 57344.0,
    "F8_E8M0": 2.0**127,
    "F8_E4M3FNUZ": 240.0,
    "F8_E5M2FNUZ": 57344.0,
    "F16": 65504.0,
    "BF16": (2 - 2.0**-7) * 2.0**127,
    "F32": (2 - 2.0**-23) * 2.0**127,
    "F64": (2 - 2.0**-52) * 2.0**1023,
    "C64": (2 - 2.0**-23) * 2.0**127,
    "C128": (2 - 2.0**-52) * 2.0**1023,
}
"""Greatest finite value by floating and complex code (OCP's float8, and AMD's FNUZ)."""

_ABOVE_F8 = frozenset({"F16", "BF16", "F32", "F64"})

WIDER: Mapping[str, frozenset[str]] = {
    "F8_E4M3": _ABOVE_F8,
    "F8_E5M2": _ABOVE_F8,
    "F8_E4M3FNUZ": _ABOVE_F8,
    "F8_E5M2FNUZ": _ABOVE_F8,
    "F8_E8M0": _ABOVE_F8 - {"F16"},  # 2**127 is beyond F16
    "F16": frozenset({"F32", "F64"}),
    "BF16": frozenset({"F32", "F64"}),
    "F32": frozenset({"F64"}),
    "C64": frozenset({"C128"}),
}
"""The floating codes that hold every value of a code exactly, and so give it back."""


LARGEST_WHOLE: Mapping[str, int] = {
    "F8_E4M3": 2**4,
    "F8_E5M2": 2**3,
    "F8_E8M0": 2,
    "F8_E4M3FNUZ": 2**4,
    "F8_E5M2FNUZ": 2**3,
    "F16": 2**11,
    "BF16": 2**8,
    "F32": 2**24,
    "F64": 2**53,
    "C64": 2**24,
    "C128": 2**53,
}
"""The whole number up to which a floating or complex code has every one."""


def rounds(source: str, target: str) -> bool:
    """Whether a floating `target` lacks whole numbers that an integer `source` may hold."""
    if source not in INTEGER_RANGES or target in INTEGER_RANGES:
        return False
    return max(map(abs, INTEGER_RANGES[source])) > LARGEST_WHOLE[target]


BEYOND_F64 = frozenset(code for code in INTEGER_RANGES if rounds(code, "F64"))
"""Integers of which float64 doesn't hold every value: those of 64 bits."""


def widens(source: str, target: str) -> bool:
    """Whether `target` is of the same kind and holds every value of `source` exactly."""
    if source in INTEGER_RANGES and target in INTEGER_RANGES:
        least, greatest = INTEGER_RANGES[target]
        low, high = INTEGER_RANGES[source]
        return least <= low and high <= greatest
    return source == target or target in WIDER.get(source, frozenset())


def lacks(code: str, value: float) -> str:
    """Why one number can't stand in a dtype, or nothing where it can (rounded where floating)."""
    if isinstance(value, float) and not math.isfinite(value):  # an int may be beyond any float
        return "must be finite"
    if code in INTEGER_RANGES:
        least, greatest = INTEGER_RANGES[code]
        whole = value == int(value) and least <= value <= greatest
        return "" if whole else f"must be a whole number from {least} to {greatest}"
    if code == "F8_E8M0":
        held = 2.0**-127 <= value <= LARGEST[code] and math.frexp(value)[0] == 0.5
        return "" if held else "must be a power of two from 2**-127 to 2**127"
    return "" if abs(value) <= LARGEST[code] else f"must be at most {LARGEST[code]:g} in size"
