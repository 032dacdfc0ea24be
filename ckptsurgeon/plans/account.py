"""The account of a plan: what became of every key, by which rule, and what is left open."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.errors import Place
from ckptsurgeon.language.patterns import ConcreteIndex
from ckptsurgeon.plans.graph import Leaf, Made, Node
from ckptsurgeon.specs import TensorSpec


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


def status_of(node: Node, rule: RuleInfo | None) -> Status:
    """How a tensor came about."""
    if isinstance(node, Made):
        return Status.INITIALISED
    if isinstance(node, Leaf) and node.source == DESTINATION:
        return Status.KEPT
    if isinstance(node, Leaf):
        return Status.COPIED if rule is None else Status.RENAMED
    return Status.CHANGED


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
class CheckedTie:
    """A tie of two output keys that were made apart: their values are compared when run."""

    key: str
    leader: str
    rule: RuleInfo | None
