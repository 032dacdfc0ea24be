"""Captures that are written otherwise, or that match otherwise than was meant."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from ckptsurgeon.language.patterns import Capture, Kind, Literal, Pattern, Piece, Word
from ckptsurgeon.language.reading.notations import find_alternatives
from ckptsurgeon.planner.stage.near import Near, find_integers, with_captures, without_empty

WIDTHS = (2, 3, 4, 5)
"""Digits of zero-padded integers that are tried."""

MOST_ALONE = 4
"""Placeholders of one pattern of which each alone may be meant."""

_PLACEHOLDER = re.compile(
    r"(?P<whole>\$?\{(?P<braced>\w*)(?::[^{}]*)?\}|\$(?P<dollar>\w+)|%(?:\(\w+\))?\d*[ds]"
    r"|(?:^|(?<=[._/]))[:@](?P<marked>[A-Za-z]\w*))"
)
"""What other languages write for a value."""

_LETTER = re.compile(r"(?:^|(?<=[._/]))(?P<whole>[A-Za-z#?]|idx)(?=[._/]|$)")
"""What people write for an integer."""

# --- captures written in another language's way ---------------------------------------------------


def read_placeholders(pattern: Pattern) -> Iterator[Near]:
    """`{i}`, `$i`, `%d` and `:i` for captures."""
    return _read_other(pattern, _PLACEHOLDER, (Kind.INT, Kind.TEXT, Kind.PATH))


def read_letters(pattern: Pattern) -> Iterator[Near]:
    """Single letters, `#`, `?` and `idx` for integers: `layer.N.weight`."""
    return _read_other(pattern, _LETTER, (Kind.INT,))


def _read_other(
    pattern: Pattern, written: re.Pattern[str], kinds: Sequence[Kind]
) -> Iterator[Near]:
    """Captures for what a regular expression finds in the pattern's texts."""
    names: dict[str, list[str]] = {}
    texts = (piece.text for piece in pattern.pieces if isinstance(piece, Literal))
    for number, found in enumerate(itertools.chain(*map(written.finditer, texts))):
        names.setdefault(found["whole"], []).append(_name_of(found, number))
    if not names:
        return
    alone = [{whole: own} for whole, own in names.items()] if 1 < len(names) <= MOST_ALONE else []
    for some in (names, *alone):
        first = next(iter(some))
        reason = f"a capture is written `<{some[first][0]}>`, not `{first}`"
        for kind in kinds:
            change = partial(_capture_all, written=written, names=some, kind=Kind.BARE)
            yield Near(_capture_all(pattern, written, some, kind), reason, change)


def _name_of(found: re.Match[str], number: int) -> str:
    """The name that a placeholder has, or one of its own."""
    named = found.groupdict()
    known = (named.get(form) for form in ("braced", "dollar", "marked"))
    name = next(filter(None, known), found["whole"].lower())
    return name if name.isidentifier() else "ijkn"[number % 4]


def _width_of(found: re.Match[str]) -> int:
    """The digits that a placeholder pads its integer to, 0 for none: `{i:02d}`, `%02d`."""
    padded = re.search(r"[:%]0(\d)d?", found["whole"])
    return int(padded[1]) if padded else 0


def _capture_all(
    pattern: Pattern, written: re.Pattern[str], names: Mapping[str, Sequence[str]], kind: Kind
) -> Pattern:
    """The pattern with captures for placeholders: for those that have names, in their order."""
    left = {whole: list(own) for whole, own in names.items()}
    known = {name for whole, own in names.items() if whole[-1:] == "}" for name in own}
    pieces: list[Piece] = []
    for piece in pattern.pieces:
        if not isinstance(piece, Literal):
            pieces.append(piece)
            continue
        start = 0
        for found in written.finditer(piece.text):
            if own := left.get(found["whole"]) or known & {_name_of(found, 0)}:
                name = own.pop(0) if isinstance(own, list) and len(own) > 1 else next(iter(own))
                width = _width_of(found) if kind is Kind.BARE else 0
                capture = Capture(name, Kind.INT if width else kind, width)
                pieces += (Literal(piece.text[start : found.start()]), capture)
                start = found.end()
        pieces.append(Literal(piece.text[start:]))
    return without_empty(pieces)


