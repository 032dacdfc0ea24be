"""Several checkpoints as one, whose keys are addresses: `rank0::norm.weight`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ckptsurgeon.checkpoints.base import Checkpoint, Contents, Span
from ckptsurgeon.checkpoints.transfer import Array, Extent
from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import CheckpointError

SEVERAL = "several"
"""The format of several checkpoints, each of which has one of its own."""

COLONS = "::"

SHOWN_KEYS = 3

MOST_OUTPUTS = 4096
"""Outputs of one run, and files that one pattern may find."""


def address_of(alias: str, key: str) -> str:
    """A key behind the alias of its checkpoint, if that has one."""
    return f"{alias}{COLONS}{key}" if alias else key


def parts_of(checkpoint: Checkpoint) -> Mapping[str, Checkpoint]:
    """A checkpoint's parts by alias; one that has none is that without a name."""
    return checkpoint.parts if isinstance(checkpoint, Several) else {"": checkpoint}


def destination_of(destination: Checkpoint | None, alias: str) -> Checkpoint | None:
    """What an output is held against: one without a name is that of the unnamed output alone."""
    return None if destination is None else parts_of(destination).get(alias)


@dataclass(frozen=True, kw_only=True)
class Several(Checkpoint):
    """Checkpoints by alias, "" for the one without a name."""

    parts: Mapping[str, Checkpoint] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Mapping[str, Checkpoint]) -> Several:
        """All tensors of some checkpoints, behind their aliases.

        Raises CheckpointError where a key of the one without a name reads as one of another.
        """
        if "" in parts:
            _check_unnamed(parts[""])
        contents = {alias: part.contents for alias, part in parts.items()}
        return cls(
            path=Path(", ".join(str(part.path) for part in parts.values())),
            format=SEVERAL,
            contents=Contents(
                specs={
                    address_of(alias, key): spec
                    for alias, own in contents.items()
                    for key, spec in own.specs.items()
                },
                aliases=tuple(
                    tuple(address_of(alias, key) for key in group)
                    for alias, own in contents.items()
                    for group in own.aliases
                ),
                notes=tuple(
                    f"{alias}: {note}" if alias else note
                    for alias, own in contents.items()
                    for note in own.notes
                ),
            ),
            files=tuple(itertools.chain(*(part.files for part in parts.values()))),
            has_values=all(part.has_values for part in parts.values()),
            parts=parts,
        )

    def _find(self, address: str) -> tuple[Checkpoint, str]:
        alias, colons, key = address.partition(COLONS)
        return (self.parts[alias], key) if colons else (self.parts[""], address)

    def extent(self, key: str) -> Extent | None:
        part, name = self._find(key)
        return part.extent(name)

    def blocks(self, key: str) -> Iterator[bytes] | None:
        part, name = self._find(key)
        return part.blocks(name)

    def span(self, key: str) -> Span | None:
        part, name = self._find(key)
        return part.span(name)

    def read(self, key: str) -> Array:
        part, name = self._find(key)
        return part.read(name)


def _check_unnamed(part: Checkpoint) -> None:
    named = [f"`{key}`" for key in part.contents.specs if COLONS in key]
    if named:
        raise CheckpointError(
            f"{part.path}: has {list_some(named, SHOWN_KEYS)}: `{COLONS}` stands behind the name "
            "of a checkpoint where there are several; give this one a name, too"
        )
