"""`shape` and `dtype` of the tensor at hand, as values for the expressions of a rule."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

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
from ckptsurgeon.planner.stage.grouping import Group
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
        if told := self.difference(values, first, other):
            help = "what is asked of tensors that are gathered must be the same of all"
            raise ExpressionError(told, help=help)

    def difference(self, values: Row, first: Match, other: Match) -> str:
        """`shape[0] is 4 for a and 5 for b`, where two tensors differ in what is asked; else ""."""
        captures = dict(zip(self._rule.step_columns, values, strict=True))
        for part in self._asked:
            one, two = (
                part.evaluate(Scope({**captures, **self._of(match)}, self._vars))
                for match in (first, other)
            )
            if one != two:
                of = f"{_told(one)} for `{first.name}` and {_told(two)} for `{other.name}`"
                return f"{part} is {of}"
        return ""

    def _of(self, match: Match) -> Mapping[str, Value]:
        return dict(zip(self.names, spec_values(match, self.names), strict=True))


class BlocksAtHand:
    """What blocks within `from` ask of the rule's first reference, and their own has otherwise."""

    def __init__(self, rule: CompiledRule, vars: Vars) -> None:
        blocks = [join for join in rule.join.joins if join is not rule.join]
        asked = (
            (join.first, AtHand(rule, tuple(placed.call.arguments for placed in join.ops), vars))
            for join in blocks
        )
        self._blocks = [(number, at_hand) for number, at_hand in asked if at_hand.names and number]

    def remarks(self, group: Group) -> Iterator[str]:
        """A remark for each block whose own first tensor differs."""
        for number, at_hand in self._blocks:
            pair = group.first[0], group.of_reference(number)[0]
            with contextlib.suppress(ExpressionError):  # its own can't be meant, or the op tells it
                if told := at_hand.difference(group.values, *pair):
                    yield f"in a block: {told}; the rule's first reference is meant"


def _told(value: Value) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
