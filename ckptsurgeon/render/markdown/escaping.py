"""Texts of strangers in GitHub's markdown: shown as they are, and nothing else.

Within a code span nothing is read: no tag, entity, link, mention or emphasis. So what may come from
a file stands in one.
"""

from __future__ import annotations

import html
import itertools
import re

from ckptsurgeon.render.terminal import safe_sentence
from ckptsurgeon.visible import visible

EMPTY = "(empty)"
"""What stands for an empty text: there is no empty code span."""

_PLAIN = re.compile(
    r"['(]?[A-Za-z]+(['-][a-z]+)?[')]?[,;:.]?'?"  # a word
    r"|\(?\d[\d,]*(\.\d+)?%?[,;:]?"  # a number, but not that of an item of a list: `1.`, `1)`
)
"""A word that no markdown can be made of, and that GitHub makes no link of."""


def code(text: str) -> str:
    """A text as a code span, on one line.

    The fence is longer than any run of backticks within; spaces are put beside a backtick at an
    end, and beside two spaces, of which markdown takes one away again.
    """
    shown = visible(text) or EMPTY
    fence = "`" * (longest_run(shown) + 1)
    at_ends = shown[0] + shown[-1]
    pad = " " if "`" in at_ends or (at_ends == "  " and shown.strip()) else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def longest_run(text: str) -> int:
    """The length of the longest run of backticks."""
    runs = (len(list(run)) for char, run in itertools.groupby(text) if char == "`")
    return max(runs, default=0)


def cell(text: str) -> str:
    r"""A text that is safe to show (`terminal.safe`) as a cell of a table; "" stays empty.

    A pipe is escaped, for a table is cut into cells before code spans are read. The text's own
    backslashes are doubled, so that none of them escapes the one of a pipe.
    """
    return code(text).replace("|", r"\|") if text else ""


def prose(text: str) -> str:
    """A sentence of ours, not too long; as a code span where it names what may come from a file."""
    shown = safe_sentence(text)
    return shown if all(map(_PLAIN.fullmatch, shown.split(" "))) else code(shown)


def tagged(text: str) -> str:
    """A text of ours within an HTML tag, on one line; what stands between backticks as code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(visible(text), quote=False))
