"""The small expressions of a rule file: parsed once, evaluated many times, unable to do harm.

Integers, decimals, words, lists, items of lists and tables; `+ - * / // %`, comparisons (chained
too), `and or not in`. There are no calls, no attributes, no powers; texts, depths and numbers are
bounded, so evaluation takes time linear in the text. `config.a.b` is one dotted name.
"""

from __future__ import annotations

from ckptsurgeon.language.expressions.parsing import parse_expression as parse_expression
from ckptsurgeon.language.expressions.terms import OF_TENSOR as OF_TENSOR
from ckptsurgeon.language.expressions.terms import Expression as Expression
from ckptsurgeon.language.expressions.terms import Listed as Listed
from ckptsurgeon.language.expressions.terms import Plain as Plain
from ckptsurgeon.language.expressions.terms import Scope as Scope
from ckptsurgeon.language.expressions.terms import Value as Value
from ckptsurgeon.language.expressions.terms import expressions_in as expressions_in
from ckptsurgeon.language.expressions.terms import kind_of as kind_of
from ckptsurgeon.language.expressions.terms import names_in as names_in
from ckptsurgeon.language.expressions.terms import parts_that_name as parts_that_name
from ckptsurgeon.language.expressions.terms import unknown_name as unknown_name
from ckptsurgeon.language.expressions.terms import words_compared_to as words_compared_to
