"""Tensors told as few lines: those of a module on one, repeated modules folded into ranges.

Only what is equal folds: the label (status, rule, ops), the origin and the kind of the shapes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ckptsurgeon.keys import Box, Item, fold_items, fold_keys
from ckptsurgeon.specs import TensorSpec


class Entry(NamedTuple):
    """One tensor to be told. `origins` are the keys it comes from; `label` holds what must agree.

    `before` is told only where it differs from `after`.
    """

    key: str
    after: TensorSpec | None
    origins: tuple[str, ...] = ()
    before: TensorSpec | None = None
    label: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        before, after = self.before, self.after
        return before is not None and before is not after and before != after


@dataclass(frozen=True, slots=True)
class Module:
    """Entries of one module that agree; `origins` are module names where `name`s are equal."""

    module: str
    origins: tuple[str, ...] | None
    entries: tuple[Entry, ...]

    @property
    def key(self) -> str:
        return self.entries[0].key if self.single else self.module

    @property
    def single(self) -> bool:
        return len(self.entries) == 1

    @property
    def boxes(self) -> tuple[Box, ...]:
        origins = self.entries[0].origins if self.single or self.origins is None else self.origins
        return tuple(fold_keys(origins))

    @property
    def names(self) -> tuple[str, ...]:
        return () if self.single else tuple(_split(entry.key)[1] for entry in self.entries)

    @property
    def shared(self) -> Hashable:
        """What must be equal for two modules to fold."""
        shapes = tuple((_kind(entry.before), _kind(entry.after)) for entry in self.entries)
        return self.entries[0].label, self.entries[0].changed, self.names, shapes


@dataclass(frozen=True, slots=True)
class Line:
    """Entries of one label, `count` of them.

    `names` are the last pieces of their keys, empty where `box` is of whole keys; `of_modules` says
    that `origins` lack them, too. `before` tells the specs that change, "" where they don't.
    """

    box: Box
    names: tuple[str, ...]
    origins: tuple[Box, ...]
    label: tuple[str, ...]
    count: int
    before: str
    after: str
    of_modules: bool = False

    @property
    def keys(self) -> Iterable[str]:
        """Every key that the line tells of."""
        for key in self.box.keys:
            yield from (join(key, name) for name in self.names) if self.names else (key,)


def join(module: str, name: str) -> str:
    return f"{module}.{name}" if module else name


def fold_entries(entries: Sequence[Entry]) -> list[Line]:
    """Lines that tell exactly these entries, in order of appearance."""
    modules = [Module(*one) for one in _group(entries)]
    items = [Item(module.key, module.boxes, module.shared) for module in modules]
    return [
        _line(folded.box, folded.origins, [modules[number] for number in folded.members])
        for folded in fold_items(items)
    ]


def _line(box: Box, origins: tuple[Box, ...], modules: Sequence[Module]) -> Line:
    first = modules[0].entries[0]
    firsts = [module.entries[0] for module in modules]
    return Line(
        box=box,
        names=modules[0].names,
        origins=origins,
        label=first.label,
        count=sum(len(module.entries) for module in modules),
        before=spec_range(entry.before for entry in firsts) if first.changed else "",
        after=spec_range(entry.after for entry in firsts),
        of_modules=modules[0].origins is not None and not modules[0].single,
    )


def unfold_entries(entries: Iterable[Entry]) -> list[Line]:
    """A line for each entry."""
    return [
        _line(_whole(entry.key), tuple(map(_whole, entry.origins)), [Module("", None, (entry,))])
        for entry in entries
    ]


def _whole(key: str) -> Box:
    return Box(((key,), ()), ())


def _split(key: str) -> tuple[str, str]:
    module, _, name = key.rpartition(".")
    return module, name


def _kind(spec: TensorSpec | None) -> Hashable:
    return None if spec is None else (spec.dtype, len(spec.shape))


def _group(
    entries: Iterable[Entry],
) -> Iterable[tuple[str, tuple[str, ...] | None, tuple[Entry, ...]]]:
    groups: dict[Hashable, tuple[str, tuple[str, ...] | None, list[Entry]]] = {}
    for entry in entries:
        module, name = _split(entry.key)
        origins = _origin_modules(entry, name)
        change = (entry.before, entry.after) if entry.changed else None
        apart = () if origins is not None else entry.origins
        own = "" if module else entry.key
        kind = (module, own, origins, apart, entry.label, change)
        groups.setdefault(kind, (module, origins, []))[2].append(entry)
    return ((module, origins, tuple(found)) for module, origins, found in groups.values())


def _origin_modules(entry: Entry, name: str) -> tuple[str, ...] | None:
    """The modules that the entry comes from; None where names differ or a module is nameless."""
    split = [_split(origin) for origin in entry.origins]
    if any(last != name or not module for module, last in split):
        return None
    return tuple(module for module, _ in split)


def spec_range(specs: Iterable[TensorSpec | None]) -> str:
    """`F32[64..512, 3]`: the one text of specs of equal dtype and rank; "" where there is none."""
    known = list(dict.fromkeys(spec for spec in specs if spec is not None))
    if not known:
        return ""
    dims = (sorted(set(sizes)) for sizes in zip(*(spec.shape for spec in known), strict=True))
    texts = (str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]}..{sizes[-1]}" for sizes in dims)
    return f"{known[0].dtype}[{', '.join(texts)}]"
