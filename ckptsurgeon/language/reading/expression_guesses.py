"""Expressions as other languages write them, and what each is here."""

from __future__ import annotations

import re

from ckptsurgeon.errors import ExpressionError
from ckptsurgeon.language.expressions import parse_expression
from ckptsurgeon.language.problems import MAX_SHOWN

_OTHERS = tuple(
    (re.compile(written), meant)
    for written, meant in (
        (r"%?<(\w+)(?::\w+)?>|\$?\{(\w+)\}|\$(\w+)", r"\1\2\3"),
        (r"\b(\w+)\s+in\s+\[?\s*(\d+)\s*\.\.+\s*(\d+)\s*\]?", r"\2 <= \1 <= \3"),
        (r"\b(\w+)\s+in\s+range\(\s*(\d+)\s*\)", r"0 <= \1 < \2"),
        (r"\b(\w+)\s+in\s+range\(\s*(\d+)\s*,\s*(\d+)\s*\)", r"\2 <= \1 < \3"),
        (r"\s*&&?\s*|\s+AND\s+", " and "),
        (r"\s*\|\|?\s*|\s+OR\s+", " or "),
        (r"!(?!=)\s*|\bNOT\s+", "not "),
        (r"\s+is\s+not\s+|\s*<>\s*|\s*!==\s*", " != "),
        (r"\s*===\s*|\s*(?<![<>=!])=(?!=)\s*|\s+is\s+", " == "),
    )
)
"""What other languages write, and what it is here."""


def find_expression(text: str) -> str:
    """The next step where a text is an expression of another language; empty where it is none."""
    meant = text if len(text) <= MAX_SHOWN else ""
    for written, ours in _OTHERS:
        meant = written.sub(ours, meant)
    if meant == text or not meant.strip():
        return ""
    try:
        parse_expression(meant)
    except ExpressionError:
        return ""
    return f"write `{meant.strip()}`"
