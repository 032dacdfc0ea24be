"""Which rule took a key, and why the others did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ckptsurgeon.errors import CheckpointError, CkptSurgeonError, PlanError, nearest
from ckptsurgeon.language.rules import Ruleset
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.planning import Inputs, Planning
from ckptsurgeon.planner.stage.reading_keys import matches, readings
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Address, Table
from ckptsurgeon.plans.account import Output, RuleInfo, SourceFate, Step
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.specs import TensorSpec

CONDITIONS = ("where", "map", "pick")
"""The options that let a rule pass over a key whose name matches."""

SEARCHED_KEYS = 5000
"""How many keys are compared when the nearest one is looked for."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule made of a key: `takes it`, or the reason why not."""

    rule: RuleInfo
    text: str
    matched: bool


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


@dataclass(frozen=True, slots=True)
class Explanation:
    """The course of one key: where it is read, and as an output, what gives it.

    `error` holds the problems that keep the rules from being a plan.
    """

    key: str
    sightings: tuple[Sighting, ...]
    output: Output | None
    error: PlanError | None


def explain(rulesets: Sequence[Ruleset], inputs: Inputs, key: str) -> Explanation:
    """What the rules do with a key, by the name that rules or the output know it by.

    Raises CheckpointError where neither a source nor the output has the key.
    """
    planning = Planning.of(rulesets, inputs)
    plan: Plan | None = None
    problem: PlanError | None = None
    try:
        plan = planning.plan()
    except PlanError as error:
        problem = error
    output = plan.outputs.get(key) if plan else None
    sightings = tuple(
        _sighting(planning, run, table, key)
        for run in planning.runs
        for table in run.tables
        if key in table.origins
    )
    if not sightings and output is None:
        known = [name for run in planning.runs for table in run.tables for name in table.origins]
        known += plan.outputs if plan else ()
        near = nearest(key, known[:SEARCHED_KEYS])
        raise CheckpointError(f"there is no key `{key}`; {near or '`inspect` lists them'}")
    return Explanation(key, sightings, output, problem)


def _sighting(planning: Planning, run: StageRun, table: Table, key: str) -> Sighting:
    single = Table(table.alias, {key: table.origins[key]})
    verdicts = (
        Verdict(run.info(rule), *_verdict(run, rule, reader, single, key))
        for rule in run.compiled.rules
        for reader in rule.readers
    )
    address = (table.alias, key)
    steps = (s for s in run.steps if any((o.source, o.key) == address for o in s.operands))
    fates = (f for f in planning.fates if (f.stage, f.source, f.key) == (run.number, *address))
    spec = table.origins[key].node.spec
    return Sighting(run.number, table.alias, spec, tuple(verdicts), tuple(steps), next(fates, None))


def _verdict(
    run: StageRun, rule: CompiledRule, reader: Reader, table: Table, key: str
) -> tuple[str, bool]:
    address: Address = (table.alias, key)
    if next(iter(readings(reader, [table])), None) is None:
        return "its pattern does not match", False
    try:
        if next(matches(rule, reader, [table], run.vars_of(rule)), None) is None:
            given = [f"`{word}`" for word in CONDITIONS if word in rule.options.places]
            return f"its {' or '.join(given)} leaves it out", True
    except CkptSurgeonError as error:
        return str(error), True
    return _taken(run, rule, reader, address), True


def _taken(run: StageRun, rule: CompiledRule, reader: Reader, address: Address) -> str:
    info, held = run.info(rule), run.holdings
    parts = held.parts.get(address, [])
    if any(part.info == info for part in parts):
        return "takes a slice of it"
    if info in (held.whole.get(address), held.reused.get(address), run.dropped.get(address)):
        return "takes it"
    if address in held.sliced and reader.index is None:
        return f"passes over it: {held.sliced[address].place} takes a slice of it"
    taker = held.whole.get(address)
    if taker is not None:
        return f"comes too late: {taker.place} takes it"
    return "matches it, but makes no step with it"
