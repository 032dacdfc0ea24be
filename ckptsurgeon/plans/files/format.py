"""Saved plans as they stand in JSON files: lists of structs, nodes and rules told by number."""

from __future__ import annotations

from typing import Any

import msgspec

from ckptsurgeon.checkpoints.nesting import Nesting
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.plans.graph import RuleInfo
from ckptsurgeon.plans.output_files import OutputFile
from ckptsurgeon.specs import TensorSpec, UnreadableSpec

VERSION = 3

BEGINNING = b'{"ckptsurgeon_plan":'
"""What each saved plan begins with."""


class SavedView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A checkpoint that a plan was made for, and what it held, so that a plan can be read alone.

    `specs` are by the keys that rules see, but for those of tensors that can't be read, which are
    told with their places among the others; `names` has the file's own where they differ; `aliases`
    are the groups of names that share a storage, `nesting` the dicts that they lay in.
    """

    alias: str
    path: str
    format: str
    digest: str
    options: SourceOptions
    specs: dict[str, TensorSpec]
    names: dict[str, str] = {}
    aliases: tuple[tuple[str, ...], ...] = ()
    unreadable: tuple[tuple[int, str, UnreadableSpec], ...] = ()
    nesting: Nesting | None = None

    def all_specs(self) -> dict[str, TensorSpec]:
        """The specs of all keys, in their order; equal ones are one object, as of a file."""
        shared: dict[TensorSpec, TensorSpec] = {}
        waiting = {place: (key, spec) for place, key, spec in self.unreadable}
        found: dict[str, TensorSpec] = {}
        for key, spec in self.specs.items():
            while len(found) in waiting:
                other, unreadable = waiting.pop(len(found))
                found[other] = unreadable
            found[key] = shared.setdefault(spec, spec)
        return {**found, **dict(waiting[place] for place in sorted(waiting))}


class SavedFates(msgspec.Struct, frozen=True):
    """The fates of one table; `which` says of each key, in order, which of the claims is its own.

    `specs` is left out where the table is a source.
    """

    stage: int
    source: str
    specs: dict[str, TensorSpec] | None
    claims: list[list[Any]]
    which: list[int]


class SavedPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole file. `outputs` has the key, node, rule and allowed finding of each.

    Rules are named by their number in `rules`, and on in `repeated`: as a `within` repeats them.
    """

    ckptsurgeon_plan: int
    sources: tuple[SavedView, ...]
    destination: SavedView | None
    separator: str
    rules: tuple[RuleInfo, ...]
    nodes: list[list[Any]]
    outputs: list[tuple[str, int, int | None, str]]
    ties: dict[str, str]
    checked_ties: list[list[Any]]
    steps: list[list[Any]]
    fates: list[SavedFates]
    findings: list[list[Any]]
    notes: list[list[Any]]
    repeated: list[RuleInfo] = []
    files: tuple[OutputFile, ...] = (OutputFile(),)
    is_named: bool = False
