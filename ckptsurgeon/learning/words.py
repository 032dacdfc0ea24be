"""Tensors as words: the bits of each value in a dtype, and a number for each that looks random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.runs import read_runs
from ckptsurgeon.ops import carriers
from ckptsurgeon.ops.ranges import COMPLEX, INTEGER_RANGES
from ckptsurgeon.ops.splitmix import scramble
from ckptsurgeon.specs import BITS

Array = np.ndarray[Any, Any]
Words = np.ndarray[Any, np.dtype[np.uint64]]

CHUNK = 1 << 17
"""Items that are held at a time: what a core's cache holds as words."""


def may_become(dtype: str, wanted: str) -> bool:
    """Whether values of a dtype may be those of another, rounded if need be."""
    if BITS[dtype] % 8 or BITS[wanted] % 8:
        return dtype == wanted
    if wanted in COMPLEX or dtype in COMPLEX:
        return dtype in COMPLEX and wanted in COMPLEX
    if wanted == "BOOL":
        return dtype == wanted
    return dtype in INTEGER_RANGES or wanted not in INTEGER_RANGES


def read_words(checkpoint: Checkpoint, key: str, wanted: str) -> Iterator[Words]:
    """The bits of the tensor's values in the dtype `wanted`, at most `CHUNK` at a time."""
    spec = checkpoint.contents.specs[key]
    for run in read_runs(checkpoint, key):
        if spec.carrier is None:
            yield from _cut(run.astype(np.uint64))
            continue
        for part in _cut(run.view(spec.carrier)):
            yield bits_of(part, spec.dtype, wanted)


def _cut(items: Array) -> Iterator[Array]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def bits_of(items: Array, dtype: str, wanted: str) -> Words:
    """The bits of items of a carrier, as they are in another dtype."""
    if dtype != wanted:
        items = carriers.encode(carriers.decode(items, dtype), wanted)
    if items.dtype.kind == "c":
        pairs = np.ascontiguousarray(items).view(np.uint64).reshape(-1, 2)
        mixed: Words = scramble(pairs[:, 0]) + pairs[:, 1]
        return mixed
    return items.astype(np.uint64)
