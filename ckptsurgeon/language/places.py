"""What the places of rules are called that stand in no file."""

from __future__ import annotations

COMMAND_LINE = "-e"
"""Rules that were typed, each a line; the shell has quoted what YAML would mind."""

PYTHON_RULES = "<rules>"
"""Rules that Python gives as dicts and lists."""


def is_file(name: str) -> bool:
    """Whether rules of this name stand in a file: not typed, given by Python, or piped."""
    return name != COMMAND_LINE and not name.startswith("<")
