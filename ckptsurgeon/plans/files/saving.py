"""Plans written as JSON files, to be run later on the same checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ckptsurgeon.checkpoints.transfer import write_bytes
from ckptsurgeon.checkpoints.writing.staging import staged_file
from ckptsurgeon.errors import OutputError
from ckptsurgeon.plans.account import Output, RuleInfo
from ckptsurgeon.plans.files.saved import (
    BEGINNING,
    VERSION,
    SavedAssembly,
    SavedCall,
    SavedLeaf,
    SavedMade,
    SavedNode,
    SavedOutput,
    SavedPart,
    SavedPlan,
    SavedResult,
    SavedView,
)
from ckptsurgeon.plans.graph import Call, Leaf, Made, Node, Result, Work, in_order, work_of
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.views import SourceView


def save_plan(plan: Plan, path: Path) -> None:
    """Writes a plan whole or not at all; of existing files only another plan is replaced.

    Raises OutputError.
    """
    if path.suffix != ".json":
        raise OutputError(
            f"{path}: a plan is saved as JSON: name it `{path.stem}.json`; `transplant -o` writes "
            "checkpoints"
        )
    if path.exists() and not _is_plan(path):
        raise OutputError(f"{path}: exists, and is no plan that could be replaced")
    try:
        data = msgspec.json.encode(_saved(plan))
    except UnicodeEncodeError as error:
        text = ascii(error.object)
        raise OutputError(f"{path}: JSON can't hold {text}, a name that is no UTF-8") from None
    with staged_file(path, force=True, nbytes=len(data)) as descriptor:
        write_bytes(descriptor, 0, data)


def _is_plan(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(BEGINNING)) == BEGINNING


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
        checked_ties=_rows(plan.checked_ties, numbers),
        steps=_rows(plan.steps, numbers),
        fates=_rows(plan.fates, numbers),
        findings=_rows(plan.findings, numbers),
        notes=_rows(plan.notes, numbers),
    )


def _saved_view(view: SourceView) -> SavedView:
    return SavedView(
        view.alias,
        view.path,
        view.format,
        view.digest,
        view.options,
        dict(view.specs),
        {key: name for key, name in view.names.items() if key != name},
        view.contents.aliases,
    )


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


def _rows(rows: Sequence[Any], numbers: Numbers) -> list[dict[str, Any]]:
    return [{**msgspec.to_builtins(row), "rule": _number(row.rule, numbers)} for row in rows]


class _NodeList:
    """Nodes in an order in which each comes after its inputs."""

    def __init__(self) -> None:
        self.entries: list[SavedNode] = []
        self._numbers: dict[int, int] = {}

    def number(self, node: Node) -> int:
        for work in in_order(work_of(node), lambda work: id(work) in self._numbers):
            self._add(work, self._entry(work))
        return self._known(node)

    def _known(self, node: Node) -> int:
        """The number of a node whose work is listed; results are listed as they are asked for."""
        if id(node) not in self._numbers and isinstance(node, Result):
            self._add(node, SavedResult(self._numbers[id(node.call)], node.number))
        return self._numbers[id(node)]

    def _add(self, item: Node | Call, entry: SavedNode) -> None:
        self._numbers[id(item)] = len(self.entries)
        self.entries.append(entry)

    def _entry(self, work: Work) -> SavedNode:
        if isinstance(work, Leaf):
            return SavedLeaf(work.source, work.key)
        if isinstance(work, Made):
            return SavedMade(work.spec, work.key, work.fill, work.std, work.seed)
        if isinstance(work, Call):
            inputs = tuple(map(self._known, work.inputs))
            return SavedCall(work.op.name, msgspec.to_builtins(work.op), inputs)
        parts = tuple(SavedPart(part.index, self._known(part.node)) for part in work.parts)
        return SavedAssembly(
            work.spec, parts, None if work.base is None else self._known(work.base)
        )
