"""What `probe` did, as text that ends with what matters, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ckptsurgeon.keys import fold_keys
from ckptsurgeon.probing.kinds import Kind
from ckptsurgeon.probing.results import Probe
from ckptsurgeon.render.columns import Aligned, Palette
from ckptsurgeon.render.json import describe
from ckptsurgeon.render.terminal import safe, safe_sentence
from ckptsurgeon.render.view import CLEAN, View
from ckptsurgeon.specs import human_bytes, plural

VERSION = 1

Row = tuple[str, str, str]
"""A word, a key or keys, and what is said of them."""


def render_probe(found: Probe, *, width: int, color: bool, verbose: bool = False) -> str:
    """The probe as text that ends in a newline; safe to print as it is."""
    view = View(width, Palette(color), verbose, CLEAN)
    paint = view.palette.bad if found.left_out else view.palette.good
    return view.page(
        view.align(list(_head(found)), ""),
        _section("kept as they are", found.kept, found, view),
        _section("made up to look like their kind", found.made_up, found, view),
        _notes(found, view),
        _left_out(found, view),
        [paint(safe(found.bottom_line))],
    )


def _head(found: Probe) -> Iterator[Aligned]:
    size = f"{plural(len(found.specs), 'tensor')}, {human_bytes(found.nbytes)}"
    ties = f", {plural(len(found.ties), 'tie')}" if found.ties else ""
    yield Aligned(("probe", safe(found.output)), f"{size}{ties}, seed {found.seed}")
    yield Aligned(("source", safe(found.source)), found.source_format)


def _section(title: str, kinds: Mapping[str, Kind], found: Probe, view: View) -> list[str]:
    """The keys of some kinds, those with one kind and spec folded."""
    if not kinds:
        return []
    size = human_bytes(sum(found.specs[key].nbytes for key in kinds))
    rows = ((kind.value, key, str(found.specs[key])) for key, kind in kinds.items())
    head = f"{view.palette.bold(title)}  {plural(len(kinds), 'tensor')}, {size}"
    return [head, *view.table(_fold(rows, view), _line, _limit(view, view.limits.section))]


def _notes(found: Probe, view: View) -> list[str]:
    if not found.notes:
        return []
    rows = [(note.kind, note.key, note.text) for note in found.notes]
    shown = view.table(rows, _line, _limit(view, view.limits.section))
    return [view.palette.bold("notes"), *shown]


def _left_out(found: Probe, view: View) -> list[str]:
    """What can't be read: findings."""
    if not found.left_out:
        return []
    rows = (("", key, f"{spec.what}; {spec.remedy}") for key, spec in found.left_out.items())
    title = view.palette.bold(f"{len(found.left_out):,} left out")
    shown = view.table(_fold(rows, view), _line, _limit(view, view.limits.section))
    return [f"{title}  what can't be read has no place in the probe", *shown]


def _limit(view: View, limit: int) -> int:
    return 10**12 if view.verbose else limit


def _fold(rows: Iterable[Row], view: View) -> list[Row]:
    """Rows of which those that differ in their keys alone are one, unless all are asked for."""
    if view.verbose:
        return list(rows)
    groups: dict[tuple[str, str], list[str]] = {}
    for word, key, text in rows:
        groups.setdefault((word, text), []).append(key)
    return [
        (word, str(box), text) for (word, text), keys in groups.items() for box in fold_keys(keys)
    ]


def _line(row: Row) -> Aligned:
    word, key, text = row
    return Aligned((word, safe(key), safe_sentence(text)))


def probe_json(found: Probe) -> str:
    """The probe as one JSON object: versioned, complete, pure ASCII."""
    told: dict[str, Any] = {
        "version": VERSION,
        "clean": not found.left_out,
        "exit_code": found.exit_code,
        "bottom_line": found.bottom_line,
        "output": found.output,
        "source": found.source,
        "source_format": found.source_format,
        "seed": found.seed,
        "count": len(found.specs),
        "bytes": found.nbytes,
        "kinds": {key: kind.value for key, kind in found.kinds.items()},
        "ties": dict(found.ties),
        "left_out": {key: describe(spec) for key, spec in found.left_out.items()},
        "notes": [{"kind": note.kind, "key": note.key, "text": note.text} for note in found.notes],
    }
    return json.dumps(told, indent=1) + "\n"
