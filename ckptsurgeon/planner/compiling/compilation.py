"""Rules as written made into rules that can be run: captures resolved, grids traced, names checked.

Nothing here looks at a checkpoint, so all that this finds wrong, `ckptsurgeon check` tells.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ckptsurgeon.language.patterns import Capture, Literal, Pattern
from ckptsurgeon.language.problems import Problems
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
    Tie,
)
from ckptsurgeon.planner.compiling.captures import (
    Written,
    check_names,
    expressions_of,
    find_kinds,
    resolve,
)
from ckptsurgeon.planner.compiling.checks import (
    check_expressions,
    check_ops,
    check_options,
    check_stars,
    check_tie,
    check_where_by_step,
)
from ckptsurgeon.planner.compiling.compiled import CompiledRule, CompiledStage, Reader, Target
from ckptsurgeon.planner.compiling.grids import PlacedOp, Shape, trace
from ckptsurgeon.planner.compiling.sides import (
    all_read,
    gathered_captures,
    names_of_targets,
    placed,
    readers_of,
    targets_of,
)
from ckptsurgeon.planner.compiling.unfolding import Context, PlacedRule, unfold


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
    compiled = []
    for one in rules:
        with problems.at(one.rule.place):
            compiled.append(_compile(one))
    return CompiledStage(stage, tuple(compiled))


def _compile(one: PlacedRule) -> CompiledRule:
    """The rule, ready to run; raises RulesetError with all that is wrong in it."""
    problems = Problems()
    with problems.at(one.rule.place):
        compiled = _by_kind(one.rule, one.context, one.group, problems)
    problems.raise_if_any()
    return compiled


def _by_kind(rule: PlainRule, context: Context, group: int, problems: Problems) -> CompiledRule:
    if isinstance(rule, Move):
        return _move(rule, context, group, problems)
    if isinstance(rule, Norms):
        return _norms(rule, context, group, problems)
    if isinstance(rule, Drop):
        return _reading(rule, rule.sources, context, group, problems)
    if isinstance(rule, Require):
        return _reading(rule, (rule.source,), context, group, problems)
    return _looking(rule, context, group, problems)


# --- each kind of rule ----------------------------------------------------------------------------


def _move(rule: Move, context: Context, group: int, problems: Problems) -> CompiledRule:
    sources = placed(rule.sources, context.source)
    written = targets_of(rule, context, problems)
    vars = context.vars or {}
    read, spread = find_kinds(all_read(rule.sources, sources, context), written, vars, problems)
    known = {**read, **spread}
    targets = tuple(_target(one, known) for one in written)
    needed = names_of_targets(targets, known, vars, problems)
    gathered = gathered_captures(read, needed, rule.place, problems)
    readers = readers_of(rule.sources, sources, context, read, problems)
    check_stars(targets, read, problems)
    check_ops(rule, {*read}, gathered, vars, problems)
    check_options(rule.options, read, vars, rule.place, problems)
    check_where_by_step(rule, readers, gathered, problems)
    dims = (tuple(c.name for c in gathered if c.name in reader.names) for reader in readers)
    shape = Shape(tuple(dims), tuple(spread), len(targets), known, {*read, *vars})
    ops: tuple[PlacedOp, ...] = ()
    with problems.at():
        ops = trace(shape, rule.ops, rule.place)
    return CompiledRule(
        rule,
        group,
        vars,
        readers=readers,
        targets=targets,
        ops=ops,
        captures=known,
        steps_by=frozenset(read) & needed,
        gathered=gathered,
        spread=tuple(spread.values()),
    )


def _target(written: Written, known: Mapping[str, Capture]) -> Target:
    pattern = written.pattern
    return Target(
        resolve(pattern, known), written.index, written.place, f"{pattern}{written.index or ''}"
    )


def _norms(rule: Norms, context: Context, group: int, problems: Problems) -> CompiledRule:
    """Reads one tensor for every prefix; the steps take those beside it from there."""
    prefixes = [at for at, _ in rule.reads]
    sources = [
        Written(
            Pattern((Literal(f".{name}"),)).after(at.reference.pattern.after(context.source)),
            rule.place,
        )
        for at, name in rule.reads
    ]
    (written,) = placed([rule.target], context.target)
    vars = context.vars or {}
    read, spread = find_kinds(all_read(prefixes, sources, context), [written], vars, problems)
    target = _target(written, read)
    needed = names_of_targets((target,), read, vars, problems)
    check_stars((target,), read, problems)
    check_options(rule.options, read, vars, rule.place, problems)
    gathered = gathered_captures(read, needed, rule.place, problems)
    _check_norms(rule, gathered, tuple(spread.values()), {*read, *vars}, problems)
    return CompiledRule(
        rule,
        group,
        vars,
        readers=readers_of(prefixes, sources, context, read, problems),
        targets=(target,),
        captures=read,
        steps_by=frozenset(read) & needed,
    )


def _check_norms(
    rule: Norms,
    gathered: Sequence[Capture],
    spread: Sequence[Capture],
    known: Collection[str],
    problems: Problems,
) -> None:
    """Tells captures that one side alone has, unknown names, and slices of what is taken whole."""
    for capture in spread:
        problems.add(f"`{capture}` is in the target alone", rule.target.place)
    for capture in gathered:
        problems.add(
            f"`{capture}` is in the source alone: a BatchNorm is not gathered",
            rule.reads[-1][0].place,
            f"put `<{capture.name}>` into the target",
        )
    if isinstance(rule, BatchNorm):
        return
    numbers = (rule.eps, rule.groups) if isinstance(rule, FoldBatchNorm) else (rule.eps,)
    for expression in expressions_of(numbers):
        check_names(expression.names, known, rule.place, problems)
    for at in (*(at for at, _ in rule.reads), rule.target):
        if at.reference.index is not None:
            problems.add(f"`{rule.word}` takes whole layers, no slice", at.place)


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
    for at, written in zip(sources, placed(sources, context.source), strict=True):
        read, _ = find_kinds(all_read([at], [written], context), (), vars, problems)
        known |= read
        readers += readers_of([at], [written], context, read, problems)
        check_options(rule.options, read, vars, rule.place, problems)
    if isinstance(rule, Require) and rule.source.reference.index is not None:
        problems.add("`require` takes a whole key, no slice", rule.source.place)
    if isinstance(rule, Require):
        check_expressions(rule.shape, vars, rule.place, problems)
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
        check_tie(rule, lookups, problems)
    check_options(rule.options, known, vars, rule.place, problems)
    if isinstance(rule, Init):
        numbers = (rule.fill, rule.std, rule.seed, rule.shape)
        check_expressions(numbers, vars, rule.place, problems)
    return CompiledRule(rule, group, vars, lookups=tuple(lookups), captures=known)
