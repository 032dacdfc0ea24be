"""What a plan leaves on both sides, and what it may mean: a fold that nobody asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.plans.account import Finding, FindingKind, Note
from ckptsurgeon.plans.fates import Fate, Fates
from ckptsurgeon.plans.graph import Address, Leaf, Node, operands_of
from ckptsurgeon.plans.outputs import Outputs, Status
from ckptsurgeon.plans.views import SourceView

LEFT = (Fate.DROPPED, Fate.UNUSED)
OWN = (Status.KEPT, Status.INITIALISED)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Keys of sources that go nowhere, by alias, and keys of the result that no source gives.

    Of the latter the destination's are missing, kept or initialised.
    """

    read: Mapping[str, Collection[str]]
    wanted: Collection[str]

    @classmethod
    def of(cls, fates: Fates, outputs: Outputs, findings: Iterable[Finding]) -> Leftovers:
        """Those of a plan's account."""
        left = fates.keys(lambda claim: claim.fate in LEFT)
        read = {table.source: dict.fromkeys(keys) for table, keys in left if table.stage == 0}
        missing = (one.key for one in findings if one.kind is FindingKind.MISSING)
        own = (kind.keys for kind in outputs.kinds if outputs.first(kind).status in OWN)
        return cls(read, dict.fromkeys(chain(missing, *own)))


def find_origin(node: Node | None) -> Address | None:
    """The first source key that a tensor is made from, None where it comes from none."""
    if isinstance(node, Leaf):  # as most are
        return None if node.source == DESTINATION else (node.source, node.key)
    operands = () if node is None else operands_of(node)
    return operands[0].at if operands else None


# --- folds ----------------------------------------------------------------------------------------


def fold_notes(
    left: Leftovers, outputs: Outputs, sources: Mapping[str, SourceView]
) -> Iterator[Note]:
    """BatchNorms that the output lacks while layers that come from the source get biases."""
    lost = sum(
        _is_lost(key, sources[alias], keys) for alias, keys in left.read.items() for key in keys
    )
    biases = [key for key in left.wanted if lost and _is_new_bias(key, outputs, sources)]
    norms = "1 BatchNorm" if lost == 1 else f"{lost:,} BatchNorms"
    appear = "a bias appears" if len(biases) == 1 else f"{len(biases):,} biases appear"
    text = (
        f"the source has {norms} that the output lacks, and {appear}: folded? see `fold_batchnorm`"
    )
    yield from (Note("unfolded", text, key, outputs.rules.get(key)) for key in biases)


def _is_lost(key: str, view: SourceView, left: Collection[str]) -> bool:
    """Whether a key that is left stands for a BatchNorm of which nothing goes on."""
    if not key.endswith("running_mean"):  # as of most
        return False
    unit = key.rpartition(".")[0]
    parts = (f"{unit}.{part}".lstrip(".") for part in ("weight", "bias", "running_var"))
    return all(key in left or key not in view.specs for key in parts)


def _is_new_bias(key: str, outputs: Outputs, sources: Mapping[str, SourceView]) -> bool:
    """Whether a key is the bias of a conv or linear whose weight the source has, and no bias."""
    layer, _, part = key.rpartition(".")
    node = outputs.nodes.get(f"{layer}.weight".lstrip(".")) if part == "bias" else None
    origin = find_origin(node)
    if node is None or origin is None or len(node.spec.shape) < 2:
        return False
    alias, weight = origin
    bias = f"{weight.rpartition('.')[0]}.bias".lstrip(".")
    return bias not in sources[alias].specs
