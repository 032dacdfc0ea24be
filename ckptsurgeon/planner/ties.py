"""Output keys that share one storage: by `tie` rules, and where the source's keys were tied."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import replace

from ckptsurgeon.errors import PlanError, Problem
from ckptsurgeon.planner.compiled import CompiledRule
from ckptsurgeon.planner.lookups import keys_like, readable, written_key
from ckptsurgeon.planner.model import Leaf, Note, Output, SourceView
from ckptsurgeon.planner.scope import Vars
from ckptsurgeon.planner.stage import StageRun
from ckptsurgeon.planner.tables import Origin
from ckptsurgeon.ruleset.model import Tie


def tie_outputs(run: StageRun, origins: MutableMapping[str, Origin]) -> dict[str, str]:
    """The ties that the stage's rules make: key -> the key whose storage it shares.

    A tied key that nothing gives becomes the tensor of the first one that is given.
    """
    ties: dict[str, str] = {}
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
) -> dict[str, str]:
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
    return {key: leader for key in keys if key != leader}


def carried_ties(outputs: Mapping[str, Output], sources: Iterable[SourceView]) -> dict[str, str]:
    """Ties of the source that hold in the output: whole tensors that shared a storage."""
    groups: dict[tuple[str, str], int] = {}
    numbers = itertools.count()
    for view in sources:
        for keys in _aliases(view):
            number = next(numbers)
            groups.update(((view.alias, key), number) for key in keys)
    leaders: dict[int, str] = {}
    ties: dict[str, str] = {}
    for key, output in outputs.items():
        node = output.node
        group = groups.get((node.source, node.key)) if isinstance(node, Leaf) else None
        if group is not None and (leader := leaders.setdefault(group, key)) != key:
            ties[key] = leader
    return ties


def template_ties(outputs: Mapping[str, Output], destination: SourceView) -> dict[str, str]:
    """Ties of the destination that hold in the output: keys that are given one tensor."""
    ties: dict[str, str] = {}
    for leader, *others in _aliases(destination):
        if leader in outputs:
            node = outputs[leader].node
            same = (key for key in others if key in outputs and outputs[key].node is node)
            ties |= dict.fromkeys(same, leader)
    return ties


def broken_ties(
    outputs: Mapping[str, Output], ties: Mapping[str, str], destination: SourceView
) -> Iterator[Note]:
    """Ties of the destination that the output does not keep: which value wins, loading decides."""
    for leader, *others in _aliases(destination):
        for key in others:
            apart = key in outputs and leader in outputs
            if apart and ties.get(key, key) != ties.get(leader, leader):
                text = f"tied to `{leader}` in the destination, and given another tensor here"
                yield Note("untied", text, key, outputs[key].rule)


def _aliases(view: SourceView) -> Iterable[tuple[str, ...]]:
    """The groups of tied keys in the names that the rules see."""
    if not view.contents.aliases:
        return ()
    keys = {name: key for key, name in view.names.items()}
    return (tuple(keys[name] for name in group) for group in view.contents.aliases)
