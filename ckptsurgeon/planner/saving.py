"""Plans as JSON files, to be run later on the same checkpoints.

The graph is a list of nodes, each naming its inputs by number. What a file says of shapes is not
believed: specs of source tensors come from the checkpoints when the plan is loaded, and each op
infers its results again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ckptsurgeon.errors import CheckpointError, CkptSurgeonError, OutputError
from ckptsurgeon.formats.base import Checkpoint
from ckptsurgeon.ops import build
from ckptsurgeon.patterns import ConcreteIndex
from ckptsurgeon.planner.calling import call
from ckptsurgeon.planner.model import (
    DESTINATION,
    Assembly,
    Call,
    Finding,
    Leaf,
    Made,
    Node,
    Note,
    Operand,
    Output,
    Part,
    Plan,
    Result,
    RuleInfo,
    SourceFate,
    SourceView,
    Status,
    Step,
)
from ckptsurgeon.planner.views import view_source
from ckptsurgeon.ruleset.model import SourceOptions
from ckptsurgeon.specs import TensorSpec

VERSION = 1


class SavedView(msgspec.Struct, frozen=True):
    """A checkpoint that a plan was made for."""

    alias: str
    path: str
    digest: str
    options: SourceOptions


class SavedOutput(msgspec.Struct, frozen=True):
    """An output key; `node` and `rule` are numbers in the plan's lists."""

    key: str
    node: int
    status: Status
    rule: int | None
    sources: tuple[Operand, ...]
    ops: tuple[str, ...]
    wanted: TensorSpec | None
    allowed: str


class SavedPlan(msgspec.Struct, frozen=True):
    """The whole file. Steps, fates, findings and notes name their rule by its number."""

    ckptsurgeon_plan: int
    sources: tuple[SavedView, ...]
    destination: SavedView | None
    separator: str
    rules: tuple[RuleInfo, ...]
    nodes: list[Any]
    outputs: tuple[SavedOutput, ...]
    ties: dict[str, str]
    checked_ties: tuple[tuple[str, str], ...]
    steps: list[dict[str, Any]]
    fates: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    notes: list[dict[str, Any]]


# --- saving ---------------------------------------------------------------------------------------


def save_plan(plan: Plan, path: Path) -> None:
    """Writes a plan whole or not at all; a file of that name is replaced."""
    data = msgspec.json.encode(_saved(plan))
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutputError(f"{path}: can't write the plan: {error.strerror}") from None


def _saved(plan: Plan) -> SavedPlan:
    numbers = {(rule.stage, rule.number): at for at, rule in enumerate(plan.rules)}
    nodes = _NodeList()
    return SavedPlan(
        ckptsurgeon_plan=VERSION,
        sources=tuple(map(_saved_view, plan.sources)),
        destination=_saved_view(plan.destination) if plan.destination else None,
        separator=plan.separator,
        rules=plan.rules,
        outputs=tuple(_saved_output(o, nodes, numbers) for o in plan.outputs.values()),
        nodes=nodes.entries,
        ties=dict(plan.ties),
        checked_ties=plan.checked_ties,
        steps=_rows(plan.steps, numbers),
        fates=_rows(plan.fates, numbers),
        findings=_rows(plan.findings, numbers),
        notes=_rows(plan.notes, numbers),
    )


def _saved_view(view: SourceView) -> SavedView:
    return SavedView(view.alias, view.path, view.digest, view.options)


Numbers = Mapping[tuple[int, int], int]


def _number(rule: RuleInfo | None, numbers: Numbers) -> int | None:
    return numbers[rule.stage, rule.number] if rule else None


def _saved_output(output: Output, nodes: _NodeList, numbers: Numbers) -> SavedOutput:
    return SavedOutput(
        output.key,
        nodes.number(output.node),
        output.status,
        _number(output.rule, numbers),
        output.sources,
        output.ops,
        output.wanted,
        output.allowed,
    )


def _rows(rows: tuple[Any, ...], numbers: Numbers) -> list[dict[str, Any]]:
    return [{**msgspec.to_builtins(row), "rule": _number(row.rule, numbers)} for row in rows]


