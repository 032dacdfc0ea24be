"""What migration scripts call: `plan`, `transplant` and `apply`, over paths or dicts of tensors."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint
from ckptsurgeon.checkpoints.output import TORCH_SUFFIXES
from ckptsurgeon.checkpoints.tensors import is_torch, to_numpy, to_torch
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.engine.execution import Execution, check_ties, refuse_findings, stamps_of
from ckptsurgeon.engine.module_metadata import output_metadata
from ckptsurgeon.engine.mover import MEMORY, Progress
from ckptsurgeon.engine.needs import memory_notes
from ckptsurgeon.errors import CheckpointError, ExpressionError, Place, PlanError, Problem
from ckptsurgeon.inputs import (
    Source,
    numbered,
    open_source,
    open_sources,
    read_config,
    read_whole,
)
from ckptsurgeon.language.expressions import Expression, Value, parse_expression
from ckptsurgeon.language.loading import Rules, load_ruleset
from ckptsurgeon.language.rules import Ruleset, Stage
from ckptsurgeon.planner.planning import Inputs, make_plan
from ckptsurgeon.plans.account import FindingKind
from ckptsurgeon.plans.files.restoring import read_plan, recall_plan, restore_plan
from ckptsurgeon.plans.files.saved import SavedView
from ckptsurgeon.plans.graph import Leaf, Operand
from ckptsurgeon.plans.inverse.inverting import PLANNED, invert_plan, root_of
from ckptsurgeon.plans.notes import entry_notes
from ckptsurgeon.plans.plan import Plan, output_name
from ckptsurgeon.report.report import Report, make_report
from ckptsurgeon.specs import parse_bytes

Given = Mapping[str, Value | Expression]
Config = str | os.PathLike[str] | Mapping[str, Any]

Size = int | str
"""Bytes as a number, or as text with a unit: "128MiB", "5GB"."""


def plan(
    source: Source | None,
    rules: Rules | None = None,
    into: Source | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    config: Config | None = None,
    variables: Given | None = None,
    allow: Collection[str] = (),
) -> Plan:
    """The plan of `rules` for a source and a destination, from headers alone.

    `source` and `into` are paths, dicts of tensors or open checkpoints; `sources` names further
    ones by alias. `rules` is a path, a shipped name, a dict as YAML would give it, a list of rules
    or a Ruleset; without rules every key is copied. `variables` override vars (a text is an
    expression). `allow` accepts findings: "missing", "unexpected", "unused", "mismatched".

    Raises RulesetError or PlanError, which hold every problem with its place, and CheckpointError.
    """
    execution = prepared(load_all(rules), source, into, sources, config, variables, allow)
    return for_output(execution, None).plan


def transplant(
    source: Source | None,
    output: str | os.PathLike[str],
    rules: Rules | None = None,
    into: Source | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    config: Config | None = None,
    variables: Given | None = None,
    allow: Collection[str] = (),
    force: bool = False,
    memory: Size | None = None,
    jobs: int | None = None,
    max_shard_size: Size | None = None,
    progress: Progress | None = None,
) -> Report:
    """Plans like `plan`, then writes `output`, whole or not at all; what was done is returned.

    The output's format follows its suffix. `memory` bounds what is held of tensors (256 MiB) over
    all of `jobs` threads; `max_shard_size` the tensors of one shard (5 GB). Raises what `plan`
    raises, FindingsError where findings are left that `allow` doesn't name, OutputError, e.g. where
    the output exists (`force`), and ValueError for a size or a number of jobs below 1.
    """
    limits = _bytes(memory), _positive(jobs, "jobs")
    shard_size = _bytes(max_shard_size)
    planned = prepared(load_all(rules), source, into, sources, config, variables, allow)
    execution = for_output(planned, output, *limits)
    execution.into(output, force=force, max_shard_size=shard_size, progress=progress)
    return make_report(execution.plan)


def apply(
    rules: Rules | None,
    state_dict: Mapping[str, Any] | None,
    into: Source | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    config: Config | None = None,
    variables: Given | None = None,
    allow: Collection[str] = (),
) -> tuple[dict[str, Any], Report]:
    """(tensors, report) of the rules applied to a dict of torch tensors or NumPy arrays.

    A tensor that no op touches is the very object that was given, and shares its memory; others
    are new. Tensors are of the kind that `state_dict` holds (None where all `sources` are named:
    the first of these), on the device of their first source. No dict is altered. Raises what
    `transplant` raises.
    """
    execution = prepared(load_all(rules), state_dict, into, sources, config, variables, allow)
    refuse_findings(execution.plan)
    check_ties(execution.plan, execution.checkpoints)
    given = {"": state_dict, DESTINATION: into, **(sources or {})}
    return _Tensors(execution, given).all(), make_report(execution.plan)


def invert(
    plan: Plan | str | os.PathLike[str],
    *,
    only: str | None = None,
    source_of_lost: Source | None = None,
) -> Plan:
    """The plan that makes a plan's source out of its output, exact to the byte.

    `plan` is a Plan, or the path of a saved one. `only` is the alias of the source to give back, of
    several. `source_of_lost` is a checkpoint to take from what the plan loses: what was dropped,
    parts that nobody took, what an op rounds.

    Raises PlanError, which holds every tensor that is lost with its rule, and CheckpointError.
    """
    if isinstance(plan, Plan):
        return _inverted(plan, "the plan", only, source_of_lost)
    return _inverted(_recalled(Path(plan)), os.fspath(plan), only, source_of_lost)


def _inverted(plan: Plan, name: str, only: str | None, lost: Source | None) -> Plan:
    opened = None if lost is None else open_source(lost, root_of(plan, only))
    return invert_plan(plan, name, only=only, lost=opened)


def _recalled(path: Path) -> Plan:
    """A saved plan as it was made; its checkpoints need not be there any more."""
    return recall_plan(read_plan(read_whole(path, "saved plan"), path))


def prepared(
    rulesets: Sequence[Ruleset],
    source: Source | None,
    into: Source | None,
    sources: Mapping[str, Source] | None,
    config: Config | None,
    variables: Given | None,
    allow: Collection[str],
) -> Execution:
    """The plan of some rulesets with the checkpoints that it was made for, ready to be run."""
    inputs = prepared_inputs(rulesets, source, into, sources, config, variables, allow)
    checkpoints = dict(inputs.sources)
    if inputs.destination is not None:
        checkpoints[DESTINATION] = inputs.destination
    stamps = stamps_of(checkpoints)
    return Execution(make_plan(rulesets, inputs), checkpoints, stamps)


def for_output(
    execution: Execution,
    target: str | os.PathLike[str] | None,
    memory: int | None = None,
    jobs: int | None = None,
) -> Execution:
    """The execution with notes of what is left out at a target, and of what needs more memory.

    torch's files carry the plain entries of the unnamed source; that is told where there is no
    target yet, too. No other entry is ever written.
    """
    nests = target is None or Path(target).suffix.lower() in TORCH_SUFFIXES
    notes = [
        note
        for alias, checkpoint in execution.checkpoints.items()
        if alias != DESTINATION
        for note in entry_notes(alias, checkpoint, nests and not alias)
    ]
    plan = execution.plan
    notes += memory_notes(plan, execution.checkpoints, memory or MEMORY)
    noted = replace(plan, notes=(*plan.notes, *notes))
    return replace(execution, plan=noted, memory=memory, jobs=jobs)


def load_prepared(
    path: Path, source: Source | None, named: Mapping[str, Source], into: Source | None
) -> Execution:
    """A saved plan with the checkpoints to run it on.

    A checkpoint that is not given is looked for where it was when the plan was made.
    """
    saved = read_plan(read_whole(path, "saved plan"), path)
    given = {"": source} if source is not None else {}
    given |= numbered(named)
    found = {view.alias: given.pop(view.alias, view.path) for view in saved.sources}
    if given:
        raise CheckpointError(f"the plan has no source {next(iter(given))!r}; it has {list(found)}")
    roots = saved.sources[0].options.roots if saved.sources else {}
    for view in saved.sources:
        if view.format == PLANNED:
            found[view.alias] = _written(view, found[view.alias], roots.get(""))
    checkpoints = open_sources(found.pop("", None), found, roots)
    if saved.destination is None and into is not None:
        raise CheckpointError("the plan was made without a destination: plan again with --into")
    if saved.destination is not None:
        checkpoints[DESTINATION] = open_source(into or saved.destination.path)
    return Execution(restore_plan(saved, checkpoints), checkpoints, stamps_of(checkpoints))


def _written(view: SavedView, source: Source, root: str | None) -> Checkpoint:
    """The output of another plan: nested under the root where it is torch's, else flat."""
    if source == view.path:
        raise CheckpointError(f"the plan needs {view.path}: name it as SRC")
    try:
        return open_source(source, root)
    except CheckpointError:
        if root is None:
            raise
    return open_source(source)


