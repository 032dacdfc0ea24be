"""Key patterns: how a rule file names tensors, parsed into pieces, matched in linear time.

A *pattern* reads keys and a *target* names them; both are sequences of pieces: literal text,
captures, and, in targets alone, formulas. What a bare `<name>` is depends on the rest of its rule,
so parsing leaves it BARE and the planner gives it the kind of the name's first mention.
"""

from __future__ import annotations

from ckptsurgeon.language.patterns.matching import Matcher, compile_pattern
from ckptsurgeon.language.patterns.parsing import parse_prefix, parse_reference, split_arrow
from ckptsurgeon.language.patterns.pieces import (
    Capture,
    Formula,
    Kind,
    Literal,
    Pattern,
    Piece,
    Reference,
    Regex,
    Word,
    is_plain_integer,
    write_integer,
    write_key,
)
from ckptsurgeon.language.patterns.regexes import compile_re2, parse_regex
from ckptsurgeon.language.patterns.slices import (
    Range,
    WrittenIndex,
    parse_index,
)

__all__ = [
    "Capture",
    "Formula",
    "Kind",
    "Literal",
    "Matcher",
    "Pattern",
    "Piece",
    "Range",
    "Reference",
    "Regex",
    "Word",
    "WrittenIndex",
    "compile_pattern",
    "compile_re2",
    "is_plain_integer",
    "parse_index",
    "parse_prefix",
    "parse_reference",
    "parse_regex",
    "split_arrow",
    "write_integer",
    "write_key",
]
