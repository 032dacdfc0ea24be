"""Arrows as other tools and languages write them, and what stands in ours that belongs elsewhere.

These functions take texts apart. What comes of it is read before it is told: `rule_guesses.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from ckptsurgeon.language.patterns import split_arrow
from ckptsurgeon.language.yaml.quoting import MAX_QUOTED, without_brackets

_ARROW = re.compile(
    r"=>|(?<!-)-{2,}>+|->>+|~>|<-+|<=|:=|→|⇒|⟶|➔|[\N{EN DASH}\N{EM DASH}]>"
    r"|(?<=\s)(?:>>?|:|=|to|as|into)(?=\s)"
)
"""What other languages write between an old name and a new one."""

_TIGHT = re.compile(r"(?<![:\\<>=!\s])(?:>|=|:)(?![:<>=\s])")
"""The same without space around, which stands once or is none."""

_BETWEEN = re.compile(r",\s+|\s+(?:[+&=]|==|and)\s+")
"""What stands between keys that somebody lists in an arrow."""

_BEHIND = re.compile(
    r"(?P<key>\S*[^\s\\,;|:])(?:\s*[,;|]\s+|\s*[;|]\s*|\s+(?:[=+&]|and)\s+|\s+)(?P<rest>\S.*)"
)
"""A target and what stands behind it: `b, transpose`, `b where i < 2`."""


class OtherArrow(Struct, frozen=True):
    """Another language's arrow: its text and column, and the sides that it has here."""

    text: str
    column: int
    left: str
    right: str


def find_arrow(text: str) -> OtherArrow | None:
    """Another language's arrow in a text; None where there is none, or ours as it should be."""
    found = _ARROW.search(text)
    if "->" in text and (found is None or "->" not in found[0]):
        return None
    if found is None:
        tight = list(_TIGHT.finditer(without_brackets(text[: MAX_QUOTED + 1])))
        found = tight[0] if len(tight) == 1 and len(text) <= MAX_QUOTED else None
    if found is None:
        return None
    left, right = (text[: found.start()].strip(), text[found.end() :].strip())
    if not (left and right) or left == "re":
        return None
    if found[0][0] == "<":
        left, right = right, left
    if found[0] in ("=", ":", ">"):
        left, right = left.strip("'\""), right.strip("'\"")
    return OtherArrow(found[0], found.start(), left, right)


def find_sides(text: str) -> tuple[str, ...]:
    """The sides of an arrow, ours or another's; three where something stands between two arrows."""
    other = find_arrow(text)
    if other is not None:
        return other.left, other.right
    return tuple(side.strip() for side, _ in split_arrow(text))


def find_behind(target: str) -> tuple[str, str] | None:
    """What stands before the first space of a target, and behind it; None where there is none."""
    masked = without_brackets(target)
    found = _BEHIND.fullmatch(masked) if len(target) <= MAX_QUOTED else None
    return found and (target[: found.end("key")], target[found.start("rest") :].strip())


def listed_keys(text: str) -> list[str]:
    """The keys of `[a, b]`, `a, b`, `a + b`, `a = b` and `a and b`; those of one key are none."""
    if len(text) > MAX_QUOTED:
        return []
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    keys = list(_split(text))
    plain = all(re.fullmatch(r"\S*[^\W\d]\S*", key) and _is_balanced(key) for key in keys)
    return keys if len(keys) > 1 and plain else []


def _split(text: str) -> Iterator[str]:
    masked, start = without_brackets(text), 0
    for found in _BETWEEN.finditer(masked):
        yield text[start : found.start()].strip()
        start = found.end()
    yield text[start:].strip()


def _is_balanced(text: str) -> bool:
    return all(text.count(left) == text.count(right) for left, right in ("[]", "{}", "()"))
