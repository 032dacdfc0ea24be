"""Steps and fates of very many keys, those of plain renames made only when they are asked for.

What a rename did follows from its tensor and its rule: a million of them take 8 bytes each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, overload

from ckptsurgeon.plans.account import Fate, Operand, Product, RuleInfo, SourceFate, Step
from ckptsurgeon.plans.graph import Leaf

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Part(Protocol[T_co]):
    """Some entries in a row."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


class Log(Sequence[T], Generic[T]):
    """Entries in order, held in parts that may make theirs when they are asked for."""

    def __init__(self) -> None:
        self._parts: list[Part[T]] = []
        self._last: list[T] | None = None

    def append(self, entry: T) -> None:
        """Adds one entry."""
        if self._last is None:
            self._last = []
            self._parts.append(self._last)
        self._last.append(entry)

    def add(self, part: Part[T]) -> None:
        """Adds a part as it is, or all parts of another log."""
        self._parts += part.parts if isinstance(part, Log) else [part]
        self._last = None

    @property
    def parts(self) -> Iterable[Part[T]]:
        """The entries in parts."""
        return self._parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[T]:
        return itertools.chain.from_iterable(self._parts)

    @overload
    def __getitem__(self, at: int) -> T: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...

    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # entries may still be added


@dataclass(frozen=True, slots=True)
class Renames:
    """The steps of a rule that renames whole keys; `renamed` gives the key that one becomes."""

    stage: int
    rule: RuleInfo
    leaves: Sequence[Leaf]
    renamed: Callable[[str], str | None]

    def __len__(self) -> int:
        return len(self.leaves)

    def __iter__(self) -> Iterator[Step]:
        for leaf in self.leaves:
            operands = (Operand(leaf.source, leaf.key),)
            yield Step(
                self.stage, self.rule, operands, (Product(self.renamed(leaf.key) or leaf.key),), ()
            )


@dataclass(frozen=True, slots=True)
class TakenKeys:
    """The fates of keys that rules took whole, where there is no more to say of them."""

    leaves: list[Leaf]
    taker: Callable[[Leaf], RuleInfo]

    def __len__(self) -> int:
        return len(self.leaves)

    def __iter__(self) -> Iterator[SourceFate]:
        for leaf in self.leaves:
            yield SourceFate(leaf.source, leaf.key, leaf.spec, Fate.TAKEN, self.taker(leaf))


def parts_of(entries: Sequence[T]) -> Iterable[Part[T]]:
    """The parts of a log; other sequences are one part."""
    return entries.parts if isinstance(entries, Log) else (entries,)


def remarkable(fates: Sequence[SourceFate]) -> Iterator[SourceFate]:
    """The fates but for those of keys that rules took whole, where there is no more to say."""
    parts = (part for part in parts_of(fates) if not isinstance(part, TakenKeys))
    return itertools.chain.from_iterable(parts)