def prepared_inputs(
    rulesets: Sequence[Ruleset],
    source: Source | None,
    into: Source | None,
    sources: Mapping[str, Source] | None,
    config: Config | None,
    variables: Given | None,
    allow: Collection[str],
) -> Inputs:
    """All that a plan is made of, opened by the `root` of the first stage."""
    checkpoints = open_sources(source, sources or {}, rulesets[0].stages[0].source.roots)
    destination = None if into is None else open_source(into)
    given = {name: _given(name, value) for name, value in (variables or {}).items()}
    return Inputs(checkpoints, destination, read_config(config), given, _kinds(allow))


def load_all(rules: Rules | Sequence[Ruleset] | None) -> list[Ruleset]:
    """The rulesets to run one after the other; none at all is one without rules."""
    if rules is None:
        return [Ruleset("<no rules>", (Stage((), Place("<no rules>", 1, 1)),))]
    if isinstance(rules, Sequence) and not isinstance(rules, str):
        rulesets = [rule for rule in rules if isinstance(rule, Ruleset)]
        if rulesets and len(rulesets) == len(rules):
            return rulesets
    return [load_ruleset(rules)]


def with_rules_before(rulesets: Sequence[Ruleset], first: Ruleset) -> list[Ruleset]:
    """The rulesets with the rules of `first` in front of the last stage's, so that they win."""
    last = rulesets[-1]
    *others, stage = last.stages
    extended = replace(stage, rules=(*first.stages[0].rules, *stage.rules))
    return [*rulesets[:-1], replace(last, stages=(*others, extended))]


