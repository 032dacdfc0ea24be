"""Rule text that can be pasted: keys escaped for patterns, patterns quoted for YAML."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from ckptsurgeon.language.patterns import write_literal

LONGEST_LINE = 96
LONGEST_KEY = 1000
"""A key beyond this is never suggested: a pattern has at most 4,096 characters."""

_BLOCK = re.compile(r"[A-Za-z0-9_/<][A-Za-z0-9_./<>|*=:,\[\]\\ -]*")
_FLOW = re.compile(r"[A-Za-z0-9_/<][A-Za-z0-9_./<>|*=\\-]*")
_NOT_TEXT = re.compile(r"[0-9.+-]+(e[0-9]+)?|true|false|null|yes|no|on|off|~", re.IGNORECASE)


def alias_prefix(alias: str) -> str:
    """`s1::`, as it stands before the keys of a named source; "" for the unnamed one's."""
    return f"{write_literal(alias)}::" if alias else ""


def sayable(key: str) -> bool:
    """Whether a rule can name the key plainly.

    Outer spaces can't be escaped, and a rule file has no escapes for what does not print.
    """
    fits = 0 < len(key) <= LONGEST_KEY and key == key.strip()
    return fits and ((key.isascii() and key.isprintable()) or all(map(_plain, key)))


def scalar(text: str, flow: bool = False) -> str:
    """Printable text as a YAML scalar, quoted only where it must be; `flow` inside of `[…]`."""
    shape = _FLOW if flow else _BLOCK
    bare = shape.fullmatch(text) and not _NOT_TEXT.fullmatch(text)
    if bare and not text.endswith((":", " ")) and ": " not in text and " #" not in text:
        return text
    return "'" + text.replace("'", "''") + "'"


def _plain(char: str) -> bool:
    return char == " " or unicodedata.category(char)[0] not in "CZ"


def _shown(char: str) -> str:
    # Rich would read markup behind the doubled backslash of an escaped bracket.
    if _plain(char) and char not in "[\\":
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(text: str) -> str:
    """A key in a sentence: in backticks, escaped where it is not printable, and not too long."""
    shown = text if len(text) <= 80 else f"{text[:50]}...{text[-25:]}"
    return f"`{''.join(map(_shown, shown))}`"


def rule_lines(word: str, patterns: Sequence[str]) -> str:
    """`- drop: a.*`, or lists on as many lines as they need."""
    if len(patterns) == 1:
        return f"- {word}: {scalar(patterns[0])}"
    texts = [scalar(pattern, flow=True) for pattern in patterns]
    return "\n".join(f"- {word}: [{', '.join(line)}]" for line in _filled(texts))


def _filled(texts: Iterable[str]) -> Iterator[list[str]]:
    line: list[str] = []
    size = 0
    for text in texts:
        if line and size + len(text) > LONGEST_LINE:
            yield line
            line, size = [], 0
        line.append(text)
        size += len(text) + 2
    if line:
        yield line


def arrow(source: str, target: str, op: str = "") -> str:
    """`- A -> B`, or `- A -> B: op`; the sides are patterns already."""
    text = scalar(f"{source} -> {target}")
    if op and text[0] not in "'\"" and ":" in text:
        # A slice before an op reads like a map to the eye and to some editors.
        text = f"'{text}'"
    return f"- {text}: {op}" if op else f"- {text}"
