"""What a user should know of a plan that is no finding: how files were read, what was left."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ckptsurgeon.checkpoints.base import DESTINATION, Contents, Opaque
from ckptsurgeon.checkpoints.several import MOST_OUTPUTS
from ckptsurgeon.cutting import list_some
from ckptsurgeon.keys import fold_keys
from ckptsurgeon.language.patterns import is_plain_integer
from ckptsurgeon.ops.batchnorms import FoldIdentity, FoldKernel
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.ops.ranges import INTEGER_RANGES, LARGEST_WHOLE, rounds
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.fates import Fates, Why
from ckptsurgeon.plans.graph import (
    Assembly,
    Call,
    Leaf,
    Node,
    Result,
    RuleInfo,
    full_key,
    text_of,
    walk,
)
from ckptsurgeon.plans.output_files import OutputFile
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.plans.usage import Usage, any_left_out
from ckptsurgeon.plans.views import SourceView, Unchanged

COMPUTED_TEXT = "computes: in float32 (F64 in float64), rounded once into the dtype"

WHOLE_TEXT = "computes: in whole numbers, exactly"

EMPTY_TEXT = "as in DeepSpeed ZeRO-3, whose weights lie in other files"

GATHER_TEXT = (
    "join them by `zero_to_fp32.py`, or save with `stage3_gather_16bit_weights_on_model_save`"
)

FLAT_TEXT = "many weights in one, as FSDP has them: save with `StateDictType.FULL_STATE_DICT`"

MOST_NAMED = 4
"""Outputs that a note names."""

FEW = 4
"""Empty tensors that are a few beside others: some modules have such buffers."""

OF_DEEPSPEED = ("param_shapes", "ds_version", "ds_config")
"""Entries that stand beside the tensors in DeepSpeed's files of model states."""

WITHOUT_VALUES = "the destination's own, which has shapes alone: nothing can be written so"

FOLD_TEXT = "a BatchNorm is folded into it; names don't prove the order of layers: verify"


NOTES_OF_SOURCES = frozenset({"untaken", "fallback", "entry"})
"""The kinds of notes whose keys are those of a source."""


