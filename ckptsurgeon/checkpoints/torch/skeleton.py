"""What a `.pt` output takes over from its template: the nesting, and the entries that are plain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint, Opaque
from ckptsurgeon.checkpoints.torch.arrays import scalar_of
from ckptsurgeon.checkpoints.torch.described import describe, escaped, opaque
from ckptsurgeon.checkpoints.torch.inert import (
    DictValue,
    ObjectValue,
    OddKey,
    TensorRecord,
    is_tensor,
)
from ckptsurgeon.checkpoints.torch.keys import is_plain_key, named_entries
from ckptsurgeon.checkpoints.torch.nesting import (
    OPTIMIZERS,
    children,
    flatten,
    holds_tensor,
    is_container,
    is_under,
    join,
)
from ckptsurgeon.checkpoints.torch.objects import is_module, sequence_of
from ckptsurgeon.checkpoints.torch.pickler import MAX_UNFOLDED, is_plain
from ckptsurgeon.checkpoints.torch.reader import TorchCheckpoint
from ckptsurgeon.errors import OutputError

METADATA = "_metadata"

LISTS = {"list": list, "tuple": tuple}
"""Kinds of containers that are copied as dicts by number, and are made of these at the end."""

PLAIN_DICTS = ("dict", "OrderedDict")
"""Classes of dicts that stay what they are."""

HOLE = object()
"""Where a list waits for a tensor."""

PLACED = object()
"""What stands for a tensor where only the place matters."""

ModuleMetadata = Mapping[str, Mapping[str, Any]]


def dropped_entries(checkpoint: Checkpoint) -> tuple[Opaque, ...]:
    """What an output with this template leaves out: opaque entries, optimizer state, and tensors
    outside the root, with the reason as the last part of their text.

    All entries, for what is no torch file: shards are no template.
    """
    if not isinstance(checkpoint, TorchCheckpoint):
        return checkpoint.contents.opaque
    return tuple(_Skeleton.of(checkpoint).dropped)


def changed_lists(checkpoint: Checkpoint, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The template's lists that these keys under its root would change, with what they become."""
    if not isinstance(checkpoint, TorchCheckpoint):
        return
    skeleton = _Skeleton.of(checkpoint)
    kinds = [made.kind for _, made in skeleton.copies]
    if not any(kind in LISTS for kind in kinds):
        return
    for key in keys:
        place, name = skeleton.find(join(skeleton.root, key))
        place.entries[name] = PLACED
    became: dict[int, str] = {}
    holder = skeleton.places.get(skeleton.root)
    _settle(skeleton.places[""], skeleton.copied, holder, became)
    for kind, (path, made) in zip(kinds, skeleton.copies, strict=True):
        if id(made) in became:
            yield path, f"a {kind} {became[id(made)]}"


def compose(
    template: Checkpoint | None,
    records: Mapping[str, TensorRecord],
    module_metadata: ModuleMetadata | None,
) -> Any:
    """The tree of an output: the template's nesting and plain entries, with these tensors.

    A key goes into the deepest dict of the template whose dotted path begins it; without a
    template all keys stand in one OrderedDict. Raises OutputError where a tensor's key is that of
    an entry which is carried.
    """
    if not isinstance(template, TorchCheckpoint):
        tree = DictValue("OrderedDict", dict(records))
        _describe_modules(tree, module_metadata, "")
        return tree
    skeleton = _Skeleton.of(template)
    root = template.contents.root
    for key, record in records.items():
        skeleton.place(join(root, key), record)
    holder = skeleton.places.get(root)
    top = skeleton.places[""]
    if (holder or top).kind not in LISTS:
        _describe_modules(holder or top, module_metadata, "" if holder else root)
    return _settle(top, skeleton.copied, holder, {})


