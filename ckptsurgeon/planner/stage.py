"""The state of one stage: what its rules have taken, given and found wrong so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ckptsurgeon.errors import PlanError, Problem
from ckptsurgeon.ops.indexing import Slice, resolve_index
from ckptsurgeon.patterns import ConcreteIndex, Index
from ckptsurgeon.planner.calling import call, op_text
from ckptsurgeon.planner.compiled import CompiledRule, CompiledStage, Reader
from ckptsurgeon.planner.joining import SPARE_STEPS
from ckptsurgeon.planner.matching import Match, matches
from ckptsurgeon.planner.model import Node, Operand, RuleInfo, SourceView, Step
from ckptsurgeon.planner.outputs import Contribution, Production
from ckptsurgeon.planner.problems import Problems
from ckptsurgeon.planner.scope import Scope, Surroundings, Vars
from ckptsurgeon.planner.tables import Address, Holdings, Table, TakenPart, overlap
from ckptsurgeon.ruleset.model import BatchNorm, Drop, Move, Require


@dataclass(slots=True)
class StageRun:
    """What a stage has found out so far. `claimed` are destination keys of `keep` and `init`."""

    number: int
    compiled: CompiledStage
    tables: tuple[Table, ...]
    destination: SourceView | None
    surroundings: Surroundings
    problems: Problems
    production: Production
    holdings: Holdings = field(default_factory=Holdings)
    dropped: dict[Address, RuleInfo] = field(default_factory=dict)
    claimed: dict[str, RuleInfo] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    lost: dict[Address, RuleInfo] = field(default_factory=dict)
    made: dict[int, int] = field(default_factory=dict)
    """Steps by rule number."""
    alive: dict[int, set[int]] = field(default_factory=dict)
    """Entries that have matched, by rule number."""
    failed: set[int] = field(default_factory=set)
    """Rules with problems of their own: whether they matched is not asked."""
    vars: dict[int, Vars] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    """Output keys of the rule that runs now: it gives way to earlier ones, not to itself."""

    def begin(self, rule: CompiledRule) -> None:
        """Notes that a rule runs now."""
        self.alive.setdefault(rule.group, set())
        self.made.setdefault(rule.group, 0)
        self.given.clear()

    def info(self, rule: CompiledRule) -> RuleInfo:
        return RuleInfo(self.number, rule.group, rule_text(rule), rule.place)

    def vars_of(self, rule: CompiledRule) -> Vars:
        key = id(rule.vars)
        if key not in self.vars:
            self.vars[key] = Vars(rule.vars, self.surroundings)
        return self.vars[key]

    # --- taking -----------------------------------------------------------------------------------

    def found(self, rule: CompiledRule, number: int, reader: Reader) -> list[Match]:
        """The matches that are this rule's to take."""
        free = [
            match
            for match in self._bounded(rule, matches(rule, reader, self.tables, self.vars_of(rule)))
            if self._is_free(reader, match.address)
        ]
        if free:
            self.alive[rule.group].add(number)
        return free

    def _is_free(self, reader: Reader, address: Address) -> bool:
        held = self.holdings
        return address not in held.whole and (
            reader.index is not None or address not in held.sliced
        )

    def _bounded(self, rule: CompiledRule, found: Iterable[Match]) -> Iterator[Match]:
        """The matches, as long as `pick` doesn't repeat keys beyond all measure."""
        most = SPARE_STEPS + sum(len(table.origins) for table in self.tables)
        for count, match in enumerate(found):
            if count >= most:
                place = rule.options.places.get("pick", rule.place)
                raise PlanError([Problem(f"`pick` repeats keys more than {most} times", place)])
            yield match

    def index(self, rule: CompiledRule, index: Index | None, match: Match) -> ConcreteIndex | None:
        """The slice that a reference takes of a key, by the captures as they stand in it."""
        if index is None:
            return None
        return index.evaluate(Scope(match.raw, self.vars_of(rule)))

    def take(
        self, rule: CompiledRule, info: RuleInfo, match: Match, index: ConcreteIndex | None
    ) -> Node:
        """The tensor of a key, or of its slice, which is this rule's from now on."""
        if index is not None:
            return self._take_part(rule, info, match, index)
        held = self.holdings.reused if rule.options.reuse else self.holdings.whole
        held[match.address] = info
        return match.origin.node

    def _take_part(
        self, rule: CompiledRule, info: RuleInfo, match: Match, index: ConcreteIndex
    ) -> Node:
        """An overlap with what another rule takes is a problem, save where one of them reuses."""
        node = match.origin.node
        region = resolve_index(index, node.spec.shape)
        parts = self.holdings.parts.setdefault(match.address, [])
        known = any(part.rule is rule and part.region == region for part in parts)
        for part in () if known or rule.options.reuse else parts:
            if not part.rule.options.reuse and overlap(part.region, region):
                raise PlanError([_overlap_problem(match, index, part, rule)])
        if not known:
            parts.append(TakenPart(region, rule, info))
        return call(Slice(index=index), node)[0]

    # --- giving -----------------------------------------------------------------------------------

    def give(
        self,
        rule: CompiledRule,
        key: str,
        contribution: Contribution,
        operands: Iterable[Operand],
    ) -> bool:
        """Whether the key is this rule's: a fallback gives way to earlier rules."""
        if rule.options.fallback and key in self.production and key not in self.given:
            winner = self.production.giver(key)
            if winner is not None:
                self.lost.update(((operand.source, operand.key), winner) for operand in operands)
            return False
        self.production.give(key, contribution)
        self.given.add(key)
        return True


def rule_text(rule: CompiledRule) -> str:
    """A rule on one line, for reports."""
    written = rule.rule
    if isinstance(written, Move):
        sources = ", ".join(reader.text for reader in rule.readers)
        return f"{sources} -> {', '.join(target.text for target in rule.targets)}"
    if isinstance(written, BatchNorm):
        return f"batchnorm: {written.source.reference} -> {written.target.reference}"
    if isinstance(written, Drop | Require):
        names = ", ".join(reader.text for reader in rule.readers)
        return f"{type(written).__name__.lower()}: {names}"
    names = ", ".join(str(at.reference) for at in written.targets)
    return f"{type(written).__name__.lower()}: {names}"


def _overlap_problem(
    match: Match, index: ConcreteIndex, part: TakenPart, rule: CompiledRule
) -> Problem:
    taken = op_text(Slice(index=index)).removeprefix("slice")
    return Problem(
        f"`{match.address[1]}{taken}` overlaps with what {part.info.place} takes of it",
        rule.place,
        "`reuse: true` lets a rule read what another one takes",
    )
