"""Long lists and texts, cut where that saves room: no marker is longer than what it hides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def cut(items: Sequence[Item], most: int) -> tuple[Sequence[Item], int]:
    """The first items, and how many are left out: none, or two at least."""
    return (items, 0) if len(items) <= most + 1 else (items[:most], len(items) - most)


def list_some(names: Iterable[str], most: int) -> str:
    """`a, b and 3 more`."""
    shown, left = cut(list(names), most)
    return ", ".join(shown) + (f" and {left:,} more" if left else "")


def cut_middle(
    text: str, longest: int, head: int, show: Callable[[str], str], *, sign: str = "..."
) -> str:
    """A text as it is shown, of a longer one both ends: `head` characters, and as many as fit."""
    tail = longest - head
    marker = f"[{sign}{len(text) - longest} more{sign}]"
    if len(text) <= longest + len(marker):
        return show(text)
    return f"{show(text[:head])}{marker}{show(text[-tail:])}"
