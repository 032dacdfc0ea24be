"""References read from their text; whatever is wrong has its column."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ckptsurgeon.errors import ExpressionError, PatternError, nearest
from ckptsurgeon.language.expressions import parse_expression
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
)
from ckptsurgeon.language.patterns.regexes import parse_regex
from ckptsurgeon.language.patterns.slices import WrittenIndex, parse_index

MAX_TEXT = 4096

_NAME = re.compile(r"\s*([^\W\d]\w*)\s*(?:(:)(.*))?", re.DOTALL)
_ESCAPES = "<>*[]\\:|= "


def parse_reference(text: str, *, target: bool = False) -> Reference:
    """The reference that a text says; formulas are allowed in a target alone.

    Raises PatternError with the column of what is wrong.
    """
    if len(text) > MAX_TEXT:
        raise PatternError(f"a pattern of {len(text)} characters; at most {MAX_TEXT}")
    body = text.rstrip()
    start = len(body) - len(body.lstrip())
    alias_end = _alias_end(body, start)
    alias = None
    if alias_end >= 0:
        alias = Pattern(_pieces(body, start, alias_end, target))
        start = alias_end + 2
    if body.startswith("re:", start):
        if target:
            raise PatternError("`re:` reads keys; a target names them", start)
        regex = parse_regex(body[start + 3 :], start + 3)
        return Reference(Pattern((regex,)), alias, None, text.strip())
    bracket = find_outside(body, "[", start)
    index = None
    if bracket >= 0:
        index = _closed_index(body[bracket:], bracket)
    end = bracket if bracket >= 0 else len(body)
    if not body[start:end].strip():
        raise PatternError("an empty pattern", start, "write a key, such as `conv1.weight`")
    pattern = Pattern(_pieces(body, start, end, target))
    if alias is not None:  # whose stars come first
        pattern = pattern.numbered_after(alias)
    return Reference(pattern, alias, index, text.strip())


def parse_prefix(text: str, *, target: bool = False) -> Reference:
    """The prefix of a `within`: a reference without a slice.

    It may be empty on the right, and behind an alias.
    """
    if target and not text.strip():
        return Reference(Pattern(()))
    body = text.rstrip()
    start = len(body) - len(body.lstrip())
    end = _alias_end(body, start)
    if end > start and not body[end + 2 :].strip():  # all of a source, or an output, as it is
        named = Pattern(_pieces(body, start, end, target))
        return Reference(Pattern(()), named, None, text.strip())
    reference = parse_reference(text, target=target)
    if reference.index is not None:
        raise PatternError("a prefix takes no slice", text.find("["))
    if any(isinstance(piece, Regex) for piece in reference.pattern.pieces):
        raise PatternError("a prefix takes no `re:`")
    return reference


def parse_alias(text: str) -> Pattern:
    """The pattern that the alias of a source or an output says, as it stands before `::`."""
    return parse_prefix(f"{text}::").alias or Pattern(())


def parse_name(text: str, *, target: bool = False) -> Pattern:
    """The pattern that a name says which is no key, as a file's: without an alias or a slice.

    Brackets and white space are literal. Raises PatternError with the column of what is wrong.
    """
    if len(text) > MAX_TEXT:
        raise PatternError(f"a pattern of {len(text)} characters; at most {MAX_TEXT}")
    return Pattern(_pieces(text, 0, len(text), target, spaced=True))


def find_outside(text: str, wanted: str, start: int = 0) -> int:
    """Where `wanted` stands unescaped and outside of `<…>`; -1 where it doesn't."""
    (before, _), *others = _split(text[start:], wanted, but=_ANGLED)
    return start + len(before) if others else -1


def split_arrow(text: str) -> list[tuple[str, int]]:
    """The sides of `A -> B` with their columns: one, two, or more where there are too many."""
    return _split(text, "->", but=r"<\w+:(?:\\.|[^\\>\s])*>?")


_ANGLED = r"<(?:\\.|[^\\>])*>?"


