"""A plan carried out: bytes moved or computed into a writer, the output whole or not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ckptsurgeon.errors import CheckpointError, FindingsError, OutputError, PlanError, Problem
from ckptsurgeon.evaluate import Evaluator
from ckptsurgeon.formats import open_writer
from ckptsurgeon.formats.base import Checkpoint, Layout, Writer
from ckptsurgeon.module_metadata import output_metadata
from ckptsurgeon.planner.model import DESTINATION, Finding, Leaf, Plan
from ckptsurgeon.planner.views import digest

Progress = Callable[[str, int], None]
"""Called after each tensor with its key and its size in bytes."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What a run did: bytes copied as they lie, and bytes that went through memory."""

    copied: int
    computed: int


def execute(
    plan: Plan,
    checkpoints: Mapping[str, Checkpoint],
    target: Path,
    *,
    force: bool = False,
    max_shard_size: int | None = None,
    progress: Progress | None = None,
) -> Moved:
    """Writes the plan's output to `target`.

    `checkpoints` are the plan's by alias, with the destination as `dst`. Raises FindingsError where
    findings are open, OutputError where nothing can be written; then nothing is.
    """
    refuse_findings(plan)
    _check_same_checkpoints(plan, checkpoints)
    _refuse_inputs(target, checkpoints)
    layout = output_layout(plan, checkpoints)
    evaluator = Evaluator(plan, checkpoints)
    _check_ties(plan, evaluator)
    with open_writer(target, layout, force=force, max_shard_size=max_shard_size) as writer:
        return _fill(plan, checkpoints, evaluator, writer, progress)


def _fill(
    plan: Plan,
    checkpoints: Mapping[str, Checkpoint],
    evaluator: Evaluator,
    writer: Writer,
    progress: Progress | None,
) -> Moved:
    copied = computed = 0
    for key, output in plan.outputs.items():
        node, name = output.node, output_name(plan, key)
        extent = None
        if isinstance(node, Leaf):
            extent = checkpoints[node.source].extent(evaluator.stored(node))
        if extent is not None:
            writer.copy(name, extent)
            copied += extent.nbytes
        else:
            writer.write(name, evaluator.output(output))
            computed += output.spec.nbytes
        if progress is not None:
            progress(key, output.spec.nbytes)
    return Moved(copied, computed)


def refuse_findings(plan: Plan) -> None:
    """Raises FindingsError where a finding was not allowed."""
    if plan.open_findings:
        raise FindingsError(map(_finding_problem, plan.open_findings))


def _finding_problem(finding: Finding) -> Problem:
    specs = {"found": finding.found, "wanted": finding.wanted}
    told = ", ".join(f"{word} {spec}" for word, spec in specs.items() if spec is not None)
    return Problem(f"{finding.kind.value}: `{finding.key}` ({told})")


def output_layout(plan: Plan, checkpoints: Mapping[str, Checkpoint]) -> Layout:
    """What the writer is to write, under the output's own names."""
    names = {key: output_name(plan, key) for key in plan.outputs}
    return Layout(
        specs={names[key]: output.spec for key, output in plan.outputs.items()},
        ties={names[key]: names[leader] for key, leader in plan.ties.items()},
        metadata=plan.sources[0].contents.metadata if plan.sources else {},
        module_metadata=output_metadata(plan),
        template=checkpoints.get(""),
    )


def output_name(plan: Plan, key: str) -> str:
    """The name that an output key has in the file."""
    if plan.destination is not None and key in plan.destination.names:
        return plan.destination.names[key]
    return key if plan.separator == "." else key.replace(".", plan.separator)


def _check_same_checkpoints(plan: Plan, checkpoints: Mapping[str, Checkpoint]) -> None:
    """Refuses checkpoints that are not those that were planned with."""
    views = (*plan.sources, *([plan.destination] if plan.destination else []))
    for view in views:
        name = "the destination" if view.alias == DESTINATION else view.alias or "the source"
        if view.alias not in checkpoints:
            raise CheckpointError(f"the plan needs {name} ({view.path}), which was not given")
        checkpoint = checkpoints[view.alias]
        if digest(checkpoint.contents.specs) != view.digest:
            raise CheckpointError(
                f"{checkpoint.path}: its keys, dtypes or shapes are not those of {name} that the "
                "plan was made for; plan again"
            )


def _refuse_inputs(target: Path, checkpoints: Mapping[str, Checkpoint]) -> None:
    """An output may not be one of the files that it is made from, nor hold one."""
    place = target.resolve()
    for checkpoint in checkpoints.values():
        path = checkpoint.path.resolve()
        if path == place or place in path.parents:
            raise OutputError(f"{target}: the output would overwrite its own input {path}")


def _check_ties(plan: Plan, evaluator: Evaluator) -> None:
    """Tied keys that were made apart must be equal; compared before anything is written."""
    for key, leader in plan.checked_ties:
        one, other = (evaluator.array(plan.outputs[name].node) for name in (key, leader))
        if one.tobytes() != other.tobytes():
            rule = plan.outputs[key].rule
            message = f"`tie`: `{key}` and `{leader}` hold different values"
            raise PlanError([Problem(message, rule.place if rule else None, "drop one of them")])
