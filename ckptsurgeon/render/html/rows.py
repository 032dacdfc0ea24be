"""The lines of a page's tree, and the modules that they stand in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from markupsafe import escape

from ckptsurgeon.render.columns import fit_names
from ckptsurgeon.render.html.bars import Bar, draw_bar
from ckptsurgeon.render.html.blocks import Drawing
from ckptsurgeon.render.html.keys import Searched, searched_names, write_searched
from ckptsurgeon.render.tree import DEEPEST
from ckptsurgeon.report.sides import Tally, add_tallies
from ckptsurgeon.specs import human_bytes

MOST_ROWS = 4000
"""Lines of all trees of a page together."""

MOST_TEXT = 3_200_000
"""Characters of all lines of a page, as they stand in it."""

OF_A_ROW = 900
"""Characters of a line's markup."""

LONGEST_NAMES = 300
"""Characters of the names of a module's tensors that a line shows."""

FEW_ROWS = 80
"""Lines of a tree that is open when the page is."""


class Choice(NamedTuple):
    """A filter: its name, and what may be chosen, each with what is shown of it."""

    name: str
    options: list[tuple[str | int, str]]


def list_options(words: Iterable[str]) -> list[tuple[str | int, str]]:
    """Words, each once, as what may be chosen."""
    return [(word, word) for word in dict.fromkeys(words)]


