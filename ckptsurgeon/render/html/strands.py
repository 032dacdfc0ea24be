"""The tensors of a plan by what becomes of them, and the tree of a page that each stand in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.render.accounting import find_dropped, list_dropped, list_given, measure_parts
from ckptsurgeon.render.findings import list_found, sort_findings, tell_alike
from ckptsurgeon.render.folding import fold_lots
from ckptsurgeon.render.lines import Line, Lot
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.view import View
from ckptsurgeon.render.words import merge_lines
from ckptsurgeon.report.report import Report
from ckptsurgeon.report.sides import Tally, nbytes_of
from ckptsurgeon.specs import TensorSpec

OUT, NOWHERE = "out", "nowhere"

WHOLE: Mapping[str, int] = MappingProxyType({})
"""Where all of every tensor is meant."""

OF_OUTPUTS = (FindingKind.MISSING, FindingKind.MISMATCHED)
"""Kinds of finding whose keys should come out; they do once they are allowed."""

OF_SOURCES = (FindingKind.UNUSED, FindingKind.UNREADABLE)


@dataclass(frozen=True, slots=True)
class Strand:
    """Tensors of one fate, and the tree that they stand in.

    `parts` are the bytes that are meant of those of which it is not all; `is_status` says that they
    come out.
    """

    tree: str
    fate: str
    lots: tuple[Lot, ...]
    lines: tuple[Line, ...]
    parts: Mapping[str, int]
    is_status: bool

    @property
    def tally(self) -> Tally:
        """Their number, and their bytes."""
        keys = [key for lot in self.lots for key in lot.keys]
        specs = [lot.after for lot in self.lots for _ in lot.keys]
        return self.count(keys, specs)

    def count(self, keys: Sequence[str], specs: Sequence[TensorSpec | None]) -> Tally:
        """The number of some of them, and their bytes."""
        pairs = zip(keys, specs, strict=True)
        whole = (spec for key, spec in pairs if spec is not None and key not in self.parts)
        parts = (self.parts[key] for key in keys if key in self.parts) if self.parts else ()
        return Tally(len(keys), nbytes_of(whole) + sum(parts))


class Found(NamedTuple):
    """Findings of a kind that are all allowed, or all not, with what is told of them."""

    findings: Sequence[Finding]
    section: Section

    @property
    def kind(self) -> FindingKind:
        return self.findings[0].kind

    @property
    def allowed(self) -> bool:
        return self.findings[0].allowed

    @property
    def lots(self) -> tuple[Lot, ...]:
        return tuple(list_found(self.findings))


def find_found(report: Report, view: View) -> list[Found]:
    """The findings of a report by kind, each folded once."""
    return [Found(findings, tell_alike(findings, view)) for findings in sort_findings(report)]


def _fold(lots: Iterable[Lot]) -> tuple[tuple[Lot, ...], tuple[Line, ...]]:
    given = tuple(lots)
    return given, tuple(merge_lines(fold_lots(given)))


def _find_given(report: Report) -> Iterator[Strand]:
    """All that comes out by status; what the destination lacks apart, until that is allowed."""
    found = (one for one in report.open_findings if one.kind is FindingKind.UNEXPECTED)
    lacking = {one.key for one in found}
    for status in Status:
        lots = list_given(report, status, is_told=lambda key: key not in lacking)
        yield Strand(OUT, status.value, *_fold(lots), WHOLE, is_status=True)
        if lacking:
            lots = list_given(report, status, is_told=lacking.__contains__)
            fate = FindingKind.UNEXPECTED.value
            yield Strand(OUT, fate, *_fold(lots), WHOLE, is_status=True)


def find_strands(report: Report, findings: Iterable[Found]) -> Iterator[Strand]:
    """All that comes out or should, and all that goes nowhere; some have no tensors."""
    for found in findings:
        is_due = found.kind in OF_OUTPUTS and not found.allowed
        if is_due or found.kind in OF_SOURCES:
            tree, lines = OUT if is_due else NOWHERE, tuple(found.section.items)
            yield Strand(tree, found.kind.value, found.lots, lines, WHOLE, is_status=False)
    yield from _find_given(report)
    if dropped := find_dropped(report):
        folded, parts = _fold(list_dropped(dropped)), measure_parts(dropped)
        yield Strand(NOWHERE, Fate.DROPPED.value, *folded, parts, is_status=False)
