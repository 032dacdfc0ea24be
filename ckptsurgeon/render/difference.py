"""What `diff` found, as text that ends with what matters, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from ckptsurgeon.comparing.change import Change
from ckptsurgeon.comparing.difference import SAME, Difference, Row, Status
from ckptsurgeon.cutting import cut, list_some
from ckptsurgeon.ops.ranges import widens
from ckptsurgeon.render.changes import (
    HEADS,
    ChangeLine,
    grow_changes,
    list_figures,
    show_change,
    tell_figures,
    tell_rows,
    tell_share,
)
from ckptsurgeon.render.columns import Aligned, Palette
from ckptsurgeon.render.json import describe, write_plain
from ckptsurgeon.render.lines import Entry, Line, Lot, gather_lots
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.sides import side_line, tell_outside
from ckptsurgeon.render.terminal import safe, safe_sentence
from ckptsurgeon.render.view import EVERYTHING, Limits, View
from ckptsurgeon.report.sides import Side
from ckptsurgeon.specs import UnreadableSpec
from ckptsurgeon.wording import tell_more

T = TypeVar("T")

VERSION = 1

LIMITS = Limits(section=12, finding=40, note=4, suggestion=0)
"""Lines of a section; of one with figures (`finding`), which has a line for each module, more."""

OUTSIDE = "not compared, outside of the root"

MOST_CASTS = 4
"""Changes of dtypes that a title names."""

MEANINGS = {
    Status.MOVED: "the same values under another name",
    Status.COPIED: "the values of a tensor that has its own place, too",
    Status.RESHAPED: "one name, other shapes",
    Status.ADDED: "in B alone",
    Status.GONE: "in A alone",
    Status.UNREADABLE: "their values can't be read, and were not compared",
    Status.KEPT: "B's own, by a rule: not compared",
}

ROUNDED = ("rounded", "as it was")
"""What a change of dtype did to each value: not nothing, or nothing."""

WITH_FIGURES = (Status.CLOSE, Status.CHANGED, Status.RETYPED)
"""Statuses of tensors of which is told how far their values moved."""


def render_difference(found: Difference, *, width: int, color: bool, verbose: bool = False) -> str:
    """The difference as text that ends in a newline; safe to print as it is.

    Repeated layers fold, with a strip that shows how far each of them moved; `verbose` lists every
    tensor.
    """
    view = View(width, Palette(color), verbose, EVERYTHING if verbose else LIMITS)
    paint = view.palette.good if found.equal else view.palette.bad
    return view.page(
        view.align(list_sides(found, view), ""),
        *map(view.show, tell_difference(found, view)),
        [*map(view.palette.dim, tell_whole(found)), paint(safe_sentence(found.bottom_line))],
    )


def tell_difference(found: Difference, view: View) -> Iterator[Section]:
    """What is outside of the roots, a section for each status, and the notes."""
    outside = tell_outside((*found.sources, *found.others), OUTSIDE, view)
    told = (tell_status(found, status, view) for status in Status)
    return (one for one in (outside, *told, tell_notes(found.notes, view)) if one is not None)


def list_sides(found: Difference, view: View) -> list[Aligned]:
    """A line for each checkpoint of both, of very many for the first ones."""
    lines: list[Aligned] = []
    for sides in (found.sources, found.others):
        shown, left_out = cut(sides, view.limits.section)
        lines += (side_line(side.alias, side) for side in shown)
        lines += [Aligned(("", f"... {left_out:,} more ({tell_more()})"))] if left_out else []
    asked = found.conditions
    for word, names in (("rules", asked.rules), ("only", asked.only)):
        lines += [Aligned((word, safe(", ".join(names))))] if names else []
    return lines


def tell_status(found: Difference, status: Status, view: View) -> Section | None:
    """The tensors of a status; of those that are the same, and of casts, just how many."""
    rows = found.by_status[status]
    if not rows:
        return None
    told = str(found.counts[status]), tell_meaning(status, rows)
    title = Section(status.value, ": ".join(filter(None, told)), is_wrong=rows[0].differs)
    if view.verbose:
        return _with_figures(title, rows, _row_line, len(rows))
    if (status is Status.RETYPED and _are_cast(rows)) or status in SAME:
        return title
    if lines := tell_moves(found, status):
        limit = view.limits.finding - 1  # the heads are a line, too
        return _with_figures(title, lines, show_change, limit)
    items, heads = view.unite(list_rows(rows)), ("key", "from", "how", "tensors")
    return replace(title, items=items, show=_show_line, limit=view.limits.section, heads=heads)


def tell_moves(found: Difference, status: Status) -> list[ChangeLine]:
    """How far the tensors of a status moved; nothing where no values were compared.

    Of other dtypes those that were but rounded are left out.
    """
    if status not in WITH_FIGURES or found.conditions.headers:
        return []
    rows = found.by_status[status]
    if status is Status.RETYPED:
        rows = [row for row in rows if not _is_cast(row)]
    return grow_changes(rows, found.modules) if rows else []


def _with_figures(
    title: Section, items: Sequence[T], show: Callable[[T], Aligned], limit: int
) -> Section:
    """The section with lines that have figures, whose heads are not plain."""
    return replace(title, items=items, show=show, limit=limit, heads=HEADS, shows_heads=True)


def tell_meaning(status: Status, rows: Sequence[Row]) -> str:
    """What a status means, where that is not plain; of other dtypes, what was done."""
    meaning = MEANINGS.get(status, "")
    pairs = {(row.before.dtype, row.after.dtype) for row in rows if row.before and row.after}
    pairs = {(before, after) for before, after in pairs if before != after}
    casts = list_some([f"{before} -> {after}" for before, after in sorted(pairs)], MOST_CASTS)
    if status is Status.ROUNDED:
        return f"{casts}, each value {ROUNDED[0]}"
    if status in (Status.MOVED, Status.COPIED):
        as_it_was = all(widens(*pair) for pair in pairs)
        cast = sum(row.before is not None and row.before.dtype != row.spec.dtype for row in rows)
        some = f"{cast:,} of them " if cast < len(rows) else ""
        return f"{meaning}; {some}{casts}, each value {ROUNDED[as_it_was]}" if casts else meaning
    if status is not Status.RETYPED:
        return meaning
    if not _are_cast(rows):
        alike = sum(map(_is_cast, rows))
        return f"{casts}; {alike:,} of them each value {ROUNDED[0]}, no more" if alike else casts
    as_it_was = all(row.change is not None and row.change.are_equal for row in rows)
    return f"{casts}, each value {ROUNDED[as_it_was]}"


def _are_cast(rows: Sequence[Row]) -> bool:
    """Whether each value is the other one's, rounded or as it was: no more is to be said."""
    return all(map(_is_cast, rows))


