"""`require`: what a source must hold before anything is planned with it."""

from __future__ import annotations

from collections.abc import Sequence

from ckptsurgeon.planner.calling import evaluate
from ckptsurgeon.planner.compile import CompiledRule
from ckptsurgeon.planner.matching import Match
from ckptsurgeon.planner.problems import Problems
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.ruleset.model import Require


def check_requirement(
    rule: CompiledRule, found: Sequence[Match], scope: Scope, problems: Problems
) -> None:
    """Tells a requirement that the source does not meet."""
    written, reader = rule.rule, rule.readers[0]
    if not isinstance(written, Require):
        raise TypeError(f"{written} is no requirement")
    if not found and rule.options.count is None and not rule.options.optional:
        problems.add(f"the source lacks `{reader.text}`", reader.place)
    shape = None if written.shape is None else evaluate(written.shape, scope)
    for match in found:
        spec = match.origin.node.spec
        if shape is not None and spec.shape != shape:
            wanted = f"[{', '.join(map(str, shape))}]" if isinstance(shape, tuple) else shape
            problems.add(
                f"`{match.address[1]}` is {spec}, and the shape {wanted} is required", reader.place
            )
        if written.dtype is not None and spec.dtype != written.dtype:
            problems.add(
                f"`{match.address[1]}` is {spec}, and {written.dtype} is required", reader.place
            )
