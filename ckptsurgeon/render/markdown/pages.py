"""The page of markdown that each kind of result has."""

from __future__ import annotations

from functools import singledispatch

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


@singledispatch
def write(shown: Paged, *, verbose: bool = False) -> str:
    """The page of a result; kinds of it are registered."""
    raise TypeError(f"nothing says what page {type(shown).__name__} has")


@write.register
def _(shown: Report, *, verbose: bool = False) -> str:
    return render_report(shown, verbose=verbose)


@write.register
def _(shown: Plan, *, verbose: bool = False) -> str:
    return render_report(make_report(shown), verbose=verbose)


@write.register
def _(shown: Inspection, *, verbose: bool = False) -> str:
    return render_inspection(shown, verbose=verbose)


@write.register
def _(shown: Verification, *, verbose: bool = False) -> str:
    return render_verification(shown, verbose=verbose)


@write.register
def _(shown: Difference, *, verbose: bool = False) -> str:
    return render_difference(shown, verbose=verbose)
