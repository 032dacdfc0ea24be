"""What a plan does as lines of two trees: what comes out or should, and what goes nowhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, islice
from typing import NamedTuple

from ckptsurgeon.cutting import cut_middle
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.plans.account import FindingKind
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.render.accounting import tell_origins
from ckptsurgeon.render.html.blocks import Drawing, Drawings, Part, is_known
from ckptsurgeon.render.html.keys import pieces_of, searched_keys, searched_origins
from ckptsurgeon.render.html.rows import Row, Tree, deal_room, grow_modules
from ckptsurgeon.render.html.rule_files import RuleLinks
from ckptsurgeon.render.html.strands import NOWHERE, OUT, Found, Strand, find_strands
from ckptsurgeon.render.lines import Line, Lot, tell_specs
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.report.report import Report
from ckptsurgeon.report.sides import Tally, add_tallies, take_off
from ckptsurgeon.specs import TensorSpec

SHOULD = "what should come out"

TITLES = {OUT: "what comes out", NOWHERE: "what goes nowhere"}

LONGEST_SPECS = 160
"""Characters of a line's specs."""


class Woven(NamedTuple):
    """Tensors of one fate, and the rows of them that have room."""

    strand: Strand
    rows: list[Row]


def grow_trees(
    report: Report, findings: Iterable[Found], links: RuleLinks, drawings: Drawings
) -> list[Tree]:
    """The trees of a plan. Of more lines than a page has room for, some of every fate are shown."""
    woven = _weave(find_strands(report, findings), _Weaver(report, links, drawings))
    numbers = count(1)
    trees = ((name, [one for one in woven if one.strand.tree == name]) for name in TITLES)
    return [_tree(name, own, report, numbers) for name, own in trees if own]


def _weave(strands: Iterable[Strand], weaver: _Weaver) -> list[Woven]:
    """The rows of strands that have lines."""
    given = [strand for strand in strands if strand.lines]
    rows = deal_room([(len(one.lines), partial(weaver.weave, one)) for one in given])
    return list(map(Woven, given, rows))


def _tree(name: str, woven: Sequence[Woven], report: Report, numbers: Iterator[int]) -> Tree:
    """The tree of some strands, its rows in the order of the output, numbered."""
    rows = [row for _, own in woven for row in own]
    places = _places(report, {row.first for row in rows})
    rows.sort(key=lambda row: places.get(row.first, len(report.rows)))
    root = grow_modules(replace(row, number=next(numbers)) for row in rows)
    whole = _count_fates(strand for strand, _ in woven)
    left = take_off(add_tallies(whole.values()), root.tally)
    lines = sum(len(strand.lines) for strand, _ in woven) - len(rows)
    title = SHOULD if name == OUT and report.open_findings else TITLES[name]
    return Tree(title, name, root, tuple(whole.items()), left, lines)


def _count_fates(strands: Iterable[Strand]) -> dict[str, Tally]:
    """What there is of each fate, the largest first."""
    found: dict[str, list[Tally]] = {}
    for strand in strands:
        found.setdefault(strand.fate, []).append(strand.tally)
    tallies = {fate: add_tallies(own) for fate, own in found.items()}
    return dict(sorted(tallies.items(), key=lambda one: -one[1].nbytes))


def _places(report: Report, keys: Collection[str]) -> dict[str, int]:
    """The places of some keys in the output."""
    return {key: at for at, key in enumerate(report.rows.outputs) if key in keys}


# --- lines to rows --------------------------------------------------------------------------------


class _Weaver:
    """Makes rows of lines; of what all tensors of a line are alike in, the first one tells."""

    def __init__(self, report: Report, links: RuleLinks, drawings: Drawings) -> None:
        self._report, self._links, self._drawings = report, links, drawings
        self._has_aliases = report.is_named or any(side.alias for side in report.sources)

    def weave(self, strand: Strand, limit: int) -> Iterator[Row]:
        """The first rows of a strand."""
        if not limit:
            return
        lots = {key: lot for lot in strand.lots for key in lot.keys}
        for line in islice(strand.lines, limit):
            keys = list(line.keys)
            yield self._row(strand, line, keys, [lots[key] for key in keys])

    def _row(self, strand: Strand, line: Line, keys: Sequence[str], lots: Sequence[Lot]) -> Row:
        (*told, place), first = line.label, keys[0]
        specs = [lot.after for lot in lots if lot.after is not None]
        rule = self._report.rows.outputs.rules.get(first) if strand.is_status else None
        origins, pieces = tell_origins(line), pieces_of(line.box, alias_apart=self._has_aliases)
        return Row(
            pieces=tuple(map(safe, pieces)),
            names=line.names,
            searched=tuple(searched_keys(line.box)),
            searched_origins=searched_origins(line),
            first=first,
            tally=strand.count(keys, [lot.after for lot in lots]),
            specs=_tell_specs(line, specs),
            dtypes=tuple(dict.fromkeys(spec.dtype for spec in specs)),
            fate=strand.fate,
            origins="" if origins == safe(str(line.box)) else origins,
            told=tuple(safe(one) for one in told if one),
            rule=self._links.link(rule, place),
            drawings=self._draw(strand, first, lots[0], specs),
            has_alias=len(pieces) > len(pieces_of(line.box)),
        )

    def _draw(
        self, strand: Strand, first: str, lot: Lot, specs: Sequence[TensorSpec]
    ) -> tuple[Drawing, ...]:
        """What the sources of a tensor become; the tensors alone where nothing becomes another."""
        becoming = self._sources(strand, first, lot)
        if not becoming or not all(map(is_known, (*(spec for spec, _ in becoming), *specs[:1]))):
            return self._drawings.draw_all(specs)
        parts = [Part(spec.shape, index) for spec, index in becoming]
        return self._drawings.draw(parts, specs[0].shape)

    def _sources(
        self, strand: Strand, first: str, lot: Lot
    ) -> list[tuple[TensorSpec, Index | None]]:
        """What a tensor is made of, where it is not as it was."""
        if strand.fate == FindingKind.MISMATCHED.value and lot.before is not None:
            return [(lot.before, None)]
        if strand.fate != Status.CHANGED.value:
            return []
        rows = self._report.rows
        found = [(rows.spec_of(one), one.index) for one in rows.outputs[first].sources]
        return [(spec, index) for spec, index in found if spec is not None]


def _tell_specs(line: Line, specs: Sequence[TensorSpec]) -> str:
    """`F32[4] → F32[3]`, or the specs that do not change."""
    told = f"{line.before} → {line.after}" if line.before else tell_specs(specs)
    return cut_middle(told, LONGEST_SPECS, LONGEST_SPECS // 2, str)