def _is_cast(row: Row) -> bool:
    return row.change is not None and row.change.is_rounded


def list_rows(rows: Sequence[Row]) -> Iterable[Lot]:
    """What is told of tensors of one status."""
    return gather_lots(map(_entry, rows))


def _entry(row: Row) -> Entry:
    return Entry(
        row.key, row.spec, (row.came_from,) if row.came_from else (), row.before, (tell_parts(row),)
    )


def tell_parts(row: Row) -> str:
    """What is told of values in other shapes, of a name that stays, of what can't be read."""
    if row.is_replaced:
        return "B has another tensor of that name"
    if row.status is Status.UNREADABLE:
        specs = (row.before, row.after)
        unreadable = [spec for spec in specs if isinstance(spec, UnreadableSpec)]
        return f"it is {unreadable[0].what}; {unreadable[0].remedy}" if unreadable else ""
    if row.status is not Status.RESHAPED or row.change is None:
        return ""
    where = f"the first {row.rows:,} on dim 0" if row.rows else "in order, the values"
    if not row.change.count:
        return ""
    if row.change.are_equal:
        return f"{where} are equal"
    if row.change.is_rounded:
        return f"{where} are equal, each rounded"
    if row.change.are_close:
        return f"{where} are within the tolerance"
    if not row.change.is_measured:
        return f"{where} differ"
    if not row.change.largest and not any(row.change.nans):
        return f"{where} differ in bits alone"
    return f"{where} differ: relative L2 {tell_share(row.change.relative)}"


def _show_line(line: Line) -> Aligned:
    origins = ", ".join(safe(str(origin)) for origin in line.origins)
    specs = f"{line.before} -> {line.after}" if line.before else line.after
    tail = specs if line.before or not line.names else ""
    came = f"<- {origins}" if origins else ""
    return Aligned((safe(str(line.box)), came, *map(safe_sentence, line.label)), tail, line.names)


