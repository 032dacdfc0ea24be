"""Arrows and blocks: the steps of a rule, from the keys that it reads to those that it gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ckptsurgeon.errors import ExpressionError, PlanError, Problem
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import ConcreteIndex, write_key
from ckptsurgeon.language.problems import Folded
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader, Target
from ckptsurgeon.planner.compiling.grids import TARGETS, Grid
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.calling import Caller
from ckptsurgeon.planner.stage.grouping import Group, Layout, group_steps
from ckptsurgeon.planner.stage.production import Contribution
from ckptsurgeon.planner.stage.renames import run_renames
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Origin
from ckptsurgeon.plans.account import Operand, Product, RuleInfo, Step
from ckptsurgeon.plans.graph import Node
from ckptsurgeon.specs import TensorSpec

SHOWN_KEYS = 3
"""How many of a step's keys an error names."""


def run_move(run: StageRun, rule: CompiledRule) -> None:
    """Makes the steps of an arrow or a block."""
    if run_renames(run, rule):
        return
    found = [run.found(rule, number, reader) for number, reader in enumerate(rule.readers)]
    if not all(found):
        return
    groups = group_steps(rule, found, run.vars_of(rule), run.problems)
    if rule.where_by_step and not groups and not rule.options.optional:
        place = rule.options.places.get("where", rule.place)
        run.problems.add("`where` leaves out every step", place)
    info, failures = run.info(rule), Folded(run.problems, "step", "of this rule")
    caller = Caller(rule.ops, rule.spread, len(rule.targets))
    for group in groups:
        with failures.at(rule.group, rule.place):
            _step(run, rule, info, group, caller)
    failures.tell()


def _step(run: StageRun, rule: CompiledRule, info: RuleInfo, group: Group, caller: Caller) -> None:
    taken = [
        _taken(run, rule, info, reader, layout)
        for reader, layout in zip(rule.readers, group.layouts, strict=True)
    ]
    operands = tuple(operand for _, own in taken for operand in own)
    vars = run.vars_of(rule)
    about = ", ".join(f"`{operand.key}`" for operand in operands[:SHOWN_KEYS])
    scope = Scope(group.values, vars)
    grid, texts = caller.run(
        [grid for grid, _ in taken], scope, about, lambda: _wanted(run, rule, scope)
    )
    origins = [match.origin for layout in group.layouts for match in layout.matches]
    sources = behind(origins, operands)
    earlier = tuple(dict.fromkeys(op for origin in origins for op in origin.ops))
    products: list[Product] = []
    for target, values, node in _placed(rule, group.values, grid):
        key, index = _named(target, Scope(values, vars), about)
        origin = Origin(node, sources, info, earlier + texts)
        if run.give(rule, key, Contribution(origin, index, target.place), operands):
            products.append(Product(key, index))
    run.made[rule.group] += 1
    run.steps.append(Step(run.number, info, operands, tuple(products), texts))


def _wanted(run: StageRun, rule: CompiledRule, scope: Scope) -> TensorSpec | None:
    """The destination's spec of what the step gives, where that is one whole key."""
    target = rule.targets[0]
    if run.destination is None or rule.spread or target.index is not None:
        return None
    return run.destination.specs.get(write_key(target.pattern, scope))


def _taken(
    run: StageRun, rule: CompiledRule, info: RuleInfo, reader: Reader, layout: Layout
) -> tuple[Grid, list[Operand]]:
    """The tensors of a reference's matches, which are taken by this, and what they are of."""
    nodes: list[Node] = []
    operands: list[Operand] = []
    for match in layout.matches:
        index = run.index(rule, reader.index, match)
        nodes.append(run.take(rule, info, match, index))
        operands.append(Operand(*match.address, index))
    return Grid(layout.dims, tuple(nodes)), operands


def behind(origins: Sequence[Origin], operands: Sequence[Operand]) -> tuple[Operand, ...]:
    """The checkpoint keys behind a step: its operands, or what those were made from."""
    found: dict[Operand, None] = {}
    for origin, operand in zip(origins, operands, strict=True):
        known = [(source.source, source.key) for source in origin.sources]
        if known == [(operand.source, operand.key)]:
            found[operand] = None
        else:
            found.update(dict.fromkeys(origin.sources))
    return tuple(found)


def _placed(
    rule: CompiledRule, values: Mapping[str, Value], grid: Grid
) -> Iterator[tuple[Target, Mapping[str, Value], Node]]:
    """Each target with the captures' values and the tensor for it."""
    names = [name for name, _ in grid.dims]
    spread = {capture.name: capture for capture in rule.spread}
    for coordinates, node in zip(grid.coordinates, grid.nodes, strict=True):
        own = dict(values)
        targets: Sequence[Target] = rule.targets
        for name, at in zip(names, coordinates, strict=True):
            if name == TARGETS:
                targets = (rule.targets[at],)
            else:
                words = spread[name].words
                own[name] = spread[name].value(words[at].left) if words else at
        for target in targets:
            yield target, own, node


def _named(target: Target, scope: Scope, about: str) -> tuple[str, ConcreteIndex | None]:
    """The key and slice that a target names; raises PlanError at its place."""
    try:
        index = target.index.evaluate(scope) if target.index is not None else None
        return write_key(target.pattern, scope), index
    except ExpressionError as error:
        problem = Problem(f"{about} -> `{target.text}`: {error}", target.place, error.help)
        raise PlanError([problem]) from None
