"""`batchnorm`: the tensors of a BatchNorm as one unit, found by their `running_mean`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ckptsurgeon.language.patterns import ConcreteIndex, write_key
from ckptsurgeon.language.problems import Folded
from ckptsurgeon.ops.indexing import Slice
from ckptsurgeon.ops.texts import op_text
from ckptsurgeon.planner.compiling.compiled import (
    BATCHNORM_PARTS,
    BATCHNORM_VECTORS,
    CompiledRule,
    Reader,
)
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.moves import behind
from ckptsurgeon.planner.stage.production import Contribution
from ckptsurgeon.planner.stage.reading_keys import Match, matches
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.planner.stage.tables import Address, Origin
from ckptsurgeon.plans.account import Operand, Product, RuleInfo, Step

Parts = Sequence[tuple[str, Match]]


def run_batchnorm(run: StageRun, rule: CompiledRule) -> None:
    """Makes a step of every BatchNorm that the rule finds: bn.weight, … -> norm.weight, …"""
    reader, info = rule.readers[0], run.info(rule)
    failures = Folded(run.problems, "step", "of this rule")
    for mean in matches(rule, reader, run.tables, run.vars_of(rule)):
        with failures.at(rule.group, rule.place):
            parts = list(_parts(run, reader, mean))
            if parts:
                run.alive[rule.group].add(0)
                _step(run, rule, info, mean, parts)
    failures.tell()


def sliced_vectors(address: Address) -> Iterator[Address]:
    """The keys of which a slice takes, by that of the `running_mean`; the counter stays whole."""
    alias, key = address
    base = key.removesuffix("running_mean")
    return ((alias, base + part) for part in BATCHNORM_VECTORS)


def _parts(run: StageRun, reader: Reader, mean: Match) -> Iterator[tuple[str, Match]]:
    """The parts of a BatchNorm that are there and not taken, by name."""
    alias, key = mean.address
    base = key.removesuffix("running_mean")
    table = next(table for table in run.tables if table.alias == alias)
    for part in BATCHNORM_PARTS:
        address = (alias, base + part)
        if address[1] not in table.origins or address in run.holdings.whole:
            continue
        sliced = reader.index is not None and part in BATCHNORM_VECTORS
        if sliced or address not in run.holdings.sliced:
            yield part, Match(address, table.origins[address[1]], mean.raw, mean.values)


def _step(run: StageRun, rule: CompiledRule, info: RuleInfo, mean: Match, parts: Parts) -> None:
    target, scope = rule.targets[0], Scope(mean.values, run.vars_of(rule))
    prefix = write_key(target.pattern, scope)
    into = target.index.evaluate(scope) if target.index is not None else None
    operands: list[Operand] = []
    products: list[Product] = []
    for part, match in parts:
        place = into if part in BATCHNORM_VECTORS else None
        operand, origin = _part(run, rule, info, part, match)
        operands.append(operand)
        key = f"{prefix}.{part}"
        if run.give(rule, key, Contribution(origin, place, target.place), [operand]):
            products.append(Product(key, place))
    run.made[rule.group] += 1
    run.steps.append(Step(run.number, info, tuple(operands), tuple(products)))


def _part(
    run: StageRun, rule: CompiledRule, info: RuleInfo, part: str, match: Match
) -> tuple[Operand, Origin]:
    """One tensor of the unit, or its slice, which is taken by this."""
    index = rule.readers[0].index if part in BATCHNORM_VECTORS else None
    concrete: ConcreteIndex | None = run.index(rule, index, match)
    node = run.take(rule, info, match, concrete)
    texts = match.origin.ops
    if concrete is not None:
        texts = (*texts, op_text(Slice(index=concrete)))
    operand = Operand(*match.address, concrete)
    return operand, Origin(node, behind([match.origin], [operand]), info, texts)
