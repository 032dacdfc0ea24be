"""`batchnorm`: the tensors of a BatchNorm as one unit, found by their `running_mean`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptsurgeon.language.problems import Folded
from ckptsurgeon.planner.compiling.compiled import (
    BATCHNORM_PARTS,
    BATCHNORM_VECTORS,
    CompiledRule,
    Reader,
)
from ckptsurgeon.planner.stage.reading_keys import Match, slice_of
from ckptsurgeon.planner.stage.state import Done, StageRun
from ckptsurgeon.planner.stage.targets import TargetWriter
from ckptsurgeon.plans.fates import Claim, Fate


def run_batchnorm(run: StageRun, rule: CompiledRule) -> None:
    """Makes a step of every BatchNorm that the rule finds: bn.weight, … -> norm.weight, …"""
    reader, failures = rule.readers[0], Folded(run.problems, "step", "of this rule")
    means = run.read(rule, reader)
    failures.run_each(rule.group, rule.place, _Unit(run, rule).step, means)
    failures.tell()


def vectors_beside(key: str) -> Iterator[str]:
    """The keys of which a slice takes, by that of the `running_mean`; the counter stays whole."""
    base = key.removesuffix("running_mean")
    return (base + part for part in BATCHNORM_VECTORS)


class _Unit:
    """Makes the steps of one rule."""

    def __init__(self, run: StageRun, rule: CompiledRule) -> None:
        self._run, self._rule, vars = run, rule, run.vars_of(rule)
        self._reader: Reader = rule.readers[0]
        self._claim = Claim(Fate.TAKEN, run.info(rule))
        self._index_of = slice_of(self._reader, vars)
        columns, named = self._reader.columns, run.compiled.is_named
        self._target = TargetWriter(rule.targets[0], columns, vars, is_named=named)

    def step(self, mean: Match) -> None:
        """Moves the parts of a BatchNorm that are there and not taken."""
        parts = dict(self._parts(mean))
        if not parts:
            return
        self._run.alive[self._rule.group].add(0)
        prefix, into = self._target.write(mean.values, [mean])
        slices, products = [], []
        for part, match in parts.items():
            is_vector = part in BATCHNORM_VECTORS
            slices.append(self._index_of(match) if is_vector else None)
            node = self._run.take(self._rule, self._claim, match, slices[-1])
            product = f"{prefix}.{part}", into if is_vector else None
            if self._run.give(self._rule, 0, *product, node, [match]):
                products.append(product)
        done = Done(list(parts.values()), products, slices)
        self._run.note_steps(self._rule, [done])

    def _parts(self, mean: Match) -> Iterator[tuple[str, Match]]:
        """The parts that are there and not taken, by name."""
        table, base = mean.table, mean.key.removesuffix("running_mean")
        for part in BATCHNORM_PARTS:
            key = base + part
            if key not in table.nodes or key in table.held.whole:
                continue
            sliced = self._reader.index is not None and part in BATCHNORM_VECTORS
            if sliced or key not in table.held.sliced:
                yield part, Match(table, key, mean.raw, mean.values)