def _split(text: str, separator: str, but: str = r"\\.") -> list[tuple[str, int]]:
    """The parts of a text with their columns, split where no backslash stands before.

    `but` matches what else is passed over.
    """
    parts, start = [], 0
    for found in re.finditer(rf"\\.|{but}|{re.escape(separator)}", text, re.DOTALL):
        if found[0] == separator:
            parts.append((text[start : found.start()], start))
            start = found.end()
    return [*parts, (text[start:], start)]


def _closed_index(text: str, column: int) -> WrittenIndex:
    if not text.endswith("]"):
        closed = "]" in text
        raise PatternError(
            "text behind a slice" if closed else "a slice without its closing `]` at the end",
            column,
            "a slice ends the reference; "
            + "ops stand behind the `: ` of the rule, an integer in a key is `<i>`; " * closed
            + "a literal bracket is written `\\[`",
        )
    return parse_index(text, column)


def _alias_end(text: str, start: int) -> int:
    """Where the `::` behind an alias stands; -1 for one in a slice or an expression, or none."""
    if text.startswith("re:", start):
        return -1
    bracket = find_outside(text, "[", start)
    return find_outside(text if bracket < 0 else text[:bracket], "::", start)


_PIECE = re.compile(
    r"(?P<escape>\\)|(?P<angled><(?P<inside>(?:\\.|[^\\>])*)(?P<close>>)?)|(?P<stars>\*+)|[^\\<*]+",
    re.DOTALL,
)


def _pieces(
    text: str, start: int, end: int, target: bool, *, spaced: bool = False
) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    literal, at, stars = "", start, 0
    while found := _PIECE.match(text, at, end):
        at = found.end()
        if found.lastgroup is None:
            _refuse_space(found, target and not spaced)
            literal += found[0]
            continue
        if found.lastgroup == "escape":
            literal, at = literal + _escaped(text, found.start(), end), at + 1
            continue
        if literal:
            pieces.append(Literal(literal))
            literal = ""
        if found.lastgroup == "angled":
            pieces.append(_angled(found, target))
        else:
            stars += 1
            pieces.append(_star(len(found[0]), stars, found.start()))
    return (*pieces, Literal(literal)) if literal else tuple(pieces)


def _refuse_space(found: re.Match[str], target: bool) -> None:
    """Nothing, unless white space stands in a name that is given: keys have none but by mistake."""
    space = re.search(r"\s", found[0]) if target else None
    if space is not None:
        raise PatternError(
            "white space inside of a key that is given",
            found.start() + space.start(),
            "is a comma, or `->`, missing? a key that has a space is written `\\ `",
        )


def _escaped(text: str, at: int, end: int) -> str:
    char = text[at + 1] if at + 1 < end else ""
    if char.isdigit():
        raise PatternError(
            f"`\\{char}` stands for no group of a `re:`",
            at,
            "groups have names: `(?P<i>…)` in the source, `<i>` in the target",
        )
    if not char or char not in _ESCAPES:
        raise PatternError(
            f"a backslash before {char or 'the end'!r}",
            at,
            "the escapes are \\< \\* \\[ \\: and space (a dot needs none); `re:` starts a regular "
            "expression",
        )
    return char


def _star(run: int, number: int, column: int) -> Capture:
    if run > 2:
        raise PatternError(f"{run} stars in a row; `*` is one piece, `**` one or more", column)
    return Capture(f"*{number}", Kind.PATH if run == 2 else Kind.TEXT, column=column)


