"""What `verify` found, as text that ends with what matters, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ckptsurgeon.keys import fold_keys
from ckptsurgeon.proof.results import Comparison, Delta, Finding, Kind, Verification
from ckptsurgeon.render.columns import Aligned, Palette
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
        view.align(list(head_lines(found)), ""),
        [] if found.comparison is None else _compared(found.comparison, view),
        *(_findings(found, kind, view) for kind in Kind),
        [paint(safe(found.bottom_line))],
    )


def head_lines(found: Verification) -> Iterable[Aligned]:
    """What was proved, in which network."""
    size = f"{plural(found.tensors, 'tensor')}, {human_bytes(found.nbytes)}"
    yield Aligned(("checkpoint", safe(found.checkpoint)), size)
    yield Aligned(("model", safe(found.model)))
    for note in found.notes:
        yield Aligned(("note", safe_sentence(note)))


# --- outputs --------------------------------------------------------------------------------------


def _compared(comparison: Comparison, view: View) -> list[str]:
    told = view.align(compared_lines(comparison))
    rows = view.align(list(map(delta_line, comparison.deltas)))
    return [view.palette.bold("compared"), *told, *rows]


def compared_lines(comparison: Comparison) -> list[Aligned]:
    """What was compared with what."""
    facts = [
        ("with", f"{safe(comparison.reference)} in {safe(comparison.reference_model)}"),
        ("input", f"{_shapes(comparison)}, {comparison.dtype}, seed {comparison.seed}"),
        *(("", safe_sentence(note)) for note in comparison.notes),
        ("tolerance", f"{comparison.tolerance:g} of the source's largest output"),
    ]
    return list(map(Aligned, facts))


def _shapes(comparison: Comparison) -> str:
    own, other = list(comparison.input_shape), list(comparison.reference_input_shape)
    return str(own) if own == other else f"{own}, and {other} for the source"


def delta_line(delta: Delta) -> Aligned:
    """How far one output lies from the reference's."""
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


def _findings(found: Verification, kind: Kind, view: View) -> list[str]:
    """The findings of a kind, keys with one text folded into ranges."""
    findings = [finding for finding in found.findings if finding.kind is kind]
    if not findings:
        return []
    title, lines = view.palette.bold(title_of(findings)), finding_lines(findings, view.verbose)
    limit = len(lines) if view.verbose else MOST_LINES
    return [f"{title}  {TITLES[kind]}", *view.table(lines, lambda line: line, limit)]


def title_of(findings: Sequence[Finding]) -> str:
    """`3 missing, allowed`: of findings of one kind."""
    allowed = ", allowed" if findings[0].allowed else ""
    return f"{len(findings):,} {findings[0].kind.value}{allowed}"


def finding_lines(findings: Iterable[Finding], verbose: bool = False) -> list[Aligned]:
    """A line for each finding of a kind, those of one text folded unless all are asked for."""
    texts = [(one.key, "" if one.kind in SAID else one.text) for one in findings]
    return [_line(*text) for text in texts] if verbose else _folded(texts)


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

    Numbers that are infinite or not a number are null.
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
        "max_delta": _finite(delta.largest),
        "relative_error": _finite(delta.relative),
        "cosine": _finite(delta.cosine),
        "top1_agreement": delta.top1,
        "within_tolerance": delta.within,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
