"""Conversions of real architectures with known answers, to judge `learn` and `suggest` by.

`conversion.make()` gives its sources, `conversion.convert(sources)` the converted state dict, and
`conversion.judge(found, ANOTHER)` what found rules do at another size. Names are those of the
libraries' own files, with few layers and narrow ones: what has one width there has one here.
`conversion.fresh()` gives examples that values leave ambiguous, `rounded(converted)` those in BF16.
"""

from __future__ import annotations

from known_conversions import (
    convolutions,
    earlier,
    from_jax,
    language_models,
    transformers_of_images,
)
from known_conversions.conversion import ANOTHER, LEARNED, Conversion
from known_conversions.judge import Verdict, convert, judge
from known_conversions.values import Array, Arrays, Sources, fill, fresh, rounded

CONVERSIONS = (
    *earlier.CONVERSIONS,
    *language_models.CONVERSIONS,
    *from_jax.CONVERSIONS,
    *transformers_of_images.CONVERSIONS,
    *convolutions.CONVERSIONS,
)

BY_NAME = {conversion.name: conversion for conversion in CONVERSIONS}

__all__ = [
    "ANOTHER",
    "BY_NAME",
    "CONVERSIONS",
    "LEARNED",
    "Array",
    "Arrays",
    "Conversion",
    "Sources",
    "Verdict",
    "convert",
    "fill",
    "fresh",
    "judge",
    "rounded",
]
