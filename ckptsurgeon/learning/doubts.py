"""Ops that do the same at one size and not at another: doubted, until an example tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ckptsurgeon.drafting.steps import Call, Degree, Size, Step

ROWS = 4
"""Rotary rows of a head that both orders put alike."""


def doubted(step: Step) -> Step:
    """The step, likely alone where an op of another meaning does the same at this size."""
    if not any(map(_is_doubtful, step.calls)):
        return step
    remark = f"in heads of {ROWS} rows `to: interleaved` and `to: half` are one order"
    return replace(step, degree=Degree.LIKELY, remark=remark)


def settle_doubts(lists: Sequence[Sequence[Step]]) -> list[list[Step]]:
    """The steps of examples, doubtful ones as those examples say that leave no doubt."""
    calls = [call for steps in lists for step in steps for call in step.calls]
    known = {_order_of(call) for call in calls if _is_rope(call) and not _is_doubtful(call)}
    if len(known) != 1:
        return [list(steps) for steps in lists]
    order = known.pop()
    return [[_settled(step, order) for step in steps] for steps in lists]


def _settled(step: Step, order: str) -> Step:
    if not any(map(_is_doubtful, step.calls)):
        return step
    calls = tuple(_with_order(call, order) if _is_doubtful(call) else call for call in step.calls)
    return replace(step, calls=calls, degree=Degree.PROVED, remark="")


def _with_order(call: Call, order: str) -> Call:
    parameters = tuple((name, order if name == "to" else one) for name, one in call.parameters)
    return replace(call, parameters=parameters)


def _is_rope(call: Call) -> bool:
    return call.op == "permute_rope"


def _order_of(call: Call) -> str:
    return str(dict(call.parameters)["to"])


def _is_doubtful(call: Call) -> bool:
    given = dict(call.parameters)
    rotary = given.get("rotary_dim", given.get("head_dim"))
    rows = rotary.value if isinstance(rotary, Size) else rotary
    return _is_rope(call) and rows == ROWS
