"""Near readings of a pattern tried on the keys: which of them match, and how many.

A reason is a few words for the message and a next step that was tried: what it says to write
matches keys.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from ckptsurgeon.errors import PatternError
from ckptsurgeon.keys import without_integers
from ckptsurgeon.language.patterns import Capture, Kind, Literal, Pattern, compile_pattern
from ckptsurgeon.planner.compiling.compiled import Reader
from ckptsurgeon.planner.stage.near import PREFIX, REST, Near, Use, join_words
from ckptsurgeon.planner.stage.near_captures import read_padded
from ckptsurgeon.planner.stage.near_readings import frequent_readings, near_readings
from ckptsurgeon.planner.stage.tables import Table
from ckptsurgeon.specs import plural

COST = 2_000_000
"""What may be spent for all rules of a stage, two seconds or so: about 1 for a short key."""

CHARACTERS = 100
"""Characters times captures of a key that cost 1 more."""

READINGS = 2000
"""How many readings are tried for all rules of a stage, each of which is compiled."""

READ_KEYS = 20_000
"""Of how many keys the forms are compared when the nearest one is looked for."""

SEARCHES = 8
"""For how many rules the nearest key is looked for, which takes a moment each."""

COMPARED = 20_000_000
"""Pairs of characters that these may compare."""

LONGEST_FRONT = 8
"""Pieces that all keys begin with, of which one may be left out."""

MOST_CAPTURES = 16
"""Captures of the longest pattern that is varied or tried: each costs time at every key."""

EXPLAINED = 50
"""How many references of a stage are explained: as many as are shown."""

LONGEST_KEY = 200
"""The longest key that is compared, in characters."""

Write = Callable[[Near], str]
"""What a rule looks like with a near reading of one of its patterns."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Words for a message, behind a colon, and the next step; both empty where none is known.

    `near` is the key that looks most like the pattern, where that is all that is known; `besides`
    is the second way of the help, which needs no other rule.
    """

    why: str = ""
    help: str = ""
    near: str = ""
    besides: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The keys that a near reading matches, one at least."""

    near: Near
    keys: tuple[str, ...]
    fronts: tuple[str, ...] = ()
    """What stands for PREFIX in each key, where the reading has it."""


class Search:
    """Looks for near readings, as long as it may: of the dead rules of a stage, or of its ties."""

    def __init__(self) -> None:
        self._left, self._readings, self._searches = COST, READINGS, SEARCHES
        self._explained, self._compared = 0, 0
        self._reasons: dict[int, Reason] = {}

    def may_explain(self) -> bool:
        """Whether one more reference may be explained; each time counts as one."""
        self._explained += 1
        return self._explained <= EXPLAINED

    def explain_once(self, reader: Reader, explain: Callable[[], Reason]) -> Reason:
        """The reason of a reference, which is looked for the first time that it is asked for."""
        if id(reader) not in self._reasons:
            self._reasons[id(reader)] = explain()
        return self._reasons[id(reader)]

    def find_reading(
        self, pattern: Pattern, tables: Sequence[Table], write: Write, use: Use = Use.MOVE
    ) -> Reason:
        """The reason that the likeliest near reading of a pattern gives."""
        if not (pattern.pieces and _is_short(pattern)):
            return Reason()
        front = _common_front(tables)
        finish = _everywhere if use is Use.DROP else _with_front
        found = self._first_family(near_readings(pattern, front, use), tables, finish)
        if not (found or self._is_spent):
            firsts = [a for a in frequent_readings(pattern, front) if _is_short(a.pattern)]
            pairs = (a.then(b) for a in firsts for b in frequent_readings(a.pattern, front))
            found = self._first_family(pairs, tables, finish)
        if not found:
            return Reason()
        padded = [self._pad(one, tables) for one in found]
        found = list({one.keys: one for one in reversed(padded)}.values())[::-1]
        texts = [write(one.near) for one in found]
        told = [
            _tell(one, text, first=one is found[0])
            for one, text in zip(found, texts, strict=True)
            if text
        ]
        besides = found[0].near.besides or _tell_norm(found[0], write(Near(pattern)))
        helps = filter(None, (", ".join(told), besides))
        near = found[0].near
        return Reason(near.reason, "; or ".join(helps), besides=near.besides)

    def _pad(self, found: Found, tables: Sequence[Table]) -> Found:
        """A reading with leading zeros, where it matches more keys so: `layer_<i:02>`."""
        padded = [found.near.then(near) for near in read_padded(found.near.pattern)]
        tried = [one for near in padded if (one := self._try(near, tables)) is not None]
        return max((found, *tried), key=lambda one: len(one.keys))

    def _first_family(
        self, nears: Iterable[Near], tables: Sequence[Table], finish: Callable[[Found], Found]
    ) -> list[Found]:
        """What the first readings match that match any: those of one reason, each of other keys."""
        family: list[Found] = []
        for near in nears:
            if self._is_spent:
                break
            if family and near.reason != family[0].near.reason:
                break
            tried = self._try(near, tables)
            found = finish(tried) if tried else None
            if found is None or not str(found.near.pattern).isprintable():  # no rule can say it
                continue
            if found.keys not in [one.keys for one in family]:
                family.append(found)
        return family[:2]

    @property
    def _is_spent(self) -> bool:
        return self._readings <= 0 or self._left <= 0

    def _try(self, near: Near, tables: Sequence[Table]) -> Found | None:
        """What a near reading matches, if anything, within what may still be tried."""
        self._readings -= 1
        captures = len(list(near.pattern.captures))
        if captures > MOST_CAPTURES:
            return None
        try:
            matcher = compile_pattern(near.pattern)
        except PatternError:
            return None
        read, found = matcher.row_reader(), list[tuple[str, tuple[object, ...]]]()
        for table in tables:
            self._left -= table.cost_of_forms(matcher)
            if self._left < 0:
                return None
            candidates = list(table.candidates(matcher))
            characters = (1 + captures) * sum(map(len, candidates))
            self._left -= len(candidates) + characters // CHARACTERS
            if self._left < 0:
                return None
            rows = zip(candidates, map(read, candidates), strict=True)
            found += [(key, row) for key, row in rows if row is not None]
        if not found:
            return None
        keys = tuple(key for key, _ in found)
        if PREFIX not in near.pattern.pieces:
            return Found(near, keys)
        at = matcher.columns.index(PREFIX.name)
        return Found(near, keys, tuple(f"{row[at]}." for _, row in found))

    def nearest(self, pattern: Pattern, keys: Iterable[str]) -> str | None:
        """The first key of those that look most like a pattern; None where none is looked for."""
        text = str(pattern)
        self._searches -= 1
        if self._searches < 0 or len(text) > LONGEST_KEY:
            return None
        looked = list(itertools.islice(keys, READ_KEYS))
        found = self._closest(text, looked)
        end = _end_of(pattern) if found is None else ""
        return self._closest(end, looked, end.count(".") + 1) if end else found

    def _closest(self, text: str, keys: Sequence[str], pieces: int = 0) -> str | None:
        """The first key of those that look most like a text: by so many last pieces, or whole."""
        shapes: dict[str, str] = {}
        wanted = without_integers(re.sub(r"<[^>]*>", "0", text).lower())
        for key in keys:
            if len(key) <= LONGEST_KEY:
                own = ".".join(key.split(".")[-pieces:]) if pieces else key
                shapes.setdefault(without_integers(own.lower()), key)
            if len(shapes) * len(wanted) * len(key) > COMPARED - self._compared:
                break
        self._compared += sum(map(len, shapes)) * len(wanted)
        close = difflib.get_close_matches(wanted, shapes, n=1, cutoff=0.6)
        return shapes[close[0]] if close else None


