"""`tie`: output keys that share one storage because a rule says so."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence

from ckptsurgeon.errors import PlanError, Problem
from ckptsurgeon.language.rules import Tie
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.scope import Vars
from ckptsurgeon.planner.stage.lookups import keys_like, readable, written_key
from ckptsurgeon.planner.stage.production import Given
from ckptsurgeon.planner.stage.searching import Search
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.plans.addresses import alias_of
from ckptsurgeon.plans.ties import Ties

MOST_LOOKED_FOR = 4
"""Tied keys that nothing gives for which other names are looked for."""


def tie_outputs(run: StageRun, given: Given) -> Ties:
    """The ties that the stage's rules make.

    A tied key that nothing gives becomes the tensor of the first one that is given.
    """
    ties, search = Ties(), Search()
    for rule in run.compiled.rules:
        if isinstance(rule.rule, Tie):
            with run.problems.at(rule.place):
                groups = list(_groups(rule, given.nodes, run.vars_of(rule)))
                if not (groups or rule.options.optional):
                    raise _none_given(run, rule, given.nodes, search)
                for group in groups:
                    if run.compiled.is_named and len({*map(alias_of, group)}) > 1:
                        raise _in_two_files(rule, group)
                    run.made[rule.group] += 1
                    ties |= _tie(rule, run, group, given)
    return ties


def _in_two_files(rule: CompiledRule, group: Sequence[str]) -> PlanError:
    """The error for keys of several outputs in one tie."""
    keys = " and ".join(f"`{key}`" for key in group[:MOST_LOOKED_FOR])
    text = f"`tie`: {keys} lie in several outputs: two files can't share a storage"
    return PlanError([Problem(text, rule.place, "tie the keys of each output for itself")])


def _none_given(
    run: StageRun, rule: CompiledRule, outputs: Collection[str], search: Search
) -> PlanError:
    """The error for keys of which nothing gives one: what they are called, or the nearest."""
    patterns = [readable(lookup, run.vars_of(rule)) for lookup in rule.lookups]
    message, help = "`tie`: nothing gives any of these keys", "`optional: true` allows none"
    named = filter(None, (one.literal for one in patterns))
    keys = itertools.islice(named, MOST_LOOKED_FOR)
    for key, table in itertools.product(keys, run.tables):
        claim = table.held.whole.get(key)
        if claim and claim.rule and (own := run.given_as(claim.rule, table.alias, key)):
            why = f"{message}: `{key}` is given as `{own}`"
            return PlanError([Problem(why, rule.place, f"write `{own}` for `{key}`")])
    some = patterns[:MOST_LOOKED_FOR]
    nears = [near for one in some if (near := search.nearest(one, outputs))]
    if nears:
        help = f"the nearest key that is given is `{nears[0]}`; {help}"
    return PlanError([Problem(message, rule.place, help)])


def _groups(rule: CompiledRule, outputs: Collection[str], vars: Vars) -> Iterable[tuple[str, ...]]:
    """The keys to tie: those that any of the patterns finds, each with its partners."""
    groups: dict[tuple[str, ...], None] = {}
    patterns = [readable(lookup, vars) for lookup in rule.lookups]
    finding = [one for one in patterns if one.literal is None]
    if not finding:  # names alone are one group, whichever of them is given
        finding = [one for one in patterns if one.literal in outputs][:1]
    for pattern in finding:
        for _, read in keys_like(pattern, outputs, rule, vars):
            keys = [written_key(pattern, read, vars) for pattern in rule.lookups]
            known = tuple(key for key in keys if key is not None)
            if len(known) == len(keys):
                groups.setdefault(known)
    return groups


def _tie(rule: CompiledRule, run: StageRun, keys: tuple[str, ...], given: Given) -> Ties:
    """Ties keys to the first of them that is given; the others become its tensor."""
    nodes, info = given.nodes, run.info(rule)
    known = [key for key in keys if key in nodes]
    leader = known[0]
    for key in known[1:]:
        if nodes[key].spec != nodes[leader].spec:
            specs = f"`{leader}` is {nodes[leader].spec}, `{key}` is {nodes[key].spec}"
            raise PlanError([Problem(f"`tie`: {specs}", rule.place, "tied keys are one tensor")])
    for key in keys:
        if key not in nodes:
            nodes[key], given.rules[key] = nodes[leader], info
    return {key: (leader, info) for key in keys if key != leader}
