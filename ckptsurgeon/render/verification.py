"""What `verify` found, as text that ends with what matters, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from ckptsurgeon.keys import fold_keys
from ckptsurgeon.proof.results import Comparison, Delta, Finding, Kind, Verification
from ckptsurgeon.render.columns import Aligned, Palette
from ckptsurgeon.render.json import write_plain
from ckptsurgeon.render.sections import Section
from ckptsurgeon.render.terminal import safe, safe_sentence
from ckptsurgeon.render.view import EVERYTHING, View
from ckptsurgeon.specs import human_bytes, plural

VERSION = 1
MOST_LINES = 10
"""Findings of a kind that are listed unless all are asked for."""

TITLES = {
    Kind.MISSING: "the model has these keys, the checkpoint doesn't",
    Kind.UNEXPECTED: "the checkpoint has these keys, the model doesn't",
    Kind.MISMATCHED: "the shapes differ",
    Kind.REFUSED: "the model's own code refuses to load it",
    Kind.META: "left without values by the load",
    Kind.UNTIED: "one parameter in the model, different values here",
    Kind.NAN: "not a number",
    Kind.INFINITE: "infinite values",
    Kind.VARIANCE: "a variance can't be negative",
    Kind.GARBAGE: "values that were probably never written",
    Kind.ZERO: "zeros alone, where a trained network has weights",
    Kind.CONSTANT: "one value throughout, where a trained network has weights",
    Kind.FRESH: "statistics that were neither loaded nor measured",
    Kind.DIFFERENT: "outputs that disagree",
}

SAID = (Kind.MISSING, Kind.UNEXPECTED)
"""Kinds whose title says all that there is to say of a key."""


def render_verification(
    found: Verification, *, width: int, color: bool, verbose: bool = False
) -> str:
    """The verification as text that ends in a newline; safe to print as it is."""
    view = View(width, Palette(color), verbose, EVERYTHING)
    paint = view.palette.good if found.clean else view.palette.bad
    return view.page(
        view.align(list(list_sides(found)), ""),
        [] if found.comparison is None else _compared(found.comparison, view),
        *map(view.show, tell_findings(found, verbose=verbose)),
        [paint(safe_sentence(found.bottom_line))],
    )


def list_sides(found: Verification) -> Iterable[Aligned]:
    """What was tried, and what is to be known of that."""
    size = f"{plural(found.tensors, 'tensor')}, {human_bytes(found.nbytes)}"
    yield Aligned(("checkpoint", safe(found.checkpoint)), size)
    yield Aligned(("model", safe(found.model)))
    for note in found.notes:
        yield Aligned(("note", safe_sentence(note)))


# --- outputs --------------------------------------------------------------------------------------


def _compared(comparison: Comparison, view: View) -> list[str]:
    told = view.align(list_facts(comparison))
    rows = view.align(list_outputs(comparison))
    return [view.palette.bold("compared"), *told, *rows]


def list_facts(comparison: Comparison) -> list[Aligned]:
    """With what it was compared, and how."""
    facts = [
        ("with", f"{safe(comparison.reference)} in {safe(comparison.reference_model)}"),
        ("input", f"{_shapes(comparison)}, {comparison.dtype}, seed {comparison.seed}"),
        *(("", safe_sentence(note)) for note in comparison.notes),
        ("tolerance", f"{comparison.tolerance:g} of the source's largest output"),
    ]
    return [Aligned(fact) for fact in facts]


def list_outputs(comparison: Comparison) -> list[Aligned]:
    """A line for each output."""
    return [_row(delta) for delta in comparison.deltas]


def _shapes(comparison: Comparison) -> str:
    own, other = list(comparison.input_shape), list(comparison.reference_input_shape)
    return str(own) if own == other else f"{own}, and {other} for the source"


def _row(delta: Delta) -> Aligned:
    top1 = "" if delta.top1 is None else f"top-1 {100 * delta.top1:.4g}%"
    return Aligned(
        (
            f"{safe(delta.name)} {list(delta.shape)}",
            f"max diff {_number(delta.largest)}",
            f"relative {_number(delta.relative)}",
            f"cosine {delta.cosine:.6f}",
            top1,
            "agrees" if delta.within else "DIFFERS",
        )
    )


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.2e}"


# --- findings -------------------------------------------------------------------------------------


def tell_findings(found: Verification, *, verbose: bool) -> Iterator[Section]:
    """A section for the findings of each kind."""
    for kind in Kind:
        findings = [finding for finding in found.findings if finding.kind is kind]
        if findings:
            yield _section(findings, verbose)


def _section(findings: Sequence[Finding], verbose: bool) -> Section:
    """The findings of a kind, keys with one text folded into ranges."""
    kind, allowed = findings[0].kind, findings[0].allowed
    texts = [(one.key, "" if kind in SAID else one.text) for one in findings]
    lines = [_line(*text) for text in texts] if verbose else _folded(texts)
    return Section(
        title=f"{len(findings):,} {kind.value}{', allowed' if allowed else ''}",
        told=TITLES[kind],
        items=lines,
        limit=len(lines) if verbose else MOST_LINES,
        heads=("key", "what", ""),
        is_wrong=not allowed,
    )


def _folded(texts: Iterable[tuple[str, str]]) -> list[Aligned]:
    groups: dict[str, list[str]] = {}
    for key, text in texts:
        groups.setdefault(text, []).append(key)
    return [_line(str(key), text) for text, keys in groups.items() for key in fold_keys(keys)]


def _line(key: str, text: str) -> Aligned:
    told = safe_sentence(text)
    return Aligned((safe(key), told) if key else (told, ""))


# --- for machines ---------------------------------------------------------------------------------


def verification_json(found: Verification) -> str:
    """The verification as one JSON object: versioned, complete, pure ASCII.

    Numbers that are infinite or not a number are texts, as `inf`.
    """
    told = {
        "version": VERSION,
        "clean": found.clean,
        "exit_code": found.exit_code,
        "bottom_line": found.bottom_line,
        "checkpoint": found.checkpoint,
        "model": found.model,
        "tensors": found.tensors,
        "bytes": found.nbytes,
        "notes": list(found.notes),
        "findings": msgspec.to_builtins(found.findings),
        "comparison": None if found.comparison is None else _comparison(found.comparison),
    }
    return json.dumps(told, indent=1) + "\n"


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "source": comparison.reference,
        "source_model": comparison.reference_model,
        "input": list(comparison.input_shape),
        "source_input": list(comparison.reference_input_shape),
        "seed": comparison.seed,
        "tolerance": comparison.tolerance,
        "dtype": comparison.dtype,
        "notes": list(comparison.notes),
        "outputs": [_delta(delta) for delta in comparison.deltas],
    }


def _delta(delta: Delta) -> dict[str, Any]:
    return {
        "name": delta.name,
        "shape": list(delta.shape),
        "max_delta": write_plain(delta.largest),
        "relative_error": write_plain(delta.relative),
        "cosine": write_plain(delta.cosine),
        "top1_agreement": delta.top1,
        "within_tolerance": delta.within,
    }
