"""A checkpoint as the rules see it: after `root`, `strip` and `separator`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents
from ckptsurgeon.checkpoints.nesting import FLAT, Nesting
from ckptsurgeon.checkpoints.output import nesting_of
from ckptsurgeon.checkpoints.several import Several, address_of
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.plans.digests import digest
from ckptsurgeon.plans.graph import Leaf
from ckptsurgeon.specs import TensorSpec, UnreadableSpec


@dataclass(frozen=True, slots=True)
class SourceView:
    """A checkpoint as the rules see it: keys after `root`, `strip` and `separator`.

    `names` leads from these keys to the file's own; `specs` is by the rules' keys, in file order;
    `nesting` is of the dicts that they lie in.
    """

    alias: str
    path: str
    format: str
    options: SourceOptions
    names: Mapping[str, str]
    specs: Mapping[str, TensorSpec]
    contents: Contents
    has_values: bool = True
    has_unreadable: bool = False
    nesting: Nesting = FLAT

    def leaf(self, key: str) -> Leaf:
        """The node of a key's tensor."""
        return Leaf(self.alias, key, self.specs[key], self.names[key])

    def readable(self, key: str) -> TensorSpec | None:
        """The spec of a key's tensor; None where there is none, or none that can be read."""
        spec = self.specs.get(key)
        return None if isinstance(spec, UnreadableSpec) else spec

    @property
    def digest(self) -> str:
        """SHA-256 over all of the file's keys and specs, worked out each time."""
        return digest(self.contents.specs)


def view_source(checkpoint: Checkpoint, alias: str, options: SourceOptions) -> SourceView:
    """The view of a source; raises CheckpointError where two keys become one."""
    specs = checkpoint.contents.specs
    names = renamed_keys(specs, options, str(checkpoint.path))
    return SourceView(
        alias=alias,
        path=str(checkpoint.path),
        format=checkpoint.format,
        options=options,
        names=names,
        specs=specs if isinstance(names, Unchanged) else _by_key(names, specs),
        contents=checkpoint.contents,
        has_values=checkpoint.has_values,
        has_unreadable=any(type(spec) is not TensorSpec for spec in specs.values()),
        nesting=nesting_of(checkpoint),
    )


def view_destination(checkpoint: Checkpoint, separators: Callable[[str], str]) -> SourceView:
    """The view of a destination; of several by their aliases, each with its separator."""
    if not isinstance(checkpoint, Several):
        return view_source(checkpoint, DESTINATION, SourceOptions(separator=separators("")))
    names: dict[str, str] = {}
    for alias, part in checkpoint.parts.items():
        options = SourceOptions(separator=separators(alias))
        own = renamed_keys(part.contents.specs, options, str(part.path))
        names |= {address_of(alias, key): address_of(alias, name) for key, name in own.items()}
    whole = view_source(checkpoint, DESTINATION, SourceOptions())
    return replace(whole, names=names, specs=_by_key(names, checkpoint.contents.specs))


def _by_key(names: Mapping[str, str], specs: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    return {key: specs[name] for key, name in names.items()}


class Unchanged(Mapping[str, str]):
    """The names of a file whose keys rules see as they are."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def __getitem__(self, key: str) -> str:
        if key not in self._names:
            raise KeyError(key)
        return key

    def __contains__(self, key: object) -> bool:
        return key in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def renamed_keys(specs: Collection[str], options: SourceOptions, path: str) -> Mapping[str, str]:
    """The file's names by the rules' keys; raises CheckpointError where two become one."""
    if not (options.strip or options.strip_anywhere or options.separator != "."):
        return Unchanged(specs)
    names: dict[str, str] = {}
    for name in specs:
        dotted = _dotted(name, options.separator)
        key = _stripped(dotted, options)
        if key.startswith(".") and options.strip and dotted.endswith(key) and dotted != key:
            cut = dotted[: len(dotted) - len(key)]
            entry = next((one for one in options.strip if one and cut.endswith(one)), cut)
            raise CheckpointError(
                f"{path}: `strip: {entry}` leaves {key!r} of {name!r}; write `{entry}.`"
            )
        if key in names:
            raise CheckpointError(
                f"{path}: {names[key]!r} and {name!r} both become {key!r} by `strip` or `separator`"
            )
        names[key] = name
    return names


def _dotted(name: str, separator: str) -> str:
    return name if separator == "." else name.replace(separator, ".")


def _stripped(key: str, options: SourceOptions) -> str:
    key = key[_prefix_length(key, options.strip) :]
    for entry in options.strip_anywhere:
        run = [piece for piece in entry.split(".") if piece]
        key = ".".join(_without(key.split("."), run)) or key
    return key


def _prefix_length(key: str, prefixes: Iterable[str]) -> int:
    """How much of the front of a key the prefixes take, as often as they stand there.

    A position moves along the key, as cutting a long one again and again would take quadratic time.
    """
    known, start, moved = [prefix for prefix in prefixes if prefix], 0, True
    while moved:
        moved = False
        for prefix in known:
            if key.startswith(prefix, start) and len(key) > start + len(prefix):
                start, moved = start + len(prefix), True
                break
    return start


def _without(pieces: list[str], run: list[str]) -> list[str]:
    """The pieces but for each whole run of these."""
    kept: list[str] = []
    at = 0
    while at < len(pieces):
        if run and pieces[at] == run[0] and pieces[at : at + len(run)] == run:
            at += len(run)
        else:
            kept.append(pieces[at])
            at += 1
    return kept