def read_alternatives(pattern: Pattern) -> Iterator[Near]:
    """`(weight|bias)`, `{weight,bias}` and `{0..2}` for words."""
    name = next((one for one in "pqrst" if one not in pattern.names), "")
    found = next(filter(None, map(_find_alternatives, pattern.pieces)), None)
    if name and found is not None:
        text, words = found
        written = Capture(name, Kind.WORDS, words=words)
        yield Near(
            _put(pattern, text, written),
            f"words are written `{written}`, not `{text}`",
            partial(_put, text=text, piece=Capture(name, Kind.BARE)),
        )


def _find_alternatives(piece: Piece) -> tuple[str, tuple[Word, ...]] | None:
    found = find_alternatives(piece.text) if isinstance(piece, Literal) else None
    return found and (found[0], tuple(Word(word, word) for word in found[1]))


def _put(pattern: Pattern, text: str, piece: Piece) -> Pattern:
    """The pattern with a piece in the place of a text, where that stands."""
    pieces: list[Piece] = []
    for one in pattern.pieces:
        if isinstance(one, Literal) and text in one.text:
            before, _, behind = one.text.partition(text)
            pieces += (Literal(before), piece, Literal(behind))
        else:
            pieces.append(one)
    return without_empty(pieces)


# --- captures of another kind ---------------------------------------------------------------------


def _tell(pattern: Pattern, numbers: Sequence[int], one: str, several: str) -> str:
    """What is said of one capture, or of several."""
    named = " and ".join(f"`{pattern.pieces[number]}`" for number in numbers)
    return f"{named} {one if len(numbers) == 1 else several}"


def read_padded(pattern: Pattern) -> Iterator[Near]:
    """Integers that have leading zeros: all of them, or one."""
    at = find_integers(pattern)
    for chosen in (at, *([n] for n in at if len(at) > 1)):
        zeros = _tell(pattern, chosen, "has no leading zeros", "have no leading zeros")
        for width in WIDTHS if chosen else ():
            yield Near(with_captures(pattern, chosen, width=width), zeros)


def read_unpadded(pattern: Pattern) -> Iterator[Near]:
    """Integers without the leading zeros that a pattern asks for."""
    padded = [n for n, one in enumerate(pattern.pieces) if isinstance(one, Capture) and one.width]
    if padded:
        reason = _tell(pattern, padded, "asks for leading zeros", "ask for leading zeros")
        yield Near(with_captures(pattern, padded, width=0), reason)


def read_integers(pattern: Pattern, kind: Kind) -> Iterator[Near]:
    """Integers that may be text: one of them, or all."""
    at = find_integers(pattern)
    for chosen in (*([n] for n in at if len(at) > 1), at):
        reason = _tell(pattern, chosen, "is an integer here", "are integers here")
        if chosen:
            yield Near(with_captures(pattern, chosen, kind=kind), reason)


def read_stars(pattern: Pattern) -> Iterator[Near]:
    """Stars that may be more than one piece: one of them, or all."""
    stars = [one.name for one in pattern.captures if one.star and one.kind is Kind.TEXT]
    for names in [[name] for name in stars] + [stars] * (len(stars) > 1):
        yield Near(
            _widen(pattern, names),
            "`*` is one piece",
            partial(_widen, names=names),
        )


def read_undotted_stars(pattern: Pattern) -> Iterator[Near]:
    """Stars that lack the dot between them and a name: `fc*`, `*bias`."""
    for kind in (Kind.TEXT, Kind.PATH):
        change = partial(_dot_stars, kind=kind)
        dotted = change(pattern)
        if len(dotted.pieces) > len(pattern.pieces):
            yield Near(dotted, "a star stands for whole pieces", change)


def _dot_stars(pattern: Pattern, kind: Kind) -> Pattern:
    """The pattern with dots between its stars and names that touch them."""
    pieces: list[Piece] = []
    for one in pattern.pieces:
        before = pieces[-1] if pieces else None
        after_text = isinstance(before, Literal) and before.text[-1:].isalnum()
        if isinstance(one, Capture) and one.star:
            pieces += [*([Literal(".")] if after_text else []), replace(one, kind=kind)]
        elif isinstance(before, Capture) and before.star and str(one)[:1].isalnum():
            pieces += [Literal("."), one]
        else:
            pieces.append(one)
    return Pattern(tuple(pieces))


def _widen(pattern: Pattern, names: Sequence[str]) -> Pattern:
    """The pattern with these stars doubled."""
    at = [
        number
        for number, one in enumerate(pattern.pieces)
        if isinstance(one, Capture) and one.name in names
    ]
    return with_captures(pattern, at, kind=Kind.PATH)
