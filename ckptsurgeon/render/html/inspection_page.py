"""The page of an inspection: what a checkpoint is, then every tensor, modules folded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from ckptsurgeon.render.columns import Palette, fit_names
from ckptsurgeon.render.html.bars import Bar, draw_bar
from ckptsurgeon.render.html.blocks import Drawings
from ckptsurgeon.render.html.keys import Searched, searched_names
from ckptsurgeon.render.html.layout import Head, render_page
from ckptsurgeon.render.html.rows import (
    LONGEST_NAMES,
    MOST_ROWS,
    MOST_TEXT,
    Choice,
    Row,
    Tree,
    fit_rows,
    grow_modules,
    list_options,
)
from ckptsurgeon.render.html.tables import list_section
from ckptsurgeon.render.inspection import tell_facts, tell_measured
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.tree import Branch, grow_tree
from ckptsurgeon.render.view import EVERYTHING, View
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.report.sides import Tally, count_tensors, take_off
from ckptsurgeon.specs import TensorSpec

MOST_LINES = 500
"""Lines of what is told beside the tensors."""

VIEW = View(0, Palette(color=False), verbose=False, limits=EVERYTHING)

COLORS = "dtype"


def render_inspected(found: Inspection) -> str:
    """The page of a checkpoint, complete but where that would be more than a browser opens."""
    drawings, bar = Drawings(), _draw_dtypes(found)
    tree = _grow(found, drawings)
    dtypes = [share.word for share in bar.shares] if bar else []
    return render_page(
        "inspection.html.j2",
        Head(
            "inspect",
            safe(str(found.checkpoint.path)),
            str(count_tensors(found.specs.values())),
            "plain",
        ),
        facts=list_section(tell_facts(found, verbose=True), MOST_LINES),
        measured=[list_section(one, MOST_LINES) for one in _measured(found)],
        bar=bar,
        tree=tree,
        choices=[Choice("dtype", list_options(dtypes))],
        drawings=drawings.all,
    )


def _measured(found: Inspection) -> list[Section]:
    """What is told of values, and first of all what wants a look."""
    return [one for one in reversed(tell_measured(found, VIEW)) if one.items]


def _draw_dtypes(found: Inspection) -> Bar | None:
    """The tensors by dtype, the largest share first."""
    by_dtype: dict[str, list[TensorSpec]] = {}
    for spec in found.specs.values():
        by_dtype.setdefault(spec.dtype, []).append(spec)
    tallies = [(dtype, count_tensors(specs)) for dtype, specs in by_dtype.items()]
    return draw_bar("dtypes", sorted(tallies, key=lambda one: -one[1].nbytes), COLORS)


def _grow(found: Inspection, drawings: Drawings) -> Tree:
    """The tree of the tensors, as far as there is room."""
    twigs = list(_twigs(grow_tree(found.specs), _Way()))
    rows, _ = fit_rows((_row(*twig, drawings) for twig in islice(twigs, MOST_ROWS)), MOST_TEXT)
    root = grow_modules(replace(row, number=at) for at, row in enumerate(rows, 1))
    whole = count_tensors(found.specs.values())
    left = take_off(whole, root.tally)
    return Tree("tensors", "all", root, (("", whole),), left, len(twigs) - len(rows))


class _Way(NamedTuple):
    """The modules that lead to a branch, and how many branches like it there are."""

    pieces: tuple[str, ...] = ()
    searched: tuple[Searched, ...] = ()
    times: int = 1


def _twigs(branch: Branch, way: _Way) -> Iterator[tuple[Branch, _Way]]:
    """The tensors in a branch, those of one spec together, each with the way there."""
    for child in branch.branches:
        if child.spec is not None:
            yield child, way
            continue
        piece = fit_names(child.names, LONGEST_NAMES)
        searched = (*way.searched, *searched_names(child.names), ".")
        inner = _Way((*way.pieces, piece), searched, way.times * len(child.names))
        yield from _twigs(child, inner)


def _row(branch: Branch, way: _Way, drawings: Drawings) -> Row:
    assert branch.spec is not None  # as `_twigs` gives it
    return Row(
        pieces=(*way.pieces, fit_names(branch.names, LONGEST_NAMES)),
        names=(),
        searched=(*way.searched, *searched_names(branch.names)),
        first="",
        tally=Tally(branch.tensors * way.times, branch.nbytes * way.times),
        specs=str(branch.spec),
        dtypes=(branch.spec.dtype,),
        drawings=drawings.draw_all((branch.spec,)),
    )
