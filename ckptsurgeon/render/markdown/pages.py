"""The page of markdown that each kind of result has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ckptsurgeon.comparing.difference import Difference
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.proof.results import Verification
from ckptsurgeon.render.markdown.difference import render_difference
from ckptsurgeon.render.markdown.inspection import render_inspection
from ckptsurgeon.render.markdown.report import render_report
from ckptsurgeon.render.markdown.verification import render_verification
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.report.report import Report, make_report
from ckptsurgeon.showing import Paged

WRITERS: Mapping[type, Callable[..., str]] = {
    Report: render_report,
    Inspection: render_inspection,
    Difference: render_difference,
    Verification: render_verification,
}
"""Every kind of result that is a page; a plan is shown as its report."""


def write(shown: Paged, *, verbose: bool = False) -> str:
    """The page of a result."""
    shown = make_report(shown) if isinstance(shown, Plan) else shown
    return WRITERS[type(shown)](shown, verbose=verbose)
