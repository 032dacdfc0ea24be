"""Patterns that are near to one that matches no key: what somebody may have meant by it.

Each reading says in what it differs, and what the target of the rule becomes with it. Nothing here
looks at keys: `searching.py` tries the readings on them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from ckptsurgeon.language.patterns import (
    Capture,
    Formula,
    Kind,
    Literal,
    Pattern,
    Piece,
    Regex,
    Word,
)
from ckptsurgeon.language.reading.notations import find_alternatives
from ckptsurgeon.language.yaml.quoting import quoted
from ckptsurgeon.planner.compiling.compiled import BATCHNORM_PARTS

Change = Callable[[Pattern], Pattern]

PREFIX = Capture("*0", Kind.PATH)
"""What stands for the front of a key that a pattern lacks; no pattern names a star so."""

REST = {kind: Capture("*9", kind) for kind in (Kind.TEXT, Kind.PATH)}
"""What stands for the rest of a key that a pattern lacks."""

WIDTHS = (2, 3, 4, 5)
"""Digits of zero-padded integers that are tried."""

MOST_ALONE = 4
"""Placeholders of one pattern of which each alone may be meant."""

MOST_JOINTS = 6
"""Dots and underscores of a text that may be the other."""

MOST_CUT = 3
"""Pieces at the front of a pattern that may be too much."""

_PLACEHOLDER = re.compile(
    r"(?P<whole>\$?\{(?P<braced>\w*)(?::[^{}]*)?\}|\$(?P<dollar>\w+)|%(?:\(\w+\))?\d*[ds]"
    r"|(?:^|(?<=[._/]))[:@](?P<marked>[A-Za-z]\w*))"
)
_TENSOR = re.compile(rf"\.(?:{'|'.join(BATCHNORM_PARTS)})$")
_LETTER = re.compile(r"(?:^|(?<=[._/]))(?P<whole>[A-Za-z#?]|idx)(?=[._/]|$)")


class Near(Struct, frozen=True):
    """A near reading: in what it differs, and what the rule's target becomes with it.

    `besides` is another way to the same. One with PREFIX in it says itself what it lacks, once it
    is known what stands there; one of a module ends in a star of REST.
    """

    pattern: Pattern
    reason: str = ""
    change: Change = lambda target: target
    besides: str = ""

    def then(self, other: Near) -> Near:
        """The reading that differs in both."""
        first, second = self.change, other.change
        return Near(
            other.pattern,
            join_words(self.reason, other.reason),
            lambda target: second(first(target)),
            self.besides or other.besides,
        )


def join_words(*reasons: str) -> str:
    """Reasons as one, without those that say nothing."""
    return ", and ".join(filter(None, reasons))


def near_readings(pattern: Pattern, front: str = "") -> Iterator[Near]:
    """The readings that differ in one thing from a resolved pattern, the likeliest first.

    `front` is what every key begins with.
    """
    yield from frequent_readings(pattern, front)
    yield from _read_tensor(pattern)
    yield from _read_placeholders(pattern, _LETTER, (Kind.INT,))
    missing = list(_read_missing(pattern))
    yield from missing
    yield from (one.then(near) for one in missing for near in read_padded(one.pattern))
    yield from _read_prefix(pattern)
    yield from _read_integers(pattern, Kind.PATH)
    yield from _read_separator(pattern)
    yield from _read_joints(pattern)
    yield from _read_other_words(pattern)
    yield from _read_cut(pattern)
    yield from _read_regex(pattern)


def frequent_readings(pattern: Pattern, front: str) -> Iterator[Near]:
    """Those of the readings that are often meant two at a time."""
    yield from _read_placeholders(pattern, _PLACEHOLDER, (Kind.INT, Kind.TEXT, Kind.PATH))
    yield from _read_alternatives(pattern)
    yield from read_padded(pattern)
    yield from _read_stars(pattern)
    yield from _read_undotted_stars(pattern)
    yield from _read_integers(pattern, Kind.TEXT)
    yield from _read_modules(pattern)
    yield from _read_front(pattern, front)


# --- captures written in another language's way ---------------------------------------------------


def _read_placeholders(
    pattern: Pattern, written: re.Pattern[str], kinds: Sequence[Kind]
) -> Iterator[Near]:
    """`{i}`, `$i` and `%d` for captures, or single letters for integers."""
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
    padded = re.search(r"[:%]0(\d)d", found["whole"])
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
    return _without_empty(pieces)


def _read_alternatives(pattern: Pattern) -> Iterator[Near]:
    """`(weight|bias)` and `{weight,bias}` for words."""
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


def _without_empty(pieces: Sequence[Piece]) -> Pattern:
    """The pattern of pieces, of which texts may be empty."""
    return Pattern(tuple(one for one in pieces if not isinstance(one, Literal) or one.text))


def _put(pattern: Pattern, text: str, piece: Piece) -> Pattern:
    """The pattern with a piece in the place of a text, where that stands."""
    pieces: list[Piece] = []
    for one in pattern.pieces:
        if isinstance(one, Literal) and text in one.text:
            before, _, behind = one.text.partition(text)
            pieces += (Literal(before), piece, Literal(behind))
        else:
            pieces.append(one)
    return _without_empty(pieces)


# --- captures of another kind ---------------------------------------------------------------------


def read_padded(pattern: Pattern) -> Iterator[Near]:
    """Integers that have leading zeros: all of them, or one."""
    at = _integers(pattern)
    for chosen in (at, *([n] for n in at if len(at) > 1)):
        named = " and ".join(f"`{pattern.pieces[n]}`" for n in chosen)
        zeros = f"{named} {'has' if len(chosen) == 1 else 'have'} no leading zeros"
        for width in WIDTHS if chosen else ():
            yield Near(_with(pattern, chosen, width=width), zeros)


def _read_integers(pattern: Pattern, kind: Kind) -> Iterator[Near]:
    """Integers that may be text: one of them, or all."""
    at = _integers(pattern)
    for chosen in (*([n] for n in at if len(at) > 1), at):
        named = " and ".join(f"`{pattern.pieces[n]}`" for n in chosen)
        reason = f"{named} {'is an integer' if len(chosen) == 1 else 'are integers'} here"
        if chosen:
            yield Near(_with(pattern, chosen, kind=kind), reason)


def _integers(pattern: Pattern) -> list[int]:
    """Which of the pieces are plain integers."""
    return [number for number, one in enumerate(pattern.pieces) if _is_integer(one)]


def _is_integer(piece: Piece) -> bool:
    return isinstance(piece, Capture) and piece.kind is Kind.INT and not piece.width


def _with(pattern: Pattern, numbers: Sequence[int], **fields: object) -> Pattern:
    """The pattern with these captures made otherwise."""
    return Pattern(
        tuple(
            replace(one, **fields) if number in numbers else one
            for number, one in enumerate(pattern.pieces)
        )
    )


def _read_stars(pattern: Pattern) -> Iterator[Near]:
    """Stars that may be more than one piece: one of them, or all."""
    stars = [one.name for one in pattern.captures if one.star and one.kind is Kind.TEXT]
    for names in [[name] for name in stars] + [stars] * (len(stars) > 1):
        yield Near(
            _widen(pattern, names),
            "`*` is one piece",
            partial(_widen, names=names),
        )


def _read_undotted_stars(pattern: Pattern) -> Iterator[Near]:
    """Stars that lack the dot between them and a name: `fc*`, `*bias`."""
    for kind in (Kind.TEXT, Kind.PATH):
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
        if len(pieces) > len(pattern.pieces):
            yield Near(Pattern(tuple(pieces)), "a star stands for whole pieces")


def _widen(pattern: Pattern, names: Sequence[str]) -> Pattern:
    """The pattern with these stars doubled."""
    at = [
        number
        for number, one in enumerate(pattern.pieces)
        if isinstance(one, Capture) and one.name in names
    ]
    return _with(pattern, at, kind=Kind.PATH)


# --- more, or less, than a pattern says -----------------------------------------------------------


def _read_modules(pattern: Pattern) -> Iterator[Near]:
    """A module where its tensors are wanted."""
    last = pattern.pieces[-1]
    if isinstance(last, Regex):
        return
    dotted = isinstance(last, Literal) and last.text.endswith(".")
    reason = "it is the beginning of keys" if dotted else "it names a module"
    for kind in (Kind.TEXT, Kind.PATH):
        rest = _behind(pattern, kind)
        yield Near(rest, reason, partial(_behind, kind=kind))


def _behind(pattern: Pattern, kind: Kind) -> Pattern:
    """The pattern with a star behind it."""
    last = pattern.pieces[-1] if pattern.pieces else None
    dotted = isinstance(last, Literal) and last.text.endswith(".")
    return Pattern((*pattern.pieces, *(() if dotted else (Literal("."),)), REST[kind]))


def _read_missing(pattern: Pattern) -> Iterator[Near]:
    """A piece that is missing behind an integer: `layer<i>.<j>.conv`."""
    names = pattern.names
    name = next((one for one in "jkmnp" if one not in names), "")
    for kind in (Kind.INT, Kind.TEXT):
        for number in _integers(pattern) if name else ():
            capture = pattern.pieces[number]
            if isinstance(capture, Capture):
                change = partial(_insert_behind, behind=capture.name, name=name, kind=Kind.BARE)
                yield Near(
                    _insert_behind(pattern, capture.name, name, kind),
                    f"a piece is missing behind `{capture}`",
                    change,
                )


def _insert_behind(pattern: Pattern, behind: str, name: str, kind: Kind) -> Pattern:
    """The pattern with one piece more behind a capture that ends a piece."""
    pieces: list[Piece] = []
    for one, following in itertools.zip_longest(pattern.pieces, pattern.pieces[1:]):
        pieces.append(one)
        ends = isinstance(following, Literal) and following.text.startswith(".")
        named = one.name == behind if isinstance(one, Capture) else False
        if (named or (isinstance(one, Formula) and one.expression.names == {behind})) and ends:
            pieces += (Literal("."), Capture(name, kind))
    return Pattern(tuple(pieces))


def _read_front(pattern: Pattern, front: str) -> Iterator[Near]:
    """Keys that all begin with the same pieces: some of these, or all."""
    if any(isinstance(one, Regex) for one in pattern.pieces):
        return
    pieces = front.split(".")[:-1]
    for number in range(1, len(pieces) + 1):
        prefix = "".join(f"{piece}." for piece in pieces[:number])
        yield Near(
            Pattern((Literal(prefix), *pattern.pieces)),
            f"every key begins with `{prefix}`",
            besides=f"`source: {{strip: [{quoted(prefix)}]}}`",
        )


def _read_prefix(pattern: Pattern) -> Iterator[Near]:
    """Keys that have more in front; `searching` says what that is."""
    if not any(isinstance(one, Regex) for one in pattern.pieces):
        yield Near(Pattern((PREFIX, Literal("."), *pattern.pieces)))


def _read_cut(pattern: Pattern) -> Iterator[Near]:
    """Keys that have less in front."""
    first = pattern.pieces[0]
    if not isinstance(first, Literal):
        return
    pieces = first.text.split(".")
    for number in range(1, min(MOST_CUT + 1, len(pieces))):
        front, left = ".".join(pieces[:number]), ".".join(pieces[number:])
        rest = ((Literal(left),) if left else ()) + pattern.pieces[1:]
        if any(isinstance(one, Literal) and one.text.strip("._/") for one in rest):
            yield Near(Pattern(rest), f"they have no `{front}.` in front")


def _read_tensor(pattern: Pattern) -> Iterator[Near]:
    """A tensor of a layer where the layer is wanted: `batchnorm: bn1.weight -> n.weight`."""
    *layer, own = pattern.pieces
    if not (layer and isinstance(own, Literal) and _TENSOR.fullmatch(own.text)):
        return
    cut, end = _layer_of(Pattern(tuple(layer)))
    if end:
        reason = f"a layer is named without `{end}`"
        yield Near(Pattern((*cut.pieces, own)), reason, lambda target: _layer_of(target)[0])


def _layer_of(pattern: Pattern) -> tuple[Pattern, str]:
    """The layer of a tensor, of `layer.` and of `layer.*`, and what stands behind it."""
    *before, last = pattern.pieces
    star = str(last) if isinstance(last, Capture) and last.star else ""
    if star and before:
        *before, last = before
    text = last.text if isinstance(last, Literal) else ""
    found = re.search(r"\.$", text) or (None if star else _TENSOR.search(text))
    if found is None:
        return pattern, ""
    return _without_empty([*before, Literal(text[: found.start()])]), found[0] + star


def _read_separator(pattern: Pattern) -> Iterator[Near]:
    """Keys with slashes between their pieces."""
    slashed = tuple(
        Literal(one.text.replace(".", "/")) if isinstance(one, Literal) else one
        for one in pattern.pieces
    )
    if slashed != pattern.pieces:
        besides = "`source: {separator: /}` and dots in the rules"
        yield Near(Pattern(slashed), "keys are parted by slashes", besides=besides)
    dotted = tuple(
        Literal(one.text.replace("/", ".")) if isinstance(one, Literal) else one
        for one in pattern.pieces
    )
    if dotted != pattern.pieces:
        yield Near(Pattern(dotted), "keys are parted by dots")


def _read_joints(pattern: Pattern) -> Iterator[Near]:
    """A dot for an underscore, or the other way round: `in_proj.weight`, `in_proj_weight`."""
    for number, one in enumerate(pattern.pieces):
        joints = re.finditer(r"[._]", one.text) if isinstance(one, Literal) else ()
        for found in itertools.islice(joints, MOST_JOINTS):
            text, at = found.string, found.start()
            other = "_" if found[0] == "." else "."
            pieces = list(pattern.pieces)
            pieces[number] = Literal(text[:at] + other + text[at + 1 :])
            yield Near(Pattern(tuple(pieces)), f"`{found[0]}` is `{other}` there")


def _read_other_words(pattern: Pattern) -> Iterator[Near]:
    """Words of which keys have none."""
    for number, one in enumerate(pattern.pieces):
        if isinstance(one, Capture) and one.kind is Kind.WORDS:
            wider = _with(pattern, [number], kind=Kind.TEXT, words=())
            yield Near(wider, f"no key has a word of `{one}`")


def _read_regex(pattern: Pattern) -> Iterator[Near]:
    """A regular expression that matches a part of a key, or that lacks its `re:`."""
    *before, last = pattern.pieces
    if isinstance(last, Regex):
        loose = replace(last, text=f".*(?:{last.text}).*")
        yield Near(Pattern((*before, loose)), "`re:` matches whole keys")
        return
    text = "".join(one.text if isinstance(one, Literal) else str(one) for one in pattern.pieces)
    if re.search(r"[$^(|+]|^\.\*", text) and "<" not in text:
        plain = text.strip("^$")
        front, rest = ".*" * (text[:1] != "^"), ".*" * (text[-1:] != "$")
        for whole in (plain, f"{front}(?:{plain}){rest}"):
            yield Near(Pattern((Regex(whole, ()),)), "`re:` begins a regular expression")
