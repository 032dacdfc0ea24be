"""What tells whether a checkpoint is the one that a plan was made for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ckptsurgeon.specs import TensorSpec

DIGESTED = 4096
"""Keys that are hashed at a time."""


def digest(specs: Mapping[str, TensorSpec]) -> str:
    """SHA-256 over keys, dtypes and shapes, whatever the order in which a format lists them."""
    digest = hashlib.sha256()
    texts: dict[int, str] = {}
    keys = sorted(specs)
    for start in range(0, len(keys), DIGESTED):
        lines = []
        for key in keys[start : start + DIGESTED]:
            spec = specs[key]
            text = texts.get(id(spec)) or texts.setdefault(id(spec), str(spec))
            lines.append(f"{len(key)} {key} {text}\n")
        digest.update("".join(lines).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
