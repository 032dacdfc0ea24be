"""Keys that have more, less or other text than a pattern says."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import partial

from msgspec.structs import replace

from ckptsurgeon.language.patterns import Capture, Formula, Kind, Literal, Pattern, Piece, Regex
from ckptsurgeon.language.yaml.quoting import quoted
from ckptsurgeon.planner.compiling.compiled import BATCHNORM_PARTS
from ckptsurgeon.planner.stage.near import (
    PREFIX,
    REST,
    Near,
    find_integers,
    with_captures,
    without_empty,
)

MOST_JOINTS = 6
"""Dots and underscores of a text that may be the other."""

MOST_CUT = 3
"""Pieces at the front of a pattern that may be too much."""

_TENSOR = re.compile(rf"\.(?:{'|'.join(BATCHNORM_PARTS)})$")


def read_modules(pattern: Pattern) -> Iterator[Near]:
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


def read_missing(pattern: Pattern) -> Iterator[Near]:
    """A piece that is missing behind an integer: `layer<i>.<j>.conv`."""
    names = pattern.names
    name = next((one for one in "jkmnp" if one not in names), "")
    for kind in (Kind.INT, Kind.TEXT):
        for number in find_integers(pattern) if name else ():
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


def read_front(pattern: Pattern, front: str) -> Iterator[Near]:
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


def read_other_front(pattern: Pattern, front: str) -> Iterator[Near]:
    """Keys of which all begin with another piece than the pattern: `model.**` for `module.**`."""
    first = pattern.pieces[0]
    wide = any(one.kind is Kind.PATH for one in pattern.captures)
    if front and wide and isinstance(first, Literal) and not first.text.startswith(front):
        _, dot, rest = first.text.partition(".")
        pieces = (Literal(front + rest), *pattern.pieces[1:])
        if dot:
            yield Near(Pattern(pieces), f"every key begins with `{front}`")


def read_prefix(pattern: Pattern) -> Iterator[Near]:
    """Keys that have more in front; `searching` says what that is."""
    if not any(isinstance(one, Regex) for one in pattern.pieces):
        yield Near(Pattern((PREFIX, Literal("."), *pattern.pieces)))


def read_cut(pattern: Pattern) -> Iterator[Near]:
    """Keys that have less in front."""
    first = pattern.pieces[0]
    if not isinstance(first, Literal):
        return
    pieces = first.text.split(".")
    for number in range(1, min(MOST_CUT + 1, len(pieces))):
        front, left = ".".join(pieces[:number]), ".".join(pieces[number:])
        rest = ((Literal(left),) if left else ()) + pattern.pieces[1:]
        wide = isinstance(rest[0], Capture) and rest[0].kind is not Kind.INT if rest else True
        if not wide and any(isinstance(one, Literal) and one.text.strip("._/") for one in rest):
            yield Near(Pattern(rest), f"they have no `{front}.` in front")


def read_tensor(pattern: Pattern) -> Iterator[Near]:
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
    return without_empty([*before, Literal(text[: found.start()])]), found[0] + star


def read_separator(pattern: Pattern) -> Iterator[Near]:
    """Keys with slashes between their pieces for dots, or dots for slashes."""
    slashed, dotted = _parted(pattern, ".", "/"), _parted(pattern, "/", ".")
    if slashed != pattern:
        besides = "`source: {separator: /}` and dots in the rules"
        yield Near(slashed, "keys are parted by slashes", besides=besides)
    if dotted != pattern:
        yield Near(dotted, "keys are parted by dots", partial(_parted, old="/", new="."))


def _parted(pattern: Pattern, old: str, new: str) -> Pattern:
    """The pattern with another separator in its texts."""
    return Pattern(
        tuple(
            Literal(one.text.replace(old, new)) if isinstance(one, Literal) else one
            for one in pattern.pieces
        )
    )


def read_joints(pattern: Pattern) -> Iterator[Near]:
    """A dot for an underscore, or the other way round: `in_proj.weight`, `in_proj_weight`."""
    for number, one in enumerate(pattern.pieces):
        joints = re.finditer(r"[._]", one.text) if isinstance(one, Literal) else ()
        for found in itertools.islice(joints, MOST_JOINTS):
            text, at = found.string, found.start()
            other = "_" if found[0] == "." else "."
            pieces = list(pattern.pieces)
            pieces[number] = Literal(text[:at] + other + text[at + 1 :])
            yield Near(Pattern(tuple(pieces)), f"`{found[0]}` is `{other}` there")


def read_other_words(pattern: Pattern) -> Iterator[Near]:
    """Words of which keys have none."""
    for number, one in enumerate(pattern.pieces):
        renames = isinstance(one, Capture) and any(w.left != w.right for w in one.words)
        if isinstance(one, Capture) and one.kind is Kind.WORDS and not renames:
            wider = with_captures(pattern, [number], kind=Kind.TEXT, words=())
            yield Near(wider, f"no key has a word of `{one}`")


def read_regex(pattern: Pattern) -> Iterator[Near]:
    """A regular expression that matches a part of a key, or that lacks its `re:`."""
    *before, last = pattern.pieces
    if isinstance(last, Regex):
        for whole in _loosened(last.text, bool(last.captures)):
            yield Near(Pattern((*before, replace(last, text=whole))), "`re:` matches whole keys")
        return
    text = "".join(one.text if isinstance(one, Literal) else str(one) for one in pattern.pieces)
    if re.search(r"[$^(|+]|^\.\*", text) and "<" not in text:
        for whole in (text.strip("^$"), *_loosened(text, False)):
            yield Near(Pattern((Regex(whole, ()),)), "`re:` begins a regular expression")


def _loosened(text: str, captures: bool) -> Iterator[str]:
    """Regular expressions for keys that hold what one matches: as whole pieces, or anywhere.

    What has groups takes whole pieces alone: a `.*` in front would take digits from a number.
    """
    plain, begins, ends = text.strip("^$"), text[:1] == "^", text[-1:] == "$"
    yield f"{'' if begins else '(?:.*[.])?'}(?:{plain}){'' if ends else '(?:[.].*)?'}"
    if not captures:
        yield f"{'' if begins else '.*'}(?:{plain}){'' if ends else '.*'}"
