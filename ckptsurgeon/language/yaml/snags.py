"""What YAML's parser can't read, told in the words of rule files, with what to write instead.

It complains of aliases, flow mappings and block ends; these errors speak of rules, and say what to
quote. One function a trap; where none recognises what happened, the parser's words stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from msgspec import Struct

from ckptsurgeon.errors import Place, Problem
from ckptsurgeon.language.problems import shown
from ckptsurgeon.language.yaml import traps
from ckptsurgeon.language.yaml.quoting import (
    MAX_QUOTED,
    quote_rule,
    quote_this,
    quoted_anew,
    value_begins,
    value_from,
    without_comment,
)


class Snag(Struct, frozen=True):
    """What YAML's parser says: its words, the place, and where what it read there began.

    `previous` is the line before, which a plain text may have been carried on from.
    """

    context: str
    problem: str
    place: Place
    start: Place
    previous: str

    @classmethod
    def of(cls, error: Any, lines: list[str], beginning: Place) -> Snag:
        place = _place(error.problem_mark or error.context_mark, lines, beginning)
        start = _place(error.context_mark, lines, beginning) if error.context_mark else place
        previous = lines[place.line - 2] if place.line > 1 else ""
        return cls(error.context or "", error.problem or "", place, start, previous)

    @property
    def line(self) -> str:
        return self.place.text

    @property
    def column(self) -> int:
        """Of the snag in its line, from 0."""
        return self.place.column - 1

    @property
    def before(self) -> str:
        return self.line[: self.column]

    @property
    def char(self) -> str:
        return self.line[self.column : self.column + 1]

    def says(self, *words: str) -> bool:
        return any(word in self.problem for word in words)


def _place(mark: Any, lines: list[str], beginning: Place) -> Place:
    line = min(mark.line, len(lines) - 1)
    column = mark.column if mark.line < len(lines) else len(lines[line])
    return replace(beginning, line=line + 1, column=column + 1, text=lines[line])


def explain(snag: Snag) -> Problem:
    """The problem in our words, with the next step; a plain one where no trap is recognised."""
    for trap in _TRAPS:
        if (problem := trap(snag)) is not None:
            return problem
    words = snag.problem or snag.context or "it ends too early"
    return Problem(
        f"can't be read as YAML: {words}", snag.place, "quote texts that hold : # [ ] { }"
    )


# --- one function a trap --------------------------------------------------------------------------


_DECORATIONS = {
    "directive": traps.directive,
    "alias": traps.alias,
    "anchor": traps.anchor,
    "tag": traps.tag,
}


def _decoration(snag: Snag) -> Problem | None:
    """A `*`, `&`, `!` or `%` that YAML's parser can make nothing of."""
    tell = next((_DECORATIONS[word] for word in _DECORATIONS if word in snag.context), None)
    return tell(snag.start) if tell else None


def _backslash(snag: Snag) -> Problem | None:
    if not snag.says("unknown escape", "hexdecimal", "hexadecimal"):
        return None
    at = snag.line.rfind("\\", 0, snag.column + 1)
    place = replace(snag.place, column=max(at, 0) + 1)
    return Problem(
        "a backslash in double quotes starts an escape of YAML's",
        place,
        f"use single quotes: {quoted_anew(snag.start)}",
    )


def _slice_in_flow(snag: Snag) -> Problem | None:
    if not snag.says("',' or '}'", "',' or ']'") or snag.char != "[":
        return None
    begins = max(snag.before.rfind(mark) for mark in ("{", "[", ", ", ": ")) + 1
    ends = snag.line.find("]", snag.column) + 1 or len(snag.line)
    return Problem(
        "a slice inside of YAML's own [ ] or { }", snag.place, quote_this(snag.line[begins:ends])
    )


def _colon_in_slice(snag: Snag) -> Problem | None:
    if not snag.says("node content", "mapping values are not allowed"):
        return None
    opened = snag.before.rfind("[")
    inside = snag.line[opened : snag.column + 2]
    if opened < 0 or "]" in snag.before[opened:] or not re.search(r":\s", inside):
        return None
    return traps.colon_in_slice(replace(snag.place, column=opened + 1))


