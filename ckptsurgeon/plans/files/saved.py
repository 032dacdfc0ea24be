"""Saved plans as they stand in JSON files: the graph is a list, its nodes name others by number."""

from __future__ import annotations

from typing import Any

import msgspec

from ckptsurgeon.language.patterns import ConcreteIndex
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.plans.account import Operand, RuleInfo, Status
from ckptsurgeon.specs import TensorSpec

VERSION = 2

BEGINNING = b'{"ckptsurgeon_plan":'
"""What each saved plan begins with."""


class SavedView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A checkpoint that a plan was made for, and what it held, so that a plan can be read alone.

    `specs` are by the keys that rules see; `names` has the file's own where they differ; `aliases`
    are the groups of names that share a storage.
    """

    alias: str
    path: str
    format: str
    digest: str
    options: SourceOptions
    specs: dict[str, TensorSpec]
    names: dict[str, str] = {}
    aliases: tuple[tuple[str, ...], ...] = ()


class SavedLeaf(msgspec.Struct, frozen=True, array_like=True, tag="leaf"):
    """A tensor of a checkpoint."""

    source: str
    key: str


class SavedMade(msgspec.Struct, frozen=True, array_like=True, tag="made"):
    """A tensor that `init` makes."""

    spec: TensorSpec
    key: str
    fill: str | int | float
    std: float
    seed: int


class SavedCall(msgspec.Struct, frozen=True, array_like=True, tag="call"):
    """An op with its parameters and the numbers of its inputs."""

    op: str
    parameters: dict[str, Any]
    inputs: tuple[int, ...]


class SavedResult(msgspec.Struct, frozen=True, array_like=True, tag="result"):
    """One of the tensors of the call with that number."""

    call: int
    number: int


class SavedPart(msgspec.Struct, frozen=True, array_like=True):
    """A node's number, and the place in an assembly that it fills."""

    index: ConcreteIndex
    node: int


class SavedAssembly(msgspec.Struct, frozen=True, array_like=True, tag="assembly"):
    """A tensor filled in parts; `base` is the number of what fills the rest."""

    spec: TensorSpec
    parts: tuple[SavedPart, ...]
    base: int | None


SavedNode = SavedLeaf | SavedMade | SavedCall | SavedResult | SavedAssembly


class SavedOutput(msgspec.Struct, frozen=True):
    """An output key; `node` and `rule` are numbers in the plan's lists."""

    key: str
    node: int
    status: Status
    rule: int | None
    sources: tuple[Operand, ...]
    ops: tuple[str, ...]
    wanted: TensorSpec | None
    allowed: str


class SavedPlan(msgspec.Struct, frozen=True):
    """The whole file. Steps, fates, findings and notes name their rule by its number."""

    ckptsurgeon_plan: int
    sources: tuple[SavedView, ...]
    destination: SavedView | None
    separator: str
    rules: tuple[RuleInfo, ...]
    nodes: list[SavedNode]
    outputs: tuple[SavedOutput, ...]
    ties: dict[str, str]
    checked_ties: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    fates: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    notes: list[dict[str, Any]]
