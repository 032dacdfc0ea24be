"""What `probe` did: which tensors are random, which are the source's own, and what is not in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptsurgeon.plans.account import Note
from ckptsurgeon.probing.kinds import KEPT, MADE_UP, Kind
from ckptsurgeon.showing import Shown
from ckptsurgeon.specs import TensorSpec, UnreadableSpec, human_bytes, plural


@dataclass(frozen=True, slots=True, repr=False)
class Probe(Shown):
    """A probe that was written. `kinds` are of all its keys, `left_out` is what can't be read.

    `ties` maps a key to the one whose storage it shares.
    """

    output: str
    source: str
    source_format: str
    seed: int
    specs: Mapping[str, TensorSpec]
    kinds: Mapping[str, Kind]
    ties: Mapping[str, str]
    left_out: Mapping[str, UnreadableSpec]
    notes: tuple[Note, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(spec.nbytes for spec in self.specs.values())

    @property
    def kept(self) -> dict[str, Kind]:
        """The keys that hold the source's own values, with what these are."""
        return {key: kind for key, kind in self.kinds.items() if kind in KEPT}

    @property
    def made_up(self) -> dict[str, Kind]:
        """The keys of integers that are made to look like some, with what these are."""
        return {key: kind for key, kind in self.kinds.items() if kind in MADE_UP}

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 1 where tensors are left out, else 0."""
        return 1 if self.left_out else 0

    @property
    def summary(self) -> str:
        """The bottom line."""
        return self.bottom_line

    @property
    def bottom_line(self) -> str:
        """The one sentence to read where there is no time for more."""
        kept, made_up = len(self.kept), len(self.made_up)
        told = [f"{len(self.specs) - kept - made_up:,} random"]
        told += [f"{made_up:,} made up"] if made_up else []
        told += [f"{kept:,} kept"] if kept else []
        told += [f"{len(self.left_out):,} LEFT OUT that can't be read"] if self.left_out else []
        size = f"{plural(len(self.specs), 'tensor')}, {human_bytes(self.nbytes)}"
        return f"{size}: {', '.join(told)}"