def _bytes(size: Size | None) -> int | None:
    return parse_bytes(size) if isinstance(size, str) else _positive(size, "bytes")


def _positive(count: int | None, what: str) -> int | None:
    if count is not None and count < 1:
        raise ValueError(f"{count} {what}: wanted at least 1")
    return count


def _given(name: str, value: Value | Expression) -> Value | Expression:
    try:
        return parse_expression(value) if isinstance(value, str) else value
    except ExpressionError as error:
        raise PlanError([Problem(f"--set {name}: {error}", None, error.help)]) from None


def _kinds(allow: Collection[str]) -> Collection[str]:
    kinds = (allow,) if isinstance(allow, str) else tuple(allow)
    known = [kind.value for kind in FindingKind]
    for kind in kinds:
        if kind not in known:
            problem = Problem(f"--allow {kind}: unknown", None, f"known: {', '.join(known)}")
            raise PlanError([problem])
    return kinds


class _Tensors:
    """The outputs of a plan as tensors of the kind that went in."""

    def __init__(self, execution: Execution, given: Mapping[str, Any]) -> None:
        self._plan = execution.plan
        self._evaluator = Evaluator(execution.plan, execution.checkpoints)
        self._given = {name: one for name, one in given.items() if isinstance(one, Mapping)}
        dicts = [one for name, one in self._given.items() if name != DESTINATION]
        self._torch = any(map(is_torch, dicts[0].values())) if dicts else False

    def all(self) -> dict[str, Any]:
        ties = self._plan.ties
        following = {key: leader for key, leader in ties.items() if not self._carried(key)}
        made = {key: self._tensor(key) for key in self._plan.outputs if key not in following}
        tensors = {key: made[following.get(key, key)] for key in self._plan.outputs}
        tensors = {output_name(self._plan, key): tensor for key, tensor in tensors.items()}
        metadata = output_metadata(self._plan)
        if metadata is None:
            return tensors
        ordered: Any = OrderedDict(tensors)
        ordered._metadata = OrderedDict((k, dict(v)) for k, v in metadata.items())
        return ordered  # type: ignore[no-any-return]

    def _carried(self, key: str) -> bool:
        """Whether a tied tensor shares its storage as it was given, and may stay the object."""
        is_checked = any(key == tie.key for tie in self._plan.checked_ties)
        return isinstance(self._plan.outputs[key].node, Leaf) and not is_checked

    def _tensor(self, key: str) -> Any:
        output = self._plan.outputs[key]
        if isinstance(output.node, Leaf):
            given = self._value(output.node)
            if given is not None and is_torch(given) == self._torch:
                return given
        array = self._evaluator.output(output)
        if not self._torch:
            return to_numpy(array, output.spec)
        return to_torch(array, output.spec, self._device(key))

    def _device(self, key: str) -> Any:
        values = map(self._value, self._plan.outputs[key].sources)
        return next((value.device for value in values if is_torch(value)), "cpu")

    def _value(self, item: Leaf | Operand) -> Any:
        """The tensor that was given for a key, as it is; None where it is no dict's."""
        given = self._given.get(item.source)
        return None if given is None else given[self._evaluator.stored(item)]
