"""A page put together of blocks, of which no line is cut: rows that have no room are counted."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ckptsurgeon.wording import name_all

LONGEST_PAGE = 65_000
"""Bytes of a page: GitHub takes 65,536 characters of a comment, and 1 MiB of a job summary."""

MOST_ROWS = LONGEST_PAGE // 8
"""Rows that have room on a page: none is shorter than 8 characters."""

FIRST_ROWS = 24
"""Rows of each block that have room before further ones of any: of advice behind many findings."""


class Rank(enum.IntEnum):
    """Whose rows have room before others have: what is wrong before what is clean."""

    VERDICT = enum.auto()
    WRONG = enum.auto()
    ADVICE = enum.auto()
    FRAME = enum.auto()
    ALLOWED = enum.auto()
    NOTES = enum.auto()
    CLEAN = enum.auto()


@dataclass(frozen=True, slots=True)
class Block:
    """Rows with what stands before and after them, and `left_out` rows that are not among them.

    `lead` stands before what counts those that a reader doesn't see.
    """

    rank: Rank
    before: str = ""
    rows: Sequence[str] = ()
    after: str = ""
    left_out: int = 0
    lead: str = "\n"

    def write(self, number: int) -> str:
        """The block with its first rows."""
        hidden = len(self.rows) - number + self.left_out
        before, after = ([text] if text else [] for text in (self.before, self.after))
        rest = [self.count(hidden)] if hidden else []
        return "\n".join([*before, *self.rows[:number], *rest, *after])

    def count(self, hidden: int) -> str:
        """What is said of rows that a reader doesn't see."""
        return f"{self.lead}... {hidden:,} more lines: `{name_all()}` has all"


def write_page(blocks: Sequence[Block], longest: int = LONGEST_PAGE) -> str:
    """The blocks as one page of at most `longest` bytes, with an empty line between them.

    Each has its first rows before one has more, as far as there is room.
    """
    room = longest - sum(map(_least, blocks))
    numbers = [0] * len(blocks)
    in_order = sorted(range(len(blocks)), key=lambda at: blocks[at].rank)
    for most, at in itertools.product((FIRST_ROWS, MOST_ROWS), in_order):
        for row in blocks[at].rows[numbers[at] : most]:
            if size_of(row) >= room:
                break
            room -= size_of(row) + 1
            numbers[at] += 1
    written = (block.write(number) for block, number in zip(blocks, numbers, strict=True))
    return "\n\n".join(written) + "\n"


def _least(block: Block) -> int:
    """The bytes of a block without rows, with its line breaks."""
    rest = block.count(len(block.rows) + block.left_out)
    return size_of(block.before) + size_of(rest) + size_of(block.after) + 4


def size_of(text: str) -> int:
    """The bytes of a text."""
    return len(text.encode())
