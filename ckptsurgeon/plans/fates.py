"""What became of every source key: a claim that many keys share, told key by key."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

import msgspec

from ckptsurgeon.plans.entries import Entries
from ckptsurgeon.plans.graph import RuleInfo
from ckptsurgeon.specs import TensorSpec


class Fate(enum.Enum):
    """What became of a source key."""

    TAKEN = "taken"
    COPIED = "copied"
    DROPPED = "dropped"
    UNUSED = "unused"
    UNREADABLE = "unreadable"


class Why(enum.Enum):
    """What else is to be said of a fate."""

    GAVE_WAY = "gave way to "  # and the rule that gives the key
    UNMATCHED = "by `unmatched: drop`"
    NULL = "by null"
    OWN = "the destination's own"
    MADE = "made by `init`"
    UNNEEDED = "not needed"


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What became of keys: `rule` took or dropped them.

    `untaken` is the share of each that no slice took, `dropped` the share that slices of `dropper`
    did (0..1). `winner` gives what the keys would have given.
    """

    fate: Fate
    rule: RuleInfo | None = None
    why: Why | None = None
    winner: RuleInfo | None = None
    untaken: float = 0.0
    dropped: float = 0.0
    dropper: RuleInfo | None = None

    @property
    def drops(self) -> bool:
        """Whether the keys are dropped, or a part of each."""
        return self.fate is Fate.DROPPED or self.dropped > 0

    @property
    def is_plain(self) -> bool:
        """Whether a rule took the keys whole, and no more is to be said."""
        return self.fate is Fate.TAKEN and not (self.why or self.untaken or self.dropped)

    @property
    def reason(self) -> str:
        """More, where more is to say: "by `unmatched: drop`", "gave way to line 3"."""
        if self.why is None:
            return ""
        return f"{self.why.value}{self.winner.place if self.winner else ''}"


class SourceFate(msgspec.Struct, frozen=True, gc=False):
    """What became of one key of a stage (0 reads the checkpoints)."""

    stage: int
    source: str
    key: str
    spec: TensorSpec
    claim: Claim

    @property
    def fate(self) -> Fate:
        return self.claim.fate

    @property
    def rule(self) -> RuleInfo | None:
        return self.claim.rule

    @property
    def dropper(self) -> RuleInfo | None:
        """The rule that drops the key, or a part of it."""
        return self.claim.rule if self.fate is Fate.DROPPED else self.claim.dropper

    @property
    def untaken(self) -> float:
        return self.claim.untaken

    @property
    def reason(self) -> str:
        return self.claim.reason


class KeyFates(msgspec.Struct, frozen=True):
    """The fates of all keys that a stage reads under one alias; a claim is of many keys."""

    stage: int
    source: str
    specs: Mapping[str, TensorSpec]
    claims: Mapping[str, Claim]

    def of(self, key: str) -> SourceFate:
        return SourceFate(self.stage, self.source, key, self.specs[key], self.claims[key])

    def __len__(self) -> int:
        return len(self.specs)

    def __iter__(self) -> Iterator[SourceFate]:
        return map(self.of, self.specs)


class Fates(Entries[SourceFate]):
    """The fates of every key of every stage."""

    def __init__(self, tables: Sequence[KeyFates]) -> None:
        self.tables = tuple(tables)

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    def __iter__(self) -> Iterator[SourceFate]:
        return chain.from_iterable(self.tables)

    def of(self, test: Callable[[Claim], bool]) -> Iterator[SourceFate]:
        """Those whose claims pass a test; these are few, of a million keys."""
        for table in self.tables:
            claims, passed = table.claims, _find_claims(table, test)
            yield from (
                table.of(key) for key in table.specs if passed and id(claims[key]) in passed
            )

    def keys(self, test: Callable[[Claim], bool]) -> Iterator[tuple[KeyFates, list[str]]]:
        """The keys whose claims pass a test, by table, of tables that have such; in no order."""
        for table in self.tables:
            if passed := _find_claims(table, test):
                claims = table.claims.items()
                yield table, [key for key, claim in claims if id(claim) in passed]

    @property
    def remarkable(self) -> Iterator[SourceFate]:
        """Those of keys that were not simply taken whole by a rule."""
        return self.of(lambda claim: not claim.is_plain)

    def find(self, stage: int, alias: str, key: str) -> SourceFate | None:
        """The fate of one key; None where the stage reads no such key."""
        for table in self.tables:
            if (table.stage, table.source) == (stage, alias) and key in table.specs:
                return table.of(key)
        return None


def _find_claims(table: KeyFates, test: Callable[[Claim], bool]) -> set[int]:
    """The ids of the claims that pass a test: many keys share one."""
    different = {id(claim): claim for claim in table.claims.values()}
    return {at for at, claim in different.items() if test(claim)}
