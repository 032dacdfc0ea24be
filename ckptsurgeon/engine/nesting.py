"""The nesting of an output as its format can have it, and the entries that would be in its way."""

from __future__ import annotations

import os
from collections.abc import Mapping

from msgspec.structs import replace

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint
from ckptsurgeon.checkpoints.nesting import FLAT, Nesting
from ckptsurgeon.checkpoints.output import CARRYING, OutputFormat, conflicting_entries
from ckptsurgeon.errors import PlanError, Problem
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.output_files import OF_DESTINATION, OF_SOURCE, OUTPUT, OutputFile
from ckptsurgeon.plans.plan import Plan


def aimed(
    file: OutputFile, target: str | os.PathLike[str] | None, wanted: OutputFormat | None
) -> OutputFile:
    """The file with its path and format, flat where the format has no dicts; as it is without."""
    if target is None:
        return file
    nesting = file.nesting if wanted is OutputFormat.TORCH else FLAT
    form = wanted.value if wanted is not None else ""
    return replace(file, path=os.fspath(target), format=form, nesting=nesting)


def output_nesting(
    plan: Plan, checkpoints: Mapping[str, Checkpoint]
) -> Nesting | Checkpoint | None:
    """What the output is nested by: a nesting, or the destination; None for the source itself."""
    file = plan.files[0]
    if file.decided == OF_DESTINATION:
        destination = checkpoints[DESTINATION]
        return destination if destination.format in CARRYING else file.nesting
    return None if file.decided in (OF_SOURCE, "") else file.nesting


def nesting_notes(
    plan: Plan,
    checkpoints: Mapping[str, Checkpoint],
    file: OutputFile,
    wanted: OutputFormat | None,
) -> list[Note]:
    """What is to be said of nesting that the format lacks, and of entries that have no place.

    Raises PlanError for such entries where the rules ask for the nesting.
    """
    if plan.files[0].nesting.is_nested and not file.nesting.is_nested:
        return [flat_note(plan, "safetensors")] if file.decided == OUTPUT else []
    nesting = output_nesting(plan, checkpoints)
    if nesting is None or "" not in checkpoints:
        return []
    entries = conflicting_entries(checkpoints[""], wanted, nesting)
    if file.decided == OUTPUT and entries:
        raise PlanError(_tell_entry(entry, file) for entry in entries)
    text = "not written: a dict of the output has its name"
    return [Note("entry", text, entry) for entry in entries]


def flat_note(plan: Plan, form: str) -> Note:
    """What is to be said where `output` asks for dicts and the result has none."""
    file = plan.files[0]
    root = f"keys have no `{file.root}.` in front" if file.root else ""
    fronts = "wrappers are fronts of keys" if file.wrappers else ""
    told = " and ".join(filter(None, (root, fronts)))
    return Note("nesting", f"{form} has no dicts in dicts: {told}")


def _tell_entry(entry: str, file: OutputFile) -> Problem:
    """The problem of an entry of the source that has the name of a dict of the output."""
    return Problem(
        f"the source has an entry `{entry}` beside its tensors, and the output a dict of that name",
        file.place,
        "give `root` or `wrappers` another name, or write safetensors, which has no entries",
    )
