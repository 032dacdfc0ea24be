"""The sources by their aliases: gathered, numbered, and opened."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents
from ckptsurgeon.checkpoints.memory import MEMORY
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.file_names import find_files, tell_left_out
from ckptsurgeon.file_names.sides import told
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.numbering import OF_FILES, number_notes
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.addresses import check_alias
from ckptsurgeon.request.destinations import OF_DESTINATION
from ckptsurgeon.request.opening import Source, open_source, paths_of
from ckptsurgeon.wording import (
    PYTHON_SOURCE,
    choose,
    name_alias,
    name_root,
    name_source,
    names_of,
)

MOST_NAMED = 5
"""Parts of a file that an error names."""

_FIRST = ("src", PYTHON_SOURCE, "first", "input")
"""What the first source, which has no name, may be called."""

_DESTINATION = (DESTINATION, "destination", "target", "output")
"""What the destination, which is `dst`, may be called."""


def open_sources(given: Mapping[str, Source], options: SourceOptions) -> dict[str, Checkpoint]:
    """The checkpoints of sources by alias, opened; raises CheckpointError."""
    roots, together = options.roots, paths_of(given.values())
    _refuse_strange(roots, given)
    opened = {
        name: open_source(
            one,
            roots.get(name, roots.get("")),
            name,
            one_shard=options.one_shard,
            together=together,
        )
        for name, one in given.items()
    }
    if not opened:
        raise CheckpointError(
            f"no source: give {name_alias('')}, or name sources by {name_source('ALIAS', 'PATH')}"
        )
    for checkpoint in opened.values():
        if checkpoint.format != MEMORY and not checkpoint.contents.specs:
            raise CheckpointError(f"{checkpoint.path}: {_describe_empty(checkpoint.contents)}")
    return opened


def _refuse_strange(roots: Mapping[str, str], given: Collection[str]) -> None:
    """Raises CheckpointError for the root of a source that is not given."""
    known = (*given, "", DESTINATION)
    strange = (one for one in roots if one not in known and not one.startswith(OF_DESTINATION))
    absent = next(strange, None)
    if absent is None:
        return
    alias = _alias_of_side(absent)
    if alias == DESTINATION or (alias == "" and alias in given):
        sides = {one: one if one in known else _alias_of_side(one) for one in roots}
        named = {one if side is None else side: roots[one] for one, side in sides.items()}
        words = " ".join(name_root(one, name) for name, one in named.items())
        meant = choose(words, words if len(named) == 1 else f"root={named!r}")
        called = f"`{alias}`" if alias else "without a name"
        raise CheckpointError(f"`root`: {absent!r} is {called} here: write {meant}")
    there = ", ".join(map(name_alias, given))
    raise CheckpointError(
        f"`root` names the source {absent!r}, which is not given; there are: {there}"
    )


def _alias_of_side(name: str) -> str | None:
    """The alias of the side that a name means which is none: `source` is ``, `B` of diff `dst`."""
    sides = (("", "source", _FIRST), (DESTINATION, "into", _DESTINATION))
    for alias, side, others in sides:
        if name.lower() in (*others, *map(str.lower, names_of(side))):
            return alias
    return None


def _describe_empty(contents: Contents) -> str:
    """Words for a checkpoint of which nothing was opened."""
    if not contents.outside:
        return "holds no tensors; `inspect` shows what it has"
    others = ", ".join(f"{one.place} ({one})" for one in contents.outside[:MOST_NAMED])
    first = name_root(contents.outside[0].key)
    return f"holds no tensors but in {others}; `{first}` opens these"


def gather_sources(
    source: Source | None, named: Mapping[str, Source]
) -> tuple[dict[str, Source], tuple[Note, ...]]:
    """All sources by alias, the unnamed one under "", and what is to be said of numbered files.

    An alias with a star, as in `s*`, numbers the files that its path matches in natural order.
    """
    found: dict[str, Source] = {} if source is None else {"": source}
    notes: list[Note] = []
    for alias, one in named.items():
        numbered: Sequence[tuple[str, Source]] = [(alias, one)]
        if "<" in alias and isinstance(one, str | os.PathLike):
            numbered = files = find_files(alias, os.fspath(one))
            notes += number_notes(str(one), files, holes_alone=True)
            notes += _left_out_notes(os.fspath(one))
        elif "*" in alias:
            numbered = files = _number_files(alias, one)
            notes += number_notes(str(one), files)
        for name, each in numbered:
            with told(name_source(name), CheckpointError):
                check_alias(name, "a source")
            if name in found:
                raise CheckpointError(f"{name_source(name)}: there are two of this name")
            found[name] = each
    return found, tuple(notes)


def _left_out_notes(pattern: str) -> Iterator[Note]:
    """Files that are as good as those that a pattern reads, and that it doesn't read."""
    if told := tell_left_out(pattern):
        yield Note(OF_FILES, told)


def _number_files(alias: str, source: Source) -> list[tuple[str, str]]:
    """The files that a path with a star matches, each with its alias."""
    if not isinstance(source, str | os.PathLike):
        raise CheckpointError(f"{name_source(alias)}: a star numbers files, and this is no path")
    pattern = os.fspath(source)
    found = sorted(glob.glob(pattern), key=_natural)
    if not found:
        raise CheckpointError(f"{name_source(alias, pattern)}: no file matches")
    return [(alias.replace("*", str(number)), path) for number, path in enumerate(found)]


def _natural(path: str) -> list[tuple[int, str]]:
    """Order with numbers by value: 2 before 10."""
    parts = re.split(r"([0-9]+)", path)
    return [(int(part), "") if at % 2 else (-1, part) for at, part in enumerate(parts)]
