"""Scales of quantized weights, as names tell them: what the values are multiplied by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.plans.leftovers import Leftovers
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import TensorSpec

SCALES = ("_scale_inv", "_scale", "_scales")
"""What stands behind a weight's own name in that of its scale."""

IN_MODULE = ("scale", "scales", "scale_inv", "scale_weight")
"""What a weight's scale is called beside it."""

INTEGERS = ("I8", "U8", "I32", "U32")
"""Dtypes of values that are packed, or go with a scale."""

QUANTIZED = (*INTEGERS, "F8", "F6", "F4")
"""How the dtypes of values begin that a scale may go with."""


def is_quantized(spec: TensorSpec) -> bool:
    """Whether a dtype is one that a scale may go with."""
    return spec.dtype.startswith(QUANTIZED)


def scale_of(key: str, specs: Mapping[str, object]) -> str:
    """The scale of a weight, by its name; empty where there is none."""
    module, _, leaf = key.rpartition(".")
    names = [f"{key}{end}" for end in SCALES]
    names += [f"{module}.{name}" for name in IN_MODULE if module and leaf == "weight"]
    return next((name for name in names if name in specs), "")


def weight_of(key: str, specs: Mapping[str, object]) -> str:
    """The weight that a tensor is the scale of, by its name; empty where it is none."""
    own = next((key.removesuffix(end) for end in SCALES if key.endswith(end)), "")
    module, _, leaf = key.rpartition(".")
    own = f"{module}.weight" if leaf in IN_MODULE else own
    return own if own in specs else ""


def scale_notes(left: Leftovers, sources: Mapping[str, SourceView]) -> Iterator[Note]:
    """Quantized weights that go on, and whose scales are left."""
    for alias, keys in left.read.items():
        specs = sources[alias].specs
        pairs = ((key, weight_of(key, specs)) for key in keys)
        bare = [
            (key, weight)
            for key, weight in pairs
            if weight and weight not in keys and is_quantized(specs[weight])
        ]
        if bare:
            key, weight = (full_key(alias, one) for one in bare[0])
            more = f"; {len(bare) - 1:,} more likewise" if len(bare) > 1 else ""
            text = f"`{weight}` goes on without what it is multiplied by, `{key}`{more}"
            yield Note("scale", text)
