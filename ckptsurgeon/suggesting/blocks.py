"""The block that a tensor is in: the outermost item of a list."""

from __future__ import annotations

import re
from collections.abc import Iterator

_ITEM = re.compile(r".*?[0-9][^.]*\.")


def blocks_around(key: str) -> Iterator[str]:
    """The block that a key is in, and all blocks; what is in none has ways of its own."""
    found = _ITEM.match(key)
    if found is not None:
        yield found[0]
        yield ""


def block_of(key: str) -> str:
    """What a key begins with up to the first item of a list; empty where it is in none."""
    return next(blocks_around(key), "")
