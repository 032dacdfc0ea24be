"""The stages of a plan run one after the other, the last one against the destination."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint
from ckptsurgeon.checkpoints.several import parts_of
from ckptsurgeon.errors import CheckpointError, PlanError, Problem, nearest
from ckptsurgeon.language.expressions import Expression, Value
from ckptsurgeon.language.patterns import Reference
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import Ruleset
from ckptsurgeon.planner.aliases import separator_of
from ckptsurgeon.planner.assembling import Staged, assemble
from ckptsurgeon.planner.compiling.compilation import compile_rulesets
from ckptsurgeon.planner.compiling.compiled import CompiledStage
from ckptsurgeon.planner.scope import Surroundings
from ckptsurgeon.planner.stage.casting import Casting
from ckptsurgeon.planner.stage.dead_rules import check_counts, rule_infos, tell_dead_rules
from ckptsurgeon.planner.stage.dispatch import run_rules
from ckptsurgeon.planner.stage.idle_rules import (
    absent_aliases,
    copied_noise,
    rule_remarks,
    unasked_items,
    undone_splits,
    unmet_entries,
)
from ckptsurgeon.planner.stage.production import Given, Production, order_by_source
from ckptsurgeon.planner.stage.settling import settle_keys, unreadable_left
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Leaves, Table
from ckptsurgeon.planner.stage.tying import tie_outputs
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.addresses import split_address
from ckptsurgeon.plans.fates import Fates, KeyFates
from ckptsurgeon.plans.graph import Node, RuleInfo
from ckptsurgeon.plans.notes import fate_notes, reading_notes, source_notes
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.steps import Batch
from ckptsurgeon.plans.ties import Ties
from ckptsurgeon.plans.views import SourceView, renamed_keys, view_destination, view_source
from ckptsurgeon.specs import TensorSpec, UnreadableSpec
from ckptsurgeon.wording import name_var


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a plan is made of besides rules.

    `sources` is by alias, "" being the unnamed one; `config` the parsed config file; `given` the
    vars whose values are given; `allow` the kinds of finding that are accepted; `notes` what is to
    be said of how the sources were found.
    """

    sources: Mapping[str, Checkpoint]
    destination: Checkpoint | None = None
    config: Mapping[str, Any] | None = None
    given: Mapping[str, Value | Expression] = field(default_factory=dict)
    allow: Collection[str] = ()
    notes: tuple[Note, ...] = ()
    has_unnamed: bool = False


