"""The nesting of an output as its format can have it, and the entries that would be in its way."""

from __future__ import annotations

import os
from collections.abc import Mapping

from msgspec.structs import replace

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint
from ckptsurgeon.checkpoints.nesting import FLAT, Nesting
from ckptsurgeon.checkpoints.output import CARRYING, OutputFormat, conflicting_entries
from ckptsurgeon.checkpoints.several import destination_of
from ckptsurgeon.errors import PlanError, Problem
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.output_files import OF_DESTINATION, OF_SOURCE, OUTPUT, OutputFile


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
    file: OutputFile, checkpoints: Mapping[str, Checkpoint]
) -> Nesting | Checkpoint | None:
    """What an output is nested by: a nesting, or the destination; None for the source itself."""
    destination = destination_of(checkpoints.get(DESTINATION), file.alias)
    if file.decided == OF_DESTINATION and destination is not None:
        return destination if destination.format in CARRYING else file.nesting
    return None if file.decided in (OF_SOURCE, "") else file.nesting


def nesting_notes(
    planned: OutputFile,
    checkpoints: Mapping[str, Checkpoint],
    file: OutputFile,
    wanted: OutputFormat | None,
) -> list[Note]:
    """What is to be said of nesting that the format lacks, and of entries that have no place.

    `file` is the `planned` one with its path and format.
    Raises PlanError for such entries where the rules ask for the nesting.
    """
    if planned.nesting.is_nested and not file.nesting.is_nested:
        return [flat_note(planned, "safetensors")] if file.decided == OUTPUT else []
    nesting = output_nesting(planned, checkpoints)
    if nesting is None or "" not in checkpoints:
        return []
    entries = conflicting_entries(checkpoints[""], wanted, nesting)
    if file.decided == OUTPUT and entries:
        raise PlanError(_tell_entry(entry, file) for entry in entries)
    text = "not written: a dict of the output has its name"
    return [Note("entry", text, entry) for entry in entries]


def flat_note(file: OutputFile, form: str) -> Note:
    """What is to be said where `output` asks for dicts and the result has none."""
    root = f"keys have no `{file.root}.` in front" if file.root else ""
    fronts = "wrappers are fronts of keys" if file.wrappers else ""
    told = " and ".join(filter(None, (root, fronts)))
    name = f"{file.alias}: " if file.alias else ""
    return Note("nesting", f"{name}{form} has no dicts in dicts: {told}")


def _tell_entry(entry: str, file: OutputFile) -> Problem:
    """The problem of an entry of the source that has the name of a dict of the output."""
    return Problem(
        f"the source has an entry `{entry}` beside its tensors, and the output a dict of that name",
        file.place,
        "give `root` or `wrappers` another name, or write safetensors, which has no entries",
    )