class _NodeList:
    """Nodes in an order in which each comes after its inputs."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._numbers: dict[int, int] = {}

    def number(self, node: Node) -> int:
        if id(node) not in self._numbers:
            entry = self._entry(node)
            self._numbers[id(node)] = self._add(entry)
        return self._numbers[id(node)]

    def _add(self, entry: list[Any]) -> int:
        self.entries.append(entry)
        return len(self.entries) - 1

    def _entry(self, node: Node) -> list[Any]:
        if isinstance(node, Leaf):
            return ["leaf", node.source, node.key]
        if isinstance(node, Made):
            return [
                "made",
                msgspec.to_builtins(node.spec),
                node.key,
                node.fill,
                node.std,
                node.seed,
            ]
        if isinstance(node, Assembly):
            parts = [[part.index, self.number(part.node)] for part in node.parts]
            base = None if node.base is None else self.number(node.base)
            return ["assembly", msgspec.to_builtins(node.spec), parts, base]
        return ["result", self._call(node.call), node.number]

    def _call(self, made: Call) -> int:
        if id(made) not in self._numbers:
            inputs = [self.number(node) for node in made.inputs]
            entry = ["call", made.op.name, msgspec.to_builtins(made.op), inputs]
            self._numbers[id(made)] = self._add(entry)
        return self._numbers[id(made)]


# --- loading --------------------------------------------------------------------------------------


def read_plan(path: Path) -> SavedPlan:
    """The plan in a file; raises CkptSurgeonError where it is none."""
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=SavedPlan)
    except OSError as error:
        raise CkptSurgeonError(f"{path}: can't read the plan: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CkptSurgeonError(f"{path}: no plan that `plan -o` saved: {error}") from None
    if saved.ckptsurgeon_plan != VERSION:
        raise CkptSurgeonError(f"{path}: a plan of version {saved.ckptsurgeon_plan}, not {VERSION}")
    return saved


def restore_plan(saved: SavedPlan, checkpoints: Mapping[str, Checkpoint]) -> Plan:
    """The plan for these checkpoints by alias, which must be those that it was made for."""
    views = {view.alias: _view(view, checkpoints) for view in saved.sources}
    destination = _view(saved.destination, checkpoints) if saved.destination else None
    known = {**views, **({DESTINATION: destination} if destination else {})}
    try:
        nodes = _Nodes(saved.nodes, known).all()
        return _restored(saved, tuple(views.values()), destination, nodes)
    except (msgspec.ValidationError, TypeError, ValueError, LookupError) as error:
        raise CkptSurgeonError(f"the plan doesn't hold together: {error}") from None


def _view(saved: SavedView, checkpoints: Mapping[str, Checkpoint]) -> SourceView:
    name = "the destination" if saved.alias == DESTINATION else f"source {saved.alias}".rstrip()
    if saved.alias not in checkpoints:
        raise CheckpointError(f"the plan needs {name} (it was {saved.path}), which is not given")
    view = view_source(checkpoints[saved.alias], saved.alias, saved.options)
    if view.digest != saved.digest:
        raise CheckpointError(
            f"{view.path}: its keys, dtypes or shapes are not those of {name} ({saved.path}) that "
            "the plan was made for; plan again"
        )
    return view


def _restored(
    saved: SavedPlan,
    views: tuple[SourceView, ...],
    destination: SourceView | None,
    nodes: list[Any],
) -> Plan:
    rules = saved.rules
    outputs = {
        one.key: Output(
            one.key,
            nodes[one.node],
            one.status,
            None if one.rule is None else rules[one.rule],
            one.sources,
            one.ops,
            one.wanted,
            one.allowed,
        )
        for one in saved.outputs
    }
    return Plan(
        sources=views,
        destination=destination,
        outputs=outputs,
        steps=_unsaved(saved.steps, Step, rules),
        fates=_unsaved(saved.fates, SourceFate, rules),
        rules=rules,
        findings=_unsaved(saved.findings, Finding, rules),
        notes=_unsaved(saved.notes, Note, rules),
        ties=saved.ties,
        checked_ties=saved.checked_ties,
        separator=saved.separator,
    )


def _unsaved(rows: list[dict[str, Any]], kind: Any, rules: tuple[RuleInfo, ...]) -> Any:
    plain = [None if row["rule"] is None else rules[row["rule"]] for row in rows]
    return tuple(
        msgspec.convert({**row, "rule": msgspec.to_builtins(rule)}, kind)
        for row, rule in zip(rows, plain, strict=True)
    )


class _Nodes:
    """The graph built again from its list."""

    def __init__(self, entries: list[Any], views: Mapping[str, SourceView]) -> None:
        self._entries, self._views = entries, views
        self._made: list[Any] = []

    def all(self) -> list[Any]:
        makers: Mapping[str, Callable[..., Any]] = {
            "leaf": self._leaf,
            "made": self._filled,
            "call": self._call,
            "result": self._result,
            "assembly": self._assembly,
        }
        for kind, *fields in self._entries:
            self._made.append(makers[kind](*fields))
        return self._made

    def _input(self, number: int) -> Node:
        node = self._made[number] if number >= 0 else None
        if not isinstance(node, Leaf | Result | Made | Assembly):
            raise ValueError(f"node {number} is no tensor")
        return node

    def _leaf(self, source: str, key: str) -> Leaf:
        return Leaf(source, key, self._views[source].specs[key])

    def _filled(self, spec: Any, key: str, fill: str | int | float, std: float, seed: int) -> Made:
        return Made(msgspec.convert(spec, TensorSpec), key, fill, std, seed)

    def _call(self, name: str, parameters: dict[str, Any], inputs: list[int]) -> tuple[Node, ...]:
        return call(build(name, parameters), *map(self._input, inputs))

    def _result(self, made: int, number: int) -> Node:
        results = self._made[made]
        if not isinstance(results, tuple) or number < 0:
            raise ValueError(f"node {made} is no op")
        node: Node = results[number]
        return node

    def _assembly(self, spec: Any, parts: list[Any], base: int | None) -> Assembly:
        filled = (
            Part(msgspec.convert(index, ConcreteIndex), self._input(number))
            for index, number in parts
        )
        rest = None if base is None else self._input(base)
        return Assembly(msgspec.convert(spec, TensorSpec), tuple(filled), rest)
