"""Saved plans read again, and held against the checkpoints that they are to run on.

What a file says of shapes is not believed: specs of source tensors come from the checkpoints when
it is run, and each op infers its results again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents
from ckptsurgeon.errors import CheckpointError, CkptSurgeonError
from ckptsurgeon.ops import build
from ckptsurgeon.ops.base import MAX_MADE_BYTES
from ckptsurgeon.ops.indexing import resolve_index, taken_shape
from ckptsurgeon.ops.regions import overlap, taken_count
from ckptsurgeon.plans.account import CheckedTie, Finding, Note, Output, RuleInfo, SourceFate, Step
from ckptsurgeon.plans.digests import digest
from ckptsurgeon.plans.files.saved import (
    BEGINNING,
    VERSION,
    SavedAssembly,
    SavedCall,
    SavedLeaf,
    SavedMade,
    SavedNode,
    SavedOutput,
    SavedPlan,
    SavedResult,
    SavedView,
)
from ckptsurgeon.plans.graph import Assembly, Leaf, Made, Node, Part, call
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.ties import Storages, carried_ties, united
from ckptsurgeon.plans.views import SourceView, view_source
from ckptsurgeon.specs import TensorSpec


def read_plan(data: bytes, path: Path) -> SavedPlan:
    """The plan in a file's text; raises CkptSurgeonError where it is none."""
    if not data.startswith(BEGINNING):
        raise CkptSurgeonError(f"{path}: is no plan that `plan -o` saved")
    try:
        saved = msgspec.json.decode(data, type=SavedPlan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CkptSurgeonError(f"{path}: a saved plan that was changed or cut: {error}") from None
    if saved.ckptsurgeon_plan != VERSION:
        raise CkptSurgeonError(f"{path}: a plan of version {saved.ckptsurgeon_plan}, not {VERSION}")
    return saved


def restore_plan(saved: SavedPlan, checkpoints: Mapping[str, Checkpoint]) -> Plan:
    """The plan for these checkpoints by alias, which must be those that it was made for."""
    return _held_together(saved, lambda view: _view(view, checkpoints))


def recall_plan(saved: SavedPlan) -> Plan:
    """The plan as it was made, without its checkpoints: to be looked at, not to be run."""
    return _held_together(saved, _recalled_view)


def _held_together(saved: SavedPlan, viewed: Callable[[SavedView], SourceView]) -> Plan:
    views = {view.alias: viewed(view) for view in saved.sources}
    destination = viewed(saved.destination) if saved.destination else None
    known = {**views, **({DESTINATION: destination} if destination else {})}
    try:
        nodes = restored_nodes(saved.nodes, known)
        plan = _restored(saved, tuple(views.values()), destination, nodes)
        _check_names(plan, known)
        return plan
    except (CkptSurgeonError, TypeError, ValueError, LookupError) as error:
        raise CkptSurgeonError(
            f"the saved plan doesn't hold together: {error}; plan again"
        ) from None


def _check_names(plan: Plan, views: Mapping[str, SourceView]) -> None:
    """Raises ValueError where an account names tensors that aren't there."""
    checked = ((tie.key, tie.leader) for tie in plan.checked_ties)
    for key, leader in (*plan.ties.items(), *checked):
        if not {key, leader} <= plan.outputs.keys():
            raise ValueError(f"`{key}` is tied to `{leader}`, and one of them is no output")
    for output in plan.outputs.values():
        for operand in output.sources:
            if operand.source not in views or operand.key not in views[operand.source].specs:
                raise ValueError(f"`{output.key}` is made from `{operand.key}`, which is not there")
        if output.wanted is not None and output.spec != output.wanted and not output.allowed:
            raise ValueError(
                f"`{output.key}` is {output.spec}; the destination has {output.wanted}"
            )


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


def _recalled_view(saved: SavedView) -> SourceView:
    """The view that the file tells of, if it is the one whose digest it has."""
    names = {key: saved.names.get(key, key) for key in saved.specs}
    own = {names[key]: spec for key, spec in saved.specs.items()}
    if digest(own) != saved.digest or not own.keys() >= {n for g in saved.aliases for n in g}:
        raise CkptSurgeonError(
            f"the saved plan doesn't hold together: what it says of {saved.path} was changed; "
            "plan again"
        )
    return SourceView(
        alias=saved.alias,
        path=saved.path,
        format=saved.format,
        options=saved.options,
        names=names,
        specs=saved.specs,
        contents=Contents(own, saved.aliases),
    )


def _restored(
    saved: SavedPlan,
    views: tuple[SourceView, ...],
    destination: SourceView | None,
    nodes: Sequence[Node | None],
) -> Plan:
    rules = saved.rules
    outputs = {one.key: _restored_output(one, nodes, rules) for one in saved.outputs}
    if len(outputs) != len(saved.outputs):
        raise ValueError("two outputs have one key")
    for key, leader in saved.ties.items():
        if key == leader or not {key, leader} <= outputs.keys():
            raise ValueError(f"{key!r} is tied to {leader!r}")
    carried = carried_ties(outputs, Storages(views))
    return Plan(
        sources=views,
        destination=destination,
        outputs=outputs,
        steps=_unsaved(saved.steps, Step, rules),
        fates=_unsaved(saved.fates, SourceFate, rules),
        rules=rules,
        findings=_unsaved(saved.findings, Finding, rules),
        notes=_unsaved(saved.notes, Note, rules),
        ties=united((*saved.ties.items(), *carried.items()), outputs),
        checked_ties=_unsaved(saved.checked_ties, CheckedTie, rules),
        separator=saved.separator,
    )


def _restored_output(
    saved: SavedOutput, nodes: Sequence[Node | None], rules: Sequence[RuleInfo]
) -> Output:
    return Output(
        saved.key,
        tensor(nodes, saved.node),
        saved.status,
        _rule(saved.rule, rules),
        saved.sources,
        saved.ops,
        saved.wanted,
        saved.allowed,
    )


def _rule(number: int | None, rules: Sequence[RuleInfo]) -> RuleInfo | None:
    return None if number is None else rules[counted(number, rules)]


def _unsaved(rows: list[dict[str, Any]], kind: Any, rules: Sequence[RuleInfo]) -> Any:
    """Rows whose rules are numbers as what they were."""
    return tuple(
        msgspec.convert({**row, "rule": msgspec.to_builtins(_rule(row["rule"], rules))}, kind)
        for row in rows
    )


# --- the graph ------------------------------------------------------------------------------------


def restored_nodes(
    entries: Sequence[SavedNode], views: Mapping[str, SourceView]
) -> Sequence[Node | None]:
    """The nodes by number, None for calls; raises ValueError, LookupError or ShapeError."""
    nodes: list[Node | None] = []
    results: dict[int, tuple[Node, ...]] = {}
    for number, entry in enumerate(entries):
        if isinstance(entry, SavedCall):
            inputs = [tensor(nodes, one) for one in entry.inputs]
            results[number] = call(build(entry.op, entry.parameters), *inputs)
            nodes.append(None)
        elif isinstance(entry, SavedResult):
            given = results.get(entry.call, ())
            nodes.append(given[counted(entry.number, given)])
        elif isinstance(entry, SavedLeaf):
            spec = views[entry.source].specs[entry.key]
            nodes.append(Leaf(entry.source, entry.key, spec))
        elif isinstance(entry, SavedMade):
            nodes.append(_made(entry))
        else:
            nodes.append(_assembly(entry, nodes))
    return nodes


def tensor(nodes: Sequence[Node | None], number: int) -> Node:
    """The node of a number, which stands before what asks for it."""
    node = nodes[counted(number, nodes)]
    if node is None:
        raise ValueError(f"node {number} is an op, no tensor")
    return node


def counted(number: int, among: Sequence[object]) -> int:
    """The number, if it is one of a list's as it is, not counted from the end."""
    if not 0 <= number < len(among):
        raise ValueError(f"number {number} of {len(among)} is named")
    return number


def _made(saved: SavedMade) -> Made:
    made = Made(saved.spec, saved.key, saved.fill, saved.std, saved.seed)
    if made.spec.nbytes > MAX_MADE_BYTES or made.spec.carrier is None:
        raise ValueError(f"`{made.key}`: {made.spec} can't be made")
    words = ("zeros", "ones", "normal", *(["eye"] if len(made.spec.shape) == 2 else []))
    if made.fill not in words if isinstance(made.fill, str) else abs(made.fill) > 2**63:
        raise ValueError(f"`{made.key}`: {made.fill!r} can't fill {made.spec}")
    return made


def _assembly(saved: SavedAssembly, nodes: Sequence[Node | None]) -> Assembly:
    """The assembly, after checking that its parts fit and, without a base, tile it."""
    parts = tuple(Part(part.index, tensor(nodes, part.node)) for part in saved.parts)
    base = None if saved.base is None else tensor(nodes, saved.base)
    regions = [resolve_index(part.index, saved.spec.shape) for part in parts]
    for part, region in zip(parts, regions, strict=True):
        if part.node.spec != TensorSpec(saved.spec.dtype, taken_shape(region)):
            raise ValueError(f"{part.node.spec} is no part of {saved.spec}")
    if any(overlap(one, other) for one, other in itertools.combinations(regions, 2)):
        raise ValueError(f"parts of {saved.spec} overlap")
    if base is not None and base.spec != saved.spec:
        raise ValueError(f"{base.spec} can't fill up {saved.spec}")
    if base is None and sum(map(taken_count, regions)) != saved.spec.count:
        raise ValueError(f"parts leave holes in {saved.spec}")
    return Assembly(saved.spec, parts, base)
