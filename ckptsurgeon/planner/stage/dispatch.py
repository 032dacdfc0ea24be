"""The rules of a stage run in order: each kind of rule has its own way."""

from __future__ import annotations

from collections.abc import Iterable

from ckptsurgeon.errors import PatternError
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
    Table,
)
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.at_hand import AtHand
from ckptsurgeon.planner.stage.batchnorm_folds import run_norms
from ckptsurgeon.planner.stage.batchnorm_units import run_batchnorm, vectors_beside
from ckptsurgeon.planner.stage.claims import initialise, keep
from ckptsurgeon.planner.stage.grouping import named_steps
from ckptsurgeon.planner.stage.known_paths import find_paths
from ckptsurgeon.planner.stage.lookups import Named, keys_named
from ckptsurgeon.planner.stage.moves import run_move
from ckptsurgeon.planner.stage.reading_keys import name_keys, slice_of
from ckptsurgeon.planner.stage.requirements import check_requirement
from ckptsurgeon.planner.stage.slices import tell_overlaps
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.table_rules import run_table
from ckptsurgeon.planner.stage.targets import write_target
from ckptsurgeon.plans.addresses import COLONS, check_unnamed
from ckptsurgeon.plans.fates import Claim, Fate
from ckptsurgeon.plans.graph import Node


def run_rules(run: StageRun) -> None:
    """Runs every rule of the stage; what is wrong is told to its `problems`."""
    find_paths(run)
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
    elif isinstance(rule.rule, Table):
        run_table(run, rule, rule.rule)
    elif isinstance(rule.rule, BatchNorm):
        run_batchnorm(run, rule)
    elif isinstance(rule.rule, FoldBatchNorm | FreezeBatchNorm):
        run_norms(run, rule, rule.rule)
    elif isinstance(rule.rule, Drop):
        _drop(run, rule)
    elif isinstance(rule.rule, Require):
        _require(run, rule, rule.rule)
    elif isinstance(rule.rule, Init) and rule.namers:
        _initialise_named(run, rule, rule.rule)
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
    vars = run.vars_of(rule)
    for number, lookup in enumerate(rule.lookups):
        target = written.targets[number]
        with run.problems.at(target.place):
            if isinstance(written, Keep) and not rule.aliased[number]:
                _refuse_unnamed(run, lookup)
            keys = keys_named(rule, lookup, written, run.destination, vars)
            for key, captures in _readable(run, written, lookup, keys):
                run.alive[rule.group].add(number)
                if isinstance(written, Keep):
                    _give(run, rule, written, number, key, keep(key, run.destination))
                else:
                    if run.compiled.is_named and not rule.aliased[number]:
                        check_unnamed(key)
                    _initialise(run, rule, written, number, key, Scope(captures, vars))


def _refuse_unnamed(run: StageRun, lookup: Pattern) -> None:
    """Raises PatternError where keys of an output without a name are meant, and there is none."""
    if not run.compiled.is_named or "" in run.held:
        return
    targets = (one.alias for rule in run.compiled.rules for one in rule.targets)
    alias = next((one for one in targets if one is not None), None)
    help = f"write `{alias}{COLONS}{lookup}`" if alias is not None else ""
    raise PatternError("there is no output without a name", help=help)


def _readable(
    run: StageRun, written: Keep | Init, lookup: Pattern, keys: Iterable[Named]
) -> Iterable[Named]:
    """The keys without those of a pattern that `keep` can't keep, which are told as findings."""
    destination = run.destination
    if destination is None or isinstance(written, Init) or lookup.literal is not None:
        return keys
    return ((key, of) for key, of in keys if destination.readable(key) is not None)


def _initialise_named(run: StageRun, rule: CompiledRule, written: Init) -> None:
    """An `init` of the keys that `for` names: one for each of its values."""
    vars, names = run.vars_of(rule), [run.names(rule, n) for n in range(len(rule.namers))]
    numbers = (written.fill, written.std, written.seed, written.shape)
    at_hand = AtHand(rule, (numbers, tuple(at.index for at in rule.targets)), vars)
    columns = (*rule.step_columns, *at_hand.names)
    named = run.compiled.is_named
    write = [write_target(target, columns, vars, is_named=named) for target in rule.targets]
    for values, matches in named_steps(rule, names, vars) if all(names) else ():
        with run.problems.at(rule.place, f"{name_keys(matches[:1])}: "):
            row = (*values, *at_hand.values(values, matches))
            scope = Scope(dict(zip(columns, row, strict=True)), vars)
            for number, key in enumerate(write):
                _initialise(run, rule, written, number, key(row), scope)


def _initialise(
    run: StageRun, rule: CompiledRule, written: Init, number: int, key: str, scope: Scope
) -> None:
    index = written.targets[number].index
    part = None if index is None else index.evaluate(scope)
    _give(run, rule, written, number, key, initialise(run, written, key, part, scope), part)


def _give(
    run: StageRun,
    rule: CompiledRule,
    written: Keep | Init,
    number: int,
    key: str,
    node: Node,
    index: Index | None = None,
) -> None:
    """Notes that the destination's, or a new tensor is what a key, or a part of it, gets."""
    info, place = run.info(rule), written.targets[number].place
    run.made[rule.group] += 1
    if index is None:
        run.claimed[key] = info
    run.production.give(key, node, info, place, index)
