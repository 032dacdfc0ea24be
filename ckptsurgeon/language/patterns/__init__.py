"""Key patterns: how a rule file names tensors, parsed into pieces, matched in linear time.

A *pattern* reads keys and a *target* names them; both are sequences of pieces: literal text,
captures, and, in targets alone, formulas. What a bare `<name>` is depends on the rest of its rule,
so parsing leaves it BARE and the planner gives it the kind of the name's first mention.
"""

from __future__ import annotations

from ckptsurgeon.language.patterns.matching import Matcher as Matcher
from ckptsurgeon.language.patterns.matching import compile_pattern as compile_pattern
from ckptsurgeon.language.patterns.matching import is_read_one_way as is_read_one_way
from ckptsurgeon.language.patterns.parsing import find_outside as find_outside
from ckptsurgeon.language.patterns.parsing import parse_alias as parse_alias
from ckptsurgeon.language.patterns.parsing import parse_name as parse_name
from ckptsurgeon.language.patterns.parsing import parse_prefix as parse_prefix
from ckptsurgeon.language.patterns.parsing import parse_reference as parse_reference
from ckptsurgeon.language.patterns.parsing import split_arrow as split_arrow
from ckptsurgeon.language.patterns.pieces import Capture as Capture
from ckptsurgeon.language.patterns.pieces import Formula as Formula
from ckptsurgeon.language.patterns.pieces import Kind as Kind
from ckptsurgeon.language.patterns.pieces import Literal as Literal
from ckptsurgeon.language.patterns.pieces import Pattern as Pattern
from ckptsurgeon.language.patterns.pieces import Piece as Piece
from ckptsurgeon.language.patterns.pieces import Reference as Reference
from ckptsurgeon.language.patterns.pieces import Regex as Regex
from ckptsurgeon.language.patterns.pieces import Word as Word
from ckptsurgeon.language.patterns.pieces import is_plain_integer as is_plain_integer
from ckptsurgeon.language.patterns.pieces import write_integer as write_integer
from ckptsurgeon.language.patterns.pieces import write_key as write_key
from ckptsurgeon.language.patterns.pieces import write_literal as write_literal
from ckptsurgeon.language.patterns.pieces import write_piece as write_piece
from ckptsurgeon.language.patterns.regexes import name_groups as name_groups
from ckptsurgeon.language.patterns.slices import WrittenIndex as WrittenIndex
from ckptsurgeon.language.patterns.slices import parse_index as parse_index
