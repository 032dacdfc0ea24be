"""Checkpoints as reports name them, and numbers of tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ckptsurgeon.checkpoints.base import Outside
from ckptsurgeon.plans.digests import digest
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import TensorSpec, UnreadableSpec, human_bytes, plural


@dataclass(frozen=True, slots=True)
class Tally:
    """A number of tensors and their bytes."""

    tensors: int = 0
    nbytes: int = 0

    def __str__(self) -> str:
        return f"{plural(self.tensors, 'tensor')}, {human_bytes(self.nbytes)}"


@dataclass(frozen=True, slots=True)
class Side:
    """A checkpoint as a report names it; `root` is the wrapper opened, of the `wrappers`.

    `unreadable` of its `tensors` have no values that can be read; of some of these the size may
    not be known either. `outside` the root stand others.
    """

    alias: str
    path: str
    format: str
    tensors: int
    nbytes: int
    unreadable: int
    all_sizes_known: bool
    root: str
    wrappers: tuple[str, ...]
    outside: tuple[Outside, ...]
    has_values: bool
    specs: Mapping[str, TensorSpec]

    @property
    def digest(self) -> str:
        """SHA-256 over its keys and specs; worked out each time."""
        return digest(self.specs)


def side_of(view: SourceView) -> Side:
    """A checkpoint as rules see it, for reports."""
    specs = view.specs.values() if view.has_unreadable else ()
    unreadable = [spec for spec in specs if isinstance(spec, UnreadableSpec)]
    return Side(
        alias=view.alias,
        path=view.path,
        format=view.format,
        tensors=len(view.specs),
        nbytes=nbytes_of(view.specs.values()),
        unreadable=len(unreadable),
        all_sizes_known=all(spec.is_whole for spec in unreadable),
        root=view.contents.root,
        wrappers=view.contents.wrappers,
        outside=view.contents.outside,
        has_values=view.has_values,
        specs=view.contents.specs,
    )


def nbytes_of(specs: Iterable[TensorSpec]) -> int:
    """The bytes of tensors together; the size of a spec that many share is worked out once."""
    given = list(specs)
    known = {id(spec): spec for spec in given}
    return sum(known[at].nbytes * number for at, number in Counter(map(id, given)).items())


def add_tallies(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    given = list(tallies)
    return Tally(sum(one.tensors for one in given), sum(one.nbytes for one in given))


def take_off(tally: Tally, part: Tally) -> Tally:
    """What a part leaves of it."""
    return Tally(tally.tensors - part.tensors, tally.nbytes - part.nbytes)


def count_tensors(specs: Iterable[TensorSpec]) -> Tally:
    """The number of tensors, and their bytes."""
    given = list(specs)
    return Tally(len(given), nbytes_of(given))
