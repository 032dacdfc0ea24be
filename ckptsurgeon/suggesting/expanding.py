"""Matches as steps: the tensors of every item, with the ops between them."""

from __future__ import annotations

from collections.abc import Iterator

from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step
from ckptsurgeon.drafting.units import is_counted
from ckptsurgeon.suggesting.candidates import Candidate
from ckptsurgeon.suggesting.matching import Match
from ckptsurgeon.suggesting.units import Leaf


def steps_of_match(match: Match) -> Iterator[Step]:
    """A step for each tensor of each item of two units."""
    for kind, relation in match.fit.relations.items():
        leaf, to = match.source.unit.leaves[kind], match.target.unit.leaves[kind]
        degree, remark = match.degree, match.remark
        if degree < Degree.OPEN and leaf.parts != to.parts:
            degree, remark = Degree.LIKELY, _doubt_rows(match.source, match.target)
        for at in range(len(leaf.shapes)):
            sources, before = _grid(leaf, at, "concat")
            targets, after = _grid(to, at, "split")
            calls = (*before, *relation.calls, *after)
            yield Step(sources, targets, calls, degree=degree, remark=remark)


def _grid(leaf: Leaf, at: int, op: str) -> tuple[Grid, tuple[Call, ...]]:
    """The keys of one item, and the op that joins or spreads them."""
    keys = leaf.keys[at * leaf.parts : (at + 1) * leaf.parts]
    if leaf.parts == 1:
        return Grid(keys), ()
    grid, sizes = Grid(keys, (leaf.parts,)), leaf.sizes[at] if leaf.sizes else ()
    if op == "split" and len(set(sizes)) > 1:
        return grid, (Call(op, (("sizes", sizes),), 0),)
    counted = op == "split" and is_counted(grid.keys, grid.sizes, 0)
    return grid, (Call(op, (("parts", leaf.parts),) if counted else (), 0),)


def _doubt_rows(one: Candidate, other: Candidate) -> str:
    """What is told of fused rows, whose layout no shape tells."""
    whole = one.unit if one.unit.fused == "" else other.unit
    return f"the rows of {whole.module.rpartition('.')[2]} may lie in another order"
