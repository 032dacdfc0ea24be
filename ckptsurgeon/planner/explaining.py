"""Which rule took a key, and why the others did not."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import CheckpointError, CkptSurgeonError, Place, PlanError
from ckptsurgeon.keys import nearest_key
from ckptsurgeon.language.rules import Ruleset
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.planning import Inputs, Planning
from ckptsurgeon.planner.stage.reading_keys import match_keys, name_conditions, read_keys
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Holdings, Table
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.addresses import split_address
from ckptsurgeon.plans.fates import Fate, Fates, SourceFate, Why
from ckptsurgeon.plans.graph import (
    Leaf,
    Node,
    Result,
    RuleInfo,
    full_key,
    inputs_of,
    place_reading,
    walk,
    work_of,
)
from ckptsurgeon.plans.output_files import OF_SOURCE
from ckptsurgeon.plans.outputs import Output
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.steps import Step, Steps
from ckptsurgeon.showing import Shown
from ckptsurgeon.specs import TensorSpec, plural

MOST_BELOW = 3
"""Keys below a module that an error names."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule made of a key: `takes it`, or the reason why not; `place` is where it says so."""

    rule: RuleInfo
    text: str
    matched: bool
    place: Place


@dataclass(frozen=True, slots=True)
class Sighting:
    """A key among those that a stage reads: what each rule says of it, and the steps that read it.

    `source` is the alias that has it, `stage` counts from 0.
    """

    stage: int
    source: str
    spec: TensorSpec
    verdicts: tuple[Verdict, ...]
    steps: tuple[Step, ...]
    fate: SourceFate | None


@dataclass(frozen=True, slots=True, repr=False)
class Explanation(Shown):
    """The course of one key: where it is read, and as an output, what gives it.

    `missing` is the destination's spec of a key that nothing gives, `error` holds the problems that
    keep the rules from being a plan, `notes` what is to be said of how the sources were found.
    `dicts` are those that an output stands in, where it is written as one of torch's files and
    another than the source decides how that is nested.
    """

    key: str
    sightings: tuple[Sighting, ...]
    output: Output | None
    missing: TensorSpec | None
    error: PlanError | None
    notes: tuple[Note, ...] = ()
    dicts: tuple[str, ...] = ()
    further: tuple[Output, ...] = ()

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 0 where the rules make a plan."""
        return self.error.exit_code if self.error is not None else 0

    @property
    def summary(self) -> str:
        """The key, and how often it is read."""
        gives = ", given by the rules" if self.output is not None else ""
        return f"{self.key}, read {plural(len(self.sightings), 'time')}{gives}"


def explain(rulesets: Sequence[Ruleset], inputs: Inputs, key: str) -> Explanation:
    """What the rules do with a key, by the name that rules or the output know it by.

    `alias::key` is the key of one source.

    Raises CheckpointError where neither a source nor the output has the key.
    """
    planning = Planning.of(rulesets, inputs)
    plan: Plan | None = None
    problem: PlanError | None = None
    try:
        plan = planning.plan()
    except PlanError as error:
        problem = error
    given = _given_as(key, plan) if plan else ()
    tables = [(run, table) for run in planning.runs for table in run.tables]
    sightings = tuple(
        _sighting(planning, run, table, name)
        for run, table in tables
        for name in _names_in(table, key)
    )
    wanted = planning.destination.specs if planning.destination and plan else {}
    missing = None if given else wanted.get(key)
    if not sightings and not given and missing is None:
        known = [name for run in planning.runs for table in run.tables for name in table.nodes]
        known += plan.outputs if plan else ()
        raise CheckpointError(f"there is no key `{key}`: {_tell_near(key, known)}")
    first, further = (given[0] if given else None), given[1:]
    dicts = _dicts_of(first.key, plan) if plan and first is not None else ()
    return Explanation(key, sightings, first, missing, problem, inputs.notes, dicts, further)


def _given_as(key: str, plan: Plan) -> tuple[Output, ...]:
    """The outputs that a key names: one, or those of every output that has the key."""
    if key in plan.outputs or not plan.is_named:
        return (plan.outputs[key],) if key in plan.outputs else ()
    addresses = (full_key(file.alias, key) for file in plan.files)
    return tuple(plan.outputs[one] for one in addresses if one in plan.outputs)


def _dicts_of(address: str, plan: Plan) -> tuple[str, ...]:
    """The dicts that an output stands in, where another than the source decides that."""
    alias, key = split_address(address) if plan.is_named else ("", address)
    file = next(one for one in plan.files if one.alias == alias)
    return () if file.decided == OF_SOURCE else file.nesting.locate(key)


def _names_in(table: Table, key: str) -> Iterator[str]:
    """The key as a table knows it: by its name, or behind the table's alias, as reports have it."""
    if key in table.nodes:
        yield key
    name = key.removeprefix(f"{table.alias}::")
    if table.alias and name != key and name in table.nodes:
        yield name


