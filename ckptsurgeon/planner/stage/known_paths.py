"""The paths by which keys without their dots are read: those that `for` or the destination has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from ckptsurgeon.errors import PlanError, Problem
from ckptsurgeon.language.patterns import Capture, compile_pattern
from ckptsurgeon.language.patterns.matching import flatten_paths
from ckptsurgeon.language.patterns.readings import Paths
from ckptsurgeon.language.rules import At
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.stage.lookups import readable
from ckptsurgeon.planner.stage.reading_keys import match_keys
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.plans.account import Note
from ckptsurgeon.specs import plural
from ckptsurgeon.wording import argument


def find_paths(run: StageRun) -> None:
    """Gives the rules of a stage that read keys without dots the paths that these may be."""
    rules = tuple(_with_paths(run, rule) for rule in run.compiled.rules)
    run.compiled = replace(run.compiled, rules=rules)


def _with_paths(run: StageRun, rule: CompiledRule) -> CompiledRule:
    if not any(reader.keys.flat for reader in rule.readers):
        return rule
    try:
        readers = tuple(_reader_with_paths(run, rule, reader) for reader in rule.readers)
    except PlanError as error:
        run.problems.take(error.problems)
        run.failed.add(rule.group)
        return rule
    return replace(rule, readers=readers)


def _reader_with_paths(run: StageRun, rule: CompiledRule, reader: Reader) -> Reader:
    paths: dict[str, Paths] = {}
    for capture in reader.keys.flat:
        found, origin = _known(run, rule, reader, capture)
        paths[capture.name] = flatten_paths(found, capture)
        text = f"`{capture}` is read by the {plural(len(found), 'name')} that {origin} has"
        run.said.append(Note("names", text, rule=run.info(rule)))
    return replace(reader, keys=replace(reader.keys, paths=paths))


def _known(
    run: StageRun, rule: CompiledRule, reader: Reader, capture: Capture
) -> tuple[Sequence[str], str]:
    """The paths that a capture may stand for, and where they were found."""
    namers = [one for one in rule.namers if capture.name in one.names]
    if namers:
        return list(dict.fromkeys(_in_names(run, namers, capture))), "`for`"
    targets = naming_targets(rule, capture)
    if not targets and run.wanted is not None:
        help = f"write `<{capture.name}>` with its dots in the target, or give names by `for:`"
        text = f"`{capture}` is read by names that are known, and no target has it with its dots"
        raise PlanError([Problem(text, reader.place, help)])
    if not targets or run.wanted is None:
        raise PlanError(
            [
                Problem(
                    f"`{capture}` is read by names that are known",
                    reader.place,
                    f"give them by {argument('into', 'DST')}, or by `for:`, as `for: KEYS` with "
                    f"`<{capture.name}:path>`",
                )
            ]
        )
    found = (path for at in targets for path in _in_destination(run, rule, at, capture))
    return list(dict.fromkeys(found)), "the destination"


def naming_targets(rule: CompiledRule, capture: Capture) -> list[At]:
    """The targets that have a path as it is, so that keys of the destination tell it."""

    def is_path(one: Capture) -> bool:
        return one.name == capture.name and one.separator is None

    return [at for at in rule.targets if any(map(is_path, at.pattern.captures))]


def _in_names(run: StageRun, namers: Sequence[Reader], capture: Capture) -> Iterator[str]:
    for reader in namers:
        at = reader.columns.index(capture.name)
        for _, found in match_keys(reader, run.tables_of(reader)):
            yield from (str(row[at]) for _, row in found)


def _in_destination(
    run: StageRun, rule: CompiledRule, target: At, capture: Capture
) -> Iterator[str]:
    """What a capture is in the destination's keys that a target may name."""
    matcher = compile_pattern(readable(target.pattern, run.vars_of(rule)))
    read, at = matcher.row_reader(), matcher.columns.index(capture.name)
    for key in run.wanted.candidates(matcher) if run.wanted else ():
        row = read(key)
        if row is not None:
            yield str(row[at])
