"""The files that are written, in lines: those that differ in their numbers alone are one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

from ckptsurgeon.cutting import list_some
from ckptsurgeon.keys import fold_keys, read_key
from ckptsurgeon.plans.output_files import OF_DESTINATION, OF_INVERTED, OF_SOURCE, OUTPUT
from ckptsurgeon.render.columns import Aligned
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import join_texts
from ckptsurgeon.report.report import OutputSide, Report
from ckptsurgeon.specs import human_bytes, plural

MOST_NAMED = 6
"""Wrappers, or ranges of numbers, that a line names."""

DECIDED = {
    OF_DESTINATION: "as the destination",
    OF_SOURCE: "as the source",
    OF_INVERTED: "as the source was",
}


def output_lines(report: Report) -> Iterator[Aligned]:
    """A line for each lot of outputs that are alike, where there is something to say of them."""
    groups: dict[Hashable, list[OutputSide]] = {}
    for side in report.files:
        file = side.file
        if report.is_named or file.decided == OUTPUT or file.nesting.is_nested:
            forms = [read_key(one)[0] for one in (file.alias, file.path, file.into)]
            size = side.tensors, side.nbytes
            alike = (*forms, file.format, file.nesting, file.decided, file.place, size)
            groups.setdefault(alike, []).append(side)
    return (_line(sides, report) for sides in groups.values())


def _line(sides: Sequence[OutputSide], report: Report) -> Aligned:
    """The names and paths of outputs that are alike, and what they are."""
    facts = [*_nesting_facts(sides[0]), *(_size_facts(sides) if report.is_named else [])]
    alias, path = (_folded(getattr(one.file, word) for one in sides) for word in ("alias", "path"))
    return Aligned((f"output {alias}".rstrip(), path), ", ".join(facts))


def _folded(texts: Iterable[str]) -> str:
    """Texts that differ in numbers alone as one: `mp_rank_<00..03>.pt`."""
    return safe(list_some(map(str, fold_keys(texts)), MOST_NAMED))


def _nesting_facts(side: OutputSide) -> Iterator[str]:
    """The format of a file, its nesting and what decides that."""
    file = side.file
    told = file.decided == OUTPUT or file.nesting.is_nested
    if told or file.format:
        yield file.format or "as .pt"
    if file.root:
        yield f"root `{safe(file.root)}`"
    if file.wrappers:
        names = join_texts([f"`{one}`" for one in map(str, fold_keys(file.wrappers))], MOST_NAMED)
        yield f"{'wrapper' if len(file.wrappers) == 1 else 'wrappers'} {names}"
    if told:
        if not file.nesting.is_nested:
            yield "flat"
        place = f" ({safe(file.place.file_line)})" if file.place else ""
        yield DECIDED.get(file.decided, f"by `output`{place}")


def _size_facts(sides: Sequence[OutputSide]) -> Iterator[str]:
    """How much each of some outputs holds, and what they are held against."""
    one = f"{plural(sides[0].tensors, 'tensor')}, {human_bytes(sides[0].nbytes)}"
    if len(sides) == 1:
        yield one
    else:
        yield f"{one} each, {human_bytes(sum(side.nbytes for side in sides))} in all"
    if sides[0].file.into:
        yield f"held against {_folded(dict.fromkeys(side.file.into for side in sides))}"
