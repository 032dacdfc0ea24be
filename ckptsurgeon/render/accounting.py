"""What a report tells of tensors, in sections: what is given, dropped, tied, and to be known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from ckptsurgeon.render.columns import Aligned
from ckptsurgeon.render.lines import Entry, Line, Lot, gather_lots
from ckptsurgeon.render.outputs import output_lines
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.sides import side_line
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import View, join_texts, place_text
from ckptsurgeon.render.words import join_words
from ckptsurgeon.report.report import Report, Rows, making
from ckptsurgeon.report.sides import Tally, add_tallies, take_off
from ckptsurgeon.specs import percent, plural
from ckptsurgeon.wording import tell_more

T = TypeVar("T")
K = TypeVar("K")

MOST_ORIGINS = 6

OUTPUT_HEADS = ("key", "from", "how", "allowed", "rule", "tensors")


def tell_outputs(report: Report, view: View) -> Iterator[Section]:
    """A section for all that has a status, one for what is dropped, one for ties."""
    told = (_status_section(report, status, view) for status in Status)
    sections = (*told, _dropped(report, view), tell_ties(report, view))
    return (section for section in sections if section is not None)


# --- what goes in ---------------------------------------------------------------------------------

OUTSIDE = "left behind, outside of the root"


def list_sources(report: Report) -> list[Aligned]:
    """A line for each source."""
    return [side_line(f"source {side.alias}".rstrip(), side) for side in report.sources]


def list_targets(report: Report) -> list[Aligned]:
    """Lines for the destination and for the outputs, where there is something to say of them."""
    destination = report.destination
    is_told = destination is not None and destination.format != SEVERAL  # else with the outputs
    target = [side_line("destination", destination)] if destination and is_told else []
    return [*target, *output_lines(report)]


# --- what comes out -------------------------------------------------------------------------------

TITLES = {
    Status.COPIED: "copied by no rule",
    Status.KEPT: "kept, the destination's own",
}


def _status_section(report: Report, status: Status, view: View) -> Section | None:
    if not report.kinds[status]:
        return None
    title, told = TITLES.get(status, status.value), str(report.counts[status])
    lines = view.unite(list_given(report, status, each_entry=view.verbose))
    return Section(title, told, lines, _show_line, view.limits.section, OUTPUT_HEADS)


def list_given(
    report: Report,
    status: Status,
    *,
    each_entry: bool = False,
    is_told: Callable[[str], bool] | None = None,
) -> list[Lot]:
    """The outputs of a status, of those keys that are told.

    `each_entry` has those that come from a table one by one.
    """
    kinds: Iterable[OutputKind] = report.kinds[status]
    if is_told is not None:
        kinds = (kind for one in kinds if (kind := one.restrict(is_told)).keys)
    return [
        _lot(report.rows, one, status)
        for kind in kinds
        for one in (_by_entry(report.rows, kind) if each_entry else [kind])
    ]


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
    key, origins = str(line.box), tell_origins(line)
    came = "" if not origins or origins == safe(key) else f"<- {origins}"
    change = f"{line.before} -> {line.after}" if line.before else ""
    tail = change or ("" if line.names else line.after)
    return Aligned((safe(key), came, *map(safe, line.label)), tail, line.names)


def tell_origins(line: Line) -> str:
    """What a line's tensors come from, safe to show."""
    return join_texts(list(map(str, join_words(line.origins))), MOST_ORIGINS)


def _dropped(report: Report, view: View) -> Section | None:
    dropped = find_dropped(report)
    if not dropped:
        return None
    lines = view.unite(list_dropped(dropped))
    heads = ("key", "", "how", "rule", "tensors")
    told = str(tally_dropped(dropped))
    return Section("dropped", told, lines, _show_line, view.limits.section, heads)


def find_dropped(report: Report) -> list[SourceFate]:
    """What rules drop of the sources: whole tensors, and the shares of others that slices took."""
    return list(report.fates.of(lambda claim: claim.drops))


def list_dropped(dropped: Sequence[SourceFate]) -> Iterable[Lot]:
    """What is told of tensors of which something is dropped."""
    places = _lines_dropped(dropped)
    return gather_lots(_drop_entry(fate, places) for fate in dropped)


def measure_parts(dropped: Sequence[SourceFate]) -> dict[str, int]:
    """The bytes that are dropped of those that are not dropped whole."""
    sizes = ((fate, round(fate.spec.nbytes * _share_dropped(fate))) for fate in dropped)
    return {full_key(f.source, f.key): size for f, size in sizes if size != f.spec.nbytes}


