"""What near readings are: a pattern, in what it differs, and the target that goes with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from ckptsurgeon.language.patterns import Capture, Kind, Literal, Pattern, Piece

Change = Callable[[Pattern], Pattern]

PREFIX = Capture("*0", Kind.PATH)
"""What stands for the front of a key that a pattern lacks; no pattern names a star so."""

REST = {kind: Capture("*9", kind) for kind in (Kind.TEXT, Kind.PATH)}
"""What stands for the rest of a key that a pattern lacks."""


class Use(Enum):
    """What a pattern is read for: a reading must not take more than the rule may."""

    MOVE = "a tensor is moved"
    DROP = "keys are left out"
    LAYER = "a layer is named"


class Near(Struct, frozen=True):
    """A near reading: in what it differs, and what the rule's target becomes with it.

    `besides` is another way to the same. One with PREFIX in it says itself what it lacks, once it
    is known what stands there; one of a module ends in a star of REST.
    """

    pattern: Pattern
    reason: str = ""
    change: Change = lambda target: target
    besides: str = ""

    def then(self, other: Near) -> Near:
        """The reading that differs in both."""
        first, second = self.change, other.change
        return Near(
            other.pattern,
            join_words(self.reason, other.reason),
            lambda target: second(first(target)),
            self.besides or other.besides,
        )


def join_words(*reasons: str) -> str:
    """Reasons as one, without those that say nothing."""
    return ", and ".join(filter(None, reasons))


def without_empty(pieces: Sequence[Piece]) -> Pattern:
    """The pattern of pieces, of which texts may be empty."""
    return Pattern(tuple(one for one in pieces if not isinstance(one, Literal) or one.text))


def with_captures(pattern: Pattern, numbers: Sequence[int], **fields: object) -> Pattern:
    """The pattern with these captures made otherwise."""
    return Pattern(
        tuple(
            replace(one, **fields) if number in numbers else one
            for number, one in enumerate(pattern.pieces)
        )
    )


def find_integers(pattern: Pattern) -> list[int]:
    """Which of the pieces are plain integers."""
    return [number for number, one in enumerate(pattern.pieces) if _is_integer(one)]


def _is_integer(piece: Piece) -> bool:
    return isinstance(piece, Capture) and piece.kind is Kind.INT and not piece.width
