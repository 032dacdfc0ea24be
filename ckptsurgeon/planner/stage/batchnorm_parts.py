"""The tensors beside a key, such as those of a BatchNorm beside its running_mean, taken whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ckptsurgeon.errors import PlanError, Problem, ShapeError
from ckptsurgeon.language.patterns import write_key
from ckptsurgeon.ops import build
from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.batchnorms import OfBatchNorm
from ckptsurgeon.planner.compiling.compiled import BATCHNORM_PARTS, CompiledRule
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.reading_keys import Match
from ckptsurgeon.planner.stage.state import Done, StageRun
from ckptsurgeon.planner.stage.tables import tell_taken
from ckptsurgeon.plans.addresses import check_alias
from ckptsurgeon.plans.fates import Claim, Fate
from ckptsurgeon.plans.graph import Node, RuleInfo, call

NORM_PARTS = {part: part for part in BATCHNORM_PARTS}
STATISTICS = ("running_mean", "running_var")

COUNTER = "num_batches_tracked"
"""Nothing is computed with it, so a rule before may have dropped it."""


@dataclass(slots=True)
class Taking:
    """What one step takes, by the part that each tensor is, and what it gives."""

    run: StageRun
    rule: CompiledRule
    scope: Scope
    taken: dict[str, Match] = field(default_factory=dict)
    products: list[tuple[str, None]] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)

    @property
    def info(self) -> RuleInfo:
        return self.run.info(self.rule)

    def take(self, match: Match, parts: Mapping[str, str]) -> None:
        """Takes the tensors that lie beside the match's key; `parts` are their names by part."""
        base, claim = match.key.rpartition(".")[0], Claim(Fate.TAKEN, self.info)
        for part, name in parts.items():
            key = f"{base}.{name}"
            if key in match.table.nodes and not self._is_left(match, key):
                self.taken[part] = Match(match.table, key, match.raw, match.values)
                self.run.take(self.rule, claim, self.taken[part])

    def _is_left(self, match: Match, key: str) -> bool:
        """Whether another rule has a key already; raises PlanError where it is needed here."""
        held = match.table.held
        taker = held.taker(key) or held.sliced.get(key)
        if taker is not None and not key.endswith(f".{COUNTER}"):
            text = f"`{key}` is needed here, and {taker.place} takes it"
            raise PlanError([Problem(text, self.rule.place, tell_taken(taker))])
        return taker is not None

    def take_norm(self, match: Match) -> None:
        """Takes the tensors of a BatchNorm; raises ShapeError where it lacks statistics."""
        self.take(match, NORM_PARTS)
        for part in STATISTICS:
            if part not in self.taken:
                base = match.key.rpartition(".")[0]
                raise ShapeError(f"`{base}.{part}` is missing: a BatchNorm has one")

    def make(self, kind: type[OfBatchNorm], **parameters: object) -> Node:
        """What the op makes of the parts that are there, of those that it knows."""
        parts = [part for part in kind.known if part in self.taken]
        try:
            op = build(kind.name, {"parts": parts, **parameters})
            nodes = (self.taken[part].node for part in parts)
            self.ops.append(op)
            return call(op, *nodes, rule=self.info)[0]
        except ShapeError as error:
            keys = ", ".join(f"`{match.name}`" for match in self.taken.values())
            raise ShapeError(f"{keys}: {error}") from None

    def key(self, name: str) -> str:
        """The output key of a tensor of the target."""
        target = self.rule.targets[0]
        if target.alias is not None:
            check_alias(write_key(target.alias, self.scope))
        return f"{write_key(target.pattern, self.scope)}.{name}"

    def give(self, name: str, node: Node, parts: Iterable[str]) -> None:
        """Gives a tensor of the target, made from these parts."""
        key = self.key(name)
        matches = [self.taken[part] for part in parts if part in self.taken]
        if self.run.give(self.rule, 0, key, None, node, matches):
            self.products.append((key, None))

    def finish(self) -> None:
        """Notes the step."""
        done = Done(list(self.taken.values()), self.products, (), tuple(self.ops))
        self.run.note_steps(self.rule, [done])
