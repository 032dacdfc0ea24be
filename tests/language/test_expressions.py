"""Expressions: what they give, what they refuse and where, and that Python agrees with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptsurgeon.errors import ExpressionError
from ckptsurgeon.language.expressions import Value, names_in, parse_expression
from ckptsurgeon.language.expressions.parsing import MAX_TEXT
from ckptsurgeon.language.expressions.terms import MAX_INTEGER
from ckptsurgeon.language.rules import Entry, Listing

SCOPE: dict[str, Value] = {
    "i": 5,
    "n": 2,
    "half": 0.5,
    "p": "q",
    "yes": True,
    "sizes": (1, 2),
    "config.a.b": 7,
}

GIVES: list[tuple[str, Value]] = [
    ("1", 1),
    ("1.5", 1.5),
    (".5", 0.5),
    ("1e-5", 1e-5),
    ("2.", 2.0),
    ("'a word'", "a word"),
    ('"it\'s"', "it's"),
    ("''", ""),
    ("true", True),
    ("False", False),
    ("[]", ()),
    ("[1, 'a', [2,]]", (1, "a", (2,))),
    ("i", 5),
    ("config.a.b", 7),
    ("i + n * 3 - 1", 10),
    ("(i + n) * 3", 21),
    ("10 - 3 - 2", 5),
    ("7 // 2", 3),
    ("-7 // 2", -4),
    ("7 % 3", 1),
    ("-7 % 3", 2),
    ("7 / 2", 3.5),
    ("4 / 2", 2.0),
    ("2 * 3 % 4", 2),
    ("- -3", 3),
    ("+3", 3),
    ("-i", -5),
    ("half * 4", 2.0),
    ("1 < 2", True),
    ("1 < 2 < 2", False),
    ("1 < 2 <= 2 != 3", True),
    ("3 > 2 > 1 == 1", True),
    ("p == 'q'", True),
    ("p != 'q'", False),
    ("yes == 1", False),
    ("1 == 1.0", True),
    ("sizes == [1, 2]", True),
    ("p in ['q', 'k']", True),
    ("1 in [true]", False),
    ("true in [true]", True),
    ("true in [1]", False),
    ("true not in [1]", True),
    ("[1] == [true]", False),
    ("[1] != [true]", True),
    ("[[1]] in [[[true]]]", False),
    ("[[1], 2] in [[[1], 2.0]]", True),
    ("1 in [1] == true", False),
    ("0 == 0 in [false]", False),
    ("p not in ['q', 'k']", False),
    ("i in [1, 2] or i in [5]", True),
    ("not i == 5", False),
    ("not not yes", True),
    ("not yes or yes", True),
    ("yes and i > 1 and n > 1", True),
    ("false and 1 // 0 == 1", False),
    ("true or 1 // 0 == 1", True),
    ("3 < 2 < 1 // 0", False),
    ("9223372036854775807", MAX_INTEGER),
]


@pytest.mark.parametrize(("text", "value"), GIVES)
def test_gives(text: str, value: Value) -> None:
    found = parse_expression(text).evaluate(SCOPE)
    assert (found, type(found)) == (value, type(value))


REFUSED: list[tuple[str, str, int]] = [
    ("", "empty", 0),
    ("   ", "empty", 0),
    ("1 +", "the end", 3),
    ("* 2", "'*'", 0),
    ("1 2", "'2'", 2),
    ("(1", "')' is missing", 2),
    ("[1", "']' is missing", 2),
    ("1)", "')'", 1),
    ("2 ** 3", "'*'", 3),
    ("f(1)", "'('", 1),
    ("sizes[0", "']' is missing", 7),
    ("sizes[]", "']'", 6),
    ("sizes[0:1]", "':'", 7),
    ("p.real", "attributes", 0),
    ("1 if 2 else 3", "'if'", 2),
    ("lambda: 1", "':'", 6),
    ("a = 1", "'='", 2),
    ("'open", '"\'"', 0),
    ("007", "no plain integer", 0),
    ("0x10", "'x10'", 1),
    ("1_000", "'_000'", 1),
    ("9223372036854775808", "beyond 2**63", 0),
    ("1e999", "beyond 2**63", 0),
    ("not", "the end", 3),
    ("1 not 2", "'2'", 6),
    ("and", "'and'", 0),
    ("1 is 1", "'is'", 2),
    ("a & b", "'&'", 2),
    ("i ; n", "';'", 2),
    ("`i`", "'`'", 0),
    ("\\n", "'\\\\'", 0),
    ("[1 2]", "']' is missing", 3),
    ("{1: 2}", "'{'", 0),
    ("config.", "'.'", 6),
    ("(" * 50 + "1" + ")" * 50, "levels of brackets", 41),
    ("-" * 60 + "1", "levels of brackets", 41),
    ("1" + "+1" * MAX_TEXT, "characters", 0),
]


@pytest.mark.parametrize(("text", "message", "column"), REFUSED, ids=range(len(REFUSED)))
def test_refused(text: str, message: str, column: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    assert message in str(caught.value)
    assert caught.value.column == column


FAILS: list[tuple[str, str, int]] = [
    ("j", "unknown name 'j'", 0),
    ("1 // 0", "can't compute 1 // 0", 2),
    ("1 % 0", "can't compute", 2),
    ("1 / 0", "can't compute", 2),
    ("p + 1", "+ takes numbers, found a word ('q')", 2),
    ("yes + 1", "+ takes numbers, found true or false", 4),
    ("-p", "takes numbers", 0),
    ("sizes * 2", "found a list", 6),
    ("p < 1", "< takes numbers", 2),
    ("p == 1", "== of a word ('q') and a number (1)", 2),
    ("1 != p", "!= of a word ('q') and a number (1)", 2),
    ("p in [1, 2]", "in of a word ('q') and a number (1)", 2),
    ("p < 'r'", "< takes numbers", 2),
    ("i and yes", "and takes conditions, found an integer", 2),
    ("yes and i", "and takes conditions", 4),
    ("not i", "not takes conditions", 0),
    ("1 in 2", "in looks into a list", 2),
    ("'a' in 'abc'", "in looks into a list or a table, found a word", 4),
    ("9223372036854775807 + 1", "beyond 2**63", 20),
    ("9223372036854775807 * 9223372036854775807", "beyond 2**63", 20),
    ("1e308 * 10", "beyond 2**63", 6),
    ("1e308 / 1e-308", "beyond 2**63", 6),
]


@pytest.mark.parametrize(("text", "message", "column"), FAILS)
def test_fails(text: str, message: str, column: int) -> None:
    expression = parse_expression(text)
    with pytest.raises(ExpressionError) as caught:
        expression.evaluate(SCOPE)
    assert message in str(caught.value)
    assert caught.value.column == column


def test_names() -> None:
    assert parse_expression("i + config.a.b > n and 'x' == p or true").names == {
        "i",
        "config.a.b",
        "n",
        "p",
    }


def test_a_listing_is_not_searched_for_names() -> None:
    class Endless(tuple[Entry, ...]):
        def __iter__(self) -> Iterator[Entry]:
            raise AssertionError("its entries are gone through")

    written = {"p": Listing(Endless(), "names.json"), "i": parse_expression("n")}
    assert names_in(written) == {"n"}


NUMBERS = st.sampled_from(["0", "1", "2", "3", "17", "i", "n", "0.5", "half"])


def _joined(parts: tuple[str, str, str]) -> str:
    return f"({parts[0]} {parts[1]} {parts[2]})"


ARITHMETIC = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(" ".join),
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(_joined),
        inner.map(lambda text: f"-{text}"),
    ),
    max_leaves=8,
)
COMPARISONS = st.tuples(
    ARITHMETIC, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), ARITHMETIC
).map(" ".join)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=4,
)


@given(st.one_of(ARITHMETIC, CONDITIONS))
@settings(max_examples=300)
def test_python_agrees(text: str) -> None:
    names = {name: value for name, value in SCOPE.items() if name.isidentifier()}
    try:
        wanted = eval(text, {}, names)
    except (ZeroDivisionError, OverflowError):
        wanted = None
    try:
        found = parse_expression(text).evaluate(SCOPE)
    except ExpressionError:
        found = None
    assert found == wanted


@given(st.text(alphabet="ip01.+-*/%()[]<>=!'\" andort,", max_size=30))
@settings(max_examples=300)
def test_any_text_is_read_or_refused(text: str) -> None:
    column = 0
    try:
        parse_expression(text).evaluate(SCOPE)
    except ExpressionError as error:
        column = error.column
    assert 0 <= column <= len(text)
