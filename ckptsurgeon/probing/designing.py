"""What a probe will be, from the headers of its source and a look at what may be a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from ckptsurgeon.checkpoints.base import Checkpoint, Layout
from ckptsurgeon.checkpoints.output import (
    OutputFormat,
    changed_containers,
    left_out,
    output_format,
)
from ckptsurgeon.checkpoints.sharded import shards_of
from ckptsurgeon.checkpoints.writing.source_files import SourceFiles
from ckptsurgeon.engine.execution import Stamps, stamps_of
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.notes import entry_notes, reading_notes
from ckptsurgeon.probing.kinds import Kind, choose_kind
from ckptsurgeon.probing.looking import Looker
from ckptsurgeon.probing.recipes import Recipe, confusable, make_recipes
from ckptsurgeon.probing.results import Probe
from ckptsurgeon.specs import TensorSpec, UnreadableSpec, plural


@dataclass(frozen=True, slots=True)
class Design:
    """A probe that can be made: what its keys hold, and how.

    `ties` maps a key to the one whose storage it shares, which alone has a recipe, or is kept.
    `stamps` are of the source's files as they were when it was designed.
    """

    checkpoint: Checkpoint
    stamps: Stamps
    seed: int
    specs: Mapping[str, TensorSpec]
    unreadable: Mapping[str, UnreadableSpec]
    ties: Mapping[str, str]
    kinds: Mapping[str, Kind]
    recipes: Mapping[str, Recipe]

    @property
    def own(self) -> list[str]:
        """The keys that share no other's storage, in the order of the source."""
        return [key for key in self.specs if key not in self.ties]

    @property
    def layout(self) -> Layout:
        """What a writer is to write: all that the source has but the values."""
        contents = self.checkpoint.contents
        shards, index = shards_of(self.checkpoint)
        return Layout(
            specs=self.specs,
            ties=self.ties,
            metadata=contents.metadata,
            module_metadata=contents.module_metadata,
            template=self.checkpoint,
            shards=shards,
            index=index,
        )

    def tell(self, output: str) -> Probe:
        """The result, when the output is there."""
        return Probe(
            output=output,
            source=str(self.checkpoint.path),
            source_format=self.checkpoint.format,
            seed=self.seed,
            specs=self.specs,
            kinds=self.kinds,
            ties=self.ties,
            left_out=self.unreadable,
            notes=(*_reading_notes(self.checkpoint), *self._few(), *self._entry_notes(output)),
        )

    def _few(self) -> Iterator[Note]:
        """The tensors that no value tells from each other."""
        few = confusable(self.recipes, self.kinds, self.specs)
        if few:
            dtypes = " and ".join(sorted({self.specs[key].dtype for key in few}))
            text = f"{plural(len(few), 'tensor')} of few numbers in {dtypes}: some may be equal"
            yield Note("values", text)

    def _entry_notes(self, output: str) -> list[Note]:
        """What the output doesn't carry of what is no tensor, or carries changed."""
        wanted = output_format(output)
        notes = list(entry_notes("", left_out(self.checkpoint, wanted)))
        if wanted is OutputFormat.TORCH:
            found = changed_containers(self.checkpoint, wanted, self.specs)
            notes += (Note("entry", text, key) for key, text in found)
        return notes


def make_design(checkpoint: Checkpoint, seed: int) -> Design:
    """The probe of a checkpoint. Raises CheckpointError where no tensor of it can be read."""
    stamps, every = stamps_of({"": checkpoint}), checkpoint.contents.specs
    unreadable = {key: spec for key, spec in every.items() if isinstance(spec, UnreadableSpec)}
    specs = {key: spec for key, spec in every.items() if key not in unreadable}
    if not specs:
        raise CheckpointError(f"{checkpoint.path}: {_describe_unreadable(unreadable)}")
    ties = _ties_of(checkpoint, specs)
    kinds = _choose_kinds(checkpoint, specs, ties)
    own = {key: spec for key, spec in specs.items() if key not in ties}
    recipes = make_recipes(own, kinds, seed)
    return Design(checkpoint, stamps, seed, specs, unreadable, ties, kinds, recipes)


def _describe_unreadable(unreadable: Mapping[str, UnreadableSpec]) -> str:
    """Words for a checkpoint without a tensor that can be read."""
    if not unreadable:
        return "holds no tensors; `inspect` shows what it has"
    key, spec = next(iter(unreadable.items()))
    return f"holds no tensor that can be read: `{key}` is {spec.what}; {spec.remedy}"


def _ties_of(checkpoint: Checkpoint, specs: Mapping[str, TensorSpec]) -> dict[str, str]:
    groups = ([key for key in group if key in specs] for group in checkpoint.contents.aliases)
    return {key: group[0] for group in groups for key in group[1:]}


def _choose_kinds(
    checkpoint: Checkpoint, specs: Mapping[str, TensorSpec], ties: Mapping[str, str]
) -> dict[str, Kind]:
    """The kinds of all keys; a tied one's is that of the key that it is tied to."""
    with closing(SourceFiles()) as files:
        look = Looker(checkpoint, files) if checkpoint.has_values else None
        kinds = {
            key: choose_kind(key, spec, look) for key, spec in specs.items() if key not in ties
        }
    return {key: kinds[ties.get(key, key)] for key in specs}


def _reading_notes(checkpoint: Checkpoint) -> list[Note]:
    """How the source was opened, and what of it is outside."""
    contents = checkpoint.contents
    notes = [Note("wrapper", f"tensors are read from `{contents.root}`")] if contents.root else []
    notes += (Note("outside", f"{one}, not in the probe", one.key) for one in contents.outside)
    if not checkpoint.has_values:
        notes.append(Note("values", "the source has shapes alone: no table of it is kept"))
    return [*notes, *reading_notes("source", contents)]
