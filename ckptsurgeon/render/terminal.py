"""Text from files made fit for a terminal: no control characters, no surprises of direction."""

from __future__ import annotations

import unicodedata

from ckptsurgeon.cutting import cut_middle
from ckptsurgeon.visible import tame

LONGEST = 120
"""Characters of a text from a file that are shown; the middle of a longer one is left out."""

LONGEST_SENTENCE = 500
"""The same of a sentence of ours."""

HEAD = 70
"""Those of them before the middle."""

_WIDE = frozenset("WF")


def safe(text: str) -> str:
    r"""The text with what a terminal would act upon as escapes: `\x1b`, `\u202e`.

    A backslash is doubled, so that no two texts look the same. At most about 120 characters are
    shown. Newlines, control and format characters, bidirectional overrides and odd spaces are
    escaped, and so is what the log of a CI job takes for a command.
    """
    return cut_middle(text, LONGEST, HEAD, escape)


def safe_sentence(text: str) -> str:
    """The same of a sentence of ours, which may name keys: at most about 500 characters."""
    return cut_middle(text, LONGEST_SENTENCE, LONGEST_SENTENCE - LONGEST + HEAD, escape)


def escape(text: str) -> str:
    """The text, however long, with the escapes of `safe`."""
    return tame(text.replace("\\", "\\\\"))


def width_of(text: str) -> int:
    """Columns that a text takes: East Asian wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in _WIDE else 1


def pad(text: str, width: int) -> str:
    """The text followed by spaces up to a width; never cut."""
    return text + " " * (width - width_of(text))