def unique_notes(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Each note once. There may be a million of few rules, whose fields are compared once."""
    numbers: dict[RuleInfo | None, int] = {}
    by_id: dict[int, tuple[int, RuleInfo | None]] = {}  # with the rule, so that its id stays
    unique: dict[tuple[str, str, str, int], Note] = {}
    for note in notes:
        rule = id(note.rule)
        if rule not in by_id:
            by_id[rule] = numbers.setdefault(note.rule, len(numbers)), note.rule
        unique[note.kind, note.text, note.key, by_id[rule][0]] = note
    return tuple(unique.values())


def named_notes(files: Sequence[OutputFile]) -> Iterator[Note]:
    """Holes in the numbers of outputs: `rank0` and `rank2`, and no `rank1`."""
    numbered: dict[str, dict[int, str]] = {}
    for file in files:
        stem = file.alias.rstrip("0123456789")
        digits = file.alias[len(stem) :]
        if is_plain_integer(digits):
            numbered.setdefault(stem, {})[int(digits)] = file.alias
    for stem, found in numbered.items():
        numbers = range(min(max(found), MOST_OUTPUTS))
        lacking = [f"{stem}{n}" for n in numbers if n not in found]
        if lacking and len(found) > 1:
            there = (found[number] for number in sorted(found))
            yield Note("outputs", f"outputs {_folded(there)}, no {_folded(lacking)}")


def _folded(names: Iterable[str]) -> str:
    return list_some(map(str, fold_keys(names)), MOST_NAMED)


def config_notes(config: object, reads: Collection[str]) -> Iterator[Note]:
    """A config that is given, and that no rule reads: its sizes change nothing."""
    if config is not None and not reads:
        yield Note("config", "no var of the rules reads the config: nothing depends on it")


def source_notes(view: SourceView) -> Iterator[Note]:
    """How a source was opened, and what in it is no tensor."""
    name = view.alias or "source"
    contents = view.contents
    if contents.root:
        yield Note("wrapper", f"{name}: tensors are read from `{contents.root}`")
    unchanged = isinstance(view.names, Unchanged)
    renamed = 0 if unchanged else sum(key != raw for key, raw in view.names.items())
    if renamed:
        yield Note("strip", f"{name}: {renamed} of {len(view.names)} keys read by another name")
    elif view.options.strip:
        prefixes = ", ".join(f"`{prefix}`" for prefix in view.options.strip)
        yield Note("strip", f"{name}: no key begins with {prefixes}: nothing is stripped")
    yield from reading_notes(name, contents)
    yield from placeholder_notes(view)


def reading_notes(name: str, contents: Contents) -> Iterator[Note]:
    """What the reader of a checkpoint had to say: which file it took, that it is one shard."""
    return (Note("read", f"{name}: {note}") for note in contents.notes)


def placeholder_notes(view: SourceView) -> Iterator[Note]:
    """Whether tensors stand for weights that lie elsewhere: many empty ones, or flat ones."""
    name = view.alias or "source"
    empty = sum(0 in spec.shape and spec.floating for spec in view.specs.values())
    if empty and _are_placeholders(view, empty):
        count = f"{empty:,} of {len(view.specs):,}"
        yield Note("empty", f"{name}: {count} tensors are empty, {EMPTY_TEXT}")
        yield Note("gather", f"{name}: {GATHER_TEXT}")
    flat = (key for key in view.specs if key.endswith("flat_param"))
    yield from (Note("flat", f"{name}: {FLAT_TEXT}", key) for key in flat)


def _are_placeholders(view: SourceView, empty: int) -> bool:
    """Whether so many floating tensors are empty by no chance: all there are, or at least half, or
    all weights.

    Fewer where DeepSpeed's own entries stand beside: three of a BatchNorm's five are buffers.
    """
    floating = sum(spec.floating for spec in view.specs.values())
    entries = {entry.key.rpartition(".")[2] for entry in view.contents.opaque}
    if not entries.isdisjoint(OF_DEEPSPEED):
        return empty * 5 >= floating
    weights = [spec for key, spec in view.specs.items() if key.endswith("weight") and spec.floating]
    if weights and all(0 in spec.shape for spec in weights):
        return True
    return empty == len(view.specs) > 1 or (empty * 2 >= floating and empty > FEW)


def entry_notes(alias: str, entries: Iterable[Opaque]) -> Iterator[Note]:
    """What a source holds besides tensors, where the output leaves it out."""
    of = f" of {alias}" if alias else ""
    for entry in entries:
        yield Note("entry", f"{entry.kind}{of}, not written", entry.key)


def fate_notes(fates: Fates) -> Iterator[Note]:
    """Parts of source tensors that no slice took, and fallbacks that gave way."""
    texts: dict[tuple[int, int], str] = {}  # of many keys that have one claim and spec
    for fate in fates.remarkable:
        if fate.untaken:
            alike = id(fate.claim), id(fate.spec)
            if alike not in texts:
                texts[alike] = f"{fate.untaken:.1%} of {fate.spec} is taken by no rule"
            yield Note("untaken", texts[alike], full_key(fate.source, fate.key), fate.rule)
        if fate.claim.why is Why.GAVE_WAY:
            yield Note("fallback", fate.reason, full_key(fate.source, fate.key), fate.rule)


def left_out_notes(outputs: Outputs, fates: Fates) -> Iterator[Note]:
    """What ops leave out of tensors that rules took whole; of one stage, for each has its own."""
    if len({table.stage for table in fates.tables}) > 1 or not any_left_out(outputs):
        return
    claims = {table.source: table.claims for table in fates.tables}
    for leaf, used in Usage(outputs.nodes.values()).partly():
        claim = claims[leaf.source][leaf.key]
        if not (claim.untaken or claim.dropped):
            share = 1 - used / leaf.spec.nbytes
            text = f"{share:.1%} of {leaf.spec} is left out by what the rule does with it"
            yield Note("untaken", text, full_key(leaf.source, leaf.key), claim.rule)


def output_notes(outputs: Outputs, destination: SourceView | None) -> Iterator[Note]:
    """Tensors filled up by the destination, folds, and copies that no destination checks."""
    if destination is not None and not destination.has_values:
        for output in outputs.using(DESTINATION):
            yield Note("values", WITHOUT_VALUES, output.key, output.rule)
    notes: list[tuple[int, Note]] = []
    for kind in outputs.kinds:
        first = outputs.first(kind)
        for word, text in _making_notes(first.node):
            told = (Note(word, text, key, first.rule) for key in kind.keys)
            notes += zip(kind.numbers, told, strict=True)
        if isinstance(first.node, Leaf) and first.rule is None and destination is None:
            told = (Note("copied", "copied by no rule", key) for key in kind.keys)
            notes += zip(kind.numbers, told, strict=True)
    yield from (note for _, note in sorted(notes, key=operator.itemgetter(0)))


def _making_notes(node: Node) -> Iterator[tuple[str, str]]:
    """What is to be said of how a tensor is made, each kind with its text."""
    if isinstance(node, Assembly) and node.base is not None:
        yield "rest", "filled up with the destination's own value"
    for work in walk(node):
        if isinstance(work, Call) and work.op.arithmetic and not isinstance(work.op, Cast):
            word = text_of(work.op, work.rule).partition("(")[0]
            whole = all(spec.dtype in INTEGER_RANGES for spec in work.specs)
            yield "computed", f"`{word}` {WHOLE_TEXT if whole else COMPUTED_TEXT}"
        if isinstance(work, Call) and isinstance(work.op, Cast):
            given, made = _first_dtype(work), work.op.dtype
            if rounds(given, made):
                most = f"every whole number only up to {LARGEST_WHOLE[made]:,}"
                yield "rounded", f"{given} becomes {made}, which has {most}"
        if isinstance(work, Call) and isinstance(work.op, FoldKernel | FoldIdentity):
            yield "fold", FOLD_TEXT


def _first_dtype(cast: Call) -> str:
    """The dtype that a cast's numbers had before any cast, where they were moved alone since."""
    node = cast.inputs[0]
    while isinstance(node, Result) and (
        isinstance(node.call.op, Cast) or not node.call.op.arithmetic
    ):
        node = node.call.inputs[0]
    return node.spec.dtype


def tie_notes(ties: Mapping[str, str]) -> Iterator[Note]:
    for key, leader in ties.items():
        text = f"one tensor with `{leader}`: shared in .pt, written once per key in safetensors"
        yield Note("ties", text, key)