@dataclass(slots=True)
class _Skeleton:
    """A copy of a template without its tensors: `places` are its dicts by dotted path.

    `copies` are all containers that were copied, with their paths; `homes` where each tensor stood:
    its container, and its key there, by dotted path.
    """

    root: str
    with_optimizers: bool
    places: dict[str, DictValue] = field(default_factory=dict)
    copies: list[tuple[str, DictValue]] = field(default_factory=list)
    homes: dict[str, tuple[DictValue, Any]] = field(default_factory=dict)
    ancestors: set[int] = field(default_factory=set)
    plain: dict[int, int] = field(default_factory=dict)
    flat: dict[int, bool] = field(default_factory=dict)
    values: int = 0
    dropped: list[Opaque] = field(default_factory=list)

    @classmethod
    def of(cls, template: TorchCheckpoint) -> _Skeleton:
        """The skeleton of a torch file that was opened at its root."""
        skeleton = cls(template.contents.root, template.asked is not None)
        skeleton.ancestors.add(id(template.tree))
        skeleton._copy(template.tree if is_container(template.tree) else DictValue(), "")
        return skeleton

    def place(self, key: str, record: TensorRecord) -> None:
        """Put a tensor where one of its key stood, else into the deepest dict that leads to it."""
        holder, name = self.find(key)
        entries = holder.entries
        if entries.get(name, HOLE) is not HOLE:
            raise OutputError(
                f"the key {escaped(key)!r} is also an entry of the template that is carried over; "
                "rename the tensor, or write safetensors"
            )
        entries[name] = record

    def find(self, key: str) -> tuple[DictValue, Any]:
        """The container that a tensor of this key goes into, and its key there."""
        if key in self.homes:
            return self.homes[key]
        path, name = self._deepest(key)
        return self.places[path], name

    @property
    def copied(self) -> set[int]:
        """The ids of the containers that were copied."""
        return {id(made) for _, made in self.copies}

    def _deepest(self, key: str) -> tuple[str, str]:
        end = key.rfind(".")
        while end > 0:
            if key[:end] in self.places:
                return key[:end], key[end + 1 :]
            end = key.rfind(".", 0, end)
        return "", key

    def _copy(self, value: Any, path: str) -> DictValue:
        """A container that holds tensors of the root, or leads to it, without its tensors.

        Containers are plain in what is written; their classes are dropped.
        """
        name = value.name if isinstance(value, ObjectValue) else getattr(value, "kind", "dict")
        told = is_module(value) and path == self.root  # by the reader
        if not told and (isinstance(value, ObjectValue) or name not in PLAIN_DICTS):
            self.dropped.append(Opaque(path, f"the class {escaped(str(name))}", ""))
        if is_module(value):
            return self._copy_module(value, path)
        if isinstance(value, DictValue):
            return self._copy_dict(value, path)
        items = value if isinstance(value, (list, tuple)) else sequence_of(value)
        if items is not None:
            return self._copy_list(items, path)
        return self._copy_dict(DictValue(entries=dict(children(value))), path)

    def _copy_list(self, value: list[Any] | tuple[Any, ...], path: str) -> DictValue:
        """A list by number, with a hole for each tensor, and for what is dropped.

        Only one that holds tensors itself, or is all of the file, is a place for others.
        """
        made = DictValue("tuple" if isinstance(value, tuple) else "list")
        self.copies.append((path, made))
        if not path or any(map(is_tensor, value)):
            self.places.setdefault(path, made)
        for piece, entry in children(value):
            inner = join(path, piece)
            found = self._entry(entry, inner)
            self.homes.setdefault(inner, (made, piece))
            made.entries[piece] = found[0] if found else HOLE
        return made

    def _copy_dict(self, value: DictValue, path: str) -> DictValue:
        ordered = value.kind == "OrderedDict"
        made = DictValue("OrderedDict" if ordered else "dict")
        self.places.setdefault(path, made)
        self.copies.append((path, made))
        if ordered and is_plain(value.attributes, self.plain):
            made.attributes = value.attributes
        for piece, key, entry in named_entries(value):
            inner, name = join(path, piece), key if is_plain_key(key) else piece
            if name is not key:
                kind = describe(key.value if isinstance(key, OddKey) else key)[0]
                self.dropped.append(Opaque(inner, f"{kind} as a key", piece))
            self.homes.setdefault(inner, (made, name))
            found = self._entry(entry, inner)
            if found:
                made.entries[name] = found[0]
        return made

    def _copy_module(self, value: Any, path: str) -> DictValue:
        """The place of a module's state dict, which is flat."""
        others = (leaf for leaf in flatten(value) if not leaf.is_tensor)
        self.dropped += [opaque(join(path, leaf.key), leaf.value) for leaf in others]
        return self.places.setdefault(path, DictValue("OrderedDict"))

    def _entry(self, value: Any, path: str) -> tuple[Any] | None:
        """The entry's copy, or None for a tensor (a new one takes its place) or what is dropped.

        Tensors outside of the root are told by the checkpoint itself.
        """
        inside = is_under(path, self.root)
        leads = self.root.startswith(path + ".")
        if is_tensor(value):
            return None
        is_aside = path in OPTIMIZERS and not leads and self._is_aside(inside)
        if holds_tensor(value, flat=self.flat):
            return self._copied(value, path) if (inside or leads) and not is_aside else None
        if is_aside and is_container(value):
            return self._drop(value, path, "optimizer state")
        if (scalar := scalar_of(value)) is not None:
            return (scalar[1],)
        return (value,) if self._is_carried(value) else self._drop(value, path, "")

    def _is_carried(self, value: Any) -> bool:
        """Whether an entry is plain, and all of them together no more than are read."""
        if not is_plain(value, self.plain):
            return False
        self.values += self.plain.get(id(value), 1)
        return self.values <= MAX_UNFOLDED

    def _is_aside(self, inside: bool) -> bool:
        """Whether optimizer state is left out: all but what a root that was asked for holds."""
        return not (inside and self.with_optimizers)

    def _copied(self, value: Any, path: str) -> tuple[Any] | None:
        if id(value) in self.ancestors:
            return self._drop(value, path, "holds itself")
        self.ancestors.add(id(value))
        made = self._copy(value, path)
        self.ancestors.discard(id(value))
        return (made,)

    def _drop(self, value: Any, path: str, reason: str) -> tuple[Any] | None:
        """None, and the entry is on the list of what is dropped."""
        kind, text = describe(value)
        self.dropped.append(Opaque(path, kind, f"{text} ({reason})" if reason else text))
        return None


