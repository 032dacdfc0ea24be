"""A part of a report as every format shows it: a title, and lines in columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ckptsurgeon.render.columns import Aligned


@dataclass(frozen=True, slots=True)
class Section:
    """A title, what is told beside it, and a line for each of `items`, of which `limit` are shown.

    `show` makes the cells of a line, safe to show; `heads` name its columns, the last one what is
    behind these; text has them too where it `shows_heads`, for they are not plain. `hints` stand
    below. `is_wrong` says that it keeps a result from being written, or two from being equal.
    """

    title: str
    told: str = ""
    items: Sequence[Any] = ()
    show: Callable[[Any], Aligned] = lambda line: line
    limit: int = 0
    heads: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    is_wrong: bool = False
    shows_heads: bool = False
