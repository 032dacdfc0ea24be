"""A plan: every output tensor as a graph of what it is made from, and the account of every key.

Nodes know specs but hold no data. A renamed tensor is its `Leaf`; ops stand between as `Call`s;
several stages are one graph, so data moves once. `execute.py` runs it, `report.py` tells it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ckptsurgeon.errors import Place
from ckptsurgeon.formats.base import Contents
from ckptsurgeon.ops.base import Op
from ckptsurgeon.patterns import ConcreteIndex
from ckptsurgeon.planner.digests import digest
from ckptsurgeon.ruleset.model import SourceOptions
from ckptsurgeon.specs import Specs, TensorSpec

DESTINATION = "dst"
"""The alias under which a plan reads the destination's own values."""


# --- the graph ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A whole tensor of a checkpoint: `source` is its alias, "" for the unnamed one."""

    source: str
    key: str
    spec: TensorSpec


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One op applied to tensors; `specs` are those of its results."""

    op: Op
    inputs: tuple[Node, ...]
    specs: Specs


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One of the tensors that a call gives."""

    call: Call
    number: int

    @property
    def spec(self) -> TensorSpec:
        return self.call.specs[self.number]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A tensor that `init` makes: fill is zeros, ones, eye, normal or a number; seeded per key."""

    spec: TensorSpec
    key: str
    fill: str | int | float
    std: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A tensor and the place in an assembly that it fills."""

    index: ConcreteIndex
    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    """A tensor filled in parts; `base` holds what the parts leave, None where they tile it."""

    spec: TensorSpec
    parts: tuple[Part, ...]
    base: Node | None


Node = Leaf | Result | Made | Assembly


# --- the account ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """A rule of a stage for reports: its text on one line, its place, how many steps it made."""

    stage: int
    number: int
    text: str
    place: Place
    steps: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Operand:
    """A key that a step reads, in the names its stage sees, with the slice it takes."""

    source: str
    key: str
    index: ConcreteIndex | None = None


@dataclass(frozen=True, slots=True)
class Product:
    """A key that a step gives, with the place in it that is filled."""

    key: str
    index: ConcreteIndex | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One rule applied to concrete keys. `rule` is None for keys copied by no rule.

    `ops` names the ops on the way, as written for people: `split(dim=0)`.
    """

    stage: int
    rule: RuleInfo | None
    operands: tuple[Operand, ...]
    products: tuple[Product, ...]
    ops: tuple[str, ...] = ()


class Status(enum.Enum):
    """How an output key got its value."""

    RENAMED = "renamed"  # a whole source tensor, by a rule (its name may be the same)
    COPIED = "copied"  # a whole source tensor, by no rule
    CHANGED = "changed"  # through ops or parts
    KEPT = "kept"  # the destination's own value
    INITIALISED = "initialised"


@dataclass(frozen=True, slots=True)
class Output:
    """A key of the result. `sources` are the checkpoint tensors that it is made from.

    `rule` gave it, in the last stage that touched it; `wanted` is the destination's spec.
    `allowed` names the finding that was accepted for it ("missing", "mismatched").
    """

    key: str
    node: Node
    status: Status
    rule: RuleInfo | None
    sources: tuple[Operand, ...]
    ops: tuple[str, ...] = ()
    wanted: TensorSpec | None = None
    allowed: str = ""

    @property
    def spec(self) -> TensorSpec:
        return self.node.spec


class Fate(enum.Enum):
    """What became of a source key."""

    TAKEN = "taken"
    COPIED = "copied"
    DROPPED = "dropped"
    UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class SourceFate:
    """`rule` took or dropped the key. `untaken` is the share of it that no slice took (0..1).

    `reason` says more where more is to say: "by `unmatched: drop`", "lost to line 3".
    """

    source: str
    key: str
    spec: TensorSpec
    fate: Fate
    rule: RuleInfo | None = None
    untaken: float = 0.0
    reason: str = ""
    stage: int = 0


class FindingKind(enum.Enum):
    MISSING = "missing"
    UNEXPECTED = "unexpected"
    UNUSED = "unused"
    MISMATCHED = "mismatched"


@dataclass(frozen=True, slots=True)
class Finding:
    """A key that does not come out even.

    `found` and `wanted` are specs where the kind has them (mismatched both, missing the wanted
    one, unexpected and unused the found one). `source` is the alias of an unused key.
    """

    kind: FindingKind
    key: str
    found: TensorSpec | None = None
    wanted: TensorSpec | None = None
    rule: RuleInfo | None = None
    source: str = ""
    sources: tuple[Operand, ...] = ()
    allowed: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Something that is no finding but that a user should know: a dtype change, a part not taken.

    `kind` groups notes: dtype, untaken, rest, wrapper, strip, opaque, ties, copied, fallback, …
    """

    kind: str
    text: str
    key: str = ""
    rule: RuleInfo | None = None


@dataclass(frozen=True, slots=True)
class SourceView:
    """A checkpoint as the rules see it: keys after `root`, `strip` and `separator`.

    `names` leads from these keys to the file's own; `specs` is by the rules' keys, in file order.
    """

    alias: str
    path: str
    format: str
    options: SourceOptions
    names: Mapping[str, str]
    specs: Mapping[str, TensorSpec]
    contents: Contents
    has_values: bool = True

    @property
    def digest(self) -> str:
        """SHA-256 over all of the file's keys and specs, worked out each time."""
        return digest(self.contents.specs)


@dataclass(frozen=True, slots=True)
class CheckedTie:
    """A tie of two output keys that were made apart: their values are compared when run."""

    key: str
    leader: str
    rule: RuleInfo | None


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps with their specs. Findings that are not `allowed` keep it from being run.

    `outputs` is in output order. `ties` maps an output key to the one whose storage it shares.
    `checked_ties` are ties whose values must be compared when run. `fates` tells of every source
    key of every stage (stage 0 reads the checkpoints).
    """

    sources: tuple[SourceView, ...]
    destination: SourceView | None
    outputs: Mapping[str, Output]
    steps: Sequence[Step]
    fates: Sequence[SourceFate]
    rules: tuple[RuleInfo, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()
    ties: Mapping[str, str] = field(default_factory=dict)
    checked_ties: tuple[CheckedTie, ...] = ()
    separator: str = "."

    @property
    def views(self) -> tuple[SourceView, ...]:
        """The sources, and the destination where there is one."""
        return self.sources if self.destination is None else (*self.sources, self.destination)

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """The findings that were not allowed."""
        return tuple(finding for finding in self.findings if not finding.allowed)

    @property
    def nbytes(self) -> int:
        """Size of the output's tensors, ties counted once per key."""
        return sum(output.spec.nbytes for output in self.outputs.values())
