"""The state of one stage: what its rules have taken, given and found wrong so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from ckptsurgeon.errors import Place, PlanError, Problem, ShapeError
from ckptsurgeon.language.problems import Folded, Problems
from ckptsurgeon.language.rows import Memo
from ckptsurgeon.language.rules import Drop, Move, Norms, Require
from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.indexing import Index, Slice, Taken, index_text, resolve_index
from ckptsurgeon.ops.regions import overlapping
from ckptsurgeon.planner.compiling.compiled import CompiledRule, CompiledStage, Reader
from ckptsurgeon.planner.scope import Surroundings, Vars
from ckptsurgeon.planner.stage.grouping import SPARE_STEPS
from ckptsurgeon.planner.stage.production import Production
from ckptsurgeon.planner.stage.reading_keys import Match, read_keys
from ckptsurgeon.planner.stage.tables import Table, TakenPart
from ckptsurgeon.plans.fates import Claim
from ckptsurgeon.plans.graph import Call, Node, Result, RuleInfo
from ckptsurgeon.plans.steps import Batch
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import Specs, TensorSpec

Cut = tuple[Slice, Taken, Specs]
"""A slice of tensors of one spec: its op, what it takes, and what it gives."""


def _cut(what: tuple[Index, TensorSpec]) -> Cut:
    index, spec = what
    op = Slice(index=index)
    return op, resolve_index(index, spec.shape), op.infer((spec,))


class Done(msgspec.Struct, frozen=True, gc=False):
    """A step that was made: the keys that it read, whole or in slices, and those that it gave."""

    matches: Sequence[Match]
    products: Sequence[tuple[str, Index | None]]
    slices: Sequence[Index | None] = ()
    ops: tuple[Op, ...] = ()


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
    claimed: dict[str, RuleInfo] = field(default_factory=dict)
    batches: dict[int, Batch] = field(default_factory=dict)
    """Steps by rule, each time that it stands in the file's unfolded form."""
    made: dict[int, int] = field(default_factory=dict)
    """Steps by rule number."""
    alive: dict[int, set[int]] = field(default_factory=dict)
    """Entries that have matched, by rule number."""
    failed: set[int] = field(default_factory=set)
    """Rules with problems of their own: whether they matched is not asked."""
    infos: dict[int, RuleInfo] = field(default_factory=dict)
    vars: dict[int, Vars] = field(default_factory=dict)
    taken_parts: set[tuple[int, str, str, Taken]] = field(default_factory=set)
    """What each rule took in slices, so that a key in several of its steps counts once."""
    cuts: Memo[tuple[Index, TensorSpec], Cut] = field(default_factory=lambda: Memo(_cut))
    given: set[str] = field(default_factory=set)
    """Output keys of the rule that runs now: it gives way to earlier ones, not to itself."""

    def begin(self, rule: CompiledRule) -> None:
        """Notes that a rule runs now."""
        self.alive.setdefault(rule.group, set())
        self.made.setdefault(rule.group, 0)
        self.given.clear()

    def info(self, rule: CompiledRule) -> RuleInfo:
        """What reports say of a rule."""
        if id(rule) not in self.infos:
            self.infos[id(rule)] = RuleInfo(
                self.number, rule.group, kind_of_rule(rule), rule_text(rule), rule.place
            )
        return self.infos[id(rule)]

    def vars_of(self, rule: CompiledRule) -> Vars:
        key = id(rule.vars)
        if key not in self.vars:
            self.vars[key] = Vars(rule.vars, self.surroundings)
        return self.vars[key]

    def table(self, alias: str) -> Table:
        """The table of an alias that is there."""
        return next(table for table in self.tables if table.alias == alias)

    # --- taking -----------------------------------------------------------------------------------

    def find(self, rule: CompiledRule, number: int, reader: Reader) -> list[Match]:
        """The matches that are this rule's to take."""
        found = self._bounded(rule, read_keys(rule, reader, self.tables, self.vars_of(rule)))
        sliced = reader.index is not None
        free = [
            match
            for match in found
            if match.key not in match.table.held.whole
            and (sliced or match.key not in match.table.held.sliced)
        ]
        if free:
            self.alive[rule.group].add(number)
        return free

    def _bounded(self, rule: CompiledRule, found: Iterable[Match]) -> Iterator[Match]:
        """The matches, as long as `pick` doesn't repeat keys beyond all measure."""
        most = SPARE_STEPS + sum(len(table.nodes) for table in self.tables)
        for count, match in enumerate(found):
            if count >= most:
                place = rule.options.places.get("pick", rule.place)
                raise PlanError([Problem(f"`pick` repeats keys more than {most} times", place)])
            yield match

    def take(
        self,
        rule: CompiledRule,
        claim: Claim,
        matches: Iterable[Match],
        slices: Sequence[Index | None] = (),
    ) -> list[Node]:
        """The tensors of some keys, or of their slices, which are this rule's from now on."""
        nodes: list[Node] = []
        for number, match in enumerate(matches):
            table, index = match.table, slices[number] if slices else None
            if index is not None:
                nodes.append(self._take_part(rule, claim, match, index))
                continue
            (table.held.reused if rule.options.reuse else table.held.whole)[match.key] = claim
            nodes.append(table.nodes[match.key])
        return nodes

    def _take_part(self, rule: CompiledRule, claim: Claim, match: Match, index: Index) -> Node:
        node = match.node
        try:
            op, region, specs = self.cuts[index, node.spec]
        except ShapeError as error:
            raise ShapeError(f"`{match.key}`: {error}") from None
        known = (id(rule), match.table.alias, match.key, region)
        if known not in self.taken_parts:
            self.taken_parts.add(known)
            part = TakenPart(region, rule, claim, index)
            match.table.held.parts.setdefault(match.key, []).append(part)
        return Result(Call(op, (node,), specs, claim.rule), 0)

    def tell_overlaps(self) -> None:
        """Tells slices of one key that share elements, save where a rule reuses."""
        failures = Folded(self.problems, "key", "of these two rules")
        for table in self.tables:
            for key, parts in table.held.parts.items():
                taking = [part for part in parts if not part.rule.options.reuse]
                with self.problems.at(parts[0].rule.place, f"`{key}`: "):
                    pair = overlapping([part.region for part in taking])
                    if pair is not None:
                        first, second = taking[pair[0]], taking[pair[1]]
                        rules = (first.claim.rule, second.claim.rule)
                        failures.add(rules, _overlap(key, first, second))
        failures.tell()

    # --- giving -----------------------------------------------------------------------------------

    def give(
        self,
        rule: CompiledRule,
        number: int,
        key: str,
        index: Index | None,
        node: Node,
        matches: Iterable[Match],
    ) -> bool:
        """Whether the key is this rule's: a fallback gives way to earlier rules.

        `number` is that of the target, `matches` are the keys that go into the tensor.
        """
        if rule.options.fallback and key in self.production and key not in self.given:
            winner = self.production.rules[key]
            if winner is not None:
                for match in matches:
                    match.table.held.winners[match.key] = winner
            return False
        place = rule.targets[number].place
        self.production.give(key, node, self.info(rule), place, index)
        if rule.options.fallback:
            self.given.add(key)
        return True

    def give_claimed(self, rule: CompiledRule, key: str, node: Node, place: Place) -> None:
        """Gives a key that `keep` or `init` names."""
        self.production.give(key, node, self.info(rule), place)

    def note_steps(self, rule: CompiledRule, steps: Sequence[Done]) -> None:
        """Adds steps to those of a rule."""
        self.made[rule.group] += len(steps)
        if not steps:
            return
        batch = self.batches.setdefault(id(rule), Batch(self.info(rule)))
        read = [match for step in steps for match in step.matches]
        batch.read([match.table.alias for match in read], [match.key for match in read])
        batch.cut([index for step in steps for index in step.slices])
        batch.give([product for step in steps for product in step.products])
        batch.end([(len(one.matches), len(one.products), one.ops) for one in steps])


def kind_of_rule(rule: CompiledRule) -> str:
    """The word of a rule's kind; arrows and blocks move."""
    written = rule.rule
    return written.word if isinstance(written, Norms) else type(written).__name__.lower()


def rule_text(rule: CompiledRule) -> str:
    """A rule on one line, for reports."""
    written = rule.rule
    if isinstance(written, Move):
        sources = ", ".join(reader.text for reader in rule.readers)
        return f"{sources} -> {', '.join(target.text for target in rule.targets)}"
    if isinstance(written, Norms):
        sources = ", ".join(str(at) for at, _ in written.reads)
        return f"{written.word}: {sources} -> {written.target}"
    if isinstance(written, Drop | Require):
        names = ", ".join(reader.text for reader in rule.readers)
        return f"{kind_of_rule(rule)}: {names}"
    names = ", ".join(str(at) for at in written.targets)
    return f"{kind_of_rule(rule)}: {names}"


def _overlap(key: str, first: TakenPart, second: TakenPart) -> Problem:
    return Problem(
        f"`{key}{index_text(second.index)}` overlaps with what {first.rule.place} takes"
        f" of it, `{index_text(first.index)}`",
        second.rule.place,
        "`reuse: true` lets a rule read what another one takes",
    )
