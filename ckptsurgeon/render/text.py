"""A report as text for a person in a hurry: what is given first, what is wrong and to do last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from ckptsurgeon.checkpoints.several import SEVERAL
from ckptsurgeon.cutting import cut
from ckptsurgeon.errors import Place
from ckptsurgeon.keys import fold_keys
from ckptsurgeon.ops.indexing import index_text
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.fates import Fate, SourceFate
from ckptsurgeon.plans.graph import (
    Leaf,
    Node,
    Operand,
    full_key,
    operands_of,
    place_giving,
    place_reading,
    span_lines,
)
from ckptsurgeon.plans.kinds import OutputKind
from ckptsurgeon.plans.outputs import Output, Status
from ckptsurgeon.render.columns import Aligned, Palette
from ckptsurgeon.render.findings import show_advice, show_findings
from ckptsurgeon.render.lines import Entry, Line, Lot, gather_lots
from ckptsurgeon.render.outputs import output_lines
from ckptsurgeon.render.sides import outside_block, side_line, title_line
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import (
    CLEAN,
    EVERYTHING,
    UNSETTLED,
    View,
    join_texts,
    place_text,
)
from ckptsurgeon.render.words import join_words
from ckptsurgeon.report.report import Report, Rows, making
from ckptsurgeon.report.sides import Tally
from ckptsurgeon.specs import plural
from ckptsurgeon.wording import tell_more

T = TypeVar("T")
K = TypeVar("K")

MOST_ORIGINS = 6

OUTSIDE = "left behind, outside of the root"


def render_text(report: Report, *, width: int, color: bool, verbose: bool = False) -> str:
    """The report as text that ends in a newline, `color` with ANSI colours."""
    body = render_body(report, width=width, color=color, verbose=verbose)
    return body + render_bottom(report, color=color)


def render_body(report: Report, *, width: int, color: bool, verbose: bool = False) -> str:
    """The report without its last lines.

    Repeated layers fold into ranges and long lists are cut, with a count of what is left out;
    `verbose` gives every key its own line. What comes from files is escaped (`terminal.safe`), so
    the text can be printed as it is.
    """
    limits = EVERYTHING if verbose else (UNSETTLED if report.open_findings else CLEAN)
    view = View(width, Palette(color), verbose, limits)
    return view.page(
        _header(report, view),
        outside_block(report.sources, OUTSIDE, view),
        *(_status_section(report, status, view) for status in Status),
        _dropped(report, view),
        _ties(report, view),
        _notes([note for note in report.notes if not _is_told(note, report)], view),
        *show_findings(report, view),
        show_advice(report, view),
    )


def render_bottom(report: Report, *, color: bool) -> str:
    """The last lines of a report: how much of the source is used, and the one sentence to read."""
    palette = Palette(color)
    paint = palette.good if report.clean else palette.hint
    paint = palette.bad if report.open_findings else paint
    used = _coverage(report)
    return f"\n{palette.dim(used)}\n{paint(report.bottom_line)}\n"


# --- what goes in ---------------------------------------------------------------------------------


def _header(report: Report, view: View) -> list[str]:
    sides = [side_line(f"source {side.alias}".rstrip(), side) for side in report.sources]
    first, left_out = cut(sides, view.limits.section)
    destination = report.destination
    is_told = destination is not None and destination.format != SEVERAL  # else with the outputs
    target = [side_line("destination", destination)] if destination and is_told else []
    shown = view.align([*first, *target, *output_lines(report)], "")
    more = [view.palette.dim(f"... {left_out:,} more sources ({tell_more()})")] if left_out else []
    return [*shown[: len(first)], *more, *shown[len(first) :]]


# --- what comes out -------------------------------------------------------------------------------

TITLES = {
    Status.COPIED: "copied by no rule",
    Status.KEPT: "kept, the destination's own",
}


def _status_section(report: Report, status: Status, view: View) -> list[str]:
    kinds = report.kinds[status]
    if not kinds:
        return []
    title = title_line(TITLES.get(status, status.value), report.counts[status], view)
    lots = [
        _lot(report.rows, one, status)
        for kind in kinds
        for one in (_by_entry(report.rows, kind) if view.verbose else [kind])
    ]
    return [title, *view.fold(lots, _show_line, view.limits.section)]


def _by_entry(rows: Rows, kind: OutputKind) -> list[OutputKind]:
    """The outputs of a kind, each alone where they come from entries of a table."""
    rule = rows.outputs.rules[kind.keys[0]]
    if rule is None or rule.lines is None:
        return [kind]
    return [OutputKind([key], [at]) for key, at in zip(kind.keys, kind.numbers, strict=True)]


def _lot(rows: Rows, kind: OutputKind, status: Status) -> Lot:
    """What is told of outputs of one kind."""
    outputs, first, alone = rows.outputs, rows.outputs.first(kind), len(kind.keys) == 1
    told = status not in (Status.KEPT, Status.INITIALISED)
    origins = [_origins(outputs.nodes[key]) if told else () for key in kind.keys]
    before = rows.find_spec(first.sources) if told else None
    return Lot(first.spec, before, _label(first, alone=alone), kind.numbers, kind.keys, origins)


def _origins(node: Node) -> tuple[str, ...]:
    """What a tensor comes from, in words."""
    if isinstance(node, Leaf):  # as most are
        return (full_key(node.source, node.key),)
    return tuple(map(_operand, operands_of(node)))


def _label(output: Output, *, alone: bool) -> tuple[str, ...]:
    allowed = f"{output.allowed} allowed" if output.allowed else ""
    place = place_text(output.rule)
    if alone and output.rule is not None:
        place = place_giving(output.rule, output.key).file_line
    return ", ".join(output.ops or making(output)), allowed, place


def _operand(operand: Operand) -> str:
    key = full_key(operand.source, operand.key)
    return key + (index_text(operand.index) if operand.index else "")


def _show_line(line: Line) -> Aligned:
    key = str(line.box)
    origins = join_texts(list(map(str, join_words(line.origins))), MOST_ORIGINS)
    came = "" if not origins or origins == safe(key) else f"<- {origins}"
    change = f"{line.before} -> {line.after}" if line.before else ""
    tail = change or ("" if line.names else line.after)
    return Aligned((safe(key), came, *map(safe, line.label)), tail, line.names)


def _dropped(report: Report, view: View) -> list[str]:
    """What rules drop of the sources: whole tensors, and the shares of others that slices took."""
    dropped = list(report.fates.of(lambda one: one.fate is Fate.DROPPED or one.dropped > 0))
    if not dropped:
        return []
    nbytes = sum(round(fate.spec.nbytes * _share_dropped(fate)) for fate in dropped)
    places = _lines_dropped(dropped)
    title = title_line("dropped", Tally(len(dropped), nbytes), view)
    return [
        title,
        *view.fold(
            gather_lots(_drop_entry(fate, places) for fate in dropped),
            _show_line,
            view.limits.section,
        ),
    ]


def _lines_dropped(dropped: Iterable[SourceFate]) -> dict[int, str]:
    """The lines of the entries of tables that drop keys, by the id of their rule."""
    found: dict[int, list[Place]] = {}
    for fate in dropped:
        if fate.rule is not None and fate.rule.lines is not None:
            found.setdefault(id(fate.rule), []).append(place_reading(fate.rule, fate.key))
    return {
        rule: span_lines(places[0].file, [place.line for place in places])
        for rule, places in found.items()
    }


def _share_dropped(fate: SourceFate) -> float:
    """How much of a tensor is dropped: all, or what slices take of it."""
    return 1 - fate.untaken if fate.fate is Fate.DROPPED else fate.claim.dropped


def _drop_entry(fate: SourceFate, places: Mapping[int, str]) -> Entry:
    key = full_key(fate.source, fate.key)
    dropped = _share_dropped(fate)
    share = _percent(dropped, 1) if dropped < 1 else ""
    rule = fate.rule if fate.fate is Fate.DROPPED else fate.claim.dropper
    place = places.get(id(rule)) or place_text(rule)
    return Entry(key, fate.spec, label=(share or fate.reason, place))


def _ties(report: Report, view: View) -> list[str]:
    if not report.ties:
        return []
    entries = (Entry(key, None, (shared,)) for key, shared in report.ties.items())
    title = f"{view.palette.bold('tied')}  {view.palette.dim(plural(len(report.ties), 'key'))}"
    return [title, *view.fold(gather_lots(entries), _show_tie, view.limits.section)]


def _show_tie(line: Line) -> Aligned:
    shared = ", ".join(safe(str(origin)) for origin in line.origins)
    return Aligned((safe(str(line.box)), f"= {shared}"), "", line.names)


# --- notes ----------------------------------------------------------------------------------------


def _is_told(note: Note, report: Report) -> bool:
    """Whether the header, the ties or the section of what no rule copied say it already."""
    return note.kind in ("wrapper", "copied") or (note.kind == "ties" and note.key in report.ties)


def _notes(notes: Sequence[Note], view: View) -> list[str]:
    if not notes:
        return []
    lines: list[Aligned] = []
    for kind, group in _group(notes, lambda note: note.kind).items():
        texts = _group(group, lambda note: (note.text, place_text(note.rule)))
        shown, left_out = cut(list(texts.items()), view.limits.note)
        lines += (_note(kind, *text, found, view) for text, found in shown)
        if left_out:
            lines.append(Aligned(("", f"... {left_out:,} more notes ({tell_more()})", "")))
    return [view.palette.bold("notes"), *view.align(lines)]


def _note(kind: str, text: str, place: str, notes: Sequence[Note], view: View) -> Aligned:
    keys = list(dict.fromkeys(note.key for note in notes if note.key))
    count = len(keys) or len(notes)
    number = f" ({count:,})" if count > 1 else ""
    shown = keys if view.verbose else list(map(str, fold_keys(keys)))
    where = f": {join_texts(shown, len(shown) if view.verbose else 2)}" if keys else ""
    return Aligned((f"{safe(kind)}{number}", safe(text) + where, safe(place)))


# --- the end --------------------------------------------------------------------------------------


def _coverage(report: Report) -> str:
    coverage = report.coverage
    whole = "source's" if not any(side.root for side in report.sources) else "root's"
    known = "" if all(side.all_sizes_known for side in report.sources) else " known"
    share = _percent(coverage.consumed, coverage.offered)
    used = f"{share} of the {whole}{known} bytes are used"
    if coverage.outside.tensors:
        used += f"; {coverage.outside} stand outside of it"
    if not coverage.wanted:
        return used
    keys = f"{coverage.produced:,} of {coverage.wanted:,} destination keys come from the source"
    return f"{keys}; {used}"


def _percent(part: float, whole: int) -> str:
    """A share that says 100% and 0% only where they are exact."""
    if not whole or part in (0, whole):
        return "100%" if whole and part == whole else "0%"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f}%"


def _group(items: Iterable[T], kind: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(kind(item), []).append(item)
    return groups
