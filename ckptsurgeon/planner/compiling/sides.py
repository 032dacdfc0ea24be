"""The two sides of a rule behind their prefixes: what it reads, and what its targets need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ckptsurgeon.errors import Place
from ckptsurgeon.language.patterns import Capture, Kind, Pattern, compile_pattern
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import At, Move, Var
from ckptsurgeon.planner.compiling.captures import (
    Written,
    check_names,
    has_regex,
    names_needed,
    resolve,
)
from ckptsurgeon.planner.compiling.compiled import Reader, Target
from ckptsurgeon.planner.compiling.unfolding import Context, join_alias


def placed(references: Sequence[At], prefix: Pattern) -> list[Written]:
    """References behind their prefix."""
    return [
        Written(at.reference.pattern.after(prefix), at.place, at.reference.index)
        for at in references
    ]


def all_read(
    sources: Sequence[At], placed: Sequence[Written], context: Context
) -> Iterable[Written]:
    """What a rule reads, aliases first, in order of mention."""
    for at, written in zip(sources, placed, strict=True):
        alias = at.reference.alias or context.alias
        if alias is not None:
            yield Written(alias, at.place)
        yield written


def readers_of(
    sources: Sequence[At],
    placed: Sequence[Written],
    context: Context,
    read: Mapping[str, Capture],
    problems: Problems,
) -> tuple[Reader, ...]:
    readers = []
    for at, written in zip(sources, placed, strict=True):
        alias = join_alias(context.alias, at.reference, at.place, problems) or Pattern(())
        pattern = resolve(written.pattern, read)
        index, place = at.reference.index, at.place
        if index is not None:
            check_names(index.names, {*read, *(context.vars or {})}, place, problems)
        with problems.at(place):
            names = {c.name for p in (alias, pattern) for c in p.captures if not c.nameless}
            alias_matcher = compile_pattern(resolve(alias, read))
            matcher = compile_pattern(pattern)
            text = at.reference.text
            readers.append(
                Reader(alias_matcher, pattern, matcher, index, place, text, frozenset(names))
            )
    return tuple(readers)


def targets_of(rule: Move, context: Context, problems: Problems) -> list[Written]:
    """The targets behind their prefix; without `to`, the pattern of `from`."""
    for at in rule.targets:
        if at.reference.alias is not None:
            problems.add("a target has no alias: there is one output", at.place)
    if rule.targets:
        return placed(rule.targets, context.target)
    if len(rule.sources) > 1:
        problems.add("several references and no `to`", rule.place, "name the target: `to: KEY`")
    pattern = rule.sources[0].reference.pattern
    if has_regex(pattern):
        problems.add("a `re:` and no `to`", rule.place, "name the target: `to: KEY`")
        return []
    return [Written(pattern.after(context.target), rule.sources[0].place)]


def names_of_targets(
    targets: Sequence[Target],
    known: Mapping[str, Capture],
    vars: Mapping[str, Var],
    problems: Problems,
) -> frozenset[str]:
    """All names that the targets use; tells those that are nothing."""
    needed: set[str] = set()
    for target in targets:
        names = names_needed(target.pattern) | (target.index.names if target.index else set())
        stars = {name for name in names if name.startswith("*")}
        check_names(names - stars, {*known, *vars}, target.place, problems)
        needed |= names
    return frozenset(needed)


def gathered_captures(
    read: Mapping[str, Capture], needed: frozenset[str], place: Place, problems: Problems
) -> tuple[Capture, ...]:
    """The captures that only sources have; text can't be gathered."""
    gathered = []
    for name, capture in read.items():
        if name in needed:
            continue
        if capture.kind in (Kind.TEXT, Kind.PATH):
            written = "path" if capture.kind is Kind.PATH else "str"
            problems.add(
                f"`{capture}` matches text that no target uses",
                place,
                f"write it in the target too, or `<_:{written}>` where it doesn't matter",
            )
        else:
            gathered.append(capture)
    return tuple(gathered)
