"""How the output is nested: as `output` says, else as the destination is, else as the source."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence

from msgspec.structs import replace

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.nesting import FLAT, Nesting, Path, split_path
from ckptsurgeon.checkpoints.output import CARRYING, integer_names_of, nesting_of, paths_of_dicts
from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import Problem, nearest
from ckptsurgeon.language.rules import Front, OutputOptions, Stage
from ckptsurgeon.planner.aliases import of_alias, separator_of
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.output_files import OF_DESTINATION, OF_SOURCE, OUTPUT, OutputFile
from ckptsurgeon.plans.views import SourceView

MOST_FRONTS = 4
"""Fronts of keys that a help names."""


def output_file(
    options: OutputOptions,
    alias: str,
    sources: Sequence[SourceView],
    destination: Checkpoint | None,
    checkpoints: Sequence[Checkpoint],
) -> OutputFile:
    """An output's file, with the nesting that it will have.

    `destination` is what it is held against; `checkpoints` know names of dicts.
    """
    separator = separator_of(options, alias)
    into = "" if destination is None else str(destination.path)
    file = OutputFile(alias, separator=separator, into=into)
    root, wrappers = of_alias(options.roots, alias), of_alias(options.wrappers, alias) or ()
    if root is not None or wrappers:
        known = _dotted(checkpoints) if any("." in one.path for one in fronts_of(options)) else ()
        nesting = Nesting(
            split_path(root.path, known) if root is not None else (),
            tuple(split_path(one.path, known) for one in wrappers),
            separator=separator,
            integers=tuple(name for one in checkpoints for name in integer_names_of(one)),
        )
        place = (root or wrappers[0]).place
        return replace(file, nesting=nesting, decided=OUTPUT, place=place)
    nesting = FLAT if destination is None else nesting_of(destination)
    if nesting.is_nested:
        return replace(file, nesting=nesting, decided=OF_DESTINATION)
    for view in sources:
        if not view.alias and view.format in CARRYING and view.nesting.is_nested:
            return replace(file, nesting=view.nesting, decided=OF_SOURCE)
    return file


def with_wrappers_of_keys(file: OutputFile, keys: Collection[str]) -> OutputFile:
    """The file with those of the source's wrappers that its keys lie under."""
    if file.decided != OF_SOURCE:
        return file
    fronts = {path: ".".join(path) for path in file.nesting.wrappers}
    held = _that_hold(fronts.values(), keys)
    wrappers = tuple(path for path, front in fronts.items() if front in held)
    nesting = dataclasses.replace(file.nesting, wrappers=wrappers)
    return replace(file, nesting=nesting, decided=OF_SOURCE if nesting.is_nested else "")


def _that_hold(fronts: Iterable[str], keys: Iterable[str]) -> set[str]:
    """Those of some fronts that a key lies under, as `a.b` has `a.b.weight`."""
    wanted = set(fronts)
    deepest = max((front.count(".") + 1 for front in wanted), default=0)
    left = set(wanted)
    for key in keys:
        if not left:
            break
        left.difference_update(_fronts_of_key(key, deepest))
    return wanted - left


def _fronts_of_key(key: str, deepest: int) -> Iterator[str]:
    """What stands before each of the first dots of a key."""
    end = -1
    for _ in range(deepest):
        end = key.find(".", end + 1)
        if end < 0:
            return
        yield key[:end]


def fronts_of(options: OutputOptions) -> Iterator[Front]:
    """All that names dicts of outputs."""
    yield from options.roots.values()
    for wrappers in options.wrappers.values():
        yield from wrappers


def _dotted(checkpoints: Sequence[Checkpoint]) -> tuple[Path, ...]:
    """The paths of dicts of which one has a dot in its name."""
    paths = (path for one in checkpoints for path in paths_of_dicts(one))
    return tuple(path for path in paths if any("." in name for name in path))


def front_notes(stages: Sequence[Stage], files: Sequence[OutputFile]) -> Iterator[Note]:
    """Fronts that a stage before the last asks for, and a root whose dots part dicts."""
    for stage in stages[:-1]:
        front = next(fronts_of(stage.output), None)
        if front is not None:
            word = "root" if front in stage.output.roots.values() else "wrappers"
            unused = f"`output: {word}` of {front.place.file_line} is not used"
            yield Note("nesting", f"only the last stage is written: {unused}")
    for file in files:
        if file.decided == OUTPUT and len(file.nesting.root) > 1:
            inside = " in ".join(f"`{name}`" for name in reversed(file.nesting.root))
            yield Note("nesting", f"the root `{file.root}` is a dict {inside}: dots part dicts")


def nesting_problems(
    options: OutputOptions, file: OutputFile, keys: Collection[str]
) -> Iterator[Problem]:
    """What is wrong with the wrappers of an output that has these keys."""
    fronts = of_alias(options.wrappers, file.alias) or ()
    if file.decided != OUTPUT or not fronts:
        return
    root = of_alias(options.roots, file.alias)
    written = zip(fronts, file.nesting.wrappers, strict=True)
    held, known = _that_hold((front.path for front in fronts), keys), frozenset(keys)
    told: set[str] = set()
    for front, path in written:
        texts = (".".join(path[: end + 1]) for end in range(len(path)))
        clash = next((text for text in texts if text in known), None)
        if clash is not None and clash not in told:
            told.add(clash)
            yield Problem(
                f"`{clash}` would be a tensor and a dict",
                front.place,
                f"rename the tensor by a rule that gives it another key, or leave `{front.path}` "
                "out of `wrappers`",
            )
        elif clash is None and front.path not in held:
            yield _tell_empty(front, root, keys)


def _tell_empty(front: Front, root: Front | None, keys: Collection[str]) -> Problem:
    """The problem of a wrapper that no key lies under."""
    message, under = f"no key lies under `{front.path}`", root.path if root is not None else ""
    below = front.path.removeprefix(f"{under}.") if under else front.path
    if under == front.path:
        help = "it is the root, under which all keys are put: leave it out of `wrappers`"
    elif below != front.path and any(key.startswith(f"{below}.") for key in keys):
        help = f"wrappers lie under the root: write `{below}`"
    else:
        depth = front.path.count(".") + 1
        cuts = (key.split(".") for key in keys)
        found = list(dict.fromkeys(".".join(cut[:depth]) for cut in cuts if len(cut) > depth))
        begin = list_some((f"`{one}`" for one in found), MOST_FRONTS)
        near = nearest(front.path, found) or (f"keys lie under {begin}" if found else "")
        help = f"{near}; or leave it out" if near else "leave it out"
    return Problem(message, front.place, help)
