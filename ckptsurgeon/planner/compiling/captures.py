"""What each name of a rule is: its kind, and whether it names steps, is gathered or is spread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from ckptsurgeon.errors import Place
from ckptsurgeon.language.expressions import (
    OF_TENSOR,
    expressions_in,
    parse_expression,
    unknown_name,
)
from ckptsurgeon.language.patterns import (
    Capture,
    Formula,
    Kind,
    Pattern,
    Piece,
)
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import At


def find_kinds(
    sources: Iterable[At], targets: Iterable[At], vars: Iterable[str], problems: Problems
) -> tuple[dict[str, Capture], dict[str, Capture]]:
    """The captures of a rule by name: those that its sources have, and those of targets alone.

    A bare name is what its first mention says, else an integer; in a target it may be a var. A name
    that a target's slice alone mentions is spread as an integer.
    """
    names = frozenset(vars)
    read: dict[str, Capture] = {}
    for at in sources:
        for capture in at.captures:
            if capture.name in names:
                _refuse_var(capture, at, problems)
            _mention(capture, read, at.place, problems)
    spread: dict[str, Capture] = {}
    for at in targets:
        _find_spread(at, read, names, spread, problems)
    return read, spread


def _refuse_var(capture: Capture, at: At, problems: Problems) -> None:
    """Adds the problem of a capture that has the name of a var."""
    message = f"`{capture.name}` is a var, and a capture here"
    help = "captures and vars share one name space: rename one of the two"
    problems.add(message, at.place, help)


def _find_spread(
    at: At,
    read: Mapping[str, Capture],
    vars: frozenset[str],
    spread: dict[str, Capture],
    problems: Problems,
) -> None:
    """Adds the names of a target that no source has and no var is."""
    for capture in at.pattern.captures:
        if capture.name in vars and capture.kind is not Kind.BARE:
            _refuse_var(capture, at, problems)
        elif capture.nameless:
            problems.add(f"`{capture}` can't be written in a target", at.place)
        elif capture.name in read:
            _agree(capture, read[capture.name], at.place, problems)
        elif capture.name not in vars:
            _mention(capture, spread, at.place, problems)
    in_order = (name for one in expressions_in(at.index) for name in sorted(one.names))
    for name in in_order:
        if name not in {*read, *vars, *OF_TENSOR} and not name.startswith("config."):
            spread.setdefault(name, Capture(name, Kind.INT))


def _mention(capture: Capture, known: dict[str, Capture], place: Place, problems: Problems) -> None:
    if capture.nameless:
        return
    if capture.name in known:
        _agree(capture, known[capture.name], place, problems)
        return
    kind = Kind.INT if capture.kind is Kind.BARE else capture.kind
    known[capture.name] = replace(capture, kind=kind)


def _agree(capture: Capture, first: Capture, place: Place, problems: Problems) -> None:
    if capture.kind is Kind.WORDS is first.kind:
        _agree_on_words(capture, first, place, problems)
    if capture.star or capture.kind in (Kind.BARE, first.kind):
        return
    problems.add(
        f"`{capture}` is {capture.kind.value}, and `{first}` before it is {first.kind.value}",
        place,
        "one name is one thing in a rule: use another name",
    )


def _agree_on_words(capture: Capture, first: Capture, place: Place, problems: Problems) -> None:
    """Tells words of a second mention that are not those of the first."""
    lefts, rights = ([getattr(one, side) for one in first.words] for side in ("left", "right"))
    own = [one.left for one in capture.words]
    if own == lefts:
        return
    help = f"write `<{capture.name}>` here"
    if own != rights and lefts == rights and len(own) == len(lefts) == len(set(own)):
        pairs = "|".join(f"{a}={b}" for a, b in zip(lefts, own, strict=True))
        help = f"to rename them write `<{capture.name}:{pairs}>` there, and `<{capture.name}>` here"
    problems.add(f"`{capture}` has other words than `{first}` before it", place, help)


def resolve(pattern: Pattern, known: Mapping[str, Capture]) -> Pattern:
    """The pattern with bare names given their kinds; one that is not known is a var."""
    return Pattern(tuple(_resolved(piece, known) for piece in pattern.pieces))


def _resolved(piece: Piece, known: Mapping[str, Capture]) -> Piece:
    if not isinstance(piece, Capture) or piece.kind is not Kind.BARE:
        return piece
    first = known.get(piece.name)
    if first is None:
        return Formula(parse_expression(piece.name), piece.column)
    return replace(piece, kind=first.kind, words=first.words)


NUMBER = "a number is wanted here, or a name that `vars: {{{name}: …}}` declares"
TARGET = "capture it in the source, as `<{name}>`, or declare it: `vars: {{{name}: …}}`"
CONDITION = "a word wants quotes: `'{name}'`; a name is a capture, or declared in `vars`"
"""What is said of a name that is nothing, by what stands there."""


def check_names(
    names: Iterable[str], known: Iterable[str], place: Place, problems: Problems, help: str
) -> None:
    """Tells each name that is neither a capture nor a var; `help` has a place for the name."""
    known = [name for name in known if not name.startswith("*")]
    for name in sorted(set(names).difference(known)):
        if name in OF_TENSOR:
            text = f"`{name}` isn't known here: ops, slices and `where` of taken tensors have it"
            ask = "`vars: {n: {shape: KEY, dim: 0}}` asks a key for its"
            problems.add(text, place, ask if name == "shape" else "")
        elif not name.startswith(("config.", "*")):
            with problems.at(place):
                raise unknown_name(name, known, help=help.format(name=name))


def check_expressions(
    value: object, known: Iterable[str], place: Place, problems: Problems
) -> None:
    """Tells each name that is neither a capture nor a var, in the numbers that a value has."""
    for expression in expressions_in(value):
        check_names(expression.names, known, place, problems, NUMBER)
