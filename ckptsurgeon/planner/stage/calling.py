"""Ops as written made concrete and applied to the nodes of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ckptsurgeon.checkpoints.index_files import load_indices
from ckptsurgeon.errors import (
    CkptSurgeonError,
    ExpressionError,
    PlanError,
    Problem,
    ProblemsError,
    ShapeError,
)
from ckptsurgeon.language.expressions import Value, kind_of, names_in
from ckptsurgeon.language.patterns import Kind
from ckptsurgeon.language.rows import OfRow, Row
from ckptsurgeon.language.rules import Argument, OpCall, evaluate
from ckptsurgeon.ops import OPS, Arity, Op, build
from ckptsurgeon.ops.joining import Split
from ckptsurgeon.planner.compiling.compiled import CompiledRule, PlacedOp
from ckptsurgeon.planner.compiling.grids import LIST, TARGETS, Grid
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.reading_keys import Match, name_keys
from ckptsurgeon.plans.graph import Call, Node, RuleInfo, results
from ckptsurgeon.specs import TensorSpec


class Caller:
    """Applies the ops of one rule to the grids of its steps; what steps share is made once."""

    def __init__(self, rule: CompiledRule, info: RuleInfo, vars: Vars) -> None:
        self._rule, self._info, self._vars = rule, info, vars
        self._sizes = {TARGETS: len(rule.targets)}
        self._sizes |= {c.name: len(c.words) for c in rule.spread if c.kind is Kind.WORDS}
        self._ops = [self._builder(placed) for placed in rule.ops]
        self._inferred: dict[tuple[int, ...], Call] = {}

    def run(
        self,
        grids: Sequence[Grid],
        values: Row,
        matches: Sequence[Match],
        wanted: Callable[[], TensorSpec | None],
    ) -> tuple[Grid, tuple[Op, ...]]:
        """The one grid at the end, and the ops on the way.

        `values` are the step's captures; `wanted` is the destination's spec of what results, for
        ops that leave out their size. Raises ProblemsError at the op's place, which names the
        keys of `matches`.
        """
        ops = []
        for number, placed in enumerate(self._rule.ops):
            try:
                op = self._ops[number](values)
                if op.lacks_size:
                    op = self._fitted(number, op, wanted)
                grids = self._apply(placed, op, grids)
            except ProblemsError:
                raise
            except CkptSurgeonError as error:
                help = getattr(error, "help", "")
                problem = Problem(f"{name_keys(matches)}: {error}", placed.call.place, help)
                raise PlanError([problem]) from None
            ops.append(op)
        return grids[0], tuple(ops)

    def _builder(self, placed: PlacedOp) -> OfRow[Op]:
        """What builds the op for a step's captures."""
        name, arguments = placed.call.name, placed.call.arguments

        def built(captures: Mapping[str, Value]) -> Op:
            return build(name, self._parameters(placed, arguments, Scope(captures, self._vars)))

        return OfRow(names_in(arguments), self._rule.step_columns, built)

    def _fitted(self, number: int, op: Op, wanted: Callable[[], TensorSpec | None]) -> Op:
        """The op with the destination's size, unless an op behind it changes the shape again."""
        behind = (OPS[placed.call.name] for placed in self._rule.ops[number + 1 :])
        spec = wanted() if all(cls.keeps_shape for cls in behind) else None
        return op.fitted(spec) if spec is not None else op

    def _parameters(
        self, placed: PlacedOp, arguments: Mapping[str, Argument], scope: Scope
    ) -> dict[str, object]:
        values = {name: evaluate(value, scope) for name, value in arguments.items()}
        if OPS[placed.call.name] is Split and "parts" not in values and "sizes" not in values:
            values["parts"] = self._parts(placed)
        if placed.call.name == "take" and isinstance(values.get("file"), str):
            values["indices"] = load_indices(_beside(placed.call, str(values.pop("file"))))
        return values

    def _parts(self, placed: PlacedOp) -> int:
        if placed.dim not in self._sizes:
            raise ShapeError(f"split over `{placed.dim}`: say how many: `parts` or `sizes`")
        return self._sizes[placed.dim]

    def _call(self, op: Op, *nodes: Node) -> tuple[Node, ...]:
        """The results of an op; what it makes of the same specs is inferred once."""
        specs = tuple([node.spec for node in nodes])
        key = (id(op), *map(id, specs))
        alike = self._inferred.get(key)
        made = Call(op, nodes, alike.specs if alike else op.infer(specs), self._info)
        if alike is None:
            self._inferred[key] = made  # and what it holds keeps its identity
        return results(made)

    def _apply(self, placed: PlacedOp, op: Op, grids: Sequence[Grid]) -> Sequence[Grid]:
        if placed.arity is Arity.EACH:
            return [grid.each(lambda node: self._call(op, node)[0]) for grid in grids]
        if placed.arity is Arity.SPLIT:
            return [
                grid.split(placed.dim, lambda node: self._split(placed, op, node)) for grid in grids
            ]
        if placed.dim == LIST:
            return [self._join_list(op, grids)]
        return [self._join(op, placed.dim, grid) for grid in grids]

    def _split(self, placed: PlacedOp, op: Op, node: Node) -> tuple[Node, ...]:
        parts = self._call(op, node)
        wanted = self._sizes.get(placed.dim, len(parts))
        if len(parts) != wanted:
            takers = "targets" if placed.dim == TARGETS else f"words of `{placed.dim}`"
            raise ShapeError(f"{op.name}: gives {len(parts)} tensors for {wanted} {takers}")
        return parts

    def _join(self, op: Op, dim: str, grid: Grid) -> Grid:
        if dim not in {name for name, _ in grid.dims}:
            return grid
        return grid.join(dim, lambda nodes: self._call(op, *nodes)[0])

    def _join_list(self, op: Op, grids: Sequence[Grid]) -> Grid:
        """The references joined place by place, in the order of the list."""
        dims = grids[0].dims
        for grid in grids[1:]:
            if grid.dims != dims:
                raise ShapeError(f"{op.name}: the references have different dims open")
        lines = zip(*(grid.nodes for grid in grids), strict=True)
        return Grid(dims, tuple(self._call(op, *nodes)[0] for nodes in lines))


def evaluate_number(value: Argument, word: str, scope: Scope) -> int | float:
    """A number of a rule worked out; raises ExpressionError for anything else."""
    number: Value = evaluate(value, scope)  # type: ignore[assignment]
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ExpressionError(f"`{word}` takes a number, found {kind_of(number)} ({number!r})")
    return number


def _beside(call: OpCall, name: str) -> Path:
    """A file that a rule file names: beside it or below, never outside of its folder."""
    folder = Path(call.place.file).resolve().parent
    try:
        path = (folder / name).resolve()
    except (OSError, ValueError):
        raise ShapeError(f"{call.name}: {name!r} is no file name") from None
    if not path.is_relative_to(folder):
        raise ShapeError(f"{call.name}: {name!r} leaves the rule file's folder {folder}")
    return path
