"""What a text of a rule file looks like in quotes, and where such a text begins and ends."""

from __future__ import annotations

import re

from ckptsurgeon.errors import Place

MAX_QUOTED = 200
"""Longest text that a suggestion repeats."""


def quoted(text: str) -> str:
    """The text in single quotes, in which nothing but `'` itself means anything to YAML."""
    return "'" + text[:MAX_QUOTED].replace("'", "''") + "'"


def quote_this(text: str) -> str:
    """The next step for a text that YAML reads otherwise; a long one is not repeated."""
    if len(text.strip()) > MAX_QUOTED:
        return "put it in single quotes"
    return f"quote this: {quote_rule(text.strip())}"


def quote_rule(text: str) -> str:
    """The text in quotes, which end before the colon of an arrow: `'** -> **': {cast: F16}`."""
    behind = without_brackets(text).partition("->")[2]
    colon = re.search(r":\s", behind)
    if colon is None:
        return quoted(text)
    ends = len(text) - len(behind) + colon.start()
    return quoted(text[:ends]) + text[ends : ends + MAX_QUOTED]


def without_brackets(text: str) -> str:
    """The text with an `x` for each character of its slices and captures; in linear time."""
    return re.sub(r"\[[^\[\]]*\]|<[^<>]*>", lambda inner: "x" * len(inner[0]), text)


def value_begins(line: str) -> int:
    """Behind the dashes and the `word: ` that a line may begin with."""
    found = re.match(r"\s*(?:-\s+)*(?:[A-Za-z_]\w*:\s+)?", line)
    return found.end() if found else 0


def value_from(line: str, begins: int) -> str:
    """The text from a column on, to where it would end if it had been quoted."""
    before, text = line[:begins], without_comment(line[begins : begins + MAX_QUOTED])
    in_flow = sum(map(before.count, "[{")) > sum(map(before.count, "]}"))
    return re.split(r",\s|[\]}]", text, maxsplit=1)[0] if in_flow else text


def without_comment(text: str) -> str:
    """The text up to ` #`."""
    return re.split(r"\s#", text, maxsplit=1)[0]


def quoted_anew(start: Place) -> str:
    """What stands in double quotes at a place, as it was typed, in single quotes."""
    found = re.compile(r'"((?:[^"\\]|\\.)*)"').match(start.text, start.column - 1)
    return quoted(found[1]) if found else "'…'"
