"""The pages that are looked at in a browser: of the README's tour, and of plans made by hand."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import tour
from comparing.cases import converted, decoder, tuned
from report.plans import HOSTILE, Inert, compared, experts, resnet18, view

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.base import Contents
from ckptsurgeon.proof.results import Comparison, Delta, Finding, Kind, Verification
from ckptsurgeon.render.html.difference_page import render_compared
from ckptsurgeon.render.html.inspection_page import render_inspected
from ckptsurgeon.render.html.plan_page import render_report
from ckptsurgeon.render.html.verification_page import render_verified
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.report.report import make_report
from ckptsurgeon.specs import TensorSpec

TOUR = Path(tour.__file__).with_suffix(".yaml")


@cache
def tour_page(*, with_rules: bool = True) -> str:
    """The report of the README's tour; without its rules it is one of findings."""
    with tempfile.TemporaryDirectory() as folder:
        tour.write_checkpoints(Path(folder))
        source, into = (Path(folder) / name for name in ("trained.pt", "mine.pt"))
        plan = cs.plan(source, TOUR if with_rules else None, into=into)
    return render_report(make_report(plan))


@cache
def experts_page() -> str:
    """Layers and experts that fold, and two sources."""
    return render_report(make_report(experts()))


HOSTILE_TEXTS = (
    *HOSTILE,
    "<script>alert(1)</script>.weight",
    "</style><script>alert(2)</script>",
    "<img src=x onerror=alert(3)>.w",
    "'\"><svg onload=alert(4)>",
    "{{ 7 * 7 }}.{% raw %}",
    "&lt;b&gt;.w",
    "javascript:alert(5)",
)


@cache
def hostile_page() -> str:
    """Keys, paths and aliases that want to be more than text."""
    specs = {key: TensorSpec("F32", (2, 3)) for key in HOSTILE_TEXTS}
    plan = compared(specs, resnet18())
    path = "<script>alert(6)</script>.pt"
    sources = (view(path, specs, "<b>", root="</title><script>alert(7)</script>"),)
    return render_report(make_report(replace(plan, sources=sources)))


@cache
def inspected_page() -> str:
    """A network, with entries beside it."""
    contents = Contents(resnet18(), metadata={"format": "pt"}, root="model", wrappers=("model",))
    return render_inspected(Inspection(Inert(contents), contents.specs))


@cache
def measured_page() -> str:
    """A small checkpoint with what its values are like."""
    tensors = {f"layers.{n}.{name}": np.arange(6.0) * n for n in range(3) for name in ("w", "b")}
    return render_inspected(cs.inspect(tensors, stats=True))


@cache
def verified_page() -> str:
    """An output that agrees and one that doesn't, and a finding that was allowed."""
    deltas = (
        Delta("logits", (2, 10), 3e-8, 2e-8, 1.0, 1.0, within=True),
        Delta("hidden", (2, 64), 0.5, 0.04, 0.991, None, within=False),
    )
    compared = Comparison(
        "old.pt", "nets:old", (2, 3, 8, 8), (2, 3, 8, 8), 0, 1e-5, "float32", deltas, ()
    )
    findings = (
        Finding(Kind.MISSING, "bn.bias", "", allowed=True),
        Finding(Kind.DIFFERENT, "hidden", "relative error 0.04, above the tolerance of 1e-05"),
    )
    return render_verified(
        Verification("new.pt", "nets:new", 9, 1200, findings, ("a note",), compared)
    )


@cache
def tuned_page() -> str:
    """A fine-tune against its base: strips and histograms."""
    return render_compared(cs.diff(decoder(), tuned()))


@cache
def converted_page() -> str:
    """What moved, was added, went, and has another shape; under hostile names, too."""
    hostile = {text: np.full((2, 3), at) for at, text in enumerate(HOSTILE_TEXTS)}
    moved = {f"{text}.moved": value for text, value in hostile.items()}
    return render_compared(cs.diff(decoder() | hostile, converted() | moved))


@cache
def random_page() -> str:
    """A hundred thousand keys of which no two fold, more than a page has room for."""
    letters = map("".join, itertools.product("abcdefghijklmnopqr", repeat=4))
    specs = {
        f"{one}.{one[::-1]}.w": TensorSpec("F32", (number % 97 + 1, number % 89 + 1))
        for number, one in enumerate(itertools.islice(letters, 100_000))
    }
    return render_report(make_report(compared(specs, specs)))


PAGES: Mapping[str, Callable[[], str]] = {
    "tour": tour_page,
    "findings": lambda: tour_page(with_rules=False),
    "experts": experts_page,
    "hostile": hostile_page,
    "inspect": inspected_page,
    "measured": measured_page,
    "verify": verified_page,
    "tuned": tuned_page,
    "converted": converted_page,
}
