"""Single keys under another name: a spare one and a missing one that differ in one piece alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

from ckptsurgeon.language.patterns import write_literal
from ckptsurgeon.report.suggestions.exact import exact_globs
from ckptsurgeon.report.suggestions.model import Degree, Specs, Suggestion
from ckptsurgeon.report.suggestions.writing import (
    LONGEST_KEY,
    alias_prefix,
    arrow,
    quoted,
    sayable,
)
from ckptsurgeon.specs import TensorSpec

DEEPEST = 16
"""Pieces of a key that are looked at."""

MOST_CHANGES = 8
"""Changes of a name that are written out: each costs a pass over the keys."""

MOST_LINES = 12

_SEPARATORS = re.compile(r"[_-]")

Change = tuple[int, tuple[str, ...], tuple[str, ...]]
"""At which piece two keys begin to differ, and the pieces in which they do."""


def find_spelled(spare: Specs, missing: Specs) -> dict[str, str]:
    """Spare keys with the missing ones of their shape that are spelled alike: `conv_1`, `conv1`."""
    return _sole_pairs(_named(spare), _named(missing), _spellings)


def find_pairs(spare: Specs, missing: Specs) -> dict[str, str]:
    """Spare keys with the missing ones that they can only be; both of one shape.

    First those that are spelled alike, then those that differ in one piece, if no other key could
    stand in that place. Integers never stand for others: layers that are counted from elsewhere
    look like that too.
    """
    ours, theirs = _named(spare), _named(missing)
    found = _sole_pairs(ours, theirs, _spellings)
    taken = set(found.values())
    left = {key: spec for key, spec in ours.items() if key not in found}
    lacking = {key: spec for key, spec in theirs.items() if key not in taken}
    pairs = found | _sole_pairs(left, lacking, _places)
    return {k: v for k, v in pairs.items() if _is_norm(k, spare) == _is_norm(v, missing)}


def _is_norm(key: str, specs: Specs) -> bool:
    """Whether a key is a BatchNorm's: folded away, its bias is not the one of another layer."""
    return f"{key.rpartition('.')[0]}.running_mean" in specs


def _named(specs: Specs) -> Specs:
    return {key: spec for key, spec in specs.items() if _plain(key)}


def _plain(key: str) -> bool:
    return len(key) <= LONGEST_KEY and key.count(".") < DEEPEST and sayable(key)


def _spellings(key: str) -> Iterator[tuple[Hashable, str]]:
    yield _SEPARATORS.sub("", key).lower(), ""


def _places(key: str) -> Iterator[tuple[Hashable, str]]:
    """The key without each of its pieces in turn, and that piece."""
    pieces = key.split(".")
    for at, piece in enumerate(pieces):
        yield (at, ".".join(pieces[:at] + pieces[at + 1 :])), piece


def _sole_pairs(
    spare: Specs, missing: Specs, places: Callable[[str], Iterable[tuple[Hashable, str]]]
) -> dict[str, str]:
    """Keys that have a place and a shape in common, which no third key has."""
    ours: dict[Hashable, list[tuple[str, str]]] = {}
    for key, spec in spare.items():
        for place, piece in places(key):
            ours.setdefault((place, _kind(spec)), []).append((key, piece))
    theirs: dict[Hashable, list[tuple[str, str]]] = {}
    for key, spec in missing.items():
        for place, piece in places(key):
            kind: Hashable = (place, _kind(spec))
            if kind in ours:
                theirs.setdefault(kind, []).append((key, piece))
    partners: dict[str, set[str]] = {}
    origins: dict[str, set[str]] = {}
    for kind, lacking in theirs.items():
        if len(lacking) == len(ours[kind]) == 1:
            ((old, piece),), ((new, other),) = ours[kind], lacking
            if not (piece.isdigit() and other.isdigit()):
                partners.setdefault(old, set()).add(new)
                origins.setdefault(new, set()).add(old)
    sole = {old: next(iter(news)) for old, news in partners.items() if len(news) == 1}
    return {old: new for old, new in sole.items() if len(origins[new]) == 1}


def _kind(spec: TensorSpec) -> Hashable:
    return spec.shape, spec.floating


# --- as text --------------------------------------------------------------------------------------


def pair_suggestion(
    alias: str, pairs: Mapping[str, str], untaken: Iterable[str], degree: Degree
) -> Suggestion:
    """The arrows that rename the keys."""
    first, like = next(iter(pairs.items()))
    lines = pair_arrows(alias, pairs, untaken)
    if len(pairs) == 1:
        sentence = f"{quoted(first)} is of the shape and in the place of {quoted(like)}"
    else:
        sentence = (
            f"{len(pairs):,} keys such as {quoted(first)} are each of the shape and in the place"
            f" of one such as {quoted(like)}"
        )
    return Suggestion(f"{sentence}: rename", "\n".join(lines), degree)


def pair_arrows(alias: str, pairs: Mapping[str, str], universe: Iterable[str]) -> list[str]:
    """Arrows from keys to keys; of `universe` they take the former alone. The first few."""
    name = alias_prefix(alias)
    keys = list(universe)
    groups: dict[Change, list[str]] = {}
    for old, new in pairs.items():
        groups.setdefault(_change(old, new), []).append(old)
    lines: list[str] = []
    for change, olds in list(groups.items())[:MOST_CHANGES]:
        at, gone, _ = change
        for glob in exact_globs(olds, keys, at + len(gone)):
            lines.append(arrow(name + glob.source, _changed(glob.target, change)))
    return lines[:MOST_LINES]


def _change(old: str, new: str) -> Change:
    ours, theirs = old.split("."), new.split(".")
    shorter = min(len(ours), len(theirs))
    front = next((n for n in range(shorter) if ours[n] != theirs[n]), shorter)
    rest = shorter - front
    back = next((n for n in range(rest) if ours[-1 - n] != theirs[-1 - n]), rest)
    return front, tuple(ours[front : len(ours) - back]), tuple(theirs[front : len(theirs) - back])


def _changed(target: str, change: Change) -> str:
    at, gone, come = change
    pieces = target.split(".")
    return ".".join([*pieces[:at], *map(write_literal, come), *pieces[at + len(gone) :]])
