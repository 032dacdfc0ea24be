"""Rules as written made into rules that can be run: captures resolved, grids traced, names checked.

Nothing here looks at a checkpoint, so all that this finds wrong, `ckptsurgeon check` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from msgspec import structs

from ckptsurgeon.errors import PatternError, RulesetError
from ckptsurgeon.language.expressions import Expression
from ckptsurgeon.language.patterns import Capture, Literal, Pattern, parse_reference
from ckptsurgeon.language.problems import MAX_PROBLEMS, Problems
from ckptsurgeon.language.reading.move_guesses import other_sides
from ckptsurgeon.language.rules import (
    At,
    BatchNorm,
    Drop,
    FoldBatchNorm,
    Init,
    Keep,
    Move,
    Norms,
    PlainRule,
    Require,
    Ruleset,
    Stage,
    Table,
    Tie,
)
from ckptsurgeon.planner.compiling.captures import (
    NUMBER,
    check_expressions,
    check_names,
    find_kinds,
    resolve,
)
from ckptsurgeon.planner.compiling.checks import (
    check_flat,
    check_gathered,
    check_groups,
    check_names_alone,
    check_ops,
    check_options,
    check_stars,
    check_tie,
    check_varied,
    check_where,
)
from ckptsurgeon.planner.compiling.compiled import CompiledRule, CompiledStage, Reader
from ckptsurgeon.planner.compiling.grids import trace
from ckptsurgeon.planner.compiling.sides import (
    gathered_captures,
    names_of_targets,
    place_names,
    place_source,
    place_target,
    readers_of,
    resolve_target,
    targets_of,
)
from ckptsurgeon.planner.compiling.unfolding import PlacedRule, unfold
from ckptsurgeon.plans.addresses import COLONS


def refuse_problems(rulesets: Sequence[Ruleset]) -> tuple[Ruleset, ...]:
    """The rulesets, all of which could be read.

    Raises RulesetError where one has problems, with all that compiling finds besides.
    """
    if any(ruleset.problems for ruleset in rulesets):
        compile_rulesets(rulesets)
    return tuple(rulesets)


def compile_rulesets(rulesets: Sequence[Ruleset]) -> tuple[CompiledStage, ...]:
    """All stages of all rule files, in order; raises RulesetError with every problem."""
    problems = Problems()
    for ruleset in rulesets:
        problems.take(ruleset.problems)
    stages = [stage for ruleset in rulesets for stage in ruleset.stages]
    compiled = []
    for number, stage in enumerate(stages):
        rules = unfold(stage.rules, stage.vars, problems)
        if number > 0 and stage.source.roots:
            problems.add("`root` opens a file: only the first stage has one", stage.place)
        if number > 0 and stage.source.one_shard:
            problems.add("`one_shard` opens a file: only the first stage has one", stage.place)
        if number < len(stages) - 1:
            _refuse_destination(stage, rules, problems)
        compiled.append(_compile_stage(stage, rules, problems))
    problems.raise_if_any()
    return tuple(compiled)


def _refuse_destination(stage: Stage, rules: Sequence[PlacedRule], problems: Problems) -> None:
    """Tells what looks at the destination in a stage that is not the last."""
    found = [("`dtype: destination`", stage.place)] if stage.output.dtype == "destination" else []
    found += [("`keep`", one.rule.place) for one in rules if isinstance(one.rule, Keep)]
    found += [("`init`", one.rule.place) for one in rules if isinstance(one.rule, Init)]
    for words, place in found:
        help = "the last stage alone sees the destination: move it there"
        problems.add(f"{words} before the last stage", place, help)


def _compile_stage(stage: Stage, rules: Sequence[PlacedRule], problems: Problems) -> CompiledStage:
    compiled, failed = [], set[int]()
    for one in rules:
        with problems.at():
            try:
                compiled.append(_compile(one.rule, one))
            except RulesetError as error:
                first = one.group not in failed and len(failed) < MAX_PROBLEMS
                failed.add(one.group)
                raise (_with_guess(error, one) if first else error) from None
    named = {is_named for one in compiled for is_named in _outputs_of(one)}
    return CompiledStage(stage, tuple(compiled), True in named, False in named)


def _outputs_of(rule: CompiledRule) -> Iterator[bool]:
    """Whether each of a rule's targets is a key of an output that has a name."""
    if isinstance(rule.rule, Table):
        yield COLONS in rule.rule.before[1]
    elif rule.lookups:
        yield from rule.aliased
    else:
        yield from (target.alias is not None for target in rule.targets)


