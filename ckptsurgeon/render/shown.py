"""How each kind of result looks when it is printed: one text and one dict a kind."""

from __future__ import annotations

import io
import json
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from ckptsurgeon.comparing.difference import Difference
from ckptsurgeon.learning.learned import Learned
from ckptsurgeon.planner.explaining import Explanation
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.probing.results import Probe
from ckptsurgeon.proof.results import Verification
from ckptsurgeon.render.columns import Palette
from ckptsurgeon.render.difference import difference_json, render_difference
from ckptsurgeon.render.explanation import explanation_json, render_explanation
from ckptsurgeon.render.findings import show_advice, tell_advice, tell_findings
from ckptsurgeon.render.inspection import render_inspection
from ckptsurgeon.render.inspection_json import inspection_json
from ckptsurgeon.render.json import render_json
from ckptsurgeon.render.learning import learned_json, render_learned
from ckptsurgeon.render.probing import probe_json, render_probe
from ckptsurgeon.render.suggestion import render_suggestion, suggestion_json
from ckptsurgeon.render.text import render_text
from ckptsurgeon.render.verification import render_verification, verification_json
from ckptsurgeon.render.view import Limits, View
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.report.report import Report, make_report
from ckptsurgeon.showing import WIDTH, Shown
from ckptsurgeon.suggesting.suggestion import Suggestion
from ckptsurgeon.wording import name_kinds

if TYPE_CHECKING:
    from rich.text import Text

ADVICE = Limits(section=6, finding=6, note=1, suggestion=16)
"""Lines of an error: it stands in a traceback."""

HTML = (
    '<pre style="white-space:pre;overflow-x:auto;line-height:1.3;'
    "font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\">{code}</pre>"
)
"""The one element that a notebook is given."""


@singledispatch
def render_shown(shown: Shown, *, width: int, color: bool, verbose: bool) -> str:
    """The text of a result; kinds of it are registered."""
    raise TypeError(f"nothing says how {type(shown).__name__} looks")


@singledispatch
def describe_shown(shown: Shown) -> dict[str, Any]:
    """A result as plain Python values, as its JSON has them."""
    raise TypeError(f"nothing says what of {type(shown).__name__} is told")


def paint_shown(shown: Shown) -> Text:
    """The text of a result in rich's colours."""
    from rich.text import Text

    return Text.from_ansi(shown.show(color=True), no_wrap=True)


def write_html(shown: Shown) -> str:
    """The text of a result as one HTML element, everything in it escaped."""
    from rich.console import Console

    console = Console(record=True, file=io.StringIO(), width=10_000, color_system="standard")
    console.print(paint_shown(shown), end="")
    return console.export_html(inline_styles=True, code_format=HTML)


def write_advice(report: Report) -> str:
    """The open findings of a report, folded, what would settle them, and how to accept them."""
    view = View(WIDTH, Palette(color=False), verbose=False, limits=ADVICE)
    kinds = sorted({finding.kind.value for finding in report.open_findings})
    last = [f"to accept them as they are: {name_kinds(*kinds)}"]
    findings = map(view.show, tell_findings(report, view))
    advice = show_advice(tell_advice(report, view.limits), view)
    return view.page([report.bottom_line], *findings, advice, last).rstrip("\n")


# --- each kind ------------------------------------------------------------------------------------


@render_shown.register
def _(shown: Report, *, width: int, color: bool, verbose: bool) -> str:
    return render_text(shown, width=width, color=color, verbose=verbose)


@describe_shown.register
def _(shown: Report) -> dict[str, Any]:
    return _parse("".join(render_json(shown)))


@render_shown.register
def _(shown: Plan, *, width: int, color: bool, verbose: bool) -> str:
    return render_text(make_report(shown), width=width, color=color, verbose=verbose)


@describe_shown.register
def _(shown: Plan) -> dict[str, Any]:
    return _parse("".join(render_json(make_report(shown))))


@render_shown.register
def _(shown: Inspection, *, width: int, color: bool, verbose: bool) -> str:
    return render_inspection(shown, width=width, color=color, verbose=verbose)


@describe_shown.register
def _(shown: Inspection) -> dict[str, Any]:
    return _parse("".join(inspection_json(shown)))


@render_shown.register
def _(shown: Difference, *, width: int, color: bool, verbose: bool) -> str:
    return render_difference(shown, width=width, color=color, verbose=verbose)


@describe_shown.register
def _(shown: Difference) -> dict[str, Any]:
    return _parse("".join(difference_json(shown)))


@render_shown.register
def _(shown: Verification, *, width: int, color: bool, verbose: bool) -> str:
    return render_verification(shown, width=width, color=color, verbose=verbose)


@describe_shown.register
def _(shown: Verification) -> dict[str, Any]:
    return _parse(verification_json(shown))


@render_shown.register
def _(shown: Probe, *, width: int, color: bool, verbose: bool) -> str:
    return render_probe(shown, width=width, color=color, verbose=verbose)


@describe_shown.register
def _(shown: Probe) -> dict[str, Any]:
    return _parse(probe_json(shown))


@render_shown.register
def _(shown: Learned, *, width: int, color: bool, verbose: bool) -> str:
    return render_learned(shown, width=width, color=color, verbose=verbose)


@describe_shown.register
def _(shown: Learned) -> dict[str, Any]:
    return _parse(learned_json(shown))


@render_shown.register
def _(shown: Suggestion, *, width: int, color: bool, verbose: bool) -> str:
    return render_suggestion(shown)


@describe_shown.register
def _(shown: Suggestion) -> dict[str, Any]:
    return _parse(suggestion_json(shown))


@render_shown.register
def _(shown: Explanation, *, width: int, color: bool, verbose: bool) -> str:
    return render_explanation(shown, verbose=verbose)


@describe_shown.register
def _(shown: Explanation) -> dict[str, Any]:
    return _parse(json.dumps(explanation_json(shown)))


def _parse(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found
