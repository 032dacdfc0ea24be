"""The block that a tensor is in: the outermost item of a list."""

from __future__ import annotations

import re
from collections.abc import Iterator

_ITEM = re.compile(r".*?[0-9][^.]*\.")


def block_of(key: str) -> str:
    """What a key begins with up to the first item of a list; empty where it is in none."""
    found = _ITEM.match(key)
    return found[0] if found is not None else ""


def blocks_around(key: str) -> Iterator[str]:
    """The block that a tensor's module is in, and all blocks; what is in none has its own ways."""
    block = block_of(key)
    if block and "." in key[len(block) :]:
        yield block
        yield ""
