"""The dicts of a `.pt` output without its tensors: a template's with its entries, or others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint, Opaque
from ckptsurgeon.checkpoints.nesting import INTEGER_NAME, Nesting
from ckptsurgeon.checkpoints.torch.arrays import scalar_of
from ckptsurgeon.checkpoints.torch.described import describe, escaped, opaque
from ckptsurgeon.checkpoints.torch.inert import (
    DictValue,
    ObjectValue,
    OddKey,
    TensorRecord,
    is_tensor,
)
from ckptsurgeon.checkpoints.torch.keys import is_plain_key, key_text, named_entries
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

LISTS = {"list": list, "tuple": tuple}
"""Kinds of containers that are copied as dicts by number, and are made of these at the end."""

PLAIN_DICTS = ("dict", "OrderedDict")
"""Classes of dicts that stay what they are."""

HOLE = object()
"""Where a list waits for a tensor."""


def dropped_entries(checkpoint: Checkpoint) -> tuple[Opaque, ...]:
    """What an output with this template leaves out: opaque entries, optimizer state, and tensors
    outside the root, with the reason as the last part of their text.

    All entries, for what is no torch file: shards are no template.
    """
    if not isinstance(checkpoint, TorchCheckpoint):
        return checkpoint.contents.opaque
    return tuple(Skeleton.of(checkpoint).dropped)


@dataclass(slots=True)
class Skeleton:
    """Dicts without their tensors: a copy of a template's, or those that a nesting names.

    `places` are those that keys may go into, by dotted path, `copies` all containers that were
    made, with their paths; `homes` where each tensor of a template stood: its container, and its
    key there, by dotted path. `separator` parts keys besides dots. Of a nesting, `integers` are the
    paths of what an integer names, `leading` the dicts that entries may go into: places, and what
    leads to them.
    """

    root: str
    with_optimizers: bool = False
    with_entries: bool = True
    separator: str = "."
    integers: frozenset[str] = frozenset()
    places: dict[str, DictValue] = field(default_factory=dict)
    leading: dict[str, DictValue] = field(default_factory=dict)
    copies: list[tuple[str, DictValue]] = field(default_factory=list)
    homes: dict[str, tuple[DictValue, Any]] = field(default_factory=dict)
    ancestors: set[int] = field(default_factory=set)
    plain: dict[int, int] = field(default_factory=dict)
    flat: dict[int, bool] = field(default_factory=dict)
    values: int = 0
    dropped: list[Opaque] = field(default_factory=list)

    @classmethod
    def of(cls, template: TorchCheckpoint, *, with_entries: bool = True) -> Skeleton:
        """The skeleton of a torch file that was opened at its root, also without its entries."""
        skeleton = cls(template.contents.root, template.asked is not None, with_entries)
        skeleton.ancestors.add(id(template.tree))
        skeleton._copy(template.tree if is_container(template.tree) else DictValue(), "")
        return skeleton

    @classmethod
    def empty(cls) -> Skeleton:
        """That of a file without nesting."""
        return cls("", places={"": DictValue("OrderedDict")})

    @classmethod
    def nested(cls, nesting: Nesting) -> Skeleton:
        """The dicts that a nesting names; only its root and its wrappers are places."""
        skeleton = cls(nesting.root_text, separator=nesting.separator)
        skeleton.integers = frozenset(nesting.integers)
        skeleton.places[""] = top = DictValue()
        root = skeleton._make(top, nesting.root, "")
        path = ".".join(nesting.root)
        skeleton.places = {"": top, path: root}
        root.kind = "dict" if nesting.wrappers else "OrderedDict"
        for wrapper in nesting.wrappers:
            inner = skeleton._make(root, wrapper, path)
            inner.kind = "OrderedDict"
            skeleton.places[join(path, ".".join(wrapper))] = inner
        for key, wrapper in nesting.homes:
            name = key[len(".".join(wrapper)) :].removeprefix(".") if wrapper else key
            home = skeleton._make(root, wrapper, path), skeleton._name(join(path, key), name)
            skeleton.homes[join(path, key)] = home
        skeleton.leading = {**dict(skeleton.copies), **skeleton.places}
        return skeleton

    def _make(self, holder: DictValue, names: tuple[Any, ...], path: str) -> DictValue:
        """The dict at these names in another, made as far as it isn't there."""
        for piece in names:
            path = join(path, key_text(piece))
            name = self._name(path, piece)
            inner = holder.entries.get(name)
            if not isinstance(inner, DictValue):
                inner = holder.entries[name] = DictValue()
                self.copies.append((path, inner))
            holder = inner
        return holder

    def _name(self, path: str, name: Any) -> Any:
        """What has the dotted path is called so in its dict: by a text, or an integer."""
        return int(name) if path in self.integers and INTEGER_NAME.fullmatch(str(name)) else name

    @property
    def top(self) -> DictValue:
        """The outermost container."""
        return self.places[""]

    # --- tensors ----------------------------------------------------------------------------------

    def place(self, key: str, record: TensorRecord) -> None:
        """Put a tensor where one of its key stood, else into the deepest dict that leads to it."""
        holder, name = self.find(key)
        entries = holder.entries
        there = entries.get(name, HOLE)
        if there is not HOLE:
            raise OutputError(
                f"the key {escaped(key)!r} would be a tensor and a dict; rename the tensor, or "
                "write safetensors"
                if isinstance(there, DictValue)
                else f"the key {escaped(key)!r} is also an entry of the template that is carried "
                "over; rename the tensor, or write safetensors"
            )
        entries[name] = record

    def find(self, key: str) -> tuple[DictValue, Any]:
        """The container that a tensor of this key goes into, and its key there."""
        whole = join(self.root, key)
        if whole in self.homes:
            return self.homes[whole]
        path, name = self._deepest(whole)
        return self.places[path], self._name(whole, name)

    def find_dict(self, path: str) -> tuple[str, str]:
        """The path of the deepest place that begins another path, and the rest of that."""
        return (path, "") if path in self.places else self._deepest(path)

    def _deepest(self, key: str, places: Mapping[str, DictValue] | None = None) -> tuple[str, str]:
        """As `find_dict`, of a key, which has a name of its own behind its dict."""
        places = self.places if places is None else places
        end = self._cut(key, len(key))
        while end > 0:
            path = key[:end] if self.separator == "." else self._dotted(key[:end])
            if path in places:
                mark = 1 if key[end] == "." else len(self.separator)
                return path, key[end + mark :]
            end = self._cut(key, end)
        return "", key

    def _cut(self, key: str, end: int) -> int:
        """Where the last dot or separator before an end begins; -1 where there is none."""
        return max(key.rfind(mark, 0, end) for mark in {".", self.separator})

    def _dotted(self, key: str) -> str:
        return key.replace(self.separator, ".")

    # --- entries ----------------------------------------------------------------------------------

    def entries(self) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """The entries that are no tensors and hold none, each with the names that lead to it."""
        made = self.copied | {id(place) for place in self.places.values()}
        yield from self._entries_of(self.top, (), made)

    def _entries_of(
        self, holder: DictValue, names: tuple[Any, ...], made: set[int]
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        for name, entry in holder.entries.items():
            if id(entry) in made:
                yield from self._entries_of(entry, (*names, name), made)
            elif entry is not HOLE:
                yield (*names, name), entry

    def put_inside(self, key: str, own: Any, value: Any) -> bool:
        """Put an entry below the root where a tensor of its key would go; False for no place.

        `own` is its name as it was, which need be no text.
        """
        holder, name = self.find(key)
        whole = join(self.root, key)
        if self.leading and whole not in self.homes:
            path, name = self._deepest(whole, self.leading)
            holder = self.leading[path]
        return self._put(holder, own if key_text(own) == name else name, value)

    def put_beside(self, names: tuple[Any, ...], value: Any) -> bool:
        """Put an entry at these names from the top; False for no place."""
        holder = self.top
        for name in names[:-1]:
            there = holder.entries.get(name)
            if there is not None and id(there) not in self.copied:
                return False
            holder = self._make(holder, (name,), "")
        return self._put(holder, names[-1], value)

    def _put(self, holder: DictValue, name: Any, value: Any) -> bool:
        if holder.entries.get(name, HOLE) is not HOLE:
            return False
        holder.entries[name] = value
        return True

    # --- a template -------------------------------------------------------------------------------

    @property
    def copied(self) -> set[int]:
        """The ids of the containers that were copied."""
        return {id(made) for _, made in self.copies}

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
        if not self.with_entries:
            return None
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
