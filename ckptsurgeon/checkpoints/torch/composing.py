"""The tree of a `.pt` output: tensors in their dicts, with the plain entries of the source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.nesting import Nesting
from ckptsurgeon.checkpoints.torch.inert import DictValue, TensorRecord
from ckptsurgeon.checkpoints.torch.keys import key_text
from ckptsurgeon.checkpoints.torch.nesting import EXTRA_STATE, is_under, join
from ckptsurgeon.checkpoints.torch.reader import TorchCheckpoint
from ckptsurgeon.checkpoints.torch.skeleton import HOLE, LISTS, Skeleton

METADATA = "_metadata"

PLACED = object()
"""What stands for a tensor where only the place matters."""

ModuleMetadata = Mapping[str, Mapping[str, Any]]


def compose(
    template: Checkpoint | None,
    records: Mapping[str, TensorRecord],
    module_metadata: ModuleMetadata | None,
    nesting: Nesting | Checkpoint | None = None,
) -> Any:
    """The tree of an output: these tensors, with the plain entries of the template.

    `nesting` says which dicts there are, or is a checkpoint that has them; else they are the
    template's. A key goes into the deepest dict whose dotted path begins it; with neither all keys
    stand in one OrderedDict. Entries that have the names of dicts are left out. Raises OutputError
    where two tensors come to one place.
    """
    skeleton = _shape(template, nesting)
    if nesting is not None:
        list(carry_entries(template, skeleton))
    for key, record in records.items():
        skeleton.place(key, record)
    _describe_modules(skeleton, module_metadata)
    return _settle(skeleton.top, skeleton.copied, skeleton.places.get(skeleton.root), {})


def _shape(template: Checkpoint | None, nesting: Nesting | Checkpoint | None) -> Skeleton:
    """The dicts of an output, with the entries of a template that has them itself."""
    if isinstance(nesting, Nesting):
        return Skeleton.nested(nesting)
    if isinstance(nesting, TorchCheckpoint):
        return Skeleton.of(nesting, with_entries=False)
    return Skeleton.of(template) if isinstance(template, TorchCheckpoint) else Skeleton.empty()


def conflicting_entries(template: Checkpoint, nesting: Nesting | Checkpoint) -> tuple[str, ...]:
    """The plain entries of a template, by dotted names, that would be dicts of this nesting."""
    return tuple(carry_entries(template, _shape(template, nesting)))


def carry_entries(template: Checkpoint | None, skeleton: Skeleton) -> Iterator[str]:
    """Puts a template's plain entries into other dicts; gives the names of those with no place.

    What stands with the tensors goes with them, what stands beside, or at the top, stays there.
    """
    if not isinstance(template, TorchCheckpoint):
        return
    own = Skeleton.of(template)
    for names, value in own.entries():
        dotted = ".".join(map(key_text, names))
        if _stands_inside(names, dotted, own.root):
            rest = dotted[len(own.root) :].removeprefix(".") if own.root else dotted
            has_place = skeleton.put_inside(rest, names[-1], value)
        else:
            has_place = skeleton.put_beside(names, value)
        if not has_place:
            yield dotted


def _stands_inside(names: tuple[Any, ...], dotted: str, root: str) -> bool:
    """Whether an entry stands with the tensors below a root; at the top a module's state alone."""
    if root:
        return is_under(dotted, root)
    return len(names) > 1 or dotted.rpartition(".")[2] == EXTRA_STATE


def changed_lists(
    template: Checkpoint, keys: Iterable[str], nesting: Nesting | Checkpoint | None = None
) -> Iterator[tuple[str, str]]:
    """The lists that these keys would change, with what they become."""
    skeleton = _shape(template, nesting)
    kinds = [made.kind for _, made in skeleton.copies]
    if not any(kind in LISTS for kind in kinds):
        return
    for key in keys:
        place, name = skeleton.find(key)
        place.entries[name] = PLACED
    became: dict[int, str] = {}
    _settle(skeleton.top, skeleton.copied, skeleton.places.get(skeleton.root), became)
    for kind, (path, made) in zip(kinds, skeleton.copies, strict=True):
        if id(made) in became:
            yield path, f"a {kind} {became[id(made)]}"


# --- torch's `_metadata` --------------------------------------------------------------------------


def _describe_modules(skeleton: Skeleton, metadata: ModuleMetadata | None) -> None:
    """Give each dict of tensors the `_metadata` of the modules in it, and only that."""
    parts: dict[str, dict[str, Any]] = {}
    for module, entry in (metadata or {}).items():
        path, rest = skeleton.find_dict(join(skeleton.root, module) if module else skeleton.root)
        parts.setdefault(path, {})[rest] = DictValue(entries=dict(entry))
    root = skeleton.find_dict(skeleton.root)[0]
    for path, holder in skeleton.places.items():
        if path in parts or path == root:
            holds = any(isinstance(one, TensorRecord) for one in holder.entries.values())
            _describe(holder, parts.get(path) if holds else None)


def _describe(holder: DictValue, modules: Mapping[str, Any] | None) -> None:
    """Give a dict the `_metadata` of these modules in place of its own."""
    if holder.kind in LISTS:
        return
    kept = dict(holder.attributes.entries) if holder.attributes else {}
    kept.pop(METADATA, None)
    if modules is not None:
        kept[METADATA] = DictValue("OrderedDict", dict(modules))
        holder.kind = "OrderedDict"
    holder.attributes = DictValue(entries=kept) if kept else None


# --- the end --------------------------------------------------------------------------------------


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
