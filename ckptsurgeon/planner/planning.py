"""The stages of a plan run one after the other, the last one against the destination."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint
from ckptsurgeon.checkpoints.several import MOST_OUTPUTS, parts_of
from ckptsurgeon.errors import CheckpointError, PlanError, Problem, ShapeError, nearest
from ckptsurgeon.language.expressions import Expression, Value
from ckptsurgeon.language.patterns import Reference
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import Ruleset, Stage
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.planner.aliases import (
    colon_slips,
    misnamed_outputs,
    of_alias,
    partly_held,
    strange_aliases,
    unnamed_destination,
)
from ckptsurgeon.planner.compiling.compilation import compile_rulesets
from ckptsurgeon.planner.compiling.compiled import CompiledStage
from ckptsurgeon.planner.findings import Account
from ckptsurgeon.planner.nesting import (
    nesting_notes,
    nesting_problems,
    output_file,
)
from ckptsurgeon.planner.scope import Surroundings
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
from ckptsurgeon.plans.account import CheckedTie, Note
from ckptsurgeon.plans.addresses import alias_of, split_address
from ckptsurgeon.plans.fates import Fates, KeyFates
from ckptsurgeon.plans.graph import Call, Node, RuleInfo, call, walk
from ckptsurgeon.plans.layers import list_notes
from ckptsurgeon.plans.leftovers import Leftovers, fold_notes
from ckptsurgeon.plans.notes import (
    config_notes,
    fate_notes,
    left_out_notes,
    named_notes,
    output_notes,
    reading_notes,
    source_notes,
    tie_notes,
    unique_notes,
)
from ckptsurgeon.plans.output_files import OutputFile
from ckptsurgeon.plans.outputs import OF_KIND, Outputs
from ckptsurgeon.plans.plan import Plan, name_outputs, two_of_one_name
from ckptsurgeon.plans.steps import Batch, Steps
from ckptsurgeon.plans.ties import (
    Storages,
    Ties,
    broken_ties,
    carried_ties,
    earlier_ties,
    parted_ties,
    template_ties,
    united,
)
from ckptsurgeon.plans.views import SourceView, renamed_keys, view_destination, view_source
from ckptsurgeon.specs import TensorSpec, UnreadableSpec
from ckptsurgeon.wording import argument, name_var


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
    ) -> None:
        self.stages, self.views = stages, views
        self.destination, self.inputs = destination, inputs
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
            separators = last.output.separators
            destination = view_destination(
                inputs.destination, lambda alias: of_alias(separators, alias) or "."
            )
        return cls(stages, views, destination, inputs)

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
        ordered = given if self.destination is not None else order_by_source(given, self.views)
        return self._settled(ordered)

    def _stage(
        self,
        number: int,
        compiled: CompiledStage,
        tables: tuple[Table, ...],
        *,
        is_last: bool,
    ) -> Given:
        """The tensors that a stage gives, by key; the last one sees the destination."""
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
        run_rules(run)
        tell_dead_rules(run)
        fates = list(settle_keys(run))
        given = self._finished(run)
        check_counts(run)
        self.fates += fates
        self.rules += rule_infos(run)
        self.batches += run.batches.values()
        self.notes += fate_notes(Fates(fates))
        self.notes += (
            *run.said,
            *rule_remarks(run),
            *copied_noise(run),
            *absent_aliases(run),
            *undone_splits(run),
            *unasked_items(run),
            *unmet_entries(run),
        )
        return given

    def _finished(self, run: StageRun) -> Given:
        """What the rules gave, put together, cast and tied."""
        destination = run.destination
        cast = _Casting(run.compiled.stage, destination)
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
        if destination is None:
            return frozenset()
        if not compiled.is_named:
            return frozenset({""})
        return frozenset(map(alias_of, destination.specs))

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

    def _settled(self, given: Given) -> Plan:
        destination, is_named = self.destination, self.is_named
        run, options = self.runs[-1], self.stages[-1].stage.output
        fates = Fates(self.fates)
        account = Account(destination, self.inputs.allow, run.is_held)
        separators = {alias: of_alias(options.separators, alias) or "." for alias in run.held}
        separators |= {"": options.separator}
        if is_named:
            aliases = dict.fromkeys(map(alias_of, given.nodes))
            separators |= {one: of_alias(options.separators, one) or "." for one in aliases}
        name_of = name_outputs(destination, separators, is_named=is_named)
        outputs = account.outputs(given, name_of)
        if (twice := two_of_one_name(outputs, is_named=is_named)) is not None:
            one, other, name = twice
            self.problems.add(
                f"`{one}` and `{other}` both become `{name}` by `output: separator`",
                self.stages[-1].stage.place,
                f"drop or rename one of them, as in `{other} -> NEW`",
            )
        files = self._output_files(outputs)
        self.problems.take(self._file_problems(files, outputs))
        account.unused(fates)
        account.unreadable(fates)
        account.nothing(outputs, [file.alias for file in files] if is_named else ())
        self.problems.raise_if_any(PlanError)
        views = self.views if destination is None else (*self.views, destination)
        storages = Storages(views)
        tied = {key: tie for key, tie in self.ties.items() if {key, tie[0]} <= outputs.keys()}
        tied |= earlier_ties(outputs, self.tied, is_named=is_named)
        ruled = ((key, leader) for key, (leader, _) in tied.items())
        template = template_ties(outputs, destination) if destination else {}
        carried = carried_ties(outputs, storages, is_named=is_named)
        pairs = (*carried.items(), *template.items(), *ruled)
        ties = united(pairs, outputs)
        untied = broken_ties(outputs, ties, self.views, destination, storages)
        left = Leftovers.of(fates, outputs, account.findings)
        sources = {view.alias: view for view in self.views}
        notes = (
            *self.notes,
            *nesting_notes([one.stage for one in self.stages], files),
            *(named_notes(files) if is_named else ()),
            *(misnamed_outputs(run.held, set(map(alias_of, outputs))) if is_named else ()),
            *(parted_ties(outputs, self.views) if is_named else ()),
            *config_notes(self.inputs.config, self.config_reads),
            *account.notes,
            *left_out_notes(outputs, fates),
            *output_notes(outputs, destination),
            *tie_notes(ties),
            *untied,
            *fold_notes(left, outputs, sources),
            *list_notes(left, outputs, sources, destination),
        )
        return Plan(
            sources=self.views,
            destination=destination,
            outputs=outputs,
            steps=Steps(self.batches),
            fates=fates,
            rules=tuple(self.rules),
            findings=tuple(account.findings),
            notes=unique_notes(notes),
            ties=ties,
            checked_ties=tuple(_to_check(tied, outputs, storages)),
            separator=options.separator,
            files=files,
            is_named=is_named,
        )

    @property
    def is_named(self) -> bool:
        """Whether outputs have names, and so keys are addresses."""
        return self.stages[-1].is_named

    def _output_files(self, outputs: Outputs) -> tuple[OutputFile, ...]:
        """Where the outputs go, each nested as `output`, its destination or the source say."""
        inputs, options = self.inputs, self.stages[-1].stage.output
        held: Mapping[str, Checkpoint] = {}
        if inputs.destination is not None:
            held = parts_of(inputs.destination, self.runs[-1].held)
        known = [*held.values(), *inputs.sources.values()]
        aliases = [""]
        if self.is_named:
            aliases = list(dict.fromkeys((*map(alias_of, outputs), *held)))
        return tuple(
            output_file(options, alias, self.views, held.get(alias), known) for alias in aliases
        )

    def _file_problems(self, files: Sequence[OutputFile], outputs: Outputs) -> Iterator[Problem]:
        """What is wrong with the nesting of outputs, and with what they are held against."""
        options, held = self.stages[-1].stage.output, self.runs[-1].held
        if not self.is_named:
            yield from nesting_problems(options, files[0], outputs.keys())
            yield from strange_aliases(options, [""])
            return
        keys: dict[str, list[str]] = {file.alias: [] for file in files}
        for address in outputs:
            alias, key = split_address(address)
            keys[alias].append(key)
        if len(keys) > MOST_OUTPUTS:
            text = f"{len(keys):,} outputs; at most {MOST_OUTPUTS:,} are written at once"
            yield Problem(text, self.stages[-1].stage.place)
        for file in files:
            yield from nesting_problems(options, file, keys[file.alias])
        yield from strange_aliases(options, list(keys))
        yield from colon_slips(self.runs[-1].compiled, {*keys, *held})
        if self.destination is not None:
            run = self.runs[-1]
            given = [alias for alias, own in keys.items() if own]
            yield from unnamed_destination(held, given, self.stages[-1].stage.place)
            yield from partly_held(run.compiled, list(keys), held, run.vars_of)


def _to_check(ties: Ties, outputs: Outputs, storages: Storages) -> list[CheckedTie]:
    """Ties of tensors that were made apart, and so may differ."""
    return [
        CheckedTie(key, leader, rule)
        for key, (leader, rule) in ties.items()
        if storages.of(outputs.nodes[key]) != storages.of(outputs.nodes[leader])
    ]


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


class _Casting:
    """Casts what `output: {dtype: …}` names and no rule has cast."""

    def __init__(self, stage: Stage, destination: SourceView | None) -> None:
        self._dtype, self._place = stage.output.dtype, stage.place
        self._destination = destination
        if self._dtype == "destination" and destination is None:
            into = argument("into", "DST")
            text = f"`dtype: destination` and no destination: give it by {into}"
            raise PlanError([Problem(text, stage.place)])

    def __call__(self, key: str, node: Node, rule: RuleInfo | None) -> Node:
        """The tensor in its dtype; what is kept or initialised has the right one by itself."""
        spec = node.spec
        dtype = self._wanted(key) if self._dtype == "destination" else self._dtype
        if dtype is None or dtype == spec.dtype or not spec.floating:
            return node
        if (rule is not None and rule.kind in OF_KIND) or _is_cast_by_rule(node):
            return node
        try:
            return call(Cast(dtype=dtype), node)[0]
        except ShapeError as error:
            place = rule.place if rule else self._place
            raise PlanError([Problem(f"`{key}`: `output: dtype`: {error}", place)]) from None

    def _wanted(self, key: str) -> str | None:
        specs = self._destination.specs if self._destination else {}
        return specs[key].dtype if key in specs and specs[key].floating else None


def _is_cast_by_rule(node: Node) -> bool:
    """Whether a rule, and no `output: dtype` of a stage, has cast the tensor or what makes it."""
    calls = (one for one in walk(node) if isinstance(one, Call))
    return any(one.rule is not None and isinstance(one.op, Cast) for one in calls)


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
