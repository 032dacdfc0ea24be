"""The tensors of a plan by what becomes of them, and the tree of a page that each stand in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ckptsurgeon.plans.account import FindingKind
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.render.accounting import WHOLE, tell_dropped, tell_status
from ckptsurgeon.render.findings import Found, sort_findings
from ckptsurgeon.render.folding import fold_lots
from ckptsurgeon.render.lines import Line, Lot
from ckptsurgeon.render.words import merge_lines
from ckptsurgeon.report.report import Report
from ckptsurgeon.report.sides import Tally, nbytes_of
from ckptsurgeon.specs import TensorSpec

OUT, NOWHERE = "out", "nowhere"

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


class FoldedFound(NamedTuple):
    """Findings of a kind, with their keys folded."""

    found: Found
    lots: tuple[Lot, ...]
    lines: tuple[Line, ...]


def fold_findings(report: Report) -> list[FoldedFound]:
    """The findings of a report by kind, each folded once."""
    return [FoldedFound(found, *_fold(found.lots)) for found in sort_findings(report)]


def _fold(lots: Iterable[Lot]) -> tuple[tuple[Lot, ...], tuple[Line, ...]]:
    given = tuple(lots)
    return given, tuple(merge_lines(fold_lots(given)))


def find_strands(report: Report, findings: Iterable[FoldedFound]) -> Iterator[Strand]:
    """All that comes out or should, and all that goes nowhere; some have no tensors."""
    for found, lots, lines in findings:
        fate = found.kind.value
        if found.kind in OF_OUTPUTS and not found.allowed:
            yield Strand(OUT, fate, lots, lines, WHOLE, is_status=False)
        elif found.kind in OF_SOURCES:
            yield Strand(NOWHERE, fate, lots, lines, WHOLE, is_status=False)
    for status in Status:
        folded = _fold(tell_status(report, status).lots)
        yield Strand(OUT, status.value, *folded, WHOLE, is_status=True)
    if dropped := tell_dropped(report):
        folded = _fold(dropped.lots)
        yield Strand(NOWHERE, dropped.title, *folded, dropped.parts, is_status=False)