def _row_line(row: Row) -> Aligned:
    """A tensor on a line of its own."""
    came = f"<- {safe(row.came_from)}" if row.came_from else ""
    far, *others = ("", "", "", "") if row.change is None else list_figures(row.change)
    tail = ", ".join(filter(None, (tell_rows([row]), tell_parts(row))))
    return Aligned((f"{safe(row.key)} {came}".rstrip(), far, "", *others), tail)


def tell_notes(notes: Sequence[tuple[str, str]], view: View) -> Section | None:
    """What else a user should know."""
    lines = [Aligned((kind, safe_sentence(text))) for kind, text in notes]
    heads = ("note", "what", "")
    return Section("notes", "", lines, limit=view.limits.section, heads=heads) if lines else None


def tell_whole(found: Difference) -> list[str]:
    """The figures of all values that were compared, and the tensor that moved farthest."""
    whole, farthest = found.whole, found.farthest
    if whole.are_equal:
        return []
    lines = [f"all values together: {', '.join(tell_figures(whole))}"]
    if farthest is not None and farthest.change is not None:
        far = tell_share(farthest.change.relative)
        lines.append(f"farthest: {safe(farthest.key)}, relative L2 {far}")
    return lines


# --- for machines ---------------------------------------------------------------------------------


def difference_json(found: Difference) -> Iterator[str]:
    """The difference in pieces that join to one JSON object: versioned, complete, pure ASCII.

    Numbers that are infinite or not a number are texts, as `inf`.
    """
    yield "{\n"
    yield ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in _head(found))
    for name, entries in (("rows", map(_describe_row, found.rows)), ("modules", _modules(found))):
        yield f',\n"{name}": ['
        separator = "\n"
        for entry in entries:
            yield separator + json.dumps(entry)
            separator = ",\n"
        yield "\n]"
    yield "\n}\n"


def _head(found: Difference) -> Iterator[tuple[str, Any]]:
    yield "version", VERSION
    yield "equal", found.equal
    yield "exit_code", found.exit_code
    yield "bottom_line", found.bottom_line
    yield "a", [_describe_side(side) for side in found.sources]
    yield "b", [_describe_side(side) for side in found.others]
    yield "conditions", msgspec.to_builtins(found.conditions)
    counts = found.counts.items()
    yield "counts", {one.value: {"tensors": n.tensors, "bytes": n.nbytes} for one, n in counts}
    yield "whole", None if found.conditions.headers else _describe_change(found.whole)
    yield "notes", [{"kind": kind, "text": text} for kind, text in found.notes]


def _describe_side(side: Side) -> dict[str, Any]:
    told: dict[str, Any] = describe(side)
    return {**told, "outside": list(map(describe, side.outside))}


def _describe_row(row: Row) -> dict[str, Any]:
    return {
        "key": row.key,
        "status": row.status.value,
        "origin": row.origin or None,
        "before": None if row.before is None else describe(row.before),
        "after": None if row.after is None else describe(row.after),
        "replaced": row.is_replaced,
        "first_rows": row.rows or None,
        "rank": row.rank or None,
        "change": None if row.change is None else _describe_change(row.change),
    }


def _modules(found: Difference) -> Iterator[dict[str, Any]]:
    for path, change in found.modules.items() if not found.conditions.headers else ():
        yield {"module": path, **_describe_change(change)}


def _describe_change(change: Change) -> dict[str, Any]:
    """The counts and figures; those that were not measured are null."""
    known, summed = change.is_measured, change.summed > 0
    return {
        "elements": change.count,
        "lost": change.lost,
        "equal": change.equal,
        "within_tolerance": change.close,
        "max_delta": write_plain(change.largest) if known else None,
        "relative_l2": write_plain(change.relative) if known else None,
        "cosine": write_plain(change.cosine) if known else None,
        "cosine_distance": write_plain(change.cosine_distance) if known else None,
        "norm_a": write_plain(math.sqrt(change.base)) if summed else None,
        "norm_delta": write_plain(math.sqrt(change.squares)) if known else None,
        "nan": change.nans,
        "infinite": change.infinities,
        "rounded": change.is_rounded,
        "sizes": change.sizes,
    }
