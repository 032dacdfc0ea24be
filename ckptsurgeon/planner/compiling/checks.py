"""What can be wrong in the parts of a rule, told before any key is looked at."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence

from ckptsurgeon.errors import Place, nearest
from ckptsurgeon.language.expressions import OF_TENSOR, Expression, names_in, words_compared_to
from ckptsurgeon.language.patterns import (
    Capture,
    Kind,
    Literal,
    Pattern,
    Regex,
    is_plain_integer,
    name_groups,
)
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.reading.arguments import parameter_types
from ckptsurgeon.language.reading.scalars import near_dtype
from ckptsurgeon.language.rules import At, Listing, Move, Options, Tie, Var
from ckptsurgeon.ops import OPS, Arity, Op
from ckptsurgeon.ops.parameters import words_of
from ckptsurgeon.planner.compiling.captures import (
    CONDITION,
    NUMBER,
    check_expressions,
    check_names,
)
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.specs import BITS


def check_stars(targets: Sequence[At], read: Mapping[str, Capture], problems: Problems) -> None:
    """Tells targets with more stars than the sources have."""
    there = sum(name.startswith("*") for name in read)
    for target in targets:
        stars = sum(capture.star for capture in target.pattern.captures)
        if stars > there:
            problems.add(
                f"the target has {stars} star{'s' * (stars > 1)}, the source {there or 'none'}",
                target.place,
                "a star in a target stands for the source's, in order",
            )


def check_groups(sources: Sequence[At], targets: Sequence[At], problems: Problems) -> None:
    """Tells `$1` and `{1}` in a target, where they are meant for groups of a `re:`."""
    pieces = itertools.chain(*(at.pattern.pieces for at in sources))
    if not any(isinstance(one, Regex) and name_groups(one.text, "i") for one in pieces):
        return
    for target in targets:
        texts = [one.text for one in target.pattern.pieces if isinstance(one, Literal)]
        if found := next(filter(None, map(_GROUP_NUMBER.search, texts)), None):
            problems.add(
                f"`{found[0]}` stands for no group of a `re:`",
                target.place,
                "groups have names: `(?P<i>…)` in the source, `<i>` in the target",
            )


_GROUP_NUMBER = re.compile(r"\$\{?\d\}?|\{\d\}")


def check_ops(rule: Move, compiled: CompiledRule, problems: Problems) -> None:
    """Tells names in ops that have no one value for a step."""
    lost = {capture.name for capture in compiled.gathered}
    for call in rule.calls:
        names = names_in(call.arguments)
        joins = OPS[call.name].arity is Arity.JOIN
        for name in sorted(names & lost):
            help = f"what an op joins is its `over`: `{{{call.name}: {{over: {name}}}}}`"
            problems.add(
                f"{call.name}: `{name}` is gathered, so it has many values here",
                call.place,
                help if joins else "ops can use the captures of the target, and vars",
            )
        words = _words_among(OPS[call.name], names - lost - compiled.known)
        for name, parameter in words.items():
            problems.add(
                f"{call.name}: `{name}` is a word of `{parameter}`",
                call.place,
                f"write `{{{call.name}: {{{parameter}: {name}}}}}`",
            )
        check_names(names - lost - words.keys(), compiled.known, call.place, problems, NUMBER)


def _words_among(op: type[Op], names: Collection[str]) -> dict[str, str]:
    """The names that are words of a parameter, with that: `{adapt_input_channels: sum}`."""
    types = parameter_types(op).items()
    return {name: one for name in sorted(names) for one, kind in types if name in words_of(kind)}


def check_gathered(rule: CompiledRule, problems: Problems) -> None:
    """Tells gathered words that are numbered otherwise than in the order in which they stand."""
    for capture in rule.gathered:
        renamed = rule.options.map.get(capture.name)
        if isinstance(renamed, Listing):
            renamed = {one.old: one.new or "" for one in renamed.entries}
        if isinstance(renamed, Expression):
            problems.add(
                f"map: `{capture.name}` is gathered, and what `{renamed}` lists is not known yet",
                rule.options.places.get("map", rule.place),
                f"write its table: `map: {{{capture.name}: {{old: new}}}}`",
            )
            continue
        words = [word for word in capture.words if renamed is None or word.left in renamed]
        numbers = [renamed[word.left] if renamed else word.right for word in words]
        if all(map(is_plain_integer, numbers)) and numbers != [word.left for word in words]:
            order = sorted(range(len(words)), key=lambda at: int(numbers[at]))
            if order != list(range(len(words))):
                wanted = "|".join(words[at].left for at in order)
                problems.add(
                    f"`{capture.name}` is gathered, in the order in which its words stand",
                    rule.place,
                    f"write them in the order that is meant: `<{capture.name}:{wanted}>`",
                )


def check_where(rule: CompiledRule, problems: Problems) -> None:
    """Tells a gathered name of a condition that no reference can answer alone."""
    for capture in rule.gathered:
        if rule.where_by_step and capture.name in rule.where_names:
            problems.add(
                f"where: `{capture.name}` is gathered, and one reference alone has it",
                rule.options.places.get("where", rule.place),
                "a condition over several references asks for captures that the target has",
            )


def check_options(
    options: Options,
    read: Mapping[str, Capture],
    vars: Mapping[str, Var],
    place: Place,
    problems: Problems,
    *,
    has_tensor: bool = True,
) -> None:
    """Tells names in `where`, `count`, `map` and `pick` that are nothing here."""
    at = options.places
    if options.where is not None:
        place_of = at.get("where", place)
        looks = OF_TENSOR if has_tensor else ()
        check_names(options.where.names, {*read, *vars, *looks}, place_of, problems, CONDITION)
        if has_tensor and not {"dtype"} & {*read, *vars}:
            _check_dtypes(options.where, place_of, problems)
    check_expressions(options.count, vars, at.get("count", place), problems)
    for word, table in (("map", options.map), ("pick", options.pick)):
        for name, given in table.items():
            _check_table(word, name, read, at.get(word, place), problems)
            place_of = at.get(word, place)
            check_names(names_in(given), {*read, *vars}, place_of, problems, NUMBER)
    for name in options.map.keys() & options.pick.keys():
        problems.add(
            f"`map` and `pick` of `{name}`",
            at.get("map", place),
            "`pick` numbers it anew: leave one of them out",
        )


def _check_dtypes(where: Expression, place: Place, problems: Problems) -> None:
    """Tells words that `dtype` is compared to, and that are no dtype's code."""
    for word in words_compared_to("dtype", where.root):
        if word not in BITS:
            problems.add(f"where: unknown dtype {word!r}", place, near_dtype(word))


