"""`tie`: output keys that share one storage because a rule says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import replace

from ckptsurgeon.errors import PlanError, Problem
from ckptsurgeon.language.rules import Tie
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.scope import Vars
from ckptsurgeon.planner.stage.lookups import keys_like, readable, written_key
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Origin
from ckptsurgeon.plans.ties import Ties


def tie_outputs(run: StageRun, origins: MutableMapping[str, Origin]) -> Ties:
    """The ties that the stage's rules make.

    A tied key that nothing gives becomes the tensor of the first one that is given.
    """
    ties: Ties = {}
    for rule in run.compiled.rules:
        if isinstance(rule.rule, Tie):
            with run.problems.at(rule.place):
                for group in list(_groups(rule, origins, run.vars_of(rule))):
                    run.made[rule.group] += 1
                    ties |= _tied(rule, run, group, origins)
    return ties


def _groups(
    rule: CompiledRule, origins: Mapping[str, Origin], vars: Vars
) -> Iterable[tuple[str, ...]]:
    """The keys to tie: those that any of the patterns finds, each with its partners."""
    groups: dict[tuple[str, ...], None] = {}
    for lookup in rule.lookups:
        for _, read in keys_like(readable(lookup, vars), origins, rule, vars):
            keys = [written_key(pattern, read, vars) for pattern in rule.lookups]
            known = tuple(key for key in keys if key is not None)
            if len(known) == len(keys):
                groups.setdefault(known)
    if not groups and not rule.options.optional:
        message = "`tie`: nothing gives any of these keys"
        raise PlanError([Problem(message, rule.place, "`optional: true` allows none")])
    return groups


def _tied(
    rule: CompiledRule, run: StageRun, keys: tuple[str, ...], origins: MutableMapping[str, Origin]
) -> Ties:
    given = [key for key in keys if key in origins]
    leader = given[0]
    specs = {key: origins[key].node.spec for key in given}
    for key in given[1:]:
        if specs[key] != specs[leader]:
            message = f"`tie`: `{leader}` is {specs[leader]}, `{key}` is {specs[key]}"
            raise PlanError([Problem(message, rule.place, "tied keys are one tensor")])
    for key in keys:
        if key not in origins:
            origins[key] = replace(origins[leader], rule=run.info(rule))
    return {key: (leader, run.info(rule)) for key in keys if key != leader}
