"""A report as JSON: versioned, complete, never folded; streamed, a line per entry of a list."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ckptsurgeon.ops.indexing import index_text
from ckptsurgeon.plans.account import Finding, Note
from ckptsurgeon.plans.fates import SourceFate
from ckptsurgeon.plans.graph import Operand, RuleInfo
from ckptsurgeon.report.report import Report, Row, Side, Tally
from ckptsurgeon.report.suggestions import Suggestion
from ckptsurgeon.specs import TensorSpec

VERSION = 1
"""Grows when a field changes its meaning or goes; new fields leave it as it is."""

Json = dict[str, Any]


def render_json(report: Report) -> Iterator[str]:
    """The report in pieces that join to one JSON object; pure ASCII, safe on any terminal."""
    yield "{\n"
    yield ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in _head(report))
    for name, entries in _lists(report):
        yield f",\n{json.dumps(name)}: ["
        separator = "\n"
        for entry in entries:
            yield separator + json.dumps(entry)
            separator = ",\n"
        yield "\n]"
    yield "\n}\n"


def _head(report: Report) -> Iterator[tuple[str, Any]]:
    coverage = report.coverage
    yield "version", VERSION
    yield "versions", dict(report.versions)
    yield "clean", report.clean
    yield "bottom_line", report.bottom_line
    yield "sources", [_side(side) for side in report.sources]
    yield "destination", _side(report.destination) if report.destination else None
    yield "total", _tally(report.total)
    yield "counts", {status.value: _tally(tally) for status, tally in report.counts.items()}
    fates = {fate.value: _tally(tally) for fate, tally in report.fate_counts.items()}
    yield "source_counts", {**fates, "partly taken": _tally(report.partly)}
    yield (
        "coverage",
        {
            "destination_keys": {"produced": coverage.produced, "wanted": coverage.wanted},
            "source_bytes": {"consumed": coverage.consumed, "offered": coverage.offered},
        },
    )
    yield "ties", dict(report.ties)


def _lists(report: Report) -> Iterator[tuple[str, Iterable[Json]]]:
    yield "rules", map(_rule, report.rules)
    yield "rows", map(_row, report.rows)
    yield "fates", map(_fate, report.fates)
    yield "findings", map(_finding, report.findings)
    yield "notes", map(_note, report.notes)
    yield "suggestions", map(_suggestion, report.suggestions)


def _side(side: Side) -> Json:
    return {
        "alias": side.alias,
        "path": side.path,
        "format": side.format,
        "tensors": side.tensors,
        "bytes": side.nbytes,
        "root": side.root,
        "wrappers": list(side.wrappers),
        "has_values": side.has_values,
        "digest": side.digest,
    }


def _tally(tally: Tally) -> Json:
    return {"tensors": tally.tensors, "bytes": tally.nbytes}


def _rule(rule: RuleInfo) -> Json:
    return {**_place(rule), "column": rule.place.column, "text": rule.text, "steps": rule.steps}


def _place(rule: RuleInfo) -> Json:
    """What a row says of its rule: `stage` and `number` find the rest in `rules`."""
    return {
        "stage": rule.stage,
        "number": rule.number,
        "file": rule.place.file,
        "line": rule.place.line,
    }


def _named(rule: RuleInfo | None) -> Json | None:
    return None if rule is None else _place(rule)


def _spec(spec: TensorSpec | None) -> Json | None:
    return None if spec is None else {"dtype": spec.dtype, "shape": list(spec.shape)}


def _operands(operands: Iterable[Operand]) -> list[Mapping[str, str]]:
    return [_operand(operand) for operand in operands]


def _operand(operand: Operand) -> Mapping[str, str]:
    named = {"source": operand.source, "key": operand.key}
    return named if operand.index is None else {**named, "index": index_text(operand.index)}


def _row(row: Row) -> Json:
    return {
        "key": row.key,
        "spec": _spec(row.spec),
        "bytes": row.spec.nbytes,
        "status": row.status.value,
        "sources": _operands(row.sources),
        "found": _spec(row.found),
        "ops": list(row.ops),
        "rule": _named(row.rule),
        "wanted": _spec(row.wanted),
        "allowed": row.allowed,
    }


def _fate(fate: SourceFate) -> Json:
    return {
        "stage": fate.stage,
        "source": fate.source,
        "key": fate.key,
        "spec": _spec(fate.spec),
        "bytes": fate.spec.nbytes,
        "fate": fate.fate.value,
        "rule": _named(fate.rule),
        "untaken": fate.untaken,
        "dropped": fate.claim.dropped,
        "reason": fate.reason,
    }


def _finding(finding: Finding) -> Json:
    return {
        "kind": finding.kind.value,
        "key": finding.key,
        "source": finding.source,
        "found": _spec(finding.found),
        "wanted": _spec(finding.wanted),
        "sources": _operands(finding.sources),
        "rule": _named(finding.rule),
        "allowed": finding.allowed,
    }


def _note(note: Note) -> Json:
    return {"kind": note.kind, "text": note.text, "key": note.key, "rule": _named(note.rule)}


def _suggestion(suggestion: Suggestion) -> Json:
    return {"sentence": suggestion.sentence, "text": suggestion.text}