def _angled(found: re.Match[str], target: bool) -> Capture | Formula:
    """The piece that stands in `<…>`."""
    text, column = found["inside"], found.start("inside")
    if not found["close"]:
        message = "`<` without its closing `>`"
        raise PatternError(message, column - 1, "a literal one is written `\\<`")
    match = _NAME.fullmatch(text)
    if match is not None:
        name, colon, kind = match.groups()
        return _capture(name, _trim(kind) if colon else None, column)
    if re.fullmatch(r"[\w-]+(\|[\w-]+)+", text):
        raise PatternError(f"`<{text}>` has words and no name", column, f"write `<p:{text}>`")
    if not target:
        turned = re.fullmatch(r"([a-z]\w*) ?([+-]) ?(\d+)", text)
        help = "what reads keys takes `<name>` or `<name:kind>`; formulas stand in targets"
        if turned:
            name, sign, number = turned.groups()
            other = f"<{name}{'-' if sign == '+' else '+'}{number}>"
            help = f"formulas stand in targets: `<{name}>` here, and `{other}` there"
        raise PatternError(f"`<{text}>` is no capture", column, help)
    try:
        return Formula(parse_expression(text), column)
    except ExpressionError as error:
        raise PatternError(f"in `<{text}>`: {error}", column + error.column, error.help) from None


def _trim(text: str) -> str:
    """The text without the spaces around it, but for one with a backslash before it."""
    end = len(text.rstrip())
    backslashes = end - len(text[:end].rstrip("\\"))
    return text[: end + backslashes % 2].lstrip()


_KINDS: Mapping[str, Kind] = {"int": Kind.INT, "str": Kind.TEXT, "path": Kind.PATH}


def _capture(name: str, kind: str | None, column: int) -> Capture:
    if kind is None:
        if name == "_":
            raise PatternError("`<_>` needs a kind, such as `<_:str>`", column)
        return Capture(name, Kind.BARE, column=column)
    if kind in _KINDS:
        return Capture(name, _KINDS[kind], column=column)
    if kind.startswith("path:") and not re.search(r"[|=]", kind):
        return Capture(name, Kind.PATH, column=column, separator=_separator(name, kind, column))
    if re.fullmatch(r"0[1-9][0-9]?", kind):
        if int(kind) > 18:
            raise PatternError(f"a width of {int(kind)} digits; at most 18", column)
        return Capture(name, Kind.INT, width=int(kind), column=column)
    return Capture(name, Kind.WORDS, words=_words(kind, column), column=column)


def _separator(name: str, kind: str, column: int) -> str:
    """What stands between the pieces of `<name:path:_>`."""
    separator = kind.removeprefix("path:")
    if name == "_":
        raise PatternError(f"`<_:{kind}>` has no name that could be known", column, "name it")
    if "." in separator:
        raise PatternError("a path has dots without a separator", column, f"write `<{name}:path>`")
    if "\\" in separator:
        message = "a separator holds no backslash"
        raise PatternError(message, column, "it is what stands between pieces, such as `_`")
    return separator


def _words(text: str, column: int) -> tuple[Word, ...]:
    words = tuple(_word(part, column) for part, _ in _split(text, "|"))
    if len(words) == 1 and words[0].left == words[0].right:
        raise PatternError(
            f"`{text}` is no kind of capture",
            column,
            _find_width(text)
            or nearest(text, _KINDS)
            or "the kinds are int, str, path, a width such as 02, or words: `q|k|v`",
        )
    seen: set[str] = set()
    for word in words:
        if word.left in seen:
            raise PatternError(f"the word {word.left!r} stands twice in `{text}`", column)
        seen.add(word.left)
    return words


def _find_width(text: str) -> str:
    """The next step where a kind is the width of an integer otherwise: `02d`, `int:02`, `2`."""
    found = re.fullmatch(r"(?:int)?:?0?([1-9])d?|int:0([1-9])d?", text)
    width = next(filter(None, found.groups()), "") if found else ""
    return f"{width} digits with leading zeros are `0{width}`" if width else ""


def _word(text: str, column: int) -> Word:
    sides = [re.sub(r"\\(.)", r"\1", side, flags=re.DOTALL) for side, _ in _split(text, "=")]
    if len(sides) > 2:
        raise PatternError(f"`{text}` renames twice", column, "a renaming word is `old=new`")
    return Word(sides[0], sides[-1])