def _describe_modules(holder: DictValue, metadata: ModuleMetadata | None, prefix: str) -> None:
    """Give a state dict the `_metadata` of its modules, and only that."""
    kept = dict(holder.attributes.entries) if holder.attributes else {}
    kept.pop(METADATA, None)
    if metadata is not None:
        paths = {
            join(prefix, path) if path else prefix: DictValue(entries=dict(entry))
            for path, entry in metadata.items()
        }
        kept[METADATA] = DictValue("OrderedDict", dict(paths))
        holder.kind = "OrderedDict"
    holder.attributes = DictValue(entries=kept) if kept else None


def _settle(
    value: DictValue, copies: set[int], holder: DictValue | None, became: dict[int, str]
) -> Any:
    """A copied container without the containers that nothing was put into.

    Lists are lists again, with None in holes, so that what follows keeps its number; one that got
    other keys is a dict, without them; `became` tells of both, by the list's id. `holder`, the dict
    of the root, stays though it be empty.
    """
    for key, entry in value.entries.items():
        if id(entry) in copies:
            settled = _settle(entry, copies, holder, became)
            is_empty = isinstance(settled, DictValue) and not settled.entries
            value.entries[key] = HOLE if is_empty and entry is not holder else settled
    filled = {key: entry for key, entry in value.entries.items() if entry is not HOLE}
    if value.kind in LISTS and filled and _are_numbers(value.entries):
        if len(filled) < len(value.entries):
            became[id(value)] = "that has None where something was"
        return LISTS[value.kind](filled.get(number) for number in value.entries)
    if value.kind in LISTS:
        value.kind = "dict"
        if filled:
            became[id(value)] = "that becomes a dict: its keys are no longer 0, 1, …"
    value.entries = filled
    return value


def _are_numbers(pieces: Iterable[Any]) -> bool:
    """Whether these are a list's: 0, 1, 2 and so on."""
    return all(piece == str(number) for number, piece in enumerate(pieces))
