"""What of the values in a checkpoint wants a look: no finding, for training can do most of it.

Each remark says what stands in a tensor, not how it came there. `proof/values.py` asks some of the
same of a network's state, of which it knows what the parameters are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ckptsurgeon.measuring.measured import Measured, Measurements
from ckptsurgeon.specs import TensorSpec

MEAN, VARIANCE = STATISTICS = ("running_mean", "running_var")
"""The buffers of a BatchNorm that training measures."""

EPS = 1e-5
"""What torch's BatchNorm adds to a variance: of a smaller one the output says little."""

FRESH = "mean 0 and variance 1 in every channel, as in a new BatchNorm"

OUTLIER = 30.0
"""Standard deviations from the mean from which on a number is told as an outlier.

Of 456 tensors of four trained networks six have one, all of them known for it: what goes back into
the residual stream of a BERT, and its positions. The next one is at 24.
"""

Span = tuple[int, int]
"""The least and the most of some counts."""


class ValueKind(enum.Enum):
    """What can stand in a tensor; the words are those of `verify` where it tells the same."""

    NAN = "nan"
    INFINITE = "infinite"
    ZERO = "zero"  # zeros alone, in no bias
    CONSTANT = "constant"  # one other value, in two dims or more
    ZERO_CHANNELS = "zero channels"  # indices of dim 0 that hold zeros alone
    VARIANCE = "variance"  # a running variance below zero
    SMALL_VARIANCE = "small variance"  # one that is nearly zero
    ZERO_SCALE = "zero scale"  # a BatchNorm's weight
    FRESH = "fresh"  # BatchNorm statistics as a new layer has them


@dataclass(frozen=True, slots=True)
class ValueRemark:
    """Something that stands in a tensor: `found` of `total`, values or channels."""

    kind: ValueKind
    key: str
    found: int
    total: int

    @property
    def text(self) -> str:
        """`3 of 64 channels of dim 0 are zero`."""
        return tell_values(self.kind, (self.found, self.found), (self.total, self.total))


def tell_values(kind: ValueKind, found: Span, total: Span) -> str:
    """What stands in tensors of one kind of remark."""
    if kind is ValueKind.FRESH:
        return FRESH
    if kind in (ValueKind.ZERO, ValueKind.CONSTANT):
        return tell_all(total, _WHAT[kind])
    noun = "channel of dim 0" if kind is ValueKind.ZERO_CHANNELS else "value"
    return f"{tell_share(found, total, noun)} {_WHAT[kind]}"


_WHAT = {
    ValueKind.NAN: "NaN",
    ValueKind.INFINITE: "infinite",
    ValueKind.ZERO: "zero",
    ValueKind.CONSTANT: "equal",
    ValueKind.ZERO_CHANNELS: "zero",
    ValueKind.VARIANCE: "below zero",
    ValueKind.SMALL_VARIANCE: f"below {EPS:g}, BatchNorm's eps",
    ValueKind.ZERO_SCALE: "zero, of a BatchNorm's weight",
}


def tell_share(found: Span, total: Span, noun: str = "value") -> str:
    """`1 of 64 values is`, `2 to 5 of 64 to 512 values are`."""
    first, *rest = noun.split(" ", 1)
    nouns = " ".join((f"{first}s", *rest))
    return (
        f"{_tell_span(found)} of {_tell_span(total)} {nouns} {'is' if found == (1, 1) else 'are'}"
    )


def tell_all(total: Span, what: str) -> str:
    """`all 64 values are zero`."""
    return f"all {_tell_span(total)} values are {what}"


def _tell_span(span: Span) -> str:
    least, most = span
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def find_limits(specs: Mapping[str, TensorSpec]) -> dict[str, tuple[float, ...]]:
    """What is asked of tensors while they are read: of variances, how many are below 0, and EPS."""
    return {key: (0.0, EPS) for key in specs if _part_beside(key, VARIANCE, MEAN) in specs}


def find_remarks(specs: Mapping[str, TensorSpec], found: Measurements) -> Iterator[ValueRemark]:
    """What wants a look, by kind."""
    remarks = [
        remark
        for key, measured in found.tensors.items()
        for remark in (
            *_of_tensor(key, specs[key], measured),
            *_of_batchnorm(key, measured, found.tensors, specs),
        )
    ]
    kinds = list(ValueKind)
    yield from sorted(remarks, key=lambda remark: kinds.index(remark.kind))


def _of_tensor(key: str, spec: TensorSpec, measured: Measured) -> Iterator[ValueRemark]:
    """What can stand in any tensor."""
    told = measured.statistics
    if told.nans:
        yield ValueRemark(ValueKind.NAN, key, told.nans, told.count)
    if told.infinities:
        yield ValueRemark(ValueKind.INFINITE, key, told.infinities, told.count)
    if not (spec.floating or spec.dtype.startswith("C")) or told.count < 2:
        return
    if told.zeros == told.count:
        if not is_bias(key) and last_piece(key) not in STATISTICS:
            yield ValueRemark(ValueKind.ZERO, key, told.count, told.count)
    elif told.least == told.most and told.finite == told.count and len(spec.shape) > 1:
        yield ValueRemark(ValueKind.CONSTANT, key, told.count, told.count)
    elif measured.zero_channels and spec.count > spec.shape[0]:  # of one number each, any may be
        yield ValueRemark(ValueKind.ZERO_CHANNELS, key, measured.zero_channels, spec.shape[0])


def _of_batchnorm(
    key: str, measured: Measured, tensors: Mapping[str, Measured], specs: Mapping[str, TensorSpec]
) -> Iterator[ValueRemark]:
    """What can stand in a BatchNorm, which is told by its running_mean beside."""
    told = measured.statistics
    is_variance = measured.below and last_piece(key) == VARIANCE
    negative, small = measured.below if is_variance else (0, 0)
    beside = _part_beside(key, MEAN, VARIANCE)
    if beside is not None and beside in tensors and _is_new(measured, tensors[beside]):
        yield ValueRemark(ValueKind.FRESH, key, told.count, told.count)
    elif negative:
        yield ValueRemark(ValueKind.VARIANCE, key, negative, told.count)
    elif small:
        yield ValueRemark(ValueKind.SMALL_VARIANCE, key, small, told.count)
    elif 0 < told.zeros < told.count and _part_beside(key, "weight", VARIANCE) in specs:
        yield ValueRemark(ValueKind.ZERO_SCALE, key, told.zeros, told.count)


def _is_new(mean: Measured, variance: Measured) -> bool:
    means, variances = mean.statistics, variance.statistics
    is_one = variances.least == variances.most == 1 and variances.finite == variances.count
    return means.count > 1 and means.zeros == means.count and is_one


def _part_beside(key: str, name: str, other: str) -> str | None:
    """The key of another part of the same module, for a key with this last piece."""
    prefix, dot, last = key.rpartition(".")
    return f"{prefix}{dot}{other}" if last == name else None


def is_bias(key: str) -> bool:
    """Whether a tensor is one that may be all zero, as biases begin."""
    return "bias" in last_piece(key)


def last_piece(key: str) -> str:
    """What a tensor is called in its module."""
    return key.rpartition(".")[2]
