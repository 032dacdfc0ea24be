"""The tensors beside a key, such as those of a BatchNorm beside its running_mean, taken whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ckptsurgeon.errors import PlanError, Problem, ShapeError
from ckptsurgeon.ops import build
from ckptsurgeon.ops.batchnorms import OfBatchNorm
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.stage.moves import behind
from ckptsurgeon.planner.stage.production import Contribution
from ckptsurgeon.planner.stage.reading_keys import Match
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Address, Origin
from ckptsurgeon.plans.account import Operand, Product, RuleInfo, Step
from ckptsurgeon.plans.graph import Node, call

COUNTER = "num_batches_tracked"
"""Nothing is computed with it, so a rule before may have dropped it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One tensor that a step takes, and where it comes from."""

    node: Node
    operand: Operand
    origin: Origin


@dataclass(slots=True)
class Taking:
    """What one step takes, by the part that each tensor is, and what it gives."""

    run: StageRun
    rule: CompiledRule
    info: RuleInfo
    taken: dict[str, Taken] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)

    def take(self, match: Match, parts: Mapping[str, str]) -> None:
        """Takes the tensors that lie beside the match's key; `parts` are their names by part."""
        alias, key = match.address
        base = key.rpartition(".")[0]
        origins = next(table.origins for table in self.run.tables if table.alias == alias)
        for part, name in parts.items():
            address = (alias, f"{base}.{name}")
            if address[1] in origins and not self._left(address):
                self._take(part, Match(address, origins[address[1]], match.raw, match.values))

    def _left(self, address: Address) -> bool:
        """Whether another rule has a key already; raises PlanError where it is needed here."""
        held = self.run.holdings
        taker = held.taker(address) or held.sliced.get(address)
        if taker is not None and not address[1].endswith(f".{COUNTER}"):
            raise PlanError([self._taken(address, taker)])
        return taker is not None

    def _take(self, part: str, match: Match) -> None:
        node = self.run.take(self.rule, self.info, match, None)
        self.taken[part] = Taken(node, Operand(*match.address, None), match.origin)

    def _taken(self, address: Address, taker: RuleInfo) -> Problem:
        return Problem(
            f"`{address[1]}` is needed here, and {taker.place} takes it",
            self.rule.place,
            "the first rule that matches a key takes it: reorder, or give the other `reuse: true`",
        )

    def need(self, match: Match, *parts: str) -> None:
        """Raises ShapeError where a part is not there."""
        base = match.address[1].rpartition(".")[0]
        for part in parts:
            if part not in self.taken:
                raise ShapeError(f"`{base}.{part}` is missing: a BatchNorm has one")

    def made(self, kind: type[OfBatchNorm], **parameters: object) -> Node:
        """What the op makes of the parts that are there, of those that it knows."""
        parts = [part for part in kind.known if part in self.taken]
        try:
            op = build(kind.name, {"parts": parts, **parameters})
            return call(op, *(self.taken[part].node for part in parts))[0]
        except ShapeError as error:
            keys = ", ".join(f"`{taken.operand.key}`" for taken in self.taken.values())
            raise ShapeError(f"{keys}: {error}") from None

    def give(self, key: str, node: Node, parts: Iterable[str], *texts: str) -> None:
        """Gives an output key, made from these parts; `texts` are the ops on the way in words."""
        behind_it = [self.taken[part] for part in parts if part in self.taken]
        operands = [taken.operand for taken in behind_it]
        origins = [taken.origin for taken in behind_it]
        earlier = dict.fromkeys(op for origin in origins for op in origin.ops)
        origin = Origin(node, behind(origins, operands), self.info, (*earlier, *texts))
        place = self.rule.targets[0].place
        if self.run.give(self.rule, key, Contribution(origin, None, place), operands):
            self.products.append(Product(key))

    def finish(self, *texts: str) -> None:
        """Notes the step."""
        self.run.made[self.rule.group] += 1
        operands = tuple(taken.operand for taken in self.taken.values())
        step = Step(self.run.number, self.info, operands, tuple(self.products), texts)
        self.run.steps.append(step)
