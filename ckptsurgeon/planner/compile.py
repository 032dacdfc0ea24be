"""Rules as written made into rules that can be run: captures resolved, grids traced, names checked.

Nothing here looks at a checkpoint, so all that this finds wrong, `ckptsurgeon check` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.errors import Place, RulesetError, nearest
from ckptsurgeon.patterns import (
    Capture,
    Formula,
    Index,
    Kind,
    Literal,
    Matcher,
    Pattern,
    Piece,
    compile_pattern,
)
from ckptsurgeon.planner.captures import (
    Written,
    check_names,
    expressions_of,
    find_kinds,
    has_regex,
    names_needed,
    resolve,
)
from ckptsurgeon.planner.grid import PlacedOp, Shape, trace
from ckptsurgeon.planner.problems import Problems
from ckptsurgeon.planner.unfold import Context, PlacedRule, PlainRule, join_alias, unfold
from ckptsurgeon.ruleset.model import (
    At,
    BatchNorm,
    Drop,
    Init,
    Keep,
    Move,
    Options,
    Require,
    Ruleset,
    Stage,
    Tie,
    Var,
)

BATCHNORM_VECTORS = ("weight", "bias", "running_mean", "running_var")
BATCHNORM_PARTS = (*BATCHNORM_VECTORS, "num_batches_tracked")


@dataclass(frozen=True, slots=True)
class Reader:
    """A reference that reads keys. `alias` matches the source's alias, "" being the unnamed one."""

    alias: Matcher
    pattern: Pattern
    keys: Matcher
    index: Index | None
    place: Place
    text: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Target:
    """A reference that names output keys, its captures resolved."""

    pattern: Pattern
    index: Index | None
    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule of one stage, ready to look for its keys.

    `steps_by` are the captures that name a step, `gathered` those that only sources have, in order
    of mention, `spread` those that only targets have. `lookups` read destination or output keys.
    """

    rule: PlainRule
    group: int
    vars: Mapping[str, Var]
    readers: tuple[Reader, ...] = ()
    targets: tuple[Target, ...] = ()
    lookups: tuple[Pattern, ...] = ()
    ops: tuple[PlacedOp, ...] = ()
    captures: Mapping[str, Capture] | None = None
    steps_by: frozenset[str] = frozenset()
    gathered: tuple[Capture, ...] = ()
    spread: tuple[Capture, ...] = ()

    @property
    def where_names(self) -> frozenset[str]:
        """The captures that `where` looks at."""
        where = self.options.where
        return where.names & frozenset(self.captures or ()) if where else frozenset()

    @property
    def where_by_step(self) -> bool:
        """Whether `where` needs captures of several references, and so a whole step."""
        return not any(self.where_names <= reader.names for reader in self.readers)

    @property
    def options(self) -> Options:
        return self.rule.options

    @property
    def place(self) -> Place:
        return self.rule.place


@dataclass(frozen=True, slots=True)
class CompiledStage:
    stage: Stage
    rules: tuple[CompiledRule, ...]


def compile_rulesets(rulesets: Sequence[Ruleset]) -> tuple[CompiledStage, ...]:
    """All stages of all rule files, in order; raises RulesetError with every problem."""
    problems = Problems()
    stages = [stage for ruleset in rulesets for stage in ruleset.stages]
    compiled = tuple(compile_stage(stage, problems) for stage in stages)
    for stage in compiled[:-1]:
        _refuse_destination(stage, problems)
    problems.raise_if_any(RulesetError)
    return compiled


def compile_stage(stage: Stage, problems: Problems) -> CompiledStage:
    rules = (_compile(placed, problems) for placed in unfold(stage.rules, stage.vars, problems))
    return CompiledStage(stage, tuple(rule for rule in rules if rule is not None))


def _refuse_destination(stage: CompiledStage, problems: Problems) -> None:
    for rule in stage.rules:
        if isinstance(rule.rule, Keep | Init):
            word = "keep" if isinstance(rule.rule, Keep) else "init"
            problems.add(
                f"`{word}` before the last stage",
                rule.place,
                "the last stage alone sees the destination: move it there",
            )


def _compile(placed: PlacedRule, problems: Problems) -> CompiledRule | None:
    rule, context, before = placed.rule, placed.context, len(problems)
    with problems.at(rule.place):
        compiled = _by_kind(rule, context, placed.group, problems)
        if len(problems) == before:
            return compiled
    return None


def _by_kind(
    rule: PlainRule, context: Context, group: int, problems: Problems
) -> CompiledRule | None:
    if isinstance(rule, Move):
        return _move(rule, context, group, problems)
    if isinstance(rule, BatchNorm):
        return _batchnorm(rule, context, group, problems)
    if isinstance(rule, Drop):
        return _reading(rule, rule.sources, context, group, problems)
    if isinstance(rule, Require):
        return _reading(rule, (rule.source,), context, group, problems)
    return _looking(rule, context, group, problems)


# --- each kind of rule ----------------------------------------------------------------------------


def _move(rule: Move, context: Context, group: int, problems: Problems) -> CompiledRule | None:
    sources = _placed(rule.sources, context.source)
    targets = _targets_of(rule, context, problems)
    vars = context.vars or {}
    read, spread = find_kinds(_all_read(rule.sources, sources, context), targets, vars, problems)
    known = {**read, **spread}
    compiled_targets = tuple(
        Target(resolve(written.pattern, known), written.index, written.place, str(written.pattern))
        for written in targets
    )
    needed = _needed(compiled_targets, known, vars, problems)
    _check_stars(compiled_targets, read, problems)
    gathered = _gathered(read, needed, rule.place, problems)
    _check_ops(rule, {*read}, gathered, vars, problems)
    _check_options(rule.options, read, vars, rule.place, problems)
    readers = _readers(rule.sources, sources, context, read, problems)
    _check_where_by_step(rule, readers, gathered, problems)
    shape = Shape(
        tuple(tuple(c.name for c in gathered if c.name in reader.names) for reader in readers),
        tuple(spread),
        len(compiled_targets),
        known,
        {*read, *vars},
    )
    return CompiledRule(
        rule,
        group,
        vars,
        readers=readers,
        targets=compiled_targets,
        ops=trace(shape, rule.ops, rule.place, problems),
        captures=known,
        steps_by=frozenset(read) & needed,
        gathered=gathered,
        spread=tuple(spread.values()),
    )


def _batchnorm(
    rule: BatchNorm, context: Context, group: int, problems: Problems
) -> CompiledRule | None:
    """Reads the `running_mean` of every prefix; the steps take the other parts from there."""
    mean = Pattern((Literal(".running_mean"),))
    source = Written(mean.after(rule.source.reference.pattern.after(context.source)), rule.place)
    target = rule.target.reference.pattern.after(context.target)
    vars = context.vars or {}
    read, spread = find_kinds(
        _all_read((rule.source,), [source], context), [Written(target, rule.place)], vars, problems
    )
    for capture in spread.values():
        problems.add(f"`{capture}` is in the target alone", rule.target.place)
    resolved = Target(
        resolve(target, read), rule.target.reference.index, rule.target.place, str(target)
    )
    needed = _needed((resolved,), read, vars, problems)
    _check_stars((resolved,), read, problems)
    for capture in _gathered(read, needed, rule.place, problems):
        problems.add(
            f"`{capture}` is in the source alone: a BatchNorm is not gathered",
            rule.source.place,
            f"put `<{capture.name}>` into the target",
        )
    _check_options(rule.options, read, vars, rule.place, problems)
    return CompiledRule(
        rule,
        group,
        vars,
        readers=_readers((rule.source,), [source], context, read, problems),
        targets=(resolved,),
        captures=read,
        steps_by=frozenset(read) & needed,
    )


def _reading(
    rule: Drop | Require,
    sources: Sequence[At],
    context: Context,
    group: int,
    problems: Problems,
) -> CompiledRule:
    """A rule that reads keys and gives none; each entry has captures of its own."""
    vars = context.vars or {}
    readers: list[Reader] = []
    known: dict[str, Capture] = {}
    for at, written in zip(sources, _placed(sources, context.source), strict=True):
        read, _ = find_kinds(_all_read([at], [written], context), (), vars, problems)
        known |= read
        readers += _readers([at], [written], context, read, problems)
        _check_options(rule.options, read, vars, rule.place, problems)
    if isinstance(rule, Require) and rule.source.reference.index is not None:
        problems.add("`require` takes a whole key, no slice", rule.source.place)
    if isinstance(rule, Require):
        _check_expressions(rule.shape, vars, rule.place, problems)
    return CompiledRule(rule, group, vars, readers=tuple(readers), captures=known)


def _looking(
    rule: Keep | Init | Tie, context: Context, group: int, problems: Problems
) -> CompiledRule:
    """A rule that reads destination or output keys, by prefixes of the target's side.

    A name in a prefix has the kind that it has on the source's side.
    """
    vars = context.vars or {}
    prefix, _ = find_kinds([Written(context.source, rule.place)], (), (), problems)
    lookups: list[Pattern] = []
    known: dict[str, Capture] = {}
    for at in rule.targets:
        if at.reference.index is not None or at.reference.alias is not None:
            problems.add("takes whole keys, with no alias and no slice", at.place)
        pattern = at.reference.pattern.after(context.target)
        own, _ = find_kinds([Written(pattern, at.place)], (), (), problems)
        read = {name: prefix.get(name, kind) for name, kind in own.items() if name not in vars}
        known |= read
        lookups.append(resolve(pattern, read))
    if isinstance(rule, Tie):
        _check_tie(rule, lookups, problems)
    _check_options(rule.options, known, vars, rule.place, problems)
    if isinstance(rule, Init):
        numbers = (rule.fill, rule.std, rule.seed, rule.shape)
        _check_expressions(numbers, vars, rule.place, problems)
    return CompiledRule(rule, group, vars, lookups=tuple(lookups), captures=known)


def _check_tie(rule: Tie, lookups: Sequence[Pattern], problems: Problems) -> None:
    if len(lookups) < 2:
        problems.add("`tie` of one key", rule.place, "name the keys that are one tensor: two or more")
    for at, lookup in zip(rule.targets, lookups, strict=True):
        for capture in lookup.captures:
            if capture.nameless:
                problems.add(
                    f"`{capture}` in a `tie`", at.place, "name it, so that each key has its partner"
                )


# --- parts of a rule ------------------------------------------------------------------------------


def _placed(sources: Sequence[At], prefix: Pattern) -> list[Written]:
    return [Written(at.reference.pattern.after(prefix), at.place) for at in sources]


def _all_read(
    sources: Sequence[At], placed: Sequence[Written], context: Context
) -> Iterable[Written]:
    """What a rule reads, aliases first, in order of mention."""
    for at, written in zip(sources, placed, strict=True):
        alias = at.reference.alias or context.alias
        if alias is not None:
            yield Written(alias, at.place)
        yield written


def _readers(
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


def _targets_of(rule: Move, context: Context, problems: Problems) -> list[Written]:
    """The targets behind their prefix; without `to`, the pattern of `from`."""
    for at in rule.targets:
        if at.reference.alias is not None:
            problems.add("a target has no alias: there is one output", at.place)
    if rule.targets:
        return [
            Written(at.reference.pattern.after(context.target), at.place, at.reference.index)
            for at in rule.targets
        ]
    if len(rule.sources) > 1:
        problems.add("several references and no `to`", rule.place, "name the target: `to: KEY`")
    pattern = rule.sources[0].reference.pattern
    if has_regex(pattern):
        problems.add("a `re:` and no `to`", rule.place, "name the target: `to: KEY`")
        return []
    return [Written(pattern.after(context.target), rule.sources[0].place)]


def _needed(
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


def _check_stars(
    targets: Sequence[Target], read: Mapping[str, Capture], problems: Problems
) -> None:
    there = sum(name.startswith("*") for name in read)
    for target in targets:
        stars = sum(capture.star for capture in target.pattern.captures)
        if stars > there:
            problems.add(
                f"the target has {stars} star{'s' * (stars > 1)}, the source {there or 'none'}",
                target.place,
                "a star in a target stands for the source's, in order",
            )


def _gathered(
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


def _check_ops(
    rule: Move,
    known: set[str],
    gathered: Sequence[Capture],
    vars: Mapping[str, Var],
    problems: Problems,
) -> None:
    """Tells names in ops that have no one value for a step."""
    lost = {capture.name for capture in gathered}
    for call in rule.ops:
        names = {n for e in expressions_of(call.arguments) for n in e.names}
        for name in sorted(names & lost):
            problems.add(
                f"{call.name}: `{name}` is gathered, so it has many values here",
                call.place,
                "ops can use the captures of the target, and vars",
            )
        check_names(names - lost, {*known, *vars}, call.place, problems)


def _check_options(
    options: Options,
    read: Mapping[str, Capture],
    vars: Mapping[str, Var],
    place: Place,
    problems: Problems,
) -> None:
    at = options.places
    if options.where is not None:
        check_names(options.where.names, {*read, *vars}, at.get("where", place), problems)
    _check_expressions(options.count, vars, at.get("count", place), problems)
    for word, table in (("map", options.map), ("pick", options.pick)):
        for name in table:
            _check_table(word, name, read, at.get(word, place), problems)


def _check_where_by_step(
    rule: Move, readers: Sequence[Reader], gathered: Sequence[Capture], problems: Problems
) -> None:
    """Tells a gathered name of a condition that no reference can answer alone."""
    where = rule.options.where
    captured = {name for reader in readers for name in reader.names}
    if where is None or any(where.names & captured <= reader.names for reader in readers):
        return
    for capture in gathered:
        if capture.name in where.names:
            problems.add(
                f"where: `{capture.name}` is gathered, and one reference alone has it",
                rule.options.places.get("where", rule.place),
                "a condition over several references asks for captures that the target has",
            )


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


def _check_expressions(
    value: object, vars: Mapping[str, Var], place: Place, problems: Problems
) -> None:
    for expression in expressions_of(value):
        check_names(expression.names, vars, place, problems)