def _with_guess(error: RulesetError, one: PlacedRule) -> RulesetError:
    """The error of a rule, with what was meant where that is known."""
    meant = _meant(one.rule, one) if isinstance(one.rule, Move) and error.problems else ""
    return RulesetError((replace(error.problems[0], help=f"write `{meant}`"),)) if meant else error


def _compile(rule: PlainRule, one: PlacedRule) -> CompiledRule:
    """The rule, ready to run; raises RulesetError with all that is wrong in it."""
    problems = Problems()
    with problems.at(rule.place):
        if isinstance(rule, Move):
            compiled = _move(rule, one, problems)
        elif isinstance(rule, Table):
            compiled = _table(rule, one, problems)
        elif isinstance(rule, Norms):
            compiled = _norms(rule, one, problems)
        elif isinstance(rule, Drop):
            compiled = _reading(rule, rule.sources, one, problems)
        elif isinstance(rule, Require):
            compiled = _reading(rule, (rule.source,), one, problems)
        elif isinstance(rule, Init) and rule.names:
            compiled = _named(rule, one, problems)
        else:
            compiled = _looking(rule, one, problems)
    problems.raise_if_any()
    return compiled


def _meant(rule: Move, one: PlacedRule) -> str:
    """The line of a rule with other captures, which can be compiled; empty where none can."""
    for left, right, line in other_sides(rule):
        with suppress(PatternError, RulesetError):
            sides = (parse_reference(left), parse_reference(right, target=True))
            read, given = (
                At(*structs.astuple(side), place=at.place)
                for side, at in zip(sides, (*rule.sources, *rule.targets), strict=True)
            )
            problems = Problems()
            _move(structs.replace(rule, sources=(read,), targets=(given,)), one, problems)
            if not problems:
                return line
    return ""


# --- each kind of rule ----------------------------------------------------------------------------


def _move(rule: Move, one: PlacedRule, problems: Problems) -> CompiledRule:
    sources = [place_source(at, one.context, problems) for at in rule.sources]
    compiled = _both_sides(one, sources, targets_of(rule, one.context, problems), problems)
    check_ops(rule, compiled, problems)
    check_where(compiled, problems)
    check_gathered(compiled, problems)
    check_varied(compiled, problems)
    check_names_alone(compiled, problems)
    join, remarks = trace(compiled, rule)
    ops = tuple(call for one in join.joins for call in one.ops)
    separator = _separator_of(compiled.targets)
    return structs.replace(compiled, join=join, ops=ops, remarks=remarks, separator=separator)


def _separator_of(targets: Iterable[At]) -> str | None:
    """What stands for dots in the first path of a target that has something else for them."""
    captures = (capture for at in targets for capture in at.captures)
    return next((one.separator for one in captures if one.separator is not None), None)


def _table(rule: Table, one: PlacedRule, problems: Problems) -> CompiledRule:
    """A table behind prefixes that are texts; others are unfolded to rules of its entries."""
    context, vars = one.context, one.context.vars
    if isinstance(rule.entries, Expression):
        check_names(rule.entries.names, vars, rule.place, problems, NUMBER)
    alias = (context.alias.literal if context.alias else "") or ""
    output = f"{context.output.literal}{COLONS}" if context.output else ""
    before = (context.source.literal or "", output + (context.target.literal or ""))
    placed = structs.replace(rule, alias=alias, before=before)
    return CompiledRule(placed, one.group, vars, {})


def _norms(rule: Norms, one: PlacedRule, problems: Problems) -> CompiledRule:
    """Reads one tensor for every prefix; the steps take those beside it from there."""
    sources = []
    for at, name in rule.reads:
        prefix = place_source(at, one.context, problems)
        pattern = Pattern((Literal(f".{name}"),)).after(prefix.pattern)
        sources.append(structs.replace(prefix, pattern=pattern))
    compiled = _both_sides(
        one, sources, [place_target(rule.target, one.context, problems)], problems
    )
    _check_norms(rule, compiled, problems)
    check_flat(sources, f"`{rule.word}`", problems)
    return compiled


def _both_sides(
    one: PlacedRule, sources: Sequence[At], targets: Sequence[At], problems: Problems
) -> CompiledRule:
    """A rule that reads keys and names those that it gives."""
    rule, vars = one.rule, one.context.vars
    names = place_names(rule, one.context, problems) if isinstance(rule, Move | Init) else []
    read, spread = find_kinds([*sources, *names], targets, vars, problems)
    # What is in the target alone is spread by ops, which the rules of BatchNorms have none of.
    known = read if isinstance(rule, Norms) else {**read, **spread}
    resolved = tuple(resolve_target(at, known) for at in targets)
    needed = names_of_targets(resolved, {*known, *vars}, problems)
    check_stars(resolved, read, problems)
    check_groups(sources, targets, problems)
    check_options(rule.options, read, vars, rule.place, problems)
    readers = readers_of(sources, read, {*read, *vars}, problems)
    return CompiledRule(
        rule,
        one.group,
        vars,
        known,
        readers=readers,
        namers=readers_of(names, read, (), problems),
        targets=resolved,
        steps_by=frozenset(read) & needed,
        gathered=gathered_captures(read, readers, needed, rule.place, problems),
        spread=tuple(spread.values()),
    )


