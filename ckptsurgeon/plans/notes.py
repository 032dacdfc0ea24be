"""What a user should know of a plan that is no finding: how files were read, what was left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.torch.skeleton import dropped_entries
from ckptsurgeon.ops import OPS
from ckptsurgeon.plans.account import Note, Output, SourceFate, Status
from ckptsurgeon.plans.graph import Assembly, Leaf
from ckptsurgeon.plans.logs import remarkable
from ckptsurgeon.plans.views import SourceView, Unchanged

FOLD_KERNEL = "fold_batchnorm"
"""How the op is written that scales the weight of a layer by its BatchNorm."""

COMPUTING = frozenset(name for name, op in OPS.items() if op.arithmetic) - {"cast"} | {FOLD_KERNEL}
"""Ops whose results are computed; what a cast does is told by the dtypes."""

COMPUTED_TEXT = "computes: in float32 (F64 in float64), rounded once into the dtype"

FOLD_TEXT = "a BatchNorm is folded into it; names don't prove the order of layers: verify"


def source_notes(view: SourceView) -> Iterator[Note]:
    """How a source was opened, and what in it is no tensor."""
    name = view.alias or "source"
    contents = view.contents
    if contents.root:
        yield Note("wrapper", f"{name}: tensors are read from `{contents.root}`")
    unchanged = isinstance(view.names, Unchanged)
    renamed = 0 if unchanged else sum(key != raw for key, raw in view.names.items())
    if renamed:
        yield Note("strip", f"{name}: {renamed} of {len(view.names)} keys read by a shorter name")
    for note in contents.notes:
        yield Note("read", f"{name}: {note}")


def entry_notes(alias: str, checkpoint: Checkpoint, carried: bool) -> Iterator[Note]:
    """What a source holds besides tensors, where the output leaves it out.

    `carried` says that the output takes over what it can.
    """
    entries = dropped_entries(checkpoint) if carried else checkpoint.contents.opaque
    of = f" of {alias}" if alias else ""
    for entry in entries:
        yield Note("entry", f"{entry.kind}{of}, not written", entry.key)


def fate_notes(fates: Sequence[SourceFate]) -> Iterator[Note]:
    """Parts of source tensors that no slice took, and fallbacks that gave way."""
    for fate in remarkable(fates):
        if fate.untaken:
            text = f"{fate.untaken:.1%} of {fate.spec} is taken by no rule"
            yield Note("untaken", text, fate.key, fate.rule)
        if fate.reason.startswith("gave way"):
            yield Note("fallback", fate.reason, fate.key, fate.rule)


def output_notes(outputs: Mapping[str, Output], has_destination: bool) -> Iterator[Note]:
    """Tensors filled up by the destination, folds, and copies that no destination checks."""
    for key, output in outputs.items():
        if output.rule is not None and not output.ops and isinstance(output.node, Leaf):
            continue
        if isinstance(output.node, Assembly) and output.node.base is not None:
            yield Note("rest", "filled up with the destination's own value", key, output.rule)
        for op in output.ops:
            name = op.partition("(")[0]
            if name in COMPUTING:
                yield Note("computed", f"`{name}` {COMPUTED_TEXT}", key, output.rule)
        if any(op.startswith(f"{FOLD_KERNEL}(") for op in output.ops):
            yield Note("fold", FOLD_TEXT, key, output.rule)
        if output.status is Status.COPIED and not has_destination and output.rule is None:
            yield Note("copied", "copied by no rule", key)


def tie_notes(ties: Mapping[str, str]) -> Iterator[Note]:
    for key, leader in ties.items():
        text = f"one tensor with `{leader}`: shared in .pt, written once per key in safetensors"
        yield Note("ties", text, key)
