"""What a `.pt` output takes over from its template: the nesting, and the entries that are plain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint, Opaque
from ckptsurgeon.checkpoints.torch.described import describe, escaped, opaque
from ckptsurgeon.checkpoints.torch.inert import DictValue, TensorRecord, key_text
from ckptsurgeon.checkpoints.torch.nesting import (
    OPTIMIZERS,
    children,
    flatten,
    holds_tensor,
    is_container,
    is_module,
    is_under,
    join,
)
from ckptsurgeon.checkpoints.torch.pickler import is_plain
from ckptsurgeon.checkpoints.torch.reader import TorchCheckpoint
from ckptsurgeon.errors import OutputError

METADATA = "_metadata"

ModuleMetadata = Mapping[str, Mapping[str, Any]]


def dropped_entries(checkpoint: Checkpoint) -> tuple[Opaque, ...]:
    """What an output with this template leaves out: opaque entries, optimizer state, and tensors
    outside the root, with the reason as the last part of their text.

    All entries, for what is no torch file: shards are no template.
    """
    if not isinstance(checkpoint, TorchCheckpoint):
        return checkpoint.contents.opaque
    return tuple(_Skeleton.of(checkpoint).dropped)


def compose(
    template: Checkpoint | None,
    records: Mapping[str, TensorRecord],
    module_metadata: ModuleMetadata | None,
) -> DictValue:
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
    _describe_modules(holder or top, module_metadata, "" if holder else root)
    _prune(top, {id(made) for made in skeleton.places.values()} - {id(holder)})
    return top


@dataclass(slots=True)
class _Skeleton:
    """A copy of a template without its tensors: `places` are its dicts by dotted path.

    `names` are the keys that are no text (the integers of optimizer state), by dotted path.
    """

    root: str
    with_optimizers: bool
    places: dict[str, DictValue] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)
    ancestors: set[int] = field(default_factory=set)
    plain: dict[int, bool] = field(default_factory=dict)
    dropped: list[Opaque] = field(default_factory=list)

    @classmethod
    def of(cls, template: TorchCheckpoint) -> _Skeleton:
        """The skeleton of a torch file that was opened at its root."""
        skeleton = cls(template.contents.root, template.asked is not None)
        skeleton.ancestors.add(id(template.tree))
        skeleton._copy(template.tree if is_container(template.tree) else DictValue(), "")
        return skeleton

    def place(self, key: str, record: TensorRecord) -> None:
        """Put a tensor into the deepest dict whose path begins its key."""
        path, piece = self._deepest(key)
        entries = self.places[path].entries
        name = self.names.get(key, piece)
        if name in entries:
            raise OutputError(
                f"the key {escaped(key)!r} is also an entry of the template that is carried over; "
                "rename the tensor, or write safetensors"
            )
        entries[name] = record

    def _deepest(self, key: str) -> tuple[str, str]:
        end = key.rfind(".")
        while end > 0:
            if key[:end] in self.places:
                return key[:end], key[end + 1 :]
            end = key.rfind(".", 0, end)
        return "", key

    def _copy(self, value: Any, path: str) -> Any:
        """A container that holds tensors of the root, or leads to it, without its tensors."""
        if is_module(value):
            return self._copy_module(value, path)
        if isinstance(value, DictValue):
            return self._copy_dict(value, path)
        if path and not any(isinstance(entry, TensorRecord) for entry in value):
            parts = ((join(path, piece or "?"), entry) for piece, entry in children(value))
            kept = [found[0] for part in parts if (found := self._entry(part[1], part[0]))]
            return tuple(kept) if isinstance(value, tuple) else kept
        named = {str(index): entry for index, entry in enumerate(value)}
        return self._copy_dict(DictValue(entries=named), path)

    def _copy_dict(self, value: DictValue, path: str) -> DictValue:
        ordered = value.kind == "OrderedDict"
        made = self.places.setdefault(path, DictValue("OrderedDict" if ordered else "dict"))
        if ordered and is_plain(value.attributes, self.plain):
            made.attributes = value.attributes
        for key, entry in value.entries.items():
            piece = key_text(key)
            inner = join(path, "?" if piece is None else piece)
            if not isinstance(key, str):
                self.names[inner] = key
            found = self._entry(entry, inner)
            if found:
                made.entries[key] = found[0]
        return made

    def _copy_module(self, value: Any, path: str) -> DictValue:
        """The place of a module's state dict, which is flat."""
        others = (leaf for leaf in flatten(value) if not leaf.is_tensor)
        self.dropped += [opaque(join(path, leaf.key), leaf.value) for leaf in others]
        return self.places.setdefault(path, DictValue("OrderedDict"))

    def _entry(self, value: Any, path: str) -> tuple[Any] | None:
        """The entry's copy, or None for a tensor (a new one takes its place) or what is dropped."""
        inside = is_under(path, self.root)
        leads = self.root.startswith(path + ".")
        if isinstance(value, TensorRecord):
            return None if inside else self._drop(value, path, f"outside the root {self.root!r}")
        if path in OPTIMIZERS and not leads and not (inside and self.with_optimizers):
            return self._drop(value, path, "optimizer state")
        if holds_tensor(value):
            if inside or leads:
                return self._copied(value, path)
            return self._drop(value, path, f"tensors outside the root {self.root!r}")
        return (value,) if is_plain(value, self.plain) else self._drop(value, path, "")

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


def _prune(tree: DictValue, made: set[int]) -> None:
    """Take out the copied dicts that nothing was put into."""
    for key, entry in list(tree.entries.items()):
        if isinstance(entry, DictValue) and id(entry) in made:
            _prune(entry, made)
            if not entry.entries:
                del tree.entries[key]
