"""Regular expressions of strangers, in RE2 alone, whose matching takes linear time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from ckptsurgeon.errors import PatternError
from ckptsurgeon.language.patterns.pieces import Capture, Kind, Regex

_GROUP = re.compile(r"\(\?P?<(\w+)>(\\d\+|\\d|\[0-9\]\+|\[0-9\]|[^()]*)(\))?")


def parse_regex(text: str, column: int = 0) -> Regex:
    """A `re:` pattern; a group of digits alone (`(?P<i>\\d+)`) is an integer, others are text."""
    if not text:
        raise PatternError("an empty regular expression", column, "write one after `re:`")
    compiled = compile_re2(text, column)
    integers = {m[1] for m in _GROUP.finditer(text) if m[3] and m[2] in _DIGITS}
    captures = (
        Capture(name, Kind.INT if name in integers else Kind.PATH, column=column)
        for name in sorted(compiled.groupindex, key=compiled.groupindex.__getitem__)
    )
    return Regex(text, tuple(captures))


_UNNAMED = re.compile(r"(\\.|\[(?:\\.|[^\]\\])*\])|\((?!\?)", re.DOTALL)
"""An unnamed group; what is escaped or in brackets is passed over."""


def name_groups(text: str, names: Iterable[str]) -> str:
    """The expression with these names for its unnamed groups, in order; "" where it has none."""
    left = iter(names)

    def name(found: re.Match[str]) -> str:
        given = None if found[1] else next(left, None)
        return found[0] if given is None else f"(?P<{given}>"

    named = _UNNAMED.sub(name, text)
    return "" if named == text else named


_DIGITS = frozenset({r"\d+", r"\d", "[0-9]+", "[0-9]"})


class _Program(Struct, frozen=True):
    """An RE2 program, which no half of a character matches: RE2 reads UTF-8."""

    program: Any

    @property
    def groupindex(self) -> Mapping[str, int]:
        found: Mapping[str, int] = self.program.groupindex
        return found

    def fullmatch(self, text: str) -> Any:
        try:
            return self.program.fullmatch(text)
        except UnicodeEncodeError:
            return None


def compile_re2(text: str, column: int = 0) -> Any:
    """An RE2 program; raises PatternError for what RE2 refuses (look-around, backreferences)."""
    import re2  # heavy for the many rule files that never need it

    options = re2.Options()
    options.log_errors = False
    try:
        return _Program(re2.compile(text, options))
    except UnicodeEncodeError:
        raise PatternError("half of a character (a surrogate)", column, "remove it") from None
    except re2.error as error:
        words = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise PatternError(
            f"RE2 can't read this: {words}", column, "RE2 has no look-around and no backreferences"
        ) from None
