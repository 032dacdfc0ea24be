"""The rules of BatchNorms: moved as one unit, folded into another layer, or frozen."""

from __future__ import annotations

import math

from ckptsurgeon.errors import Place
from ckptsurgeon.language.problems import wrong
from ckptsurgeon.language.reading import references, scalars
from ckptsurgeon.language.reading.fields import (
    INTEGER,
    NUMBER,
    TEXT,
    TRUTH,
    Field,
    Fields,
    Read,
    read_fields,
)
from ckptsurgeon.language.reading.rule_options import SHARED, both_options, options
from ckptsurgeon.language.rules import At, BatchNorm, FoldBatchNorm, FreezeBatchNorm, Number
from ckptsurgeon.language.yaml.nodes import Node

FORMS = ("buffers", "affine")


def arrow_text(node: Node) -> tuple[At, At]:
    """The two sides of `A -> B`."""
    return references.arrow(scalars.scalar(node, "an arrow `A -> B`"))


def batchnorm(read: Read, place: Place, vars: frozenset[str]) -> BatchNorm:
    source, target = read.get("batchnorm")
    return BatchNorm(source, target, options(read), place)


def _eps(node: Node) -> Number:
    """A number of 0 or more, or an expression; a BatchNorm's eps is in no checkpoint."""
    value = scalars.number(node)
    if isinstance(value, int | float) and not 0 <= value < math.inf:
        raise wrong(node.place, f"`eps` must be a finite number of 0 or more, found {value}")
    return value


_EPS = Field(_eps, NUMBER, "The BatchNorm's eps (1e-5), which no checkpoint holds.")

FOLD: Fields = {
    "conv": Field(
        references.source,
        TEXT,
        "The layer in front of the BatchNorm, convolution or linear, without the last dot; left"
        " out: a 1x1 identity kernel.",
    ),
    "batchnorm": Field(references.source, TEXT, "The BatchNorm, without the last dot."),
    "to": Field(references.target, TEXT, "The layer that results; left out: that of `conv`."),
    "eps": _EPS,
    "groups": Field(scalars.count, INTEGER, "Groups of the convolution (1)."),
    "transposed": Field(scalars.boolean, TRUTH, "Whether the convolution is a transposed one."),
    **SHARED,
}


def fold_words(node: Node) -> Read:
    return read_fields(node, FOLD, "`fold_batchnorm`", ("batchnorm",))


def fold(read: Read, place: Place, vars: frozenset[str]) -> FoldBatchNorm:
    inner: Read = read.get("fold_batchnorm")
    conv, target = inner.get("conv"), inner.get("to")
    if conv is None and target is None:
        help = "without `conv` the layer that results has no name: add `to: KEY`"
        raise wrong(place, "`to` is missing in `fold_batchnorm`", help)
    return FoldBatchNorm(
        conv,
        inner.get("batchnorm"),
        target or conv,
        inner.get("eps", 1e-5),
        inner.get("groups", 1),
        inner.get("transposed", False),
        both_options(read, inner),
        place,
    )


FREEZE: Fields = {
    "from": Field(references.source, TEXT, "The BatchNorm, without the last dot."),
    "to": Field(references.target, TEXT, "The frozen form; left out: that of `from`."),
    "as": Field(
        scalars.choice(FORMS),
        {"enum": list(FORMS)},
        "buffers (default): the four tensors without the counter; affine: weight and bias alone,"
        " which hold eps and the statistics.",
    ),
    "eps": _EPS,
    **SHARED,
}


def freeze_words(node: Node) -> Read:
    return read_fields(node, FREEZE, "`freeze_batchnorm`", ("from",))


def freeze(read: Read, place: Place, vars: frozenset[str]) -> FreezeBatchNorm:
    inner: Read = read.get("freeze_batchnorm")
    source = inner.get("from")
    return FreezeBatchNorm(
        source,
        inner.get("to", source),
        inner.get("as", "buffers"),
        inner.get("eps", 1e-5),
        both_options(read, inner),
        place,
    )