def tally_dropped(dropped: Sequence[SourceFate]) -> Tally:
    """The number of tensors of which something is dropped, and the bytes of that."""
    nbytes = sum(round(fate.spec.nbytes * _share_dropped(fate)) for fate in dropped)
    return Tally(len(dropped), nbytes)


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
    share = percent(dropped, 1) if dropped < 1 else ""
    place = places.get(id(fate.dropper)) or place_text(fate.dropper)
    return Entry(key, fate.spec, label=(share or fate.reason, place))


def tell_ties(report: Report, view: View) -> Section | None:
    """The output keys that share a tensor with another."""
    if not report.ties:
        return None
    lines = view.unite(gather_lots(Entry(k, None, (shared,)) for k, shared in report.ties.items()))
    told, heads = plural(len(report.ties), "key"), ("key", "the same as", "tensors")
    return Section("tied", told, lines, _show_tie, view.limits.section, heads)


def _show_tie(line: Line) -> Aligned:
    shared = ", ".join(safe(str(origin)) for origin in line.origins)
    return Aligned((safe(str(line.box)), f"= {shared}"), "", line.names)


# --- how much ------------------------------------------------------------------------------------


def tell_coverage(report: Report) -> str:
    """How much of the destination comes from the source, and how much of that is used."""
    coverage = report.coverage
    whole = "source's" if not any(side.root for side in report.sources) else "root's"
    known = "" if all(side.all_sizes_known for side in report.sources) else " known"
    share = percent(coverage.used.nbytes, coverage.offered.nbytes)
    used = f"{share} of the {whole}{known} bytes are used"
    if coverage.outside.tensors:
        used += f"; {coverage.outside} stand outside of it"
    if not coverage.wanted:
        return used
    keys = f"{coverage.produced:,} of {coverage.wanted:,} destination keys come from the source"
    return f"{keys}; {used}"


LEFT = (Fate.DROPPED, Fate.UNUSED, Fate.UNREADABLE)
"""The fates of the sources' tensors that rules leave."""


def share_sources(report: Report) -> Iterator[tuple[str, Tally]]:
    """What became of the sources' tensors: used, left by rules, or taken and yet in no output."""
    used, offered = report.coverage.used, report.coverage.offered
    dropped = tally_dropped([fate for fate in find_dropped(report) if fate.stage == 0])
    counts = {fate: report.fate_counts[fate] for fate in LEFT}
    counts[Fate.DROPPED] = Tally(counts[Fate.DROPPED].tensors, dropped.nbytes)  # and of parts
    left = [(fate.value, tally) for fate, tally in counts.items()]
    known = add_tallies([used, *(tally for _, tally in left)])
    rest = take_off(offered, known)
    yield "used", used
    yield from left
    yield "in no output" if rest.tensors else "parts in no output", rest


# --- notes ----------------------------------------------------------------------------------------


def group_notes(report: Report) -> list[list[Note]]:
    """The notes that nothing else of the report tells: those of one kind, text and rule together.

    The kinds stand in the order in which they appear.
    """
    notes = [note for note in report.notes if not _is_told(note, report)]
    kinds = _group(notes, lambda note: note.kind).values()
    return [
        alike
        for kind in kinds
        for alike in _group(kind, lambda note: (note.text, place_text(note.rule))).values()
    ]


def _is_told(note: Note, report: Report) -> bool:
    """Whether the header, the ties or the section of what no rule copied say it already."""
    return note.kind in ("wrapper", "copied") or (note.kind == "ties" and note.key in report.ties)


def tell_notes(report: Report, view: View) -> Section | None:
    """The notes, of each kind the first ones."""
    lines: list[Aligned] = []
    for groups in _group(group_notes(report), lambda group: group[0].kind).values():
        shown, left_out = cut(groups, view.limits.note)
        lines += (show_notes(group, view) for group in shown)
        if left_out:
            lines.append(Aligned(("", f"... {left_out:,} more notes ({tell_more()})", "")))
    heads = ("note", "what", "rule", "")
    return Section("notes", "", lines, limit=len(lines), heads=heads) if lines else None


def show_notes(notes: Sequence[Note], view: View) -> Aligned:
    """The kind of notes that are alike, with their number, what they say, and the rule's place."""
    one, keys = notes[0], list(dict.fromkeys(note.key for note in notes if note.key))
    count = len(keys) or len(notes)
    number = f" ({count:,})" if count > 1 else ""
    shown = keys if view.verbose else list(map(str, fold_keys(keys)))
    where = f": {join_texts(shown, len(shown) if view.verbose else 2)}" if keys else ""
    place = place_text(one.rule)
    return Aligned((f"{safe(one.kind)}{number}", safe(one.text) + where, safe(place)))


def _group(items: Iterable[T], kind: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(kind(item), []).append(item)
    return groups
