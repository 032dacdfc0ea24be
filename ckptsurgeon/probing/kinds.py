"""What each tensor of a probe holds: random numbers that suit its name, or what the source has."""

from __future__ import annotations

import enum
import re

from ckptsurgeon.ops.ranges import INTEGER_RANGES
from ckptsurgeon.probing.looking import Looker
from ckptsurgeon.specs import BITS, TensorSpec


class Kind(enum.Enum):
    """How the values of a tensor come about."""

    SMALL = "small"  # around zero, as weights and biases are
    NEAR_ONE = "near one"  # weights of norms, and scales
    POSITIVE = "positive"  # variances
    BITS = "bits"  # any pattern of bits: quantized weights, items under a byte
    COUNTER = "counters"  # small, and different from each other
    INDEX = "indexes"  # 0, 1, 2, …: of a source that has no values
    FLAGS = "flags"  # false or true: of a source that has no values
    KEPT_INTEGERS = "integers"
    KEPT_BOOLS = "bools"
    KEPT_TABLE = "tables"


KEPT = frozenset({Kind.KEPT_INTEGERS, Kind.KEPT_BOOLS, Kind.KEPT_TABLE})
"""Kinds whose values are the source's own."""

MADE_UP = frozenset({Kind.COUNTER, Kind.INDEX, Kind.FLAGS})
"""Kinds of integers that take their values from no source, and look like some."""

NORM_WEIGHTS = frozenset({"weight", "gamma", "scale", "g", "w"})
"""Names that are of norms where a tensor has one dim."""

SCALES = re.compile(r"(.+_)?(scales?|scale_inv|gamma|weight_g|absmax|scb)")
"""Names of what others are multiplied by, of any shape."""

VARIANCES = re.compile(r"(.+_)?(vars?|variances?|std|sigma)")

PACKED = re.compile(r"(.+_)?(weight|weights|qweight|qzeros|packed|blocks|scales)")
"""Names of integers that are weights: quantized, and packed in words."""

COUNTERS = re.compile(r"num_batches_tracked|(.+_)?(steps?|count|counter|updates|iterations?|epoch)")
"""Names of integers that count."""

INDEXES = re.compile(r"(.+_)?(index|indexes|indices|ids?|idx|mask)")
"""Names of integers that others are looked up by, of any width."""

TABLES = re.compile(
    r"anchors|anchor_grid|strides?|inv_freq|freqs(_cis|_cos|_sin)?|(cos|sin)_cached"
    r"|relative_coords_table|quant_map|window"
)
"""Names of floating tables that are computed, not trained."""

MASKS = re.compile(r"(.+_)?mask")
"""Names of floating masks: zero, and what is added where nothing is to be seen."""

BYTE = 8


def last_name(key: str) -> str:
    """The last piece of a key, in small letters; Flax parts them by slashes."""
    return re.split(r"[./]", key)[-1].lower()


def choose_kind(key: str, spec: TensorSpec, look: Looker | None) -> Kind:
    """What a probe holds under a key; `look` is None where the source has no values."""
    if spec.carrier is None:
        return Kind.BITS
    if spec.dtype == "BOOL":
        return Kind.FLAGS if look is None else Kind.KEPT_BOOLS
    if spec.dtype in INTEGER_RANGES:
        return _integer_kind(key, spec, look)
    return _number_kind(key, spec, look)


def _integer_kind(key: str, spec: TensorSpec, look: Looker | None) -> Kind:
    name = last_name(key)
    if PACKED.fullmatch(name):
        return Kind.BITS
    if spec.count == 1 and (COUNTERS.fullmatch(name) or look is None):
        return Kind.COUNTER
    if _may_be_quantized(name, spec) and (look is None or not look.is_mask(key)):
        return Kind.BITS
    return Kind.INDEX if look is None else Kind.KEPT_INTEGERS


def _may_be_quantized(name: str, spec: TensorSpec) -> bool:
    """Whether bytes may be weights: a matrix, not called what is looked up by."""
    is_matrix = sum(size > 1 for size in spec.shape) > 1
    return BITS[spec.dtype] == BYTE and is_matrix and not INDEXES.fullmatch(name)


def _number_kind(key: str, spec: TensorSpec, look: Looker | None) -> Kind:
    name = last_name(key)
    if look is not None and _is_table(key, name, look):
        return Kind.KEPT_TABLE
    if VARIANCES.fullmatch(name):
        return Kind.POSITIVE
    if SCALES.fullmatch(name) or (name in NORM_WEIGHTS and len(spec.shape) == 1):
        return Kind.NEAR_ONE
    return Kind.SMALL


def _is_table(key: str, name: str, look: Looker) -> bool:
    """Whether floating numbers are computed, not trained: by their name and values, or sorted."""
    if TABLES.fullmatch(name):
        return look.is_finite(key)
    return (bool(MASKS.fullmatch(name)) and look.is_mask(key)) or look.is_sorted(key)
