"""The two sides of a rule behind their prefixes: what it reads, and what its targets need."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import replace

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.errors import Place
from ckptsurgeon.language.expressions import OF_TENSOR, names_in
from ckptsurgeon.language.patterns import (
    Capture,
    Formula,
    Kind,
    Literal,
    Pattern,
    Regex,
    compile_pattern,
)
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import At, Init, Move
from ckptsurgeon.planner.compiling.captures import NUMBER, TARGET, check_names, resolve
from ckptsurgeon.planner.compiling.compiled import Reader
from ckptsurgeon.planner.compiling.unfolding import NOTHING, Context, join_alias, number_stars
from ckptsurgeon.plans.addresses import COLONS


def place_source(at: At, context: Context, problems: Problems) -> At:
    """A reference that reads keys, behind its prefix and with its alias."""
    own, alias = number_stars(context, at, at.place, problems)
    return replace(at, pattern=Pattern(context.source.pieces + own.pieces), alias=alias)


def place_names(rule: Move | Init, context: Context, problems: Problems) -> list[At]:
    """The references of `for` behind their prefix: the source's, or the target's of `dst::`."""
    placed = []
    for at in rule.names:
        if at.alias is None or at.alias.literal != DESTINATION:
            placed.append(place_source(at, context, problems))
            continue
        if any(isinstance(piece, Formula) for piece in context.target.pieces):
            message = f"`{at}` behind the prefix `{context.target}`, whose formula reads no keys"
            problems.add(message, at.place, "put the rule beside that `within`, with whole keys")
        placed.append(replace(at, pattern=at.pattern.after(context.target)))
    return placed


def place_target(at: At, context: Context, problems: Problems) -> At:
    """A reference that names keys, behind its prefix; the name of its output is in the pattern."""
    alias = join_alias(context.output, at, at.place, problems, "an output")
    pattern = at.pattern.after(context.target)
    if alias is not None:
        pattern = Pattern((*alias.pieces, Literal(COLONS), *pattern.pieces))
    return replace(at, pattern=pattern, alias=alias)


def readers_of(
    sources: Sequence[At], read: Mapping[str, Capture], known: Collection[str], problems: Problems
) -> tuple[Reader, ...]:
    """What reads the keys of references that are placed; tells unknown names of their slices."""
    readers = []
    for at in sources:
        pattern = resolve(at.pattern, read)
        own = {capture.name for capture in at.captures}
        names, elsewhere = names_in(at.index), set(read) - own
        for name in sorted(names & elsewhere):
            problems.add(
                f"`{name}` is captured, and not in `{at.text}`, of which this is a slice",
                at.place,
                "a slice knows the captures of its reference; the op `slice` knows all of a step",
            )
        check_names(names - elsewhere, {*known, *OF_TENSOR}, at.place, problems, NUMBER)
        with problems.at(at.place):
            named = resolve(at.alias or NOTHING, read)
            alias, matcher = compile_pattern(named), compile_pattern(pattern)
            readers.append(Reader(alias, named, pattern, matcher, at.index, at.place, at.text))
    return tuple(readers)


def targets_of(rule: Move, context: Context, problems: Problems) -> list[At]:
    """The targets behind their prefix; without `to`, the pattern of `from`."""
    if rule.targets:
        return [place_target(at, context, problems) for at in rule.targets]
    if len(rule.sources) > 1:
        problems.add("several references and no `to`", rule.place, "name the target: `to: KEY`")
    source = rule.sources[0]
    if any(isinstance(piece, Regex) for piece in source.pattern.pieces):
        problems.add("a `re:` and no `to`", rule.place, "name the target: `to: KEY`")
        return []
    return [place_target(At(source.pattern, place=source.place), context, problems)]


def resolve_target(at: At, known: Mapping[str, Capture]) -> At:
    """A target whose captures are resolved; its text is what it was, behind its prefix."""
    if at.alias is None:
        text = f"{at.pattern}{at.index or ''}"
        return replace(at, pattern=resolve(at.pattern, known), text=text)
    key = Pattern(at.pattern.pieces[len(at.alias.pieces) + 1 :])
    return replace(
        at,
        pattern=resolve(at.pattern, known),
        alias=resolve(at.alias, known),
        text=f"{at.alias}{COLONS}{key}{at.index or ''}",
    )


def names_of_targets(
    targets: Sequence[At], known: Collection[str], problems: Problems
) -> frozenset[str]:
    """All names that the targets use; tells those that are nothing."""
    needed: set[str] = set()
    for target in targets:
        in_slice = names_in(target.index)
        check_names(target.pattern.names, known, target.place, problems, TARGET)
        check_names(in_slice, {*known, *OF_TENSOR}, target.place, problems, TARGET)
        needed |= target.pattern.names | in_slice
    return frozenset(needed)


def gathered_captures(
    read: Mapping[str, Capture],
    readers: Sequence[Reader],
    needed: frozenset[str],
    place: Place,
    problems: Problems,
) -> tuple[Capture, ...]:
    """The captures that only sources have; text can't be gathered."""
    gathered = []
    own = frozenset().union(*(reader.names for reader in readers))
    for name, capture in read.items():
        if name in needed or name not in own:
            continue
        if capture.kind in (Kind.TEXT, Kind.PATH):
            written = "path" if capture.kind is Kind.PATH else "str"
            problems.add(
                f"`{capture}` matches text that no target uses",
                place,
                f"write it in the target too, or `<_:{written}>` where it doesn't matter; what is "
                f"joined are integers, `<{'i' if capture.star else name}>`, or words",
            )
        else:
            gathered.append(capture)
    return tuple(gathered)
