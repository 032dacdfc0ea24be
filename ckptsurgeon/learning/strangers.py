"""Files that are not the same weights, refused before anything is said of them."""

from __future__ import annotations

from collections.abc import Collection

from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.learning.example import Example
from ckptsurgeon.specs import plural

LEAST_EXPLAINED = 0.1
"""The share of tensors that values must explain for two files to be the same weights."""


def refuse_strangers(example: Example, made: Collection[str], which: str = "") -> None:
    """Raises CheckpointError where values explain hardly anything."""
    signed = example.signatures.items()
    telling = {key for key, one in signed if one.count > 1 and not one.constant}
    explained = telling.intersection(made)
    if telling and len(explained) < LEAST_EXPLAINED * len(telling):
        shown = f"{len(explained):,} of {plural(len(telling), 'tensor')}"
        raise CheckpointError(
            f"{which}{example.converted.path}: these are not the same weights: the source's values "
            f"explain {shown}; {_advise(example)}"
        )


def _advise(example: Example) -> str:
    """What to do where values explain hardly anything."""
    if example.is_rounded:
        return "they are BF16's, stored as F32: save what was made as BF16, or not rounded"
    return "learn from a checkpoint and what was made of it, values unchanged"
