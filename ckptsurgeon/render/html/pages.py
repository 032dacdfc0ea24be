"""The page of HTML that each kind of result has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ckptsurgeon.comparing.difference import Difference
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.proof.results import Verification
from ckptsurgeon.render.html.difference_page import render_compared
from ckptsurgeon.render.html.inspection_page import render_inspected
from ckptsurgeon.render.html.plan_page import render_report
from ckptsurgeon.render.html.verification_page import render_verified
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.report.report import Report, make_report
from ckptsurgeon.showing import Paged

WRITERS: Mapping[type, Callable[..., str]] = {
    Report: render_report,
    Inspection: render_inspected,
    Difference: render_compared,
    Verification: render_verified,
}
"""Every kind of result that is a page; a plan is shown as its report."""


def write(shown: Paged) -> str:
    """The page of a result."""
    shown = make_report(shown) if isinstance(shown, Plan) else shown
    return WRITERS[type(shown)](shown)