def _tell_near(key: str, known: Collection[str]) -> str:
    """The next step where a key is none of those known: those below it, or the nearest."""
    front = f"{key.rstrip('.*')}."
    below = [one for one in dict.fromkeys(known) if one.startswith(front)]
    if below:
        return f"it is the front of {list_some((f'`{one}`' for one in below), MOST_BELOW)}"
    if re.search(r"[*<]", key):
        return "`explain` takes one key, and no pattern; `inspect --only` lists those of one"
    return nearest_key(key, known) or "`inspect` lists those there are"


def _sighting(planning: Planning, run: StageRun, table: Table, key: str) -> Sighting:
    verdicts = (one for rule in run.compiled.rules for one in _verdicts(run, rule, table, key))
    read = Steps(tuple(run.batches.values())).reading(table.alias, key)
    steps = (_narrow(step, run, table.nodes[key]) for step in read)
    fate = Fates(planning.fates).find(run.number, table.alias, key)
    spec = table.nodes[key].spec
    return Sighting(run.number, table.alias, spec, tuple(verdicts), tuple(steps), fate)


def _narrow(step: Step, run: StageRun, node: Node) -> Step:
    """The step with those of its products that a tensor goes into; a BatchNorm has several."""
    given = run.production.nodes
    made = (one for one in step.products if _goes_into(node, given.get(one.key)))
    return msgspec.structs.replace(step, products=tuple(made))


def _goes_into(node: Node, product: Node | None) -> bool:
    """Whether a product is made from a tensor; also where that is not known."""
    if product is None:
        return True
    used = itertools.chain([product], *(inputs_of(work) for work in walk(product)))
    return _identify(node) in map(_identify, used)


def _identify(node: Node) -> Hashable:
    """What tells one tensor from another: a leaf by its key, a result by its call and number."""
    if isinstance(node, Leaf):
        return node.source, node.key
    return id(work_of(node)), node.number if isinstance(node, Result) else 0


def _verdicts(run: StageRun, rule: CompiledRule, table: Table, key: str) -> Iterator[Verdict]:
    """What a rule made of a key; else why each of its references didn't."""
    info = run.info(rule)
    taken = _how_taken(run, rule, table, key)
    if taken:
        yield Verdict(info, taken, True, place_reading(info, key))
        return
    if info.lines is not None and key in info.lines.read:
        taker = table.held.taker(key) or table.held.sliced.get(key)
        late = f"comes too late: {place_reading(taker, key)} takes it" if taker else "takes it not"
        yield Verdict(info, late, True, place_reading(info, key))
    single = Table(table.alias, {key: table.nodes[key]})
    for reader in rule.namers:
        if not reader.of_destination and any(found for _, found in match_keys(reader, [single])):
            yield Verdict(info, "takes its name alone, by `for`", True, info.place)
    for reader in rule.readers:
        yield Verdict(info, *_why_not(run, rule, reader, single, table.held), info.place)


def _how_taken(run: StageRun, rule: CompiledRule, table: Table, key: str) -> str:
    """How this very rule took a key; nothing where it did not."""
    held, info = table.held, run.info(rule)
    if any(part.claim.rule is info for part in held.parts.get(key, ())):
        return "takes a slice of it"
    claim, batch = held.whole.get(key), run.batches.get(id(rule))
    if claim and claim.rule is info and claim.why is Why.NULL:
        return "drops it, by null"
    if claim and claim.rule is info and claim.fate is Fate.UNREADABLE:
        return "matches it, and can't read it"
    if (claim and claim.rule is info) or (batch and any(Steps([batch]).reading(table.alias, key))):
        return "takes it"
    is_free = not table.alias and not held.is_used(key)
    return "gives the key, and drops it" if is_free and run.claimed.get(key) is info else ""


def _why_not(
    run: StageRun, rule: CompiledRule, reader: Reader, single: Table, held: Holdings
) -> tuple[str, bool]:
    """Why a reference did not take the one key of a table, and whether its pattern matches."""
    try:
        if not any(found for _, found in match_keys(reader, [single])):
            return "its pattern does not match", False
        match = next(iter(read_keys(rule, reader, [single], run.vars_of(rule))), None)
    except CkptSurgeonError as error:
        return str(error), True
    if match is None:
        return f"its {' or '.join(name_conditions(rule))} leaves it out", True
    if match.key in held.sliced and reader.index is None:
        return f"passes over it: {held.sliced[match.key].place} takes a slice of it", True
    taker = held.taker(match.key)
    if taker is not None:
        return f"comes too late: {taker.place} takes it", True
    return "matches it, but makes no step with it", True
