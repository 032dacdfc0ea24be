"""Expressions as other languages write them, and what each is here."""

from __future__ import annotations

import re

from ckptsurgeon.errors import ExpressionError
from ckptsurgeon.language.expressions import parse_expression
from ckptsurgeon.language.problems import MAX_SHOWN

_ALONE = r"(?:(?<=^)|(?<=and )|(?<=or )|(?<=not )|(?<=\())([A-Za-z_]\w*)"
"""A name that is a whole operand of `and` and `or`."""

_ENDS = r"(?=\s*(?:$|\)|and\b|or\b|&|\|))"

_OTHERS = tuple(
    (re.compile(written), meant)
    for written, meant in (
        (r"(?<![\w)%])(?:<([A-Za-z_]\w*)(?::\w+)?>|\$?\{([A-Za-z_]\w*)\})(?!\w)", r"\1\2"),
        (r"\$([A-Za-z_]\w*)", r"\1"),
        (rf"{_ALONE}\s+in\s+\[?\s*(\d+)\s*\.\.+\s*(\d+)(?:\s*\])?{_ENDS}", r"\2 <= \1 <= \3"),
        (rf"{_ALONE}\s+in\s+range\(\s*(\d+)\s*\){_ENDS}", r"0 <= \1 < \2"),
        (rf"{_ALONE}\s+in\s+range\(\s*(\d+)\s*,\s*(\d+)\s*\){_ENDS}", r"\2 <= \1 < \3"),
        (r"\s*&&\s*|\s+AND\s+|(?<=\))\s*&\s*(?=\()", " and "),
        (r"\s*\|\|\s*|\s+OR\s+|(?<=\))\s*\|\s*(?=\()", " or "),
        (r"!(?!=)\s*|\bNOT\s+", "not "),
        (r"\s+is\s+not\s+|\s*<>\s*|\s*!==\s*", " != "),
        (r"\s*===\s*|\s*(?<![<>=!])=(?!=)\s*|\s+is\s+", " == "),
    )
)
"""What other languages write, and what it is here."""

_WORD = re.compile(r"('[^']*'|\"[^\"]*\")")


def meant_expression(text: str) -> str:
    """What an expression of another language is here; empty where it is none."""
    parts = _WORD.split(text) if len(text) <= MAX_SHOWN else []
    for at in range(0, len(parts), 2):  # what is not in quotes
        for written, ours in _OTHERS:
            parts[at] = written.sub(ours, parts[at])
    meant = "".join(parts).strip()
    try:
        found = parse_expression(meant) if meant not in ("", text.strip()) else None
    except ExpressionError:
        return ""
    return meant if found and "None" not in found.names else ""


def find_expression(text: str) -> str:
    """The next step where a text is an expression of another language; empty where it is none."""
    meant = meant_expression(text)
    return meant and f"write `{meant}`"
