"""The page of HTML that each kind of result has."""

from __future__ import annotations

from functools import singledispatch

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


@singledispatch
def write(shown: Paged) -> str:
    """The page of a result; kinds of it are registered."""
    raise TypeError(f"nothing says what page {type(shown).__name__} has")


@write.register
def _(shown: Report) -> str:
    return render_report(shown)


@write.register
def _(shown: Plan) -> str:
    return render_report(make_report(shown))


@write.register
def _(shown: Inspection) -> str:
    return render_inspected(shown)


@write.register
def _(shown: Verification) -> str:
    return render_verified(shown)


@write.register
def _(shown: Difference) -> str:
    return render_compared(shown)
