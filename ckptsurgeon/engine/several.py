"""A plan of several outputs as a plan for each: its keys, ties and destination, without aliases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint
from ckptsurgeon.checkpoints.several import destination_of
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.plans.addresses import alias_of, split_address
from ckptsurgeon.plans.output_files import OutputFile
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.views import SourceView, view_source


def parts_of_plan(plan: Plan, checkpoints: Mapping[str, Checkpoint]) -> dict[str, Plan]:
    """The plan of each output by its alias, which reads what the whole plan reads.

    Ties are compared by the whole plan alone.
    """
    if not plan.is_named:
        return {file.alias: plan for file in plan.files}
    keys: dict[str, list[str]] = {file.alias: [] for file in plan.files}
    for address in plan.outputs:
        keys[alias_of(address)].append(address)
    return {
        file.alias: _part(plan, file, keys[file.alias], _destination(file, checkpoints))
        for file in plan.files
    }


def _destination(file: OutputFile, checkpoints: Mapping[str, Checkpoint]) -> SourceView | None:
    """What an output is held against, alone."""
    part = destination_of(checkpoints.get(DESTINATION), file.alias)
    options = SourceOptions(separator=file.separator)
    return None if part is None else view_source(part, DESTINATION, options)


def _part(
    plan: Plan, file: OutputFile, addresses: list[str], destination: SourceView | None
) -> Plan:
    key_of = {address: split_address(address)[1] for address in addresses}
    outputs, names = plan.outputs, {key_of[one]: plan.outputs[one].name for one in addresses}
    return replace(
        plan,
        destination=destination,
        outputs=Outputs(
            {key_of[one]: outputs.nodes[one] for one in addresses},
            {key_of[one]: outputs.rules[one] for one in addresses},
            names.__getitem__,
            {} if destination is None else destination.specs,
            {key_of[one]: outputs.allowed[one] for one in addresses if one in outputs.allowed},
        ),
        ties={key_of[one]: key_of[leader] for one, leader in plan.ties.items() if one in key_of},
        checked_ties=(),
        files=(file,),
        is_named=False,
    )
