"""Outputs by their aliases: what holds for which, and which of them are held against something."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import Place, Problem, nearest
from ckptsurgeon.language.patterns import Matcher, compile_pattern, parse_alias
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import At, OutputOptions
from ckptsurgeon.planner.compiling.captures import find_kinds, resolve
from ckptsurgeon.planner.compiling.compiled import CompiledRule, CompiledStage
from ckptsurgeon.planner.scope import Vars
from ckptsurgeon.planner.stage.lookups import readable
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.addresses import COLONS
from ckptsurgeon.wording import argument

T = TypeVar("T")

VarsOf = Callable[[CompiledRule], Vars]

MOST_NAMED = 4
"""Outputs that an error names."""


def of_alias(values: Mapping[str, T], alias: str) -> T | None:
    """What holds for an output: by its alias, by a pattern that matches it, else for all."""
    if alias in values:
        return values[alias]
    named = (value for name, value in values.items() if name and _reads(name, alias))
    return next(named, values.get(""))


def separator_of(options: OutputOptions, alias: str) -> str:
    """What stands for dots in the keys of an output."""
    return of_alias(options.separators, alias) or "."


def _reads(name: str, alias: str) -> bool:
    """Whether a pattern of aliases matches one."""
    return _matcher(name).match(alias) is not None


@lru_cache(256)  # for all outputs
def _matcher(name: str) -> Matcher:
    """What matches the aliases of a pattern, its bare names being integers."""
    pattern = parse_alias(name)
    kinds, _ = find_kinds([At(pattern, place=Place("", 0, 0))], (), (), Problems())
    return compile_pattern(resolve(pattern, kinds))


def strange_aliases(options: OutputOptions, aliases: Collection[str]) -> Iterator[Problem]:
    """Outputs that `output` names, and that the rules don't give."""
    for name, place in options.places.items():
        if not any(name == alias or _reads(name, alias) for alias in aliases):
            there = list_some(
                (f"`{one}`" if one else "one without a name" for one in aliases), MOST_NAMED
            )
            yield Problem(f"no output is called `{name}`", place, f"the rules give {there}")


def unnamed_destination(
    held: Collection[str], given: Collection[str], place: Place
) -> Iterator[Problem]:
    """A destination without a name where all outputs have one."""
    if "" in held and given and "" not in given:
        there = list_some((f"`{one}`" for one in given), MOST_NAMED)
        into = argument("into", "ALIAS=PATH", "{ALIAS: path}")
        text = "the destination has no name, and nothing goes to an output without one"
        yield Problem(text, place, f"say whose it is by {into}: the outputs are {there}")


def colon_slips(compiled: CompiledStage, known: Collection[str]) -> Iterator[Problem]:
    """Targets such as `decoder:x.w`, where `decoder` is the name of an output."""
    for rule in compiled.rules:
        for target in rule.targets:
            name, colon, key = str(target.pattern).partition(":")
            if target.alias is None and colon and name in known:
                text = f"`{target.text}`: `{COLONS}` stands between an output's name and a key"
                yield Problem(text, target.place, f"write `{name}{COLONS}{key}`")


def misnamed_outputs(
    held: Collection[str], given: Collection[str], lacking: Collection[str]
) -> Iterator[Note]:
    """Outputs without a destination, where a name like theirs has one, and lacks keys."""
    near = {alias: nearest(alias, lacking) for alias in given if alias not in held}
    strange = [alias for alias, meant in near.items() if meant]
    if strange:
        text = f"`{strange[0]}` is held against no destination; {near[strange[0]]}"
        others = len(strange) - 1
        yield Note("outputs", f"{text}; {others} more likewise" if others else text)


def partly_held(
    compiled: CompiledStage, aliases: Collection[str], held: Collection[str], vars_of: VarsOf
) -> Iterator[Problem]:
    """Outputs of one pattern of which some are held against a destination, and others are not."""
    told: set[tuple[str, ...]] = set()
    for rule in compiled.rules:
        for target in rule.targets:
            if target.alias is None:
                continue
            read = compile_pattern(readable(target.alias, vars_of(rule))).match
            own = [alias for alias in aliases if read(alias) is not None]
            bare = [alias for alias in own if alias not in held]
            if bare and len(bare) < len(own) and tuple(bare) not in told:
                told.add(tuple(bare))
                has = list_some([alias for alias in own if alias in held], MOST_NAMED)
                into = argument("into", f"{bare[0]}=PATH", f"{{{bare[0]!r}: path}}")
                near = nearest(bare[0], [alias for alias in held if alias not in own])
                text = f"{list_some(bare, MOST_NAMED)}: no destination, as {has} got"
                yield Problem(text, target.place, near or f"give it by {into}")
