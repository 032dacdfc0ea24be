"""torch's `state_dict()._metadata`, moved with its modules under the rules.

The versions in it decide how modules load: a BatchNorm without version 2 is given a counter. A
module takes the entry of the one that its tensors come from; a module above that is new to the
output is a plain container (version 1).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from ckptsurgeon.ops.batchnorms import BatchNormScale
from ckptsurgeon.plans.graph import Result
from ckptsurgeon.plans.plan import Plan

Metadata = Mapping[str, Mapping[str, Any]]


def output_metadata(plan: Plan) -> Metadata | None:
    """The destination's `_metadata`, else the source's moved; None where neither has one."""
    if plan.destination is not None and plan.destination.contents.module_metadata is not None:
        return _frozen(plan, plan.destination.contents.module_metadata)
    known = {
        view.alias: view.contents.module_metadata
        for view in plan.sources
        if view.contents.module_metadata is not None
    }
    return _frozen(plan, _moved(plan, known)) if known else None


def _frozen(plan: Plan, metadata: Metadata) -> Metadata:
    """The `_metadata` with the versions of detectron2's FrozenBatchNorm2d for frozen BatchNorms.

    That layer takes a version below 3 for an old one of its own, whose variances have eps in them,
    and subtracts it (detectron2 #2413). One without statistics is of its version 1, which had none.
    """
    frozen: dict[str, Mapping[str, Any]] = {}
    for key, output in plan.outputs.items():
        module, _, name = key.rpartition(".")
        lacks_counter = f"{module}.num_batches_tracked" not in plan.outputs
        if name == "running_var" and lacks_counter and metadata.get(module) == {"version": 2}:
            frozen[module] = {"version": 3}
        elif isinstance(output.node, Result) and isinstance(output.node.call.op, BatchNormScale):
            frozen[module] = {"version": 1}
    return {**metadata, **frozen}


def find_origins(plan: Plan, among: Mapping[str, Container[str]]) -> dict[str, tuple[str, str]]:
    """The module that an output's module comes from, with its alias, of those `among`.

    It is the first that gives its tensors anything, by the names that the source has.
    """
    stored = {view.alias: view.names for view in plan.sources}
    found: dict[str, tuple[str, str]] = {}
    for key, output in plan.outputs.items():
        for operand in output.sources:
            module = _module(stored[operand.source][operand.key])
            if module in among.get(operand.source, ()):
                found.setdefault(_module(key), (operand.source, module))
                break
    return found


def _moved(plan: Plan, known: Mapping[str, Metadata]) -> Metadata:
    origins = find_origins(plan, known)
    moved = {module: known[alias][old] for module, (alias, old) in origins.items()}
    complete: dict[str, Mapping[str, Any]] = {}
    for module in moved:
        for above in _lineage(module):
            complete.setdefault(above, moved.get(above, {"version": 1}))
    return complete


def _module(key: str) -> str:
    return key.rpartition(".")[0]


def _lineage(module: str) -> list[str]:
    """The module's path and those above it, the root first."""
    pieces = module.split(".") if module else []
    return [".".join(pieces[:count]) for count in range(len(pieces) + 1)]
