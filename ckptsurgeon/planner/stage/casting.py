"""`output: {dtype: …}`: what no rule has cast is cast at the end of a stage."""

from __future__ import annotations

from ckptsurgeon.errors import PlanError, Problem, ShapeError
from ckptsurgeon.language.rules import Stage
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.plans.graph import Call, Node, RuleInfo, call, walk
from ckptsurgeon.plans.outputs import OF_KIND
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.wording import name_destination


class Casting:
    """Casts what `output: {dtype: …}` names and no rule has cast."""

    def __init__(self, stage: Stage, destination: SourceView | None) -> None:
        self._dtype, self._place = stage.output.dtype, stage.place
        self._destination = destination
        if self._dtype == "destination" and destination is None:
            into = name_destination()
            text = f"`dtype: destination` and no destination: give it by {into}"
            raise PlanError([Problem(text, stage.place)])

    def __call__(self, key: str, node: Node, rule: RuleInfo | None) -> Node:
        """The tensor in its dtype; what is kept or initialised has the right one by itself."""
        spec = node.spec
        dtype = self._wanted(key) if self._dtype == "destination" else self._dtype
        if dtype is None or dtype == spec.dtype or not spec.floating:
            return node
        if (rule is not None and rule.kind in OF_KIND) or _is_cast_by_rule(node):
            return node
        try:
            return call(Cast(dtype=dtype), node)[0]
        except ShapeError as error:
            place = rule.place if rule else self._place
            raise PlanError([Problem(f"`{key}`: `output: dtype`: {error}", place)]) from None

    def _wanted(self, key: str) -> str | None:
        specs = self._destination.specs if self._destination else {}
        return specs[key].dtype if key in specs and specs[key].floating else None


def _is_cast_by_rule(node: Node) -> bool:
    """Whether a rule, and no `output: dtype` of a stage, has cast the tensor or what makes it."""
    calls = (one for one in walk(node) if isinstance(one, Call))
    return any(one.rule is not None and isinstance(one.op, Cast) for one in calls)
