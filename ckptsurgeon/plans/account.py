"""What is left to say of a plan: findings, notes, and ties to be checked."""

from __future__ import annotations

import enum

import msgspec

from ckptsurgeon.plans.graph import Operand, RuleInfo
from ckptsurgeon.specs import TensorSpec


class FindingKind(enum.Enum):
    MISSING = "missing"
    UNEXPECTED = "unexpected"
    UNUSED = "unused"
    MISMATCHED = "mismatched"
    UNREADABLE = "unreadable"
    NOTHING = "nothing"


class Finding(msgspec.Struct, frozen=True, gc=False):
    """A key that does not come out even.

    `found` and `wanted` are specs where the kind has them (mismatched both, missing the wanted
    one, unexpected and unused the found one, unreadable the one of its side). `source` is the alias
    of a source's key, `dst` for a destination's that can't be read. `nothing` is of no key.
    """

    kind: FindingKind
    key: str
    found: TensorSpec | None = None
    wanted: TensorSpec | None = None
    rule: RuleInfo | None = None
    source: str = ""
    sources: tuple[Operand, ...] = ()
    allowed: bool = False


class Note(msgspec.Struct, frozen=True, gc=False):
    """Something that is no finding but that a user should know: a dtype change, a part not taken.

    `kind` groups notes: dtype, untaken, rest, wrapper, strip, entry, ties, copied, fallback, …
    """

    kind: str
    text: str
    key: str = ""
    rule: RuleInfo | None = None


class CheckedTie(msgspec.Struct, frozen=True, gc=False):
    """A tie of two output keys that were made apart: their values are compared when run."""

    key: str
    leader: str
    rule: RuleInfo | None
