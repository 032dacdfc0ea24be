"""The state of one stage: what its rules have taken, given and found wrong so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.errors import Place, PlanError, Problem
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import Drop, Listing, Move, Norms, Require
from ckptsurgeon.language.rules import Table as NameTable
from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.planner.compiling.compiled import CompiledRule, CompiledStage, Reader
from ckptsurgeon.planner.scope import Surroundings, Vars
from ckptsurgeon.planner.stage.listings import listing_of, table_info, table_text
from ckptsurgeon.planner.stage.production import Production
from ckptsurgeon.planner.stage.reading_keys import Match, keep_shared, leave_partners, read_keys
from ckptsurgeon.planner.stage.slices import Slices
from ckptsurgeon.planner.stage.tables import Leaves, Table
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.addresses import alias_of
from ckptsurgeon.plans.fates import Claim, Fate
from ckptsurgeon.plans.graph import Node, RuleInfo
from ckptsurgeon.plans.steps import Batch
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import TensorSpec, UnreadableSpec


class Done(msgspec.Struct, frozen=True, gc=False):
    """A step that was made: the keys that it read, whole or in slices, and those that it gave."""

    matches: Sequence[Match]
    products: Sequence[tuple[str, Index | None]]
    slices: Sequence[Index | None] = ()
    ops: tuple[Op, ...] = ()


@dataclass(slots=True)
class StageRun:
    """What a stage has found out so far. `claimed` are destination keys of `keep` and `init`.

    `held` are the aliases of the outputs that are held against the destination; `copies_unnamed`
    says whether there is an output without a name, to which keys are copied that no rule takes.
    `views` are the sources of the first stage, `earlier` the stages before.
    """

    number: int
    compiled: CompiledStage
    tables: tuple[Table, ...]
    destination: SourceView | None
    surroundings: Surroundings
    problems: Problems
    production: Production
    is_last: bool = True
    held: frozenset[str] = frozenset()
    copies_unnamed: bool = True
    views: tuple[SourceView, ...] = ()
    earlier: tuple[StageRun, ...] = ()
    claimed: dict[str, RuleInfo] = field(default_factory=dict)
    batches: dict[int, Batch] = field(default_factory=dict)
    """Steps by rule, each time that it stands in the file's unfolded form."""
    made: dict[int, int] = field(default_factory=dict)
    """Steps by rule number."""
    alive: dict[int, set[int]] = field(default_factory=dict)
    """Entries that have matched, by rule number."""
    said: list[Note] = field(default_factory=list)
    """Notes of rules."""
    failed: set[int] = field(default_factory=set)
    """Rules with problems of their own: whether they matched is not asked."""
    dead: set[int] = field(default_factory=set)
    """Rules of which was told that they match nothing."""
    infos: dict[int, RuleInfo] = field(default_factory=dict)
    vars: dict[int, Vars] = field(default_factory=dict)
    listings: dict[int, Listing] = field(default_factory=dict)
    slices: Slices = field(default_factory=Slices)
    sliced: dict[int, list[Match]] = field(default_factory=dict)
    """What references with slices match, read before any rule runs, and kept until theirs does."""
    _wanted: Table | None = None

    def begin(self, rule: CompiledRule) -> None:
        """Notes that a rule runs now."""
        self.alive.setdefault(rule.group, set())
        self.made.setdefault(rule.group, 0)

    def info(self, rule: CompiledRule) -> RuleInfo:
        """What reports say of a rule."""
        if id(rule) not in self.infos:
            self.infos[id(rule)] = self._info(rule)
        return self.infos[id(rule)]

    def _info(self, rule: CompiledRule) -> RuleInfo:
        if isinstance(rule.rule, NameTable):
            return table_info(self.number, rule, rule.rule, self.listing(rule, rule.rule))
        kind, text = kind_of_rule(rule), rule_text(rule)
        return RuleInfo(self.number, rule.group, kind, text, rule.place)

    def listing(self, rule: CompiledRule, written: NameTable) -> Listing:
        """The entries of a table; raises PlanError where a var gives none."""
        if id(rule) not in self.listings:
            self.listings[id(rule)] = listing_of(written, self.vars_of(rule))
        return self.listings[id(rule)]

    def given_as(self, rule: RuleInfo, alias: str, key: str) -> str:
        """What a rule made of a key that it only gave another name; empty where it did more."""
        for batch in self.batches.values():
            for step in batch if batch.rule.number == rule.number else ():
                read = [one.at for one in step.operands]
                if read == [(alias, key)] and len(step.products) == 1 and not step.ops:
                    return step.products[0].key
        return ""

    def vars_of(self, rule: CompiledRule) -> Vars:
        key = id(rule.vars)
        if key not in self.vars:
            self.vars[key] = Vars(rule.vars, self.surroundings)
        return self.vars[key]

    @property
    def wanted(self) -> Table | None:
        """The destination's keys, where they can be looked for; None without a destination."""
        if self._wanted is None and self.destination is not None:
            self._wanted = Table(DESTINATION, Leaves(self.destination))
        return self._wanted

    def is_held(self, key: str) -> bool:
        """Whether the output that a key goes to is held against the destination."""
        return (alias_of(key) if self.compiled.is_named else "") in self.held

    def table(self, alias: str) -> Table:
        """The table of an alias that is there."""
        return next(table for table in self.tables if table.alias == alias)

    # --- taking -----------------------------------------------------------------------------------

    def read(self, rule: CompiledRule, reader: Reader) -> list[Match]:
        """The matches of a reference, taken or not."""
        found = self.sliced.pop(id(reader), None)
        if found is not None:
            return found
        return read_keys(rule, reader, self.tables, self.vars_of(rule))

    def find(self, rule: CompiledRule, number: int, reader: Reader) -> list[Match]:
        """The matches that are this rule's to take."""
        found = self.read(rule, reader)
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

    def find_all(self, rule: CompiledRule) -> Found:
        """The matches of every reference that are this rule's to take, and the names of `for`.

        What `where` leaves out for the shape or dtype of the first takes its partners with it, and
        keys whose values `for` lacks don't match.
        """
        taken = [self.find(rule, number, reader) for number, reader in enumerate(rule.readers)]
        if len(taken) > 1 and rule.where_looks and not rule.where_by_step:
            taken = self._with_first(rule, taken)
        names = [self.names(rule, number) for number in range(len(rule.namers))]
        for namer, given in zip(rule.namers, names, strict=True):
            taken = [
                keep_shared(reader, matches, namer, given)
                for reader, matches in zip(rule.readers, taken, strict=True)
            ]
        return Found(taken, names)

    def names(self, rule: CompiledRule, number: int) -> list[Match]:
        """The keys of a reference of `for`."""
        reader = rule.namers[number]
        found = read_keys(rule, reader, self.tables_of(reader), self.vars_of(rule))
        if found:
            self.alive[rule.group].add(len(rule.readers) + number)
        return found

    def tables_of(self, reader: Reader) -> Sequence[Table]:
        """What a reference looks for its keys in: the sources, or the destination."""
        if not reader.of_destination:
            return self.tables
        return () if self.wanted is None else (self.wanted,)

    def _with_first(self, rule: CompiledRule, found: list[list[Match]]) -> list[list[Match]]:
        """The matches without those whose partners in the first reference are left out."""
        first = rule.readers[0]
        whole = read_keys(rule, first, self.tables, self.vars_of(rule), regardless=True)
        kept = {match.address for match in found[0]}
        left_out = [match for match in whole if match.address not in kept]
        return [
            found[0],
            *(
                leave_partners(reader, matches, first, found[0], left_out)
                for reader, matches in zip(rule.readers[1:], found[1:], strict=True)
            ),
        ]

    def take(
        self, rule: CompiledRule, claim: Claim, match: Match, index: Index | None = None
    ) -> Node:
        """The tensor of a key, or of a slice of it, which is this rule's from now on.

        Raises PlanError for one that can't be read, but where it is dropped whole.
        """
        if match.table.has_unreadable and (index is not None or claim.fate is not Fate.DROPPED):
            spec = match.node.spec
            if isinstance(spec, UnreadableSpec):
                raise PlanError([tell_needed(match.key, spec, rule.place)])
        if index is not None:
            return self.slices.take(rule, claim, match, index)
        table = match.table
        (table.held.reused if rule.options.reuse else table.held.whole)[match.key] = claim
        return table.nodes[match.key]

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
        production = self.production
        info = self.infos.get(id(rule)) or self.info(rule)
        if key in production.nodes and rule.options.fallback:
            winner = production.rules[key]
            if winner is not None and winner is not info:
                for match in matches:
                    match.table.held.winners[match.key] = winner
                return False
        place = rule.targets[number].place
        production.give(key, node, info, place, index, separator=rule.separator)
        return True

    def note_steps(self, rule: CompiledRule, steps: Sequence[Done]) -> None:
        """Adds steps to those of a rule."""
        self.made[rule.group] += len(steps)
        if not steps:
            return
        batch = self.batches.setdefault(id(rule), Batch(self.info(rule)))
        batch.add(
            [match.address for step in steps for match in step.matches],
            [index for step in steps for index in step.slices],
            [product for step in steps for product in step.products],
            [(len(one.matches), len(one.products), one.ops) for one in steps],
        )


class Found(NamedTuple):
    """What a rule finds: the matches of each reference, and those of each in `for`."""

    taken: list[list[Match]]
    names: list[list[Match]]

    def __bool__(self) -> bool:
        """Whether each of them has matched."""
        return all(self.taken) and all(self.names)


def tell_needed(key: str, spec: TensorSpec, place: Place) -> Problem:
    """The problem of a rule that needs a tensor that can't be read."""
    what, remedy = (spec.what, spec.remedy) if isinstance(spec, UnreadableSpec) else ("?", "?")
    return Problem(
        f"`{key}` is needed here and is unreadable: it is {what}",
        place,
        f"{remedy}; or do without: `- drop: {key}`",
    )


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
    if isinstance(written, NameTable):
        return table_text(written)
    if isinstance(written, Drop | Require):
        names = [reader.text for reader in rule.readers]
    else:
        names = list(map(str, written.targets))
    return f"{kind_of_rule(rule)}: {', '.join(names)}"
