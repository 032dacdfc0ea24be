"""The block that a tensor is in: the outermost item of a list."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from ckptsurgeon.keys import without_integers
from ckptsurgeon.suggesting.names import cut_leaf
from ckptsurgeon.suggesting.units import Specs

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


def name_of(key: str) -> str:
    """The last piece of a tensor's module."""
    return cut_leaf(key)[0].rpartition(".")[2]


class Blocks:
    """What the blocks of both sides hold: those of one codebase hold the same by the same names."""

    def __init__(self, source: Specs, target: Specs) -> None:
        self._held = _held_by_block(source), _held_by_block(target)

    def are_one(self, own: str, to: str) -> bool:
        """Whether the blocks of two keys are called the same, and one holds what the other does."""
        blocks = _block_around(own), _block_around(to)
        names = [_list_name(without_integers(one)) for one in blocks]
        held = [side.get(one, set()) for side, one in zip(self._held, blocks, strict=True)]
        return names[0] == names[1] and (held[0] <= held[1] or held[1] <= held[0])


def _held_by_block(specs: Specs) -> Mapping[str, set[str]]:
    held: dict[str, set[str]] = defaultdict(set)
    for key in specs:
        block = _block_around(key)
        held[block].add(key[len(block) :])
    return held


def _list_name(block: str) -> list[str]:
    """The piece that names a block, with its number where that is a piece of its own."""
    *before, last, _ = ["", *block.split(".")]
    return [*before[-1:], last] if last.isdecimal() else [last]


def _block_around(key: str) -> str:
    """The block that a key is in; for one in none what holds its module."""
    module = cut_leaf(key)[0]
    return block_of(key) or module[: len(module) - len(name_of(key))]
