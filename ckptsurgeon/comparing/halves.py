"""The two halves of a comparison: tensors by name, wherever their values come from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents
from ckptsurgeon.checkpoints.several import address_of, parts_of
from ckptsurgeon.engine.execution import Execution
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.plans.account import FindingKind
from ckptsurgeon.plans.addresses import alias_of
from ckptsurgeon.plans.graph import Leaf, Node, full_key, walk
from ckptsurgeon.plans.outputs import Output, Status
from ckptsurgeon.plans.views import SourceView, view_source
from ckptsurgeon.report.sides import Side, side_of
from ckptsurgeon.specs import TensorSpec, UnreadableSpec

A, B = "A", "B"
"""What the two are called."""


@dataclass(frozen=True, slots=True)
class Half:
    """Tensors to be compared: `nodes` says what each is made of, of tensors of `checkpoints`.

    `kept` are those that are the other half's own by a rule, `mixed` those of which a part is;
    `left` are the sources' that rules should take and don't; `contents` is all that a checkpoint
    says of itself, None of what rules make; `notes` are those of all that is read. What can't be
    read has a spec alone.
    """

    sides: tuple[Side, ...]
    specs: Mapping[str, TensorSpec]
    nodes: Mapping[str, Node]
    checkpoints: Mapping[str, Checkpoint]
    kept: frozenset[str] = frozenset()
    mixed: frozenset[str] = frozenset()
    left: Mapping[str, TensorSpec] = field(default_factory=dict)
    contents: Contents | None = None
    notes: tuple[str, ...] = ()

    def restrict(self, chosen: Collection[str]) -> Half:
        """The half with these tensors alone."""
        specs, left = (
            {key: spec for key, spec in own.items() if key in chosen}
            for own in (self.specs, self.left)
        )
        return replace(self, specs=specs, left=left, mixed=self.mixed.intersection(specs))


def open_half(checkpoint: Checkpoint, name: str) -> Half:
    """A checkpoint as it is."""
    specs = checkpoint.contents.specs
    readable = (key for key, spec in specs.items() if not isinstance(spec, UnreadableSpec))
    return Half(
        sides=tuple(_side(part, name, alias) for alias, part in parts_of(checkpoint).items()),
        specs=specs,
        nodes={key: Leaf("", key, specs[key], key) for key in readable},
        checkpoints={"": checkpoint},
        contents=checkpoint.contents,
        notes=tuple(_tell_notes(name, checkpoint)),
    )


def convert_half(execution: Execution) -> Half:
    """What rules make of the sources, before it is written; of several outputs by address."""
    plan = execution.plan
    outputs = {
        address_of(alias_of(key) if plan.is_named else "", output.name): output
        for key, output in plan.outputs.items()
    }
    return Half(
        sides=tuple(_named(view, A) for view in plan.sources),
        specs={name: output.spec for name, output in outputs.items()},
        nodes={name: output.node for name, output in outputs.items()},
        checkpoints=execution.checkpoints,
        kept=frozenset(name for name, one in outputs.items() if one.status is Status.KEPT),
        mixed=frozenset(name for name, one in outputs.items() if _is_partly_kept(one)),
        left=dict(_find_left(execution)),
        notes=tuple(_tell_sources(execution.checkpoints)),
    )


def _side(checkpoint: Checkpoint, name: str, alias: str) -> Side:
    return _named(view_source(checkpoint, alias, SourceOptions()), name)


def _named(view: SourceView, name: str) -> Side:
    """A checkpoint as a report names it: A, B, or one of several that are it."""
    return side_of(replace(view, alias=f"{name} {view.alias}".rstrip()))


def _tell_notes(name: str, checkpoint: Checkpoint) -> Iterator[str]:
    """What the reader of a checkpoint had to say."""
    return (f"{name}: {note}" for note in checkpoint.contents.notes)


def _tell_sources(checkpoints: Mapping[str, Checkpoint]) -> Iterator[str]:
    for alias, one in checkpoints.items():
        if alias != DESTINATION:
            yield from _tell_notes(f"{A} {alias}".rstrip(), one)


def _find_left(execution: Execution) -> Iterator[tuple[str, TensorSpec]]:
    """The sources' tensors that nothing takes, or that can't be read, with their aliases."""
    for one in execution.plan.findings:
        if one.found is not None and one.kind in (FindingKind.UNUSED, FindingKind.UNREADABLE):
            yield full_key(one.source, one.key), one.found


def _is_partly_kept(output: Output) -> bool:
    """Whether a part of an output, that a source gives, is the destination's."""
    leaves = [work for work in walk(output.node) if isinstance(work, Leaf)]
    return output.status is not Status.KEPT and any(one.source == DESTINATION for one in leaves)
