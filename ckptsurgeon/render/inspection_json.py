"""What `inspect` knows of a checkpoint as JSON: versioned, complete, never folded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ckptsurgeon.measuring.statistics import Statistics
from ckptsurgeon.render.inspection import count_dtypes, count_elements, size_on_disk
from ckptsurgeon.render.json import describe, write_plain
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.report.sides import nbytes_of
from ckptsurgeon.report.values import OUTLIER, ValueRemark

VERSION = 1
"""Grows when a field changes its meaning or goes; new fields leave it as it is."""


def inspection_json(found: Inspection) -> Iterator[str]:
    """The checkpoint in pieces that join to one JSON object: versioned, complete, pure ASCII."""
    yield "{\n"
    yield ",\n".join(f"{json.dumps(name)}: {json.dumps(v)}" for name, v in _described(found))
    yield ',\n"tensors": {'
    separator = "\n"
    for key, spec in found.specs.items():
        entry = {**describe(spec), "bytes": spec.nbytes, **_describe_values(found, key)}
        yield f"{separator}{json.dumps(key)}: {json.dumps(entry)}"
        separator = ",\n"
    yield "\n}\n}\n"


def _described(found: Inspection) -> Iterable[tuple[str, Any]]:
    checkpoint, contents = found.checkpoint, found.checkpoint.contents
    return {
        "version": VERSION,
        "exit_code": 0,
        "path": str(checkpoint.path),
        "format": checkpoint.format,
        "shard": contents.shard,
        "has_values": checkpoint.has_values,
        "bytes_on_disk": size_on_disk(checkpoint),
        "count": len(contents.specs),
        "elements": count_elements(contents),
        "bytes": nbytes_of(contents.specs.values()),
        "dtypes": dict(count_dtypes(contents)),
        "root": contents.root,
        "wrappers": list(contents.wrappers),
        "ties": [list(group) for group in contents.aliases],
        "metadata": dict(contents.metadata),
        "module_metadata": write_plain(contents.module_metadata),
        "opaque": [{"key": o.key, "kind": o.kind, "text": o.text} for o in contents.opaque],
        "outside": [describe(one) for one in contents.outside],
        "rivals": [describe(one) for one in contents.rivals],
        "notes": list(contents.notes),
        "only": list(found.only),
        **_describe_remarks(found),
    }.items()


def _describe_remarks(found: Inspection) -> Mapping[str, Any]:
    """What wants a look, where values were asked for."""
    if found.measurements is None:
        return {}
    return {
        "outlier": OUTLIER,
        "remarks": [_describe_remark(remark) for remark in found.remarks],
    }


def _describe_remark(remark: ValueRemark) -> dict[str, Any]:
    told = {"kind": remark.kind.value, "key": remark.key, "text": remark.text}
    return {**told, "found": remark.found, "total": remark.total}


def _describe_values(found: Inspection, key: str) -> Mapping[str, Any]:
    """What is told of a tensor's values, where they were asked for."""
    if found.measurements is None:
        return {}
    measured = found.measurements.tensors.get(key)
    if measured is None:
        return {"statistics": None, "left_out": found.measurements.left_out[key]}
    channels = {"zero_channels": measured.zero_channels}
    return {"statistics": {**_describe_statistics(measured.statistics), **channels}}


def _describe_statistics(told: Statistics) -> dict[str, Any]:
    """Numbers that JSON has no word for are texts, as `inf`."""
    edges = told.histogram.edges
    ends = (*map(write_plain, edges[:1]), *edges[1:-1], *map(write_plain, edges[1:][-1:]))
    return {
        "count": told.count,
        "min": told.least,
        "max": told.most,
        "mean": write_plain(told.mean),
        "std": write_plain(told.std),
        "zeros": told.zeros,
        "nan": told.nans,
        "positive_infinity": told.positive_infinities,
        "negative_infinity": told.negative_infinities,
        "farthest": write_plain(told.farthest),
        "histogram": {"edges": ends, "counts": told.histogram.counts},
    }