def make_plan(rulesets: Sequence[Ruleset], inputs: Inputs) -> Plan:
    """The plan of these rules for these checkpoints, from headers alone.

    Raises RulesetError for rules that are wrong in themselves, PlanError for rules that are wrong
    for these checkpoints; findings are part of the plan.
    """
    with uncollected():
        return Planning.of(rulesets, inputs).plan()


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection in the body, which makes millions of objects, and none is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Planning:
    """The stages run one after the other, the last one against the destination."""

    def __init__(
        self,
        stages: Sequence[CompiledStage],
        views: tuple[SourceView, ...],
        destination: SourceView | None,
        inputs: Inputs,
        rule_texts: Mapping[str, str],
    ) -> None:
        self.stages, self.views = stages, views
        self.destination, self.inputs, self.rule_texts = destination, inputs, rule_texts
        self.problems = Problems()
        self.fates: list[KeyFates] = []
        self.rules: list[RuleInfo] = []
        self.batches: list[Batch] = []
        self.notes: list[Note] = [*inputs.notes, *chain.from_iterable(map(source_notes, views))]
        if destination is not None:
            self.notes += reading_notes("destination", destination.contents)
        self.ties: Ties = {}
        self.tied: list[tuple[Node, Node, RuleInfo]] = []
        self.runs: list[StageRun] = []
        self.config_reads: list[str] = []

    @classmethod
    def of(cls, rulesets: Sequence[Ruleset], inputs: Inputs) -> Planning:
        """The planning of these rules; raises RulesetError for what is wrong in themselves."""
        stages = compile_rulesets(rulesets)
        _check_given(stages, inputs)
        first, last = stages[0].stage, stages[-1].stage
        views = tuple(view_source(c, alias, first.source) for alias, c in inputs.sources.items())
        destination = None
        if inputs.destination is not None:
            separators = partial(separator_of, last.output)
            destination = view_destination(inputs.destination, separators)
        texts = {file: text for one in rulesets for file, text in one.texts.items()}
        return cls(stages, views, destination, inputs, texts)

    def plan(self) -> Plan:
        tables = tuple(
            Table(view.alias, Leaves(view), has_unreadable=view.has_unreadable)
            for view in self.views
        )
        given = Given()
        for number, compiled in enumerate(self.stages):
            is_last = number == len(self.stages) - 1
            given = self._stage(number, compiled, tables, is_last=is_last)
            self.problems.raise_if_any(PlanError)
            if not is_last:
                tables = self._next_tables(number + 1, given, is_named=compiled.is_named)
        return assemble(self._staged(given))

    def _staged(self, given: Given) -> Staged:
        """All that the stages gave, once the last one has run."""
        inputs, last = self.inputs, self.runs[-1]
        held: Mapping[str, Checkpoint] = {}
        if inputs.destination is not None:
            held = parts_of(inputs.destination)
        return Staged(
            last=last,
            given=given if self.destination is not None else order_by_source(given, self.views),
            ties=self.ties,
            tied=self.tied,
            fates=Fates(self.fates),
            rules=tuple(self.rules),
            batches=self.batches,
            notes=self.notes,
            sources=inputs.sources,
            held=held,
            allow=inputs.allow,
            rule_texts=self.rule_texts,
        )

    def _stage(
        self,
        number: int,
        compiled: CompiledStage,
        tables: tuple[Table, ...],
        *,
        is_last: bool,
    ) -> Given:
        """The tensors that a stage gives, by key."""
        run = self._begin(number, compiled, tables, is_last=is_last)
        run_rules(run)
        tell_dead_rules(run)
        fates = list(settle_keys(run))
        given = self._finished(run)
        check_counts(run)
        self.fates += fates
        self.rules += rule_infos(run)
        self.batches += run.batches.values()
        self.notes += (*fate_notes(Fates(fates)), *_notes_of(run))
        return given

    def _begin(
        self,
        number: int,
        compiled: CompiledStage,
        tables: tuple[Table, ...],
        *,
        is_last: bool,
    ) -> StageRun:
        """The run of a stage before its first rule; the last one sees the destination."""
        destination = self.destination if is_last else None
        run = StageRun(
            number=number,
            compiled=compiled,
            tables=tables,
            destination=destination,
            surroundings=self._surroundings(tables, destination),
            problems=self.problems,
            production=Production(self.problems, self.runs[-1].production.made if self.runs else 0),
            is_last=is_last,
            held=self._held(compiled, destination),
            copies_unnamed=not is_last
            or not compiled.is_named
            or compiled.gives_unnamed
            or self.inputs.has_unnamed,
            views=self.views,
            earlier=tuple(self.runs),
        )
        self.runs.append(run)
        return run

    def _finished(self, run: StageRun) -> Given:
        """What the rules gave, put together, cast and tied."""
        destination = run.destination
        cast = Casting(run.compiled.stage, destination)
        casts = run.compiled.stage.output.dtype is not None
        given = run.production.finish(destination, cast if casts else None)
        self.ties = tie_outputs(run, given)
        if destination is None:
            self.tied += (
                (given.nodes[key], given.nodes[leader], rule)
                for key, (leader, rule) in self.ties.items()
            )
        return given

    def _surroundings(
        self, tables: tuple[Table, ...], destination: SourceView | None
    ) -> Surroundings:
        def spec_of(reference: Reference) -> TensorSpec:
            return _looked_up(reference, tables, destination)

        return Surroundings(spec_of, self.inputs.config, self.inputs.given, self.config_reads)

    def _held(self, compiled: CompiledStage, destination: SourceView | None) -> frozenset[str]:
        """The aliases of the outputs that are held against the destination."""
        whole = self.inputs.destination
        if destination is None or whole is None:
            return frozenset()
        return frozenset(parts_of(whole) if compiled.is_named else {""})

    def _next_tables(self, number: int, given: Given, *, is_named: bool) -> tuple[Table, ...]:
        """What the next stage reads: the keys of this one, by its `strip` and `separator`."""
        left = unreadable_left(self.runs[-1])
        parts: dict[str, dict[str, str]] = {"": {}}
        for address in given.nodes:
            alias, key = split_address(address) if is_named else ("", address)
            parts.setdefault(alias, {})[key] = address
        tables = []
        for alias, own in parts.items():
            before = {key: given.nodes[address] for key, address in own.items()}
            before |= {} if alias else left
            if not before and is_named:
                continue
            names = renamed_keys(before, self.stages[number].stage.source, "the stage before")
            nodes = {key: before[name] for key, name in names.items()}
            rules = {key: given.rules.get(own.get(name, "")) for key, name in names.items()}
            tables.append(Table(alias, nodes, rules, has_unreadable=bool(left) and not alias))
        return tuple(tables)


def _notes_of(run: StageRun) -> Iterator[Note]:
    """What is to be said of a stage's rules."""
    yield from run.said
    yield from rule_remarks(run)
    yield from copied_noise(run)
    yield from absent_aliases(run)
    yield from undone_splits(run)
    yield from unasked_items(run)
    yield from unmet_entries(run)


def _looked_up(
    reference: Reference, tables: tuple[Table, ...], destination: SourceView | None
) -> TensorSpec:
    """The spec of a key that a var looks at."""
    alias = (reference.alias.literal if reference.alias else "") or ""
    key = reference.pattern.literal
    if key is None:
        raise CheckpointError(f"`{reference}` is a pattern; a shape is of one key")
    if alias == DESTINATION:
        if destination is None:
            raise CheckpointError(f"`{reference}`: there is no destination here")
        known: Mapping[str, TensorSpec] = destination.specs
    else:
        table = next((table for table in tables if table.alias == alias), None)
        if table is None:
            raise CheckpointError(f"`{reference}`: no source is named {alias!r}")
        known = {key: table.nodes[key].spec} if key in table.nodes else {}
    if key not in known:
        raise CheckpointError(f"`{reference}`: there is no such key")
    if isinstance(known[key], UnreadableSpec):
        raise CheckpointError(f"`{reference}`: that tensor is unreadable, its shape is not certain")
    return known[key]


def _check_given(stages: Sequence[CompiledStage], inputs: Inputs) -> None:
    known = {name for stage in stages for name in stage.stage.vars}
    known |= {name for stage in stages for rule in stage.rules for name in rule.vars}
    unknown = [name for name in inputs.given if name not in known]
    if unknown:
        raise PlanError(
            Problem(
                f"{name_var(name)}: no var of the rules has this name", None, nearest(name, known)
            )
            for name in unknown
        )
