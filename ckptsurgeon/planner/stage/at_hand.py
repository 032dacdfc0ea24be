"""`shape` and `dtype` of the tensor at hand, as values for the expressions of a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ckptsurgeon.errors import ExpressionError
from ckptsurgeon.language.expressions import (
    Value,
    expressions_in,
    names_in,
    parts_that_name,
)
from ckptsurgeon.language.rows import Row
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.reading_keys import Match, spec_values


class AtHand:
    """What the expressions in `asking` look at of the tensors that a step takes.

    `names` are those of `shape` and `dtype` that stand there, and mean the tensor's own.
    """

    def __init__(self, rule: CompiledRule, asking: object, vars: Vars) -> None:
        self._rule, self._vars = rule, vars
        self.names = tuple(sorted(rule.looks & names_in(asking)))
        roots = [expression.root for expression in expressions_in(asking)]
        self._asked = tuple(parts_that_name(tuple(roots), self.names))

    def values(self, values: Row, matches: Sequence[Match]) -> Row:
        """The values of `names`, which are those of the first tensor.

        `values` are the captures of the step. Raises ExpressionError where tensors differ in what
        is asked, and names two of them.
        """
        if not self.names:
            return ()
        first, seen = matches[0], {id(matches[0].node.spec)}
        for match in matches[1:]:
            if id(match.node.spec) not in seen:
                seen.add(id(match.node.spec))
                self._compare(values, first, match)
        return spec_values(first, self.names)

    def _compare(self, values: Row, first: Match, other: Match) -> None:
        captures = dict(zip(self._rule.step_columns, values, strict=True))
        for part in self._asked:
            one, two = (
                part.evaluate(Scope({**captures, **self._of(match)}, self._vars))
                for match in (first, other)
            )
            if one != two:
                texts = (f"{_told(one)} for `{first.name}`", f"{_told(two)} for `{other.name}`")
                help = "what is asked of tensors that are gathered must be the same of all"
                raise ExpressionError(f"{part} is {texts[0]} and {texts[1]}", help=help)

    def _of(self, match: Match) -> Mapping[str, Value]:
        return dict(zip(self.names, spec_values(match, self.names), strict=True))


def _told(value: Value) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
