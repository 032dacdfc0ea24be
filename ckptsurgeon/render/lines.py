"""What is told of tensors, one by one as entries, and of many on one line."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import msgspec

from ckptsurgeon.keys import Box
from ckptsurgeon.specs import TensorSpec, UnreadableSpec


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One tensor to be told. `origins` are the keys it comes from; `label` holds what must agree.

    `before` is told only where it differs from `after`.
    """

    key: str
    after: TensorSpec | None
    origins: tuple[str, ...] = ()
    before: TensorSpec | None = None
    label: tuple[str, ...] = ()


class Lot(msgspec.Struct, gc=False):
    """Entries that differ in their keys and origins alone; `numbers` are their places in order."""

    after: TensorSpec | None
    before: TensorSpec | None
    label: tuple[str, ...]
    numbers: list[int]
    keys: list[str]
    origins: list[tuple[str, ...]]

    @property
    def changed(self) -> bool:
        """Whether there is a change of specs to be told."""
        return self.before is not None and self.before != self.after

    @property
    def kinds(self) -> Hashable:
        """What is alike in all specs on one line: dtypes and numbers of dims."""
        told = (self.after, self.before if self.changed else None)
        return tuple(spec and (spec.dtype, _rank(spec)) for spec in told)

    @property
    def texts(self) -> tuple[str, str]:
        """The specs, that before only where there is a change to be told."""
        return spec_range((self.before,)) if self.changed else "", spec_range((self.after,))


def gather_lots(entries: Iterable[Entry]) -> Iterable[Lot]:
    """The lots of some entries, in order of appearance."""
    lots: dict[Hashable, Lot] = {}
    for number, one in enumerate(entries):
        kind = one.after, one.before, one.label
        lot = lots.get(kind) or lots.setdefault(kind, Lot(*kind, [], [], []))
        lot.numbers.append(number)
        lot.keys.append(one.key)
        lot.origins.append(one.origins)
    return lots.values()


class Folded(Protocol):
    """Keys as one text."""

    @property
    def keys(self) -> Iterator[str]:
        """Every key that it tells of."""

    def __str__(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Line:
    """Entries of one label.

    `names` are the last pieces of their keys, empty where `box` is of whole keys; `of_modules` says
    that `origins` lack them, too. `before` tells the specs that change, "" where they don't.
    """

    box: Folded
    names: tuple[str, ...]
    origins: tuple[Folded, ...]
    label: tuple[str, ...]
    before: str
    after: str
    of_modules: bool = False

    @property
    def keys(self) -> Iterator[str]:
        """Every key that the line tells of."""
        for key in self.box.keys:
            yield from (f"{key}.{name}" for name in self.names) if self.names else (key,)


def unfold_lots(lots: Iterable[Lot]) -> list[Line]:
    """A line for each entry, in order."""
    lines = [
        (number, Line(_whole(key), (), tuple(map(_whole, origins)), lot.label, *lot.texts))
        for lot in lots
        for number, key, origins in zip(lot.numbers, lot.keys, lot.origins, strict=True)
    ]
    return [line for _, line in sorted(lines, key=operator.itemgetter(0))]


def _whole(key: str) -> Box:
    return Box(((key,), ()), ())


def spec_range(specs: Iterable[TensorSpec | None]) -> str:
    """`F32[64..512, 3]`: the one text of specs of equal dtype and rank; "" where there is none."""
    known = [spec for spec in {id(spec): spec for spec in specs}.values() if spec is not None]
    if not known or _rank(known[0]) is None:
        return str(known[0]) if known else ""
    dims = (sorted(set(sizes)) for sizes in zip(*(spec.shape for spec in known), strict=True))
    texts = (str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]}..{sizes[-1]}" for sizes in dims)
    return f"{known[0].dtype}[{', '.join(texts)}]"


def tell_specs(specs: Iterable[TensorSpec]) -> str:
    """`F32[64..512]; I64[]`: the specs, those of one dtype and rank as one."""
    alike: dict[Hashable, list[TensorSpec]] = {}
    for spec in {id(spec): spec for spec in specs}.values():
        alike.setdefault((spec.dtype, _rank(spec)), []).append(spec)
    return "; ".join(map(spec_range, alike.values()))


def _rank(spec: TensorSpec) -> int | None:
    """The number of dims; None where it is not known."""
    is_known = spec.has_shape if isinstance(spec, UnreadableSpec) else True
    return len(spec.shape) if is_known else None