def _second_colon(snag: Snag) -> Problem | None:
    if not snag.says("mapping values are not allowed"):
        return None
    first = re.search(r":\s", snag.before)
    if first is None and "->" in snag.previous and not snag.previous.rstrip().endswith(":"):
        word = snag.before.strip()
        help = f"write `A -> B: {{{word}: …}}`, or the arrow as `from: A` and `to: B`"
        return Problem(f"{shown(word)} under an arrow, whose line ends the rule", snag.place, help)
    if first is None:
        message = "`: ` makes a key here, where none can be"
        return Problem(message, snag.place, "check the indentation, or quote the text before")
    opened = snag.line.rfind("[", 0, first.start())
    if opened >= 0 and "]" not in snag.line[opened : first.start()]:
        return traps.colon_in_slice(replace(snag.place, column=opened + 1))
    value = without_comment(snag.line[first.end() :]).strip()
    arrow = "->" in snag.before[: first.start()]
    if not arrow and re.search(r",\s+\w+:\s", value):  # `from: a, to: b`
        value = re.sub(r"^\s*(?:-\s+)*", "", without_comment(snag.line)).strip()
        arrow = True
    help = f"braces are missing: {{{value[:MAX_QUOTED]}}}" if arrow else quote_this(value)
    return Problem("a second `: ` in one line", snag.place, help)


def _bad_start(snag: Snag) -> Problem | None:
    if not snag.says("cannot start any token", "found a tab"):
        return None
    if snag.char == "\t" or snag.says("found a tab"):
        return Problem("a tab where YAML wants spaces", snag.place, "indent with spaces")
    text = value_from(snag.line, snag.column)
    return Problem(
        f"{shown(snag.char)} at the start of a text has no meaning to YAML",
        snag.place,
        quote_this(text),
    )


def _block_text(snag: Snag) -> Problem | None:
    """`- >x`: what `|` and `>` begin is a text of several lines."""
    if "block scalar" not in snag.context:
        return None
    text = value_from(snag.start.text, snag.start.column - 1)
    message = "a text that starts with `|` or `>` is a block of lines to YAML"
    return Problem(message, snag.start, quote_this(text))


def _mark_of_line(snag: Snag) -> Problem | None:
    """A `: ` that is missing, or a `- ` that can't stand there."""
    if snag.says("could not find expected ':'"):
        help = "write `word: value`; a rule begins with `- `"
        return Problem("a line without `: ` among lines that have one", snag.start, help)
    if snag.says("sequence entries are not allowed"):
        help = "begin the list in a line of its own, or write it in [ ]"
        return Problem("`- ` where no list can begin", snag.place, help)
    return None


def _text_after_end(snag: Snag) -> Problem | None:
    """`- "a" -> b`, `- [a, b] -> c`: YAML's value is over, the rule is not."""
    if not snag.says("'-' indicator", "<block end>", "expected key", "document start"):
        return None
    begins = value_begins(snag.line)
    opening = snag.line[begins : begins + 1]
    if opening == "*":
        return traps.alias(replace(snag.place, column=begins + 1))
    if opening in ("'", '"') and snag.column > begins:
        whole = without_comment(snag.line[begins:]).strip().replace(opening, "")
        help = f"quote the whole text: {quote_rule(whole)}"
        return Problem("text behind a closing quote", snag.place, help)
    if opening in ("[", "{") and snag.column > begins:
        help = "for a list of references write `from: […]` and `to: …`"
        return Problem("text behind the end of a list or mapping", snag.place, help)
    return Problem(
        "this line stands deeper or less deep than YAML can place it",
        snag.place,
        "indent it like the lines that it belongs to",
    )


def _unclosed(snag: Snag) -> Problem | None:
    if "quoted scalar" in snag.context:
        return Problem("a quote that is never closed", snag.start, "close it, or leave it out")
    if "flow" in snag.context:
        bracket = snag.start.text[snag.start.column - 1 : snag.start.column]
        if snag.place.line != snag.start.line or not snag.char:
            message = f"`{bracket}` is not closed where YAML looks for its end"
            return Problem(message, snag.start, "close it, or quote the text that it begins")
        return Problem(
            f"{shown(snag.char)} can't stand here, inside of `{bracket}`",
            snag.place,
            "separate entries by `, `, and quote texts that hold brackets",
        )
    return None


_TRAPS: tuple[Callable[[Snag], Problem | None], ...] = (
    _decoration,
    _backslash,
    _slice_in_flow,
    _colon_in_slice,
    _second_colon,
    _bad_start,
    _block_text,
    _mark_of_line,
    _text_after_end,
    _unclosed,
)