def _check_norms(rule: Norms, compiled: CompiledRule, problems: Problems) -> None:
    """Tells captures that one side alone has, unknown names, and slices of what is taken whole."""
    for capture in compiled.spread:
        problems.add(f"`{capture}` is in the target alone", rule.target.place)
    for capture in compiled.gathered:
        problems.add(
            f"`{capture}` is in the source alone: a BatchNorm is not gathered",
            rule.reads[-1][0].place,
            f"put `<{capture.name}>` into the target",
        )
    if isinstance(rule, BatchNorm):
        return
    numbers = (rule.eps, rule.groups) if isinstance(rule, FoldBatchNorm) else rule.eps
    check_expressions(numbers, compiled.known, rule.place, problems)
    for at in (*(at for at, _ in rule.reads), rule.target):
        if at.index is not None:
            problems.add(f"`{rule.word}` takes whole layers, no slice", at.place)


def _reading(
    rule: Drop | Require, references: Sequence[At], one: PlacedRule, problems: Problems
) -> CompiledRule:
    """A rule that reads keys and gives none; each entry has captures of its own."""
    vars = one.context.vars
    readers: list[Reader] = []
    known: dict[str, Capture] = {}
    for reference in references:
        at = place_source(reference, one.context, problems)
        check_flat([at], f"`{type(rule).__name__.lower()}`", problems)
        read, _ = find_kinds([at], (), vars, problems)
        known |= read
        readers += readers_of([at], read, {*read, *vars}, problems)
        check_options(rule.options, read, vars, rule.place, problems)
    if isinstance(rule, Require):
        if rule.source.index is not None:
            problems.add("`require` takes a whole key, no slice", rule.source.place)
        check_expressions(rule.shape, vars, rule.place, problems)
    return CompiledRule(rule, one.group, vars, known, readers=tuple(readers))


def _named(rule: Init, one: PlacedRule, problems: Problems) -> CompiledRule:
    """An `init` of keys that `for` names."""
    targets = [place_target(at, one.context, problems) for at in rule.targets]
    compiled = _both_sides(one, (), targets, problems)
    given = ", ".join(name for name in compiled.captures if name in compiled.steps_by)
    for capture in compiled.spread:
        problems.add(
            f"`<{capture.name}>` is in the target alone; `for` has {given or 'none'}",
            rule.place,
            "`init` makes the keys that `for` names: capture it there",
        )
    check_names_alone(compiled, problems)
    numbers = (rule.fill, rule.std, rule.seed, rule.shape)
    check_expressions(numbers, compiled.known, rule.place, problems)
    return compiled


def _looking(rule: Keep | Init | Tie, one: PlacedRule, problems: Problems) -> CompiledRule:
    """A rule that reads destination or output keys, by prefixes of the target's side.

    A name in a prefix has the kind that it has on the source's side.
    """
    vars = one.context.vars
    prefix, _ = find_kinds([At(one.context.source, place=rule.place)], (), (), problems)
    lookups: list[Pattern] = []
    aliased: list[bool] = []
    known: dict[str, Capture] = {}
    for at in rule.targets:
        if at.index is not None and not isinstance(rule, Init):
            problems.add("takes whole keys, and no slice", at.place)
        placed = place_target(at, one.context, problems)
        check_flat([placed], f"`{type(rule).__name__.lower()}`", problems)
        own, _ = find_kinds([placed], (), (), problems)
        read = {name: prefix.get(name, kind) for name, kind in own.items() if name not in vars}
        known |= read
        lookups.append(resolve(placed.pattern, read))
        aliased.append(placed.alias is not None)
    if isinstance(rule, Tie):
        check_tie(rule, lookups, problems)
    check_options(rule.options, known, vars, rule.place, problems, has_tensor=False)
    if isinstance(rule, Init):
        numbers = (rule.fill, rule.std, rule.seed, rule.shape)
        check_expressions(numbers, {*known, *vars}, rule.place, problems)
        for at in rule.targets:
            check_expressions(at.index, {*known, *vars}, at.place, problems)
    return CompiledRule(
        rule, one.group, vars, known, lookups=tuple(lookups), aliased=tuple(aliased)
    )
