"""Texts of strangers with escapes for what a terminal, or the log of a CI job, would act upon."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

# GitHub's runner takes a line for a command that begins with `::`, what is blank apart, and one
# with `##[` anywhere; it compares texts by the rules of a culture, for which marks may be nothing.
_COMMAND = re.compile(r"^([^\w!-~]*):(?=[^\w!-~]*:)")
_OLD_COMMAND = re.compile(r"#(?=[^\w\x00-\x7f]*#[^\w\x00-\x7f]*\[)")


def visible(text: str) -> str:
    """The text with escapes for what can't be seen, backslashes as they are: for our own words."""
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def disarm(line: str) -> str:
    r"""A visible line such that no log of GitHub Actions takes it for a command.

    `\x3a` for the first colon of `::` in front, `\x23` for the first sign of `##[`.
    """
    if "::" not in line and "#" not in line and line.isascii():
        return line
    return _OLD_COMMAND.sub(r"\\x23", _COMMAND.sub(r"\1\\x3a", line))


def tame(line: str) -> str:
    """A line with escapes for what can't be seen and for what a log would take for a command."""
    return disarm(visible(line))


def _shown(char: str) -> str:
    category = unicodedata.category(char)
    if category not in _HIDDEN and (category != "Zs" or char == " "):
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
