"""The state of one stage: what its rules have taken, given and found wrong so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ckptsurgeon.errors import ExpressionError, PlanError, Problem, ShapeError
from ckptsurgeon.language.patterns import ConcreteIndex, Index
from ckptsurgeon.language.problems import Folded, Problems
from ckptsurgeon.language.rules import Drop, Move, Norms, Require
from ckptsurgeon.ops.indexing import Slice, Taken, index_text, resolve_index
from ckptsurgeon.ops.regions import overlapping
from ckptsurgeon.planner.compiling.compiled import CompiledRule, CompiledStage, Reader
from ckptsurgeon.planner.scope import Scope, Surroundings, Vars
from ckptsurgeon.planner.stage.grouping import SPARE_STEPS
from ckptsurgeon.planner.stage.production import Contribution, Production
from ckptsurgeon.planner.stage.reading_keys import Match, matches
from ckptsurgeon.planner.stage.tables import Address, Holdings, Table, TakenPart
from ckptsurgeon.plans.account import Operand, RuleInfo, Step
from ckptsurgeon.plans.graph import Node, call
from ckptsurgeon.plans.logs import Log
from ckptsurgeon.plans.views import SourceView


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
    steps: Log[Step] = field(default_factory=Log)
    lost: dict[Address, RuleInfo] = field(default_factory=dict)
    made: dict[int, int] = field(default_factory=dict)
    """Steps by rule number."""
    alive: dict[int, set[int]] = field(default_factory=dict)
    """Entries that have matched, by rule number."""
    failed: set[int] = field(default_factory=set)
    """Rules with problems of their own: whether they matched is not asked."""
    vars: dict[int, Vars] = field(default_factory=dict)
    taken_parts: set[tuple[int, int, Address, Taken]] = field(default_factory=set)
    """What each rule took in slices, so that a key in several of its steps counts once."""
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
        try:
            return index.evaluate(Scope(match.raw, self.vars_of(rule)))
        except ExpressionError as error:
            raise ExpressionError(f"`{match.address[1]}`: {error}", help=error.help) from None

    def take(
        self, rule: CompiledRule, info: RuleInfo, match: Match, index: ConcreteIndex | None
    ) -> Node:
        """The tensor of a key, or of its slice, which is this rule's from now on."""
        if index is not None:
            return self._take_part(rule, info, match, index)
        if rule.options.reuse:
            self.holdings.reused[match.address] = info
        else:
            self.holdings.whole[match.address] = info
        return match.origin.node

    def _take_part(
        self, rule: CompiledRule, info: RuleInfo, match: Match, index: ConcreteIndex
    ) -> Node:
        node = match.origin.node
        try:
            region = resolve_index(index, node.spec.shape)
        except ShapeError as error:
            raise ShapeError(f"`{match.address[1]}`: {error}") from None
        known = (rule.group, id(rule), match.address, region)
        if known not in self.taken_parts:
            self.taken_parts.add(known)
            part = TakenPart(region, rule, info, index)
            self.holdings.parts.setdefault(match.address, []).append(part)
        return call(Slice(index=index), node)[0]

    def tell_overlaps(self) -> None:
        """Tells slices of one key that share elements, save where a rule reuses."""
        failures = Folded(self.problems, "key", "of these two rules")
        for address, parts in self.holdings.parts.items():
            taking = [part for part in parts if not part.rule.options.reuse]
            with self.problems.at(parts[0].rule.place, f"`{address[1]}`: "):
                pair = overlapping([part.region for part in taking])
                if pair is not None:
                    first, second = taking[pair[0]], taking[pair[1]]
                    failures.add((first.info, second.info), _overlap(address, first, second))
        failures.tell()

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
    if isinstance(written, Norms):
        sources = ", ".join(str(at.reference) for at, _ in written.reads)
        return f"{written.word}: {sources} -> {written.target.reference}"
    if isinstance(written, Drop | Require):
        names = ", ".join(reader.text for reader in rule.readers)
        return f"{type(written).__name__.lower()}: {names}"
    names = ", ".join(str(at.reference) for at in written.targets)
    return f"{type(written).__name__.lower()}: {names}"


def _overlap(address: Address, first: TakenPart, second: TakenPart) -> Problem:
    return Problem(
        f"`{address[1]}{index_text(second.index)}` overlaps with what {first.info.place} takes"
        f" of it, `{index_text(first.index)}`",
        second.rule.place,
        "`reuse: true` lets a rule read what another one takes",
    )
