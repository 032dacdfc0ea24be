"""Slices of keys: cut once for all keys of one spec, and told where two take the same elements."""

from __future__ import annotations

from collections.abc import Iterable

from ckptsurgeon.errors import Problem, ShapeError
from ckptsurgeon.language.problems import Folded, Problems
from ckptsurgeon.ops.indexing import Index, Region, Slice, index_text, resolve_index
from ckptsurgeon.ops.regions import overlapping
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.stage.reading_keys import Match
from ckptsurgeon.planner.stage.tables import Table, TakenPart
from ckptsurgeon.plans.fates import Claim
from ckptsurgeon.plans.graph import Call, Node, Result
from ckptsurgeon.specs import Specs, TensorSpec

Cut = tuple[Slice, Region, Specs]
"""A slice of tensors of one spec: its op, what it takes, and what it gives."""


class Slices:
    """The slices that the rules of a stage take."""

    def __init__(self) -> None:
        self._cuts: dict[tuple[int, int], Cut] = {}  # by the ids of index and spec, which stay
        self._regions: dict[Region, Region] = {}  # one of all that are equal
        self._taken: set[tuple[int, str, str, int]] = set()

    def take(self, rule: CompiledRule, claim: Claim, match: Match, index: Index) -> Node:
        """A slice of a key's tensor; what a rule takes in several of its steps counts once."""
        node = match.node
        op, region, specs = self._cut(match, index, node.spec)
        known = (id(rule), match.table.alias, match.key, id(region))
        if known not in self._taken:
            self._taken.add(known)
            part = TakenPart(region, rule, claim, index)
            match.table.held.parts.setdefault(match.key, []).append(part)
        return Result(Call(op, (node,), specs, claim.rule), 0)

    def _cut(self, match: Match, index: Index, spec: TensorSpec) -> Cut:
        alike = id(index), id(spec)
        if alike not in self._cuts:
            op = Slice(index=index)
            try:
                region, specs = resolve_index(index, spec.shape), op.infer((spec,))
            except ShapeError as error:
                raise ShapeError(f"`{match.name}`: {error}") from None
            self._cuts[alike] = op, self._regions.setdefault(region, region), specs
        return self._cuts[alike]


def tell_overlaps(tables: Iterable[Table], problems: Problems) -> None:
    """Tells slices of one key that share elements, save where a rule reuses."""
    failures = Folded(problems, "key", "of these two rules")
    for table in tables:
        several = ((key, parts) for key, parts in table.held.parts.items() if len(parts) > 1)
        for key, parts in several:
            taking = [part for part in parts if not part.rule.options.reuse]
            with problems.at(parts[0].rule.place, f"`{key}`: "):
                pair = overlapping([part.region for part in taking])
                if pair is not None:
                    first, second = taking[pair[0]], taking[pair[1]]
                    rules = (first.claim.rule, second.claim.rule)
                    failures.add(rules, _overlap(key, first, second))
    failures.tell()


def _overlap(key: str, first: TakenPart, second: TakenPart) -> Problem:
    return Problem(
        f"`{key}{index_text(second.index)}` overlaps with what {first.rule.place} takes"
        f" of it, `{index_text(first.index)}`",
        second.rule.place,
        "`reuse: true` lets a rule read what another one takes",
    )
