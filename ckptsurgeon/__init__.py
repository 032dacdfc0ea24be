"""Checkpoint surgery: rules map the tensors of one checkpoint to those of another architecture.

`plan`, `transplant` and `apply` do the work; `open_checkpoint` and `load_ruleset` open its inputs.
The names below are loaded when they are first asked for, so that importing this is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ckptsurgeon.version import VERSION

if TYPE_CHECKING:
    from ckptsurgeon.api import apply, explain, invert, load_plan, plan, transplant
    from ckptsurgeon.checkpoints.opening import open_checkpoint
    from ckptsurgeon.comparing.comparing import diff
    from ckptsurgeon.comparing.difference import Difference
    from ckptsurgeon.errors import (
        CheckpointError,
        CkptSurgeonError,
        FindingsError,
        OutputError,
        PlanError,
        RulesetError,
    )
    from ckptsurgeon.inspecting import inspect
    from ckptsurgeon.language.rulesets import load_ruleset
    from ckptsurgeon.learning.learned import Learned
    from ckptsurgeon.learning.making import learn
    from ckptsurgeon.planner.explaining import Explanation
    from ckptsurgeon.plans.plan import Plan
    from ckptsurgeon.probing.making import probe
    from ckptsurgeon.probing.results import Probe
    from ckptsurgeon.proof.results import Verification
    from ckptsurgeon.proof.verifying import verify
    from ckptsurgeon.report.inspection import Inspection
    from ckptsurgeon.report.report import Report, make_report
    from ckptsurgeon.request import KindOfFinding
    from ckptsurgeon.suggesting.suggestion import Suggestion
    from ckptsurgeon.suggestions import suggest

__version__ = VERSION

__all__ = [
    "CheckpointError",
    "CkptSurgeonError",
    "Difference",
    "Explanation",
    "FindingsError",
    "Inspection",
    "KindOfFinding",
    "Learned",
    "OutputError",
    "Plan",
    "PlanError",
    "Probe",
    "Report",
    "RulesetError",
    "Suggestion",
    "Verification",
    "__version__",
    "apply",
    "diff",
    "explain",
    "inspect",
    "invert",
    "learn",
    "load_plan",
    "load_ruleset",
    "make_report",
    "open_checkpoint",
    "plan",
    "probe",
    "suggest",
    "transplant",
    "verify",
]

_HOMES = {
    "apply": "api",
    "diff": "comparing.comparing",
    "explain": "api",
    "inspect": "inspecting",
    "invert": "api",
    "learn": "learning.making",
    "load_plan": "api",
    "plan": "api",
    "transplant": "api",
    "open_checkpoint": "checkpoints.opening",
    "load_ruleset": "language.rulesets",
    "Difference": "comparing.difference",
    "Explanation": "planner.explaining",
    "Inspection": "report.inspection",
    "Learned": "learning.learned",
    "KindOfFinding": "request",
    "Probe": "probing.results",
    "Verification": "proof.results",
    "Plan": "plans.plan",
    "Suggestion": "suggesting.suggestion",
    "Report": "report.report",
    "make_report": "report.report",
    "probe": "probing.making",
    "suggest": "suggestions",
    "verify": "proof.verifying",
}


_PARTS = {
    "modules": ("convert_on_load", "load"),
    "batchnorm": ("copy", "copy_all", "fold", "freeze", "unfreeze", "mirror", "recalibrate"),
}
"""What people look for here, and where it is."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        where = [home for home, names in _PARTS.items() if name in names]
        raise AttributeError(f"{message}: it is in `{__name__}.{where[0]}`" if where else message)
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
