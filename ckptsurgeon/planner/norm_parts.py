"""The tensors beside a key, such as those of a BatchNorm beside its running_mean, taken whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptsurgeon.errors import PlanError, Problem, ShapeError
from ckptsurgeon.ops import build
from ckptsurgeon.ops.batchnorms import OfBatchNorm
from ckptsurgeon.planner.calling import call
from ckptsurgeon.planner.compiled import CompiledRule
from ckptsurgeon.planner.matching import Match
from ckptsurgeon.planner.model import Node, Operand, Product, RuleInfo, Step
from ckptsurgeon.planner.moves import SHOWN_KEYS, behind
from ckptsurgeon.planner.outputs import Contribution
from ckptsurgeon.planner.stage import StageRun
from ckptsurgeon.planner.tables import Address, Origin

COUNTER = "num_batches_tracked"
"""Nothing is computed with it, so a rule before may have dropped it."""


@dataclass(slots=True)
class Taking:
    """What one step takes: the tensors by the part that they are, and where they come from."""

    run: StageRun
    rule: CompiledRule
    info: RuleInfo
    nodes: dict[str, Node] = field(default_factory=dict)
    operands: list[Operand] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
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
        self.nodes[part] = self.run.take(self.rule, self.info, match, None)
        self.operands.append(Operand(*match.address, None))
        self.origins.append(match.origin)

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
            if part not in self.nodes:
                raise ShapeError(f"`{base}.{part}` is missing: a BatchNorm has one")

    def call(self, kind: type[OfBatchNorm], **parameters: object) -> Node:
        """What the op makes of the parts that are there, of those that it knows."""
        parts = [part for part in kind.known if part in self.nodes]
        try:
            op = build(kind.name, {"parts": parts, **parameters})
            return call(op, *(self.nodes[part] for part in parts))[0]
        except ShapeError as error:
            keys = ", ".join(f"`{operand.key}`" for operand in self.operands[:SHOWN_KEYS])
            raise ShapeError(f"{keys}: {error}") from None

    def give(self, key: str, node: Node, *texts: str) -> None:
        """Gives an output key; `texts` are the ops on the way, as written for people."""
        earlier = tuple(dict.fromkeys(op for origin in self.origins for op in origin.ops))
        sources = behind(self.origins, self.operands)
        origin = Origin(node, sources, self.info, (*earlier, *texts))
        place = self.rule.targets[0].place
        if self.run.give(self.rule, key, Contribution(origin, None, place), self.operands):
            self.products.append(Product(key))

    def finish(self, *texts: str) -> None:
        """Notes the step."""
        self.run.made[self.rule.group] += 1
        step = Step(self.run.number, self.info, tuple(self.operands), tuple(self.products), texts)
        self.run.steps.append(step)