def _end_of(pattern: Pattern) -> str:
    """The whole pieces behind the last capture of a path, which may be any front; else empty."""
    kinds = [one.kind if isinstance(one, Capture) else None for one in pattern.pieces]
    if Kind.PATH not in kinds:
        return ""
    behind = kinds[::-1].index(Kind.PATH)
    end = str(Pattern(pattern.pieces[len(kinds) - behind :]))
    return end[1:] if end.startswith(".") else ""


def _is_short(pattern: Pattern) -> bool:
    """Whether a pattern has no more captures than are looked for."""
    return len(list(pattern.captures)) <= MOST_CAPTURES


# --- words ----------------------------------------------------------------------------------------


def _tell(found: Found, written: str, *, first: bool) -> str:
    """What a reading would match; of the first an example, too."""
    count = len(found.keys)
    if not first:
        return f"`{written}` {count:,}"
    key = found.keys[0]
    if len(key) > LONGEST_KEY:
        return f"`{written}` would match {plural(count, 'key')}"
    example = f", such as `{key}`" if count > 1 else f", `{key}`"
    return f"`{written}` would match {plural(count, 'key')}{example}"


def _tell_norm(found: Found, written: str) -> str:
    """The rule for a whole BatchNorm, where a module that was named is one."""
    is_norm = any(key.endswith(".running_mean") for key in found.keys)
    of_module = found.near.pattern.pieces[-1] == REST[Kind.TEXT]
    plain = "->" in written and not re.search(r"\.\s*->|:", written)
    return f"`batchnorm: {written}`" if is_norm and of_module and plain else ""


def _everywhere(found: Found) -> Found:
    """A reading with PREFIX as it is, for names that keys have under several fronts."""
    if len(set(found.fronts)) < 2:
        return _with_front(found)
    reason = f"it is under {plural(len(set(found.fronts)), 'name')}, such as `{found.fronts[0]}`"
    near = replace(found.near, reason=join_words(found.near.reason, reason))
    return Found(near, found.keys)


def _with_front(found: Found) -> Found:
    """A reading with PREFIX, with the shortest of what stands there for keys."""
    near = found.near
    if PREFIX not in near.pattern.pieces:
        return found
    front = min(found.fronts, key=len)
    pairs = zip(found.keys, found.fronts, strict=True)
    keys = tuple(key for key, other in pairs if other == front)
    at, others = near.pattern.pieces.index(PREFIX), len(found.keys) - len(keys)
    pieces = (*near.pattern.pieces[:at], Literal(front), *near.pattern.pieces[at + 2 :])
    more = f"; {others:,} more end so under other names" if others else ""
    reason = join_words(near.reason, f"it is under `{front}`{more}")
    return Found(replace(near, pattern=Pattern(pieces), reason=reason), keys)


def _common_front(tables: Sequence[Table]) -> str:
    """The pieces that every key begins with, each with its dot."""
    ends = [end for table in tables if table.nodes for end in (min(table.nodes), max(table.nodes))]
    split = (end[: LONGEST_KEY * LONGEST_FRONT].split(".", LONGEST_FRONT)[:-1] for end in ends)
    pieces = zip(*split, strict=False)
    alike = itertools.takewhile(lambda own: len(set(own)) == 1, pieces)
    return "".join(f"{own[0]}." for own in alike)
