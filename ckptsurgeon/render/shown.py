"""How each kind of result looks when it is printed: as a text, and as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

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


class Look(NamedTuple):
    """How a kind of result is told: the text, by its layout, and its JSON, whole or in pieces."""

    text: Callable[..., str]
    json: Callable[[Any], Iterable[str]]


LOOKS: dict[type, Look] = {
    Report: Look(render_text, render_json),
    Inspection: Look(render_inspection, inspection_json),
    Difference: Look(render_difference, difference_json),
    Verification: Look(render_verification, verification_json),
    Probe: Look(render_probe, probe_json),
    Learned: Look(render_learned, learned_json),
    Suggestion: Look(lambda shown, **_: render_suggestion(shown), suggestion_json),
    Explanation: Look(
        lambda shown, *, verbose, **_: render_explanation(shown, verbose=verbose),
        lambda shown: json.dumps(explanation_json(shown)),
    ),
}
"""The kinds of result that are shown, a plan as its report; `batchnorm/` adds its own."""


def _look_of(shown: Shown) -> tuple[Shown, Look]:
    """What is shown of a result, and how."""
    shown = make_report(shown) if isinstance(shown, Plan) else shown
    return shown, next(LOOKS[kind] for kind in type(shown).__mro__ if kind in LOOKS)


def render_shown(shown: Shown, *, width: int, color: bool, verbose: bool) -> str:
    """The text of a result."""
    shown, look = _look_of(shown)
    return look.text(shown, width=width, color=color, verbose=verbose)


def describe_shown(shown: Shown) -> dict[str, Any]:
    """A result as plain Python values, as its JSON has them."""
    shown, look = _look_of(shown)
    found: dict[str, Any] = json.loads("".join(look.json(shown)))
    return found


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
