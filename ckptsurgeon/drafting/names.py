"""Names for the captures of a rule, such as people give them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ckptsurgeon.drafting.arrows import Arrow
from ckptsurgeon.drafting.units import LIST, Capture, Choice, Formula, Open, Unit, Units

INTEGERS = ("i", "j", "k", "l", "m", "n")
"""Integers of a key from the front on: those of layers, of blocks in them, …"""

GATHERED = {"experts": "e", "expert": "e", "rank": "r", "shard": "s", "s": "s", "heads": "h"}
"""What stands before an integer that is gathered or spread, and its name; `s*` names files."""

ENDINGS = frozenset({"weight", "bias", "gamma", "beta", "kernel", "scale"})
"""Ends of keys: a choice of them is `t`, as for tensors."""

PROJECTIONS = frozenset({"q", "k", "v", "o", "query", "key", "value", "out"})
"""Attention's projections: a choice of them is `p`."""

SPARE = ("w", "x", "y", "z", "a", "b", "c", "d", "f", "g", "u", "v")


class Names:
    """The names of one rule's captures, each given when it is first asked for."""

    def __init__(self, arrow: Arrow) -> None:
        self._names: dict[object, str] = {}
        self._taken: set[str] = set()
        for unit, before in _labelled(arrow.source):
            self._give("source", unit, before)
        for unit, before in _labelled(arrow.target):
            if not isinstance(unit, Capture):
                self._give("target", unit, before)

    def of_place(self, place: int) -> str:
        """The name of a captured integer."""
        return self._names["place", place]

    def of_choice(self, choice: Choice) -> str:
        """The name of a choice."""
        return self._names[choice]

    def of_open(self, side: str, dim: int) -> str:
        """The name of what is gathered in the `source`, or spread in the `target`."""
        return self._names[side, dim]

    def _give(self, side: str, unit: Unit, before: str) -> None:
        label: object
        if isinstance(unit, Capture):
            label, wanted = ("place", unit.place), iter(INTEGERS)
        elif isinstance(unit, Open):
            label, wanted = (side, unit.dim), _names_of_words(unit.words, before)
        elif isinstance(unit, Choice):
            label, wanted = unit, _names_of_words(tuple(left for left, _ in unit.words), before)
        else:
            return
        if label not in self._names:
            numbered = (f"c{number}" for number in itertools.count())
            names = itertools.chain(wanted, SPARE, numbered)
            free = (name for name in names if name not in self._taken)
            self._names[label] = name = next(free)
            self._taken.add(name)


def _labelled(units: Units) -> Iterator[tuple[Unit, str]]:
    """The units, each with the last word before it."""
    word = ""
    for unit in units:
        if unit == LIST:
            word = ""
        yield unit, word
        if isinstance(unit, str) and unit.isidentifier() and unit != "_":
            word = unit


def _names_of_words(words: tuple[str, ...], before: str) -> Iterator[str]:
    """What words may be called, by what they are or by what stands before them."""
    if not words:
        yield GATHERED.get(before, "n")
    elif all(word.isdecimal() for word in words):
        yield "n"
    elif ENDINGS.issuperset(words):
        yield "t"
    elif PROJECTIONS.issuperset(words):
        yield "p"
    else:
        yield "w"


def formula_text(formula: Formula, names: Names) -> str:
    """A formula as it stands between `<` and `>`."""
    terms = [
        names.of_place(place) if factor == 1 else f"{names.of_place(place)}*{factor}"
        for place, factor in formula.terms
    ]
    offset = f"{formula.offset:+d}" if formula.offset else ""
    return "+".join(terms) + offset
