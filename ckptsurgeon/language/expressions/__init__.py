"""The small expressions of a rule file: parsed once, evaluated many times, unable to do harm.

Integers, decimals, words, lists; `+ - * / // %`, comparisons (chained too), `and or not in`. There
are no calls, no attributes, no powers; texts, depths and numbers are bounded, so evaluation takes
time linear in the text. `config.a.b` is one dotted name.
"""

from __future__ import annotations

from ckptsurgeon.language.expressions.parsing import MAX_DEPTH, MAX_TEXT, parse_expression
from ckptsurgeon.language.expressions.terms import (
    MAX_INTEGER,
    Constant,
    Expression,
    Name,
    Scope,
    Value,
    expressions_in,
    kind_of,
    names_in,
    unknown_name,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_INTEGER",
    "MAX_TEXT",
    "Constant",
    "Expression",
    "Name",
    "Scope",
    "Value",
    "expressions_in",
    "kind_of",
    "names_in",
    "parse_expression",
    "unknown_name",
]
