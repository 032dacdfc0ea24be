"""The page of a difference: the verdict, how far which values moved, then every tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.comparing.change import add_changes
from ckptsurgeon.comparing.difference import Difference
from ckptsurgeon.comparing.difference import Row as Tensor
from ckptsurgeon.cutting import list_some
from ckptsurgeon.render.changes import tell_figures, tell_rank, tell_strange
from ckptsurgeon.render.columns import Palette
from ckptsurgeon.render.difference import (
    OUTSIDE,
    WITH_FIGURES,
    list_rows,
    list_sides,
    tell_meaning,
    tell_moves,
    tell_notes,
    tell_parts,
    tell_status,
    tell_whole,
)
from ckptsurgeon.render.html.bars import draw_bar
from ckptsurgeon.render.html.blocks import Drawing, Drawings, Part, is_known
from ckptsurgeon.render.html.charts import Moved, Scale, SizeChart, draw_line
from ckptsurgeon.render.html.keys import pieces_of, searched_keys, searched_origins
from ckptsurgeon.render.html.layout import Head, render_page
from ckptsurgeon.render.html.rows import Choice, Row, Tree, deal_room, grow_modules, list_options
from ckptsurgeon.render.html.tables import list_section, make_table
from ckptsurgeon.render.lines import Line, tell_specs
from ckptsurgeon.render.sides import tell_outside
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import EVERYTHING, View
from ckptsurgeon.report.sides import count_tensors, take_off
from ckptsurgeon.specs import TensorSpec
from ckptsurgeon.visible import visible

MOST_LINES = 400
"""Lines of a table."""

MOST_NAMED = 2
"""Checkpoints of one side that the title names."""

VIEW = View(0, Palette(color=False), verbose=False, limits=EVERYTHING)


@dataclass(frozen=True, slots=True)
class Chart:
    """How far the tensors of a status moved; `left_out` lines are not shown."""

    title: str
    told: str
    lines: tuple[Moved, ...]
    left_out: int


def render_compared(found: Difference) -> str:
    """The page of a difference, complete but where that would be more than a browser opens."""
    drawings = Drawings()
    tree = _grow(found, drawings)
    shown = list(tree.root.rows)
    parts = [(status.value, tally) for status, tally in found.counts.items()]
    told = (
        tell_notes(found.notes, VIEW),
        tell_outside((*found.sources, *found.others), OUTSIDE, VIEW),
    )
    return render_page(
        "difference.html.j2",
        _head(found),
        sides=make_table(list_sides(found, VIEW), MOST_LINES),
        bar=draw_bar("what became of the tensors", parts),
        meanings=[
            (status.value, visible(meaning))
            for status, rows in found.by_status.items()
            if rows and (meaning := tell_meaning(status, rows))
        ],
        whole=[visible(line) for line in tell_whole(found)],
        histogram=_whole_histogram(found),
        charts_given=list(_charts(found)),
        tree=tree,
        choices=[
            Choice("fate", list_options(row.fate for row in shown)),
            Choice("dtype", list_options(sorted({dtype for row in shown for dtype in row.dtypes}))),
        ],
        drawings=drawings.all,
        lists=[list_section(one, MOST_LINES) for one in told if one is not None],
    )


def _head(found: Difference) -> Head:
    names = (
        list_some((safe(side.path) for side in sides), MOST_NAMED)
        for sides in (found.sources, found.others)
    )
    mood = "good" if found.equal else "bad"
    return Head("diff", " → ".join(names), visible(found.bottom_line), mood)


# --- how far values moved -------------------------------------------------------------------------


def _whole_histogram(found: Difference) -> SizeChart | None:
    return Scale.of(found.whole).draw(found.whole.sizes)


def _charts(found: Difference) -> Iterator[Chart]:
    """A chart for each status of tensors of which is told how far they moved."""
    scale = Scale.of(found.whole)
    for status in WITH_FIGURES:
        section, lines = tell_status(found, status, VIEW), tell_moves(found, status)
        if section is not None and section.items and lines:
            shown = tuple(draw_line(line, scale) for line in lines[:MOST_LINES])
            yield Chart(section.title, section.told, shown, len(lines) - len(shown))


# --- every tensor ---------------------------------------------------------------------------------


def _grow(found: Difference, drawings: Drawings) -> Tree:
    """The tree of all tensors, as far as there is room; some of every status are shown."""
    weavers = [_Weaver(rows, drawings) for rows in found.by_status.values() if rows]
    dealt = deal_room([(len(one.lines), one.weave) for one in weavers])
    rows = [row for own in dealt for row in own]
    places = {row.key: at for at, row in enumerate(found.rows)}
    rows.sort(key=lambda row: places[row.first])
    root = grow_modules(replace(row, number=at) for at, row in enumerate(rows, 1))
    whole = [(status.value, tally) for status, tally in found.counts.items() if tally.tensors]
    left = take_off(count_tensors(row.spec for row in found.rows), root.tally)
    lines = sum(len(one.lines) for one in weavers) - len(rows)
    return Tree("all tensors", "all", root, tuple(whole), left, lines)


class _Weaver:
    """Makes rows of the lines of tensors of one status."""

    def __init__(self, tensors: Sequence[Tensor], drawings: Drawings) -> None:
        self._status, self._drawings = tensors[0].status, drawings
        self._tensors = {row.key: row for row in tensors}
        self.lines = VIEW.unite(list_rows(tensors))

    def weave(self, limit: int) -> Iterator[Row]:
        """The first rows."""
        return map(self._row, self.lines[:limit])

    def _row(self, line: Line) -> Row:
        tensors = [self._tensors[key] for key in line.keys]
        origins = ", ".join(safe(str(origin)) for origin in line.origins)
        specs = [one.spec for one in tensors]
        return Row(
            pieces=tuple(map(safe, pieces_of(line.box))),
            names=line.names,
            searched=tuple(searched_keys(line.box)),
            searched_origins=searched_origins(line),
            first=tensors[0].key,
            tally=count_tensors(specs),
            specs=_tell_specs(tensors),
            dtypes=tuple(dict.fromkeys(spec.dtype for spec in specs)),
            fate=self._status.value,
            origins=origins,
            told=tuple(_tell(tensors)),
            drawings=self._draw(tensors[0], specs),
        )

    def _draw(self, tensor: Tensor, specs: Sequence[TensorSpec]) -> tuple[Drawing, ...]:
        """What a shape became, where it is another one; else the shapes of all tensors."""
        before, after = tensor.before, tensor.after
        if before is None or after is None or before.shape == after.shape:
            return self._drawings.draw_all(specs)
        if not (is_known(before) and is_known(after)):
            return ()
        return self._drawings.draw([Part(before.shape)], after.shape)


def _tell_specs(tensors: Sequence[Tensor]) -> str:
    """`F32[4..8] → BF16[4..8]`, or the specs that are in both."""
    befores = tell_specs(one.before for one in tensors if one.before is not None)
    afters = tell_specs(one.after for one in tensors if one.after is not None)
    return " → ".join(dict.fromkeys(filter(None, (befores, afters))))


def _tell(tensors: Sequence[Tensor]) -> Iterator[str]:
    """The figures of values that differ, and what is told of those in another shape."""
    change = add_changes(part for one in tensors if (part := one.part) is not None)
    if change.count and not change.are_equal:
        yield from tell_figures(change)
    elif strange := tell_strange(change):
        yield strange
    if rank := tell_rank(tensors):
        yield rank
    if parts := tell_parts(tensors[0]):
        yield parts
