"""Tensors told as few lines: those of a module on one, repeated modules folded into ranges.

Only what is equal folds: the label (status, rule, ops), the origin and the kind of the shapes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from ckptsurgeon.folding import Box, Item, fold_items, fold_keys
from ckptsurgeon.specs import TensorSpec


@dataclass(frozen=True, slots=True)
class Entry:
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
        return self.before is not None and self.before != self.after


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
        return self.entries[0].label, self.names, shapes


@dataclass(frozen=True, slots=True)
class Line:
    """Entries of one label. `names` are the last pieces, empty where `box` is of whole keys."""

    box: Box
    names: tuple[str, ...]
    origins: tuple[Box, ...]
    modules: tuple[Module, ...]

    @property
    def label(self) -> tuple[str, ...]:
        return self.modules[0].entries[0].label

    @property
    def count(self) -> int:
        return sum(len(module.entries) for module in self.modules)

    @property
    def before(self) -> str:
        """The specs that the tensors have before, or nothing where they don't change."""
        if not self.modules[0].entries[0].changed:
            return ""
        return spec_range(module.entries[0].before for module in self.modules)

    @property
    def after(self) -> str:
        return spec_range(module.entries[0].after for module in self.modules)

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
        Line(
            box=folded.box,
            names=modules[folded.members[0]].names,
            origins=folded.origins,
            modules=tuple(modules[number] for number in folded.members),
        )
        for folded in fold_items(items)
    ]


def unfold_entries(entries: Iterable[Entry]) -> list[Line]:
    """A line for each entry."""
    return [
        Line(
            _whole(entry.key), (), tuple(map(_whole, entry.origins)), (Module("", None, (entry,)),)
        )
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
        kind = (module or entry.key, origins, apart, entry.label, change)
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