class RuleLink(NamedTuple):
    """The rule behind a line: where it stands, and the number of that place in the page."""

    text: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a tree: tensors that are told together.

    `pieces` are those of their key, safe to show; `names` its last ones where they differ in these
    alone; `searched` is the key (without names) as the page's script reads it, `searched_origins`
    those that it comes from, `first` the first key. `told` is what else there is to say, `number`
    the row's in the page. `has_alias` says that the first piece is one, before `::`.
    """

    pieces: tuple[str, ...]
    names: tuple[str, ...]
    searched: tuple[Searched, ...]
    first: str
    tally: Tally
    specs: str
    dtypes: tuple[str, ...]
    fate: str = ""
    origins: str = ""
    searched_origins: tuple[Searched, ...] = ()
    told: tuple[str, ...] = ()
    rule: RuleLink | None = None
    drawings: tuple[Drawing, ...] = ()
    has_alias: bool = False
    number: int = 0

    @property
    def shown_names(self) -> str:
        return fit_names(self.names, LONGEST_NAMES) if self.names else ""

    @property
    def search(self) -> str:
        """The keys as the page's script reads them."""
        return self._write(self.searched)

    @property
    def search_origins(self) -> str:
        """The keys of the origins as the page's script reads them; "" where there are none."""
        return self._write(self.searched_origins) if self.searched_origins else ""

    def _write(self, searched: tuple[Searched, ...]) -> str:
        names: list[Searched] = [".", *searched_names(self.names)] if self.names else []
        return write_searched([*searched, *names])

    @property
    def size(self) -> str:
        return human_bytes(self.tally.nbytes)

    @property
    def cost(self) -> int:
        """About how many characters of a page the line takes."""
        texts = (
            *self.pieces,
            self.shown_names,
            self.search,
            self.search_origins,
            self.origins,
            self.specs,
            *self.told,
        )
        return OF_A_ROW + sum(len(escape(text)) for text in texts)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A row where it stands in a tree; `label` is what its modules leave of its key."""

    label: str
    row: Row

    @property
    def tally(self) -> Tally:
        return self.row.tally

    @property
    def rows(self) -> Iterator[Row]:
        yield self.row

    @property
    def shares(self) -> Iterator[tuple[str, Tally]]:
        """The fate of the row, and what has it."""
        yield self.row.fate, self.row.tally


@dataclass(frozen=True, slots=True)
class Module:
    """A branch of a tree; `label` is its part of the key."""

    label: str
    items: tuple[Leaf | Module, ...]
    tally: Tally
    bar: Bar | None
    is_open: bool

    @property
    def rows(self) -> Iterator[Row]:
        """The rows of the module and of all modules in it."""
        return chain.from_iterable(item.rows for item in self.items)

    @property
    def shares(self) -> Iterator[tuple[str, Tally]]:
        """The fates of what it holds, and how much has each."""
        return ((share.word, share.tally) for share in (self.bar.shares if self.bar else ()))


@dataclass(frozen=True, slots=True)
class Tree:
    """Lines that are shown together, and what of them is left out. `whole` counts all by fate."""

    title: str
    name: str
    root: Module
    whole: tuple[tuple[str, Tally], ...]
    left_out: Tally
    lines_left_out: int

    @property
    def tally(self) -> Tally:
        """What all lines tell of, those that are left out among them."""
        return add_tallies(tally for _, tally in self.whole)


@dataclass(slots=True)
class _Growing:
    """A module while the tree grows: rows, by their numbers, and modules by name, in order."""

    items: dict[str | int, tuple[str, Row] | _Growing]
    separator: str = "."

    def enter(self, piece: str, separator: str) -> _Growing:
        """The module of a name, which stands before the names in it with a separator."""
        found = self.items.setdefault(piece, _Growing({}, separator))
        assert isinstance(found, _Growing)  # rows stand under numbers
        return found


def grow_modules(rows: Iterable[Row]) -> Module:
    """The tree of rows, in their order; modules that hold one thing alone stand on one line.

    One of many rows is folded.
    """
    root, given = _Growing({}), list(rows)
    for number, row in enumerate(given):
        *path, last = _limit(row.pieces)
        module = root
        for at, piece in enumerate(path):
            module = module.enter(piece, "::" if row.has_alias and at == 0 else ".")
        module.items[number] = last, row
    return _settle("", root, len(given) <= FEW_ROWS)


def _limit(pieces: tuple[str, ...]) -> tuple[str, ...]:
    """The pieces, of very many the rest as one."""
    return pieces if len(pieces) <= DEEPEST else (*pieces[:DEEPEST], ".".join(pieces[DEEPEST:]))


def _settle(label: str, growing: _Growing, is_open: bool) -> Module:
    """The module, with what it holds counted."""
    items: list[Leaf | Module] = []
    for name, item in growing.items.items():
        if not isinstance(item, _Growing):
            items.append(Leaf(*item))
            continue
        child = _settle(str(name), item, is_open)
        (only, *others) = child.items
        joined = f"{child.label}{item.separator}{only.label}"
        items.append(child if others else replace(only, label=joined))
    tally = add_tallies(item.tally for item in items)
    return Module(label, tuple(items), tally, _bar(items), is_open)


def _bar(items: Iterable[Leaf | Module]) -> Bar | None:
    """How much of some items has which fate; None where nothing has one."""
    tallies: dict[str, list[Tally]] = {}
    for fate, tally in chain.from_iterable(item.shares for item in items):
        tallies.setdefault(fate, []).append(tally)
    return draw_bar("", ((fate, add_tallies(own)) for fate, own in tallies.items() if fate))


def deal_room(groups: Sequence[tuple[int, Callable[[int], Iterable[Row]]]]) -> list[list[Row]]:
    """The rows of groups that have room, in the order of these.

    Of each group is told how many lines it has, and what makes the first rows of it. Those of few
    lines come first, so that many leave room for them.
    """
    rows: list[list[Row]] = [[] for _ in groups]
    lines, text = MOST_ROWS, MOST_TEXT
    in_turn = sorted(range(len(groups)), key=lambda at: groups[at][0])
    for left, at in zip(range(len(groups), 0, -1), in_turn, strict=True):
        rows[at], taken = fit_rows(groups[at][1](lines // left), text // left)
        lines, text = lines - len(rows[at]), text - taken
    return rows


def fit_rows(rows: Iterable[Row], room: int) -> tuple[list[Row], int]:
    """The first rows that have room, in characters, and how much of it they take."""
    kept: list[Row] = []
    taken = 0
    for row in rows:
        cost = row.cost
        if taken + cost > room:
            break
        taken += cost
        kept.append(row)
    return kept, taken
