"""The rules of a stage run in order: each kind of rule has its own way."""

from __future__ import annotations

from collections.abc import Iterable

from ckptsurgeon.language.patterns import Pattern
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import (
    BatchNorm,
    Drop,
    FoldBatchNorm,
    FreezeBatchNorm,
    Init,
    Keep,
    Move,
    Require,
)
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.batchnorm_folds import run_norms
from ckptsurgeon.planner.stage.batchnorm_units import run_batchnorm, vectors_beside
from ckptsurgeon.planner.stage.claims import initialise, keep
from ckptsurgeon.planner.stage.lookups import keys_named
from ckptsurgeon.planner.stage.moves import run_move
from ckptsurgeon.planner.stage.reading_keys import slice_of
from ckptsurgeon.planner.stage.requirements import check_requirement
from ckptsurgeon.planner.stage.slices import tell_overlaps
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.plans.fates import Claim, Fate
from ckptsurgeon.plans.graph import Node


def run_rules(run: StageRun) -> None:
    """Runs every rule of the stage; what is wrong is told to its `problems`."""
    _find_slices(run)
    whole = run.problems
    for rule in run.compiled.rules:
        run.problems = Problems()
        run.begin(rule)
        with run.problems.at(rule.place):
            _run_rule(run, rule)
        if run.problems:
            run.failed.add(rule.group)
        whole.take(run.problems)
    run.problems = whole
    tell_overlaps(run.tables, run.problems)


def _run_rule(run: StageRun, rule: CompiledRule) -> None:
    if isinstance(rule.rule, Move):
        run_move(run, rule)
    elif isinstance(rule.rule, BatchNorm):
        run_batchnorm(run, rule)
    elif isinstance(rule.rule, FoldBatchNorm | FreezeBatchNorm):
        run_norms(run, rule, rule.rule)
    elif isinstance(rule.rule, Drop):
        _drop(run, rule)
    elif isinstance(rule.rule, Require):
        _require(run, rule, rule.rule)
    elif isinstance(rule.rule, Keep | Init):
        _claim(run, rule, rule.rule)


def _find_slices(run: StageRun) -> None:
    """Notes the keys that any rule takes in slices: whole references pass over them.

    A rule that reuses takes nothing away, and so its slices don't count.
    """
    for rule in run.compiled.rules:
        for reader in rule.readers:
            if reader.index is not None and not rule.options.reuse:
                with run.problems.at(reader.place):
                    _note_slices(run, rule, reader)


def _note_slices(run: StageRun, rule: CompiledRule, reader: Reader) -> None:
    info, is_norm = run.info(rule), isinstance(rule.rule, BatchNorm)
    found = run.read(rule, reader)
    for match in found:
        for key in vectors_beside(match.key) if is_norm else (match.key,):
            match.table.held.sliced.setdefault(key, info)
    run.sliced[id(reader)] = found


# --- rules that move no tensor --------------------------------------------------------------------


def _drop(run: StageRun, rule: CompiledRule) -> None:
    claim = Claim(Fate.DROPPED, run.info(rule))
    for number, reader in enumerate(rule.readers):
        with run.problems.at(reader.place):
            index_of = slice_of(reader, run.vars_of(rule))
            for match in run.find(rule, number, reader):
                run.take(rule, claim, match, index_of(match))
                run.made[rule.group] += 1


def _require(run: StageRun, rule: CompiledRule, written: Require) -> None:
    found = run.read(rule, rule.readers[0])
    if found or rule.options.count is not None:
        run.alive[rule.group].add(0)
    run.made[rule.group] += len(found)
    check_requirement(rule, written, found, Scope({}, run.vars_of(rule)), run.problems)


def _claim(run: StageRun, rule: CompiledRule, written: Keep | Init) -> None:
    """`keep` and `init`: keys of the destination that no source tensor gives."""
    info = run.info(rule)
    for number, lookup in enumerate(rule.lookups):
        place = written.targets[number].place
        with run.problems.at(place):
            keys = keys_named(rule, lookup, written, run.destination, run.vars_of(rule))
            for key in _readable(run, written, lookup, keys):
                node: Node
                if isinstance(written, Keep):
                    node = keep(key, run.destination)
                else:
                    node = initialise(run, rule, written, key)
                run.alive[rule.group].add(number)
                run.made[rule.group] += 1
                run.claimed[key] = info
                run.production.give(key, node, info, place)


def _readable(
    run: StageRun, written: Keep | Init, lookup: Pattern, keys: Iterable[str]
) -> Iterable[str]:
    """The keys without those of a pattern that `keep` can't keep, which are told as findings."""
    destination = run.destination
    if destination is None or isinstance(written, Init) or lookup.literal is not None:
        return keys
    return (key for key in keys if destination.readable(key) is not None)
