"""Patterns as laws: what is written is read again, and RE2 and `re` agree."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ckptsurgeon.errors import PatternError
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import (
    Capture,
    Kind,
    Literal,
    Pattern,
    Word,
    compile_pattern,
    parse_prefix,
    parse_reference,
    split_arrow,
    write_key,
)
from ckptsurgeon.language.patterns.matching import _plainly_linear, _regex
from ckptsurgeon.language.patterns.regexes import compile_re2

LITERALS = st.text(alphabet="ab.:*<>[]\\_1-re", min_size=1, max_size=5).map(Literal)
LEFT = st.lists(st.text(alphabet="abc.|=\\<>:[- ", max_size=3), min_size=2, max_size=4, unique=True)


def _captures(name: str, renamed: bool) -> st.SearchStrategy[Capture]:
    return st.one_of(
        st.sampled_from([Kind.INT, Kind.TEXT, Kind.PATH]).map(lambda kind: Capture(name, kind)),
        st.integers(1, 3).map(lambda width: Capture(name, Kind.INT, width=width)),
        LEFT.map(lambda left: _words(name, left, renamed)),
    )


def _words(name: str, left: list[str], renamed: bool) -> Capture:
    right = [*left[2:], *left[:2]] if renamed else left
    return Capture(name, Kind.WORDS, words=tuple(map(Word, left, right)))


@st.composite
def patterns(draw: st.DrawFn, renamed: bool = False) -> Pattern:
    pieces: list[Literal | Capture] = []
    for number in range(draw(st.integers(1, 4))):
        if draw(st.booleans()) and not (pieces and isinstance(pieces[-1], Literal)):
            pieces.append(draw(LITERALS))
        pieces.append(draw(_captures(f"n{number}", renamed)))
    return Pattern(tuple(pieces))


def _value(capture: Capture, draw: st.DrawFn) -> Value:
    if capture.kind is Kind.INT:
        return draw(st.integers(0, 10 ** (capture.width or 4) - 1))
    if capture.kind is Kind.WORDS:
        return capture.value(draw(st.sampled_from(capture.words)).left)
    pieces = draw(st.lists(st.sampled_from(["a", "b1", "w_x"]), min_size=1, max_size=2))
    return ".".join(pieces) if capture.kind is Kind.PATH else pieces[0]


@given(patterns(), st.data())
@settings(max_examples=150)
def test_what_is_written_is_read(pattern: Pattern, data: st.DataObject) -> None:
    values = {c.name: _value(c, data.draw) for c in pattern.captures}
    key = write_key(pattern, values)
    read = compile_pattern(pattern).match(key)
    assert read is not None
    assert write_key(pattern, read) == key


@given(patterns(), st.text(alphabet="ab.:*<[_10", max_size=12))
@settings(max_examples=150)
def test_re_and_re2_agree(pattern: Pattern, key: str) -> None:
    text = "".join(_regex(piece, ".") for piece in pattern.pieces)
    if not _plainly_linear(pattern.pieces, "."):
        return
    ours, theirs = re.fullmatch(text, key), compile_re2(text).fullmatch(key)
    assert (ours and ours.groups()) == (theirs and theirs.groups())


@given(patterns(renamed=True))
@settings(max_examples=300)
def test_a_printed_pattern_is_read_as_the_same_also_in_an_arrow(pattern: Pattern) -> None:
    for text, _ in [(str(pattern), 0), *split_arrow(f"{pattern} -> {pattern}")]:
        assert _as_written(parse_reference(text).pattern) == _as_written(pattern)


def _as_written(pattern: Pattern) -> Pattern:
    """A plain integer and a bare name are written alike: the rule says which of them it is."""
    pieces = (
        replace(piece, kind=Kind.INT if piece.kind is Kind.BARE else piece.kind, column=0)
        if isinstance(piece, Capture)
        else piece
        for piece in pattern.pieces
    )
    return Pattern(tuple(pieces))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"<p:x\\|y>", [("x\\", "x\\"), ("y", "y")]),
        (r"<p:x\\\|y=z>", [("x\\|y", "z")]),
        (r"<p:a\|b|c\=d=e\>f>", [("a|b", "a|b"), ("c=d", "e>f")]),
        (r"<p: a\ | b >", [("a ", "a "), (" b", " b")]),
        (r"<p:a\ |\ >", [("a ", "a "), (" ", " ")]),
        (r"<p:|a=>", [("", ""), ("a", "")]),
        (r"<p:a-|b->", [("a-", "a-"), ("b-", "b-")]),
    ],
)
def test_escapes_in_words(text: str, words: list[tuple[str, str]]) -> None:
    sides = [parse_reference(side).pattern for side, _ in split_arrow(f"{text} -> {text}")]
    for pattern in sides:
        (capture,) = pattern.captures
        assert [(word.left, word.right) for word in capture.words] == words
        assert _as_written(parse_reference(str(pattern)).pattern) == _as_written(pattern)


@given(st.text(alphabet="ab.<>*[]:\\|=i0 ", max_size=25), st.booleans())
@settings(max_examples=300)
def test_any_text_is_read_or_refused(text: str, target: bool) -> None:
    column = 0
    try:
        parse_reference(text, target=target)
    except PatternError as error:
        column = error.column
    assert 0 <= column <= len(text)


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("", "an empty pattern", 0),
        ("a.<i", "without its closing `>`", 2),
        ("a.<i:>", "no kind of capture", 3),
        ("a.<i:intt>", "no kind of capture", 3),
        ("a.<i:019>", "at most 18", 3),
        ("a.<1>", "is no capture", 3),
        ("a.<>", "is no capture", 3),
        ("a.***", "stars in a row", 2),
        ("a.\\x", "a backslash before 'x'", 2),
        ("a\\", "a backslash before", 1),
        ("a[1", "closing `]`", 1),
        ("a[1].b", "text behind a slice", 1),
        ("a[1:2:3:4]", "more than start, stop and step", 2),
        ("a[...,...]", "more than one", 2),
        ("a[]", "an empty expression", 2),
        ("a[:, ::0]", "step of a slice must be 1 or more", 7),
        ("a[i::-1]", "step of a slice must be 1 or more", 5),
        ("a[0:1.5]", "takes integers", 4),
        ("s::", "an empty pattern", 3),
        ("re:", "an empty regular expression", 3),
        ("re:(", "RE2", 3),
        ("x" * 5000, "characters", 0),
    ],
)
def test_refused(text: str, message: str, column: int) -> None:
    with pytest.raises(PatternError) as caught:
        parse_reference(text)
    assert message in str(caught.value)
    assert caught.value.column == column


def test_a_prefix_may_be_empty_on_the_right() -> None:
    assert parse_prefix("  ", target=True).pattern == Pattern(())
    with pytest.raises(PatternError):
        parse_prefix("  ")


def test_arrows() -> None:
    assert split_arrow("a -> b") == [("a ", 0), (" b", 4)]
    assert [side for side, _ in split_arrow("a->b->c")] == ["a", "b", "c"]


def test_an_alias_ends_before_a_slice() -> None:
    reference = parse_reference("s<i>::w[::2]")
    assert (str(reference.alias), str(reference.pattern), str(reference.index)) == (
        "s<i>",
        "w",
        "[::2]",
    )
    assert parse_reference("w[::2]").alias is None
