"""Where outputs go, and how their tensors are nested there."""

from __future__ import annotations

from msgspec import Struct

from ckptsurgeon.checkpoints.nesting import FLAT, Nesting
from ckptsurgeon.errors import Place

OUTPUT, OF_DESTINATION, OF_SOURCE, OF_INVERTED = "output", "destination", "source", "inverted"
"""What decides a nesting: the rules' `output`, a checkpoint, or the source that is given back."""


class OutputFile(Struct, frozen=True, omit_defaults=True):
    """A file to be written; `alias` is "" for the one without a name.

    `nesting` is what a torch file will have, `decided` by what, "" where no one did; `place` is
    where in the rules. `separator` stands for dots in its keys. `into` is the path of what it is
    held against, "" where that is nothing. `path` and `format` are known where something is
    written.
    """

    alias: str = ""
    nesting: Nesting = FLAT
    decided: str = ""
    place: Place | None = None
    separator: str = "."
    into: str = ""
    path: str = ""
    format: str = ""

    @property
    def root(self) -> str:
        """The root as a user names it."""
        return self.nesting.root_text

    @property
    def wrappers(self) -> tuple[str, ...]:
        """The wrappers as a user names them."""
        return self.nesting.wrapper_texts