def _check_table(
    word: str, name: str, read: Mapping[str, Capture], place: Place, problems: Problems
) -> None:
    if name not in read:
        shown = [known for known in read if not known.startswith("*")]
        help = nearest(name, shown) or f"the source's captures: {', '.join(shown) or 'none'}"
        problems.add(f"{word}: `{name}` is no capture of the source", place, help)
    elif word == "pick" and read[name].kind is not Kind.INT:
        problems.add(
            f"pick: `{read[name]}` is no integer", place, "pick takes and numbers integers"
        )


def check_flat(references: Sequence[At], word: str, problems: Problems) -> None:
    """Tells paths without dots where no names are known by which they could be read."""
    for at in references:
        for capture in at.captures:
            if capture.separator is not None:
                problems.add(
                    f"`{capture}` in {word}, which knows no names to read it by",
                    at.place,
                    f"`{capture}` stands in arrows, blocks and the prefixes around them; `*` is a "
                    "piece of any text",
                )


def check_names_alone(rule: CompiledRule, problems: Problems) -> None:
    """Tells captures of `for` that nothing uses, which would make the same step many times."""
    options = rule.options
    used = {*options.map, *options.pick, *names_in((options.map, options.pick))}
    used |= {*(options.where.names if options.where else ()), *rule.steps_by}
    used = used.union(*(reader.names for reader in rule.readers))
    for reader in rule.namers:
        for capture in (*reader.alias.captures, *reader.keys.captures):
            if not (capture.nameless or capture.star or capture.name in used):
                kind = {Kind.PATH: "path", Kind.TEXT: "str"}.get(capture.kind, "int")
                problems.add(
                    f"`<{capture.name}>` is in `for` alone",
                    reader.place,
                    f"write it in the target, or `<_:{kind}>` where it doesn't matter",
                )


def check_varied(rule: CompiledRule, problems: Problems) -> None:
    """Tells a `map` or a `pick` by captures that a reference lacks."""
    options = rule.options
    for word, table in (("map", options.map), ("pick", options.pick)):
        for name, given in table.items():
            for reader in rule.all_readers if name in rule.captures else ():
                needed = (names_in(given) & frozenset(rule.captures)) - reader.names
                for lacking in sorted(needed if name in reader.names else ()):
                    problems.add(
                        f"{word} of `{name}` needs `{lacking}`, which `{reader.text}` lacks",
                        options.places.get(word, rule.place),
                        f"capture `<{lacking}>` there, too",
                    )


def check_tie(rule: Tie, lookups: Sequence[Pattern], problems: Problems) -> None:
    """Tells a tie of one key, and captures that give keys no partner."""
    if len(lookups) < 2:
        problems.add(
            "`tie` of one key", rule.place, "name the keys that are one tensor: two or more"
        )
    for at, lookup in zip(rule.targets, lookups, strict=True):
        for capture in lookup.captures:
            if capture.nameless:
                problems.add(
                    f"`{capture}` in a `tie`", at.place, "name it, so that each key has its partner"
                )
