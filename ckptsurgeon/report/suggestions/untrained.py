"""Which tensors are surely no trained weights: those that a module makes itself, by their names.

Whatever isn't in these tables may be trained: running means are, and integers may be quantized.
No floating tensor is in one: what rotary embeddings are computed from may be scaled, or trained.
"""

from __future__ import annotations

from ckptsurgeon.report.suggestions.model import Specs
from ckptsurgeon.specs import TensorSpec

COUNTER = "num_batches_tracked"

INDEXES = frozenset({COUNTER, "position_ids", "relative_position_index", "token_type_ids"})
"""Last names of integers that count, or say which row is meant."""

MASKS = frozenset({"attention_mask", "attn_mask", "bias", "causal_mask", "mask", "tril"})
"""Last names of masks; GPT-2's is `attn.bias`."""


def is_untrained(key: str, spec: TensorSpec) -> bool:
    """Whether the key is a buffer that its module fills by itself."""
    name = key.rpartition(".")[2]
    return not spec.floating and (name in INDEXES or (name in MASKS and _is_mask(spec)))


def _is_mask(spec: TensorSpec) -> bool:
    """Whether the shape is `[1, …, n, n]`, of truth values."""
    *before, rows, columns = (0, 0, *spec.shape)
    return spec.dtype in ("BOOL", "U8") and rows == columns > 1 and set(before) <= {0, 1}


def lone_buffers(specs: Specs) -> Specs:
    """The untrained keys whose modules have no other key among these.

    A counter beside a BatchNorm that is open itself goes where that goes.
    """
    buffers = {key: spec for key, spec in specs.items() if is_untrained(key, spec)}
    modules = {key.rpartition(".")[0] for key in specs if key not in buffers}
    return {key: spec for key, spec in buffers.items() if key.rpartition(".")[0] not in modules}
