"""A report as JSON: versioned, complete, never folded; streamed, a line per entry of a list."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any

from ckptsurgeon.checkpoints.base import DESTINATION, Outside
from ckptsurgeon.ops.indexing import index_text
from ckptsurgeon.plans.account import Finding, FindingKind, Note
from ckptsurgeon.plans.addresses import split_address
from ckptsurgeon.plans.fates import SourceFate
from ckptsurgeon.plans.graph import Operand, RuleInfo
from ckptsurgeon.plans.notes import NOTES_OF_SOURCES
from ckptsurgeon.render.suggestion import describe_suggestion
from ckptsurgeon.report.remarks import Remark
from ckptsurgeon.report.report import OutputSide, Report, Row
from ckptsurgeon.report.sides import Side, Tally
from ckptsurgeon.specs import UNKNOWN, TensorSpec, UnreadableSpec

VERSION = 3
"""Grows when a field changes its meaning or goes; new fields leave it as it is."""

FIELDS: Mapping[type, str] = {
    Tally: "tensors nbytes",
    Side: "alias path format tensors nbytes unreadable root wrappers outside has_values digest",
    OutputSide: "file.alias file.path file.format file.root file.wrappers file.decided file.into "
    "tensors nbytes",
    Outside: "key tensors nbytes",
    RuleInfo: "stage number place.file place.line",
    Row: "key spec spec.nbytes status.value sources found ops rule wanted allowed",
    SourceFate: "stage source key spec spec.nbytes fate.value rule untaken claim.dropped reason",
    Finding: "kind.value key source found wanted sources rule allowed",
    Operand: "source key",
    Note: "kind text key rule",
    Remark: "sentence lines",
}
"""What is told of an object, in order; `NAMES` says under which name, where it is not the same.

Of a rule a row says just what finds the rest in `rules`: its `stage` and `number`, and its line.
"""

NAMES = {
    "nbytes": "bytes",
    "spec.nbytes": "bytes",
    "place.file": "file",
    "place.line": "line",
    "status.value": "status",
    "fate.value": "fate",
    "kind.value": "kind",
    "claim.dropped": "dropped",
    **{
        f"file.{word}": word
        for word in ("alias", "path", "format", "root", "wrappers", "decided", "into")
    },
}

READERS = {
    kind: ([NAMES.get(path, path) for path in paths.split()], attrgetter(*paths.split()))
    for kind, paths in FIELDS.items()
}


def render_json(report: Report) -> Iterator[str]:
    """The report in pieces that join to one JSON object; pure ASCII, safe on any terminal."""
    encode = json.JSONEncoder(default=describe, check_circular=False).encode
    yield "{\n"
    yield ",\n".join(f"{encode(name)}: {encode(value)}" for name, value in _head(report))
    for name, entries in _lists(report):
        yield f",\n{encode(name)}: ["
        separator = "\n"
        for entry in entries:
            yield separator + encode(entry)
            separator = ",\n"
        yield "\n]"
    yield "\n}\n"


def _head(report: Report) -> Iterator[tuple[str, Any]]:
    coverage = report.coverage
    yield "version", VERSION
    yield "versions", dict(report.versions)
    yield "clean", report.clean
    yield "exit_code", report.exit_code
    yield "written", report.written
    yield "bottom_line", report.bottom_line
    yield "sources", report.sources
    yield "destination", report.destination
    yield "outputs", report.files
    yield "total", report.total
    yield "counts", {status.value: tally for status, tally in report.counts.items()}
    fates = {fate.value: tally for fate, tally in report.fate_counts.items()}
    yield "source_counts", {**fates, "partly taken": report.partly}
    yield (
        "coverage",
        {
            "destination_keys": {"produced": coverage.produced, "wanted": coverage.wanted},
            "source_bytes": {"consumed": coverage.used.nbytes, "offered": coverage.offered.nbytes},
            "outside": coverage.outside,
        },
    )
    yield "ties", dict(report.ties)
    suggestion = report.advice.suggestion
    yield "suggestion", None if suggestion is None else describe_suggestion(suggestion)


def _lists(report: Report) -> Iterator[tuple[str, Iterable[object]]]:
    yield "rules", map(_describe_rule, report.rules)
    yield "rows", _by_output(report, report.rows)
    yield "fates", report.fates
    yield "findings", _by_output(report, report.findings)
    yield "notes", _by_output(report, report.notes)
    yield "remarks", report.advice.remarks


def _by_output(report: Report, entries: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Entries with the name of the output that their key is of, "" of the one without.

    The keys of some are a source's, with its alias, and of no output.
    """
    for entry in entries:
        is_address = report.is_named and not _is_of_source(entry)
        alias, key = split_address(entry.key) if is_address else ("", entry.key)
        yield {**describe(entry), "key": key, "output": alias}


def _is_of_source(entry: Any) -> bool:
    if isinstance(entry, Finding):
        is_unreadable = entry.kind is FindingKind.UNREADABLE and entry.source != DESTINATION
        return entry.kind is FindingKind.UNUSED or is_unreadable
    return isinstance(entry, Note) and entry.kind in NOTES_OF_SOURCES


def describe(value: Any) -> Any:
    """What JSON is given for what it has no word for."""
    if type(value) is TensorSpec:  # as most are, of a million keys
        return {"dtype": value.dtype, "shape": value.shape}
    if isinstance(value, UnreadableSpec):
        return _describe_unreadable(value)
    names, read = READERS[type(value)]
    told = dict(zip(names, read(value), strict=True))
    if type(value) is Operand and value.index is not None:
        told["index"] = index_text(value.index)
    return told


def _describe_unreadable(spec: UnreadableSpec) -> dict[str, Any]:
    """What is known of a tensor that can't be read: null for a dtype or a shape that is not."""
    dtype = None if spec.dtype == UNKNOWN else spec.dtype
    shape = list(spec.shape) if spec.has_shape else None
    return {"dtype": dtype, "shape": shape, "unreadable": spec.what, "remedy": spec.remedy}


def _describe_rule(rule: RuleInfo) -> dict[str, Any]:
    """All of a rule."""
    own = {"column": rule.place.column, "text": rule.text, "steps": rule.steps}
    return {**describe(rule), **own}


def write_plain(value: Any) -> Any:
    """The value with what JSON has no word for as text: `inf`, `nan`."""
    if isinstance(value, Mapping):
        return {str(key): write_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [write_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
