"""Lines of rules as they stand in their files, with other references in them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ckptsurgeon.language.places import COMMAND_LINE, PYTHON_RULES
from ckptsurgeon.language.rules import At
from ckptsurgeon.language.yaml.quoting import quote_rule, quoted, value_begins, without_comment
from ckptsurgeon.language.yaml.writing import LONGEST_LINE

Edit = tuple[At, str]
"""A reference of a rule, and what is written in its place."""


def edit_line(edits: Sequence[Edit]) -> str:
    """The line that some references stand in, with other texts for them.

    Nothing where it doesn't show each of them, is cut, or is too long to be repeated.
    """
    place = edits[0][0].place
    spans = [(_find(at), text) for at, text in edits]
    if any(at.place.line != place.line for at, _ in edits) or any(
        span is None for span, _ in spans
    ):
        return ""
    line = place.text
    for span, text in sorted(((span, text) for span, text in spans if span), reverse=True):
        line = line[: span[0]] + _fit(line[: span[0]], text, edits[0][0]) + line[span[1] :]
    return _tidy(line, edits[0][0])


def _find(at: At) -> tuple[int, int] | None:
    """Where a reference stands in its line: at its place, or else where the line has it once."""
    begins = at.place.column - 1
    if _whole_at(at.place.text, begins, at.text):
        return begins, begins + len(at.text)
    if at.place.file != PYTHON_RULES:
        return None
    found = [one.start() for one in re.finditer(re.escape(at.text), at.place.text)]
    found = [start for start in found if _whole_at(at.place.text, start, at.text)]
    return (found[0], found[0] + len(at.text)) if len(found) == 1 else None


def _whole_at(line: str, start: int, text: str) -> bool:
    """Whether a text stands there, and not as a part of a longer one."""
    ends = start + len(text)
    if not (text and line.startswith(text, start)):
        return False
    return line[:start][-1:] in ("", *" '\"[{(,\t") and line[ends : ends + 1] in ("", *" '\"]}),:")


def _fit(before: str, text: str, at: At) -> str:
    """A reference as it can stand behind the front of its line: YAML wants quotes for a star."""
    in_flow = at.place.file != PYTHON_RULES and before.lstrip(" -")[:1] == "{"
    return quoted(text) if in_flow and text.startswith("*") and before[-1:] not in "'\"" else text


def _tidy(line: str, at: At) -> str:
    """A line without its dash and its comment; nothing for one that is a part or too long."""
    if is_in_file(at):
        begins = value_begins(line)
        text = without_comment(line[begins:]).rstrip()
        head = re.sub(r"^\s*(?:-\s+)*", "", line[:begins])
        line = head + (quote_rule(text) if text.startswith("*") else text)
    whole = all(line.count(left) == line.count(right) for left, right in ("[]", "{}"))
    return line if whole and len(line) <= LONGEST_LINE else ""


def is_in_file(at: At) -> bool:
    """Whether a reference stands in a file, where YAML takes a star in front for an alias."""
    return at.place.file not in (COMMAND_LINE, PYTHON_RULES)


def behind(at: At) -> str:
    """What stands behind the last reference of an arrow, without the colon; empty for no arrow."""
    rest = at.place.text[at.place.column - 1 + len(at.text) :].lstrip("'\"")
    if at.place.file == PYTHON_RULES or not rest.startswith(": "):
        return ""
    return without_comment(rest[1:]).strip()
