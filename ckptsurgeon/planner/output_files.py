"""Where the outputs go: what their keys are called there, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.several import MOST_OUTPUTS
from ckptsurgeon.errors import Problem
from ckptsurgeon.planner.aliases import (
    colon_slips,
    partly_held,
    separator_of,
    strange_aliases,
    unnamed_destination,
)
from ckptsurgeon.planner.nesting import nesting_problems, output_file, with_wrappers_of_keys
from ckptsurgeon.planner.stage.production import Given
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.plans.addresses import alias_of, split_address
from ckptsurgeon.plans.output_files import OF_SOURCE, OutputFile
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.plans.plan import two_of_one_name


def separators_of(last: StageRun, given: Given) -> dict[str, str]:
    """What stands for dots in the keys of each output; "" for those that have none of their own."""
    options = last.compiled.stage.output
    aliases = {*last.held, *(map(alias_of, given.nodes) if last.compiled.is_named else ())}
    return {alias: separator_of(options, alias) for alias in ("", *aliases)}


def output_files(
    last: StageRun,
    outputs: Outputs,
    sources: Mapping[str, Checkpoint],
    held: Mapping[str, Checkpoint],
) -> tuple[OutputFile, ...]:
    """The files of the outputs, each nested as `output`, its destination or the source say."""
    known = [*held.values(), *sources.values()]
    named = (*map(alias_of, outputs), *held) if last.compiled.is_named else ("",)
    options = last.compiled.stage.output
    files = tuple(
        output_file(options, alias, last.views, held.get(alias), known)
        for alias in dict.fromkeys(named)
    )
    if not any(file.decided == OF_SOURCE for file in files):
        return files
    keys = _keys_of(files, outputs) if last.compiled.is_named else {"": list(outputs)}
    return tuple(with_wrappers_of_keys(file, keys[file.alias]) for file in files)


def clashing_names(last: StageRun, outputs: Outputs) -> Iterator[Problem]:
    """Two keys that a separator makes one name of in one file."""
    if (twice := two_of_one_name(outputs, is_named=last.compiled.is_named)) is not None:
        one, other, name = twice
        yield Problem(
            f"`{one}` and `{other}` both become `{name}` by `output: separator`",
            last.compiled.stage.place,
            f"drop or rename one of them, as in `{other} -> NEW`",
        )


def file_problems(
    last: StageRun, files: Sequence[OutputFile], outputs: Outputs
) -> Iterator[Problem]:
    """What is wrong with the nesting of outputs, and with what they are held against."""
    options, place = last.compiled.stage.output, last.compiled.stage.place
    if not last.compiled.is_named:
        yield from nesting_problems(options, files[0], outputs.keys())
        yield from strange_aliases(options, [""])
        return
    keys = _keys_of(files, outputs)
    if len(keys) > MOST_OUTPUTS:
        text = f"{len(keys):,} outputs; at most {MOST_OUTPUTS:,} are written at once"
        yield Problem(text, place)
    for file in files:
        yield from nesting_problems(options, file, keys[file.alias])
    yield from strange_aliases(options, list(keys))
    yield from colon_slips(last.compiled, {*keys, *last.held})
    if last.destination is not None:
        yield from unnamed_destination(last.held, [one for one in keys if keys[one]], place)
        yield from partly_held(last.compiled, list(keys), last.held, last.vars_of)


def _keys_of(files: Sequence[OutputFile], outputs: Outputs) -> dict[str, list[str]]:
    """The keys of each file by its alias."""
    keys: dict[str, list[str]] = {file.alias: [] for file in files}
    for address in outputs:
        alias, key = split_address(address)
        keys[alias].append(key)
    return keys
