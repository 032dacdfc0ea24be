"""The words of BatchNorms' rules: moved as one unit, folded into another layer, or frozen."""

from __future__ import annotations

import math

from ckptsurgeon.language.problems import wrong
from ckptsurgeon.language.reading import references, scalars
from ckptsurgeon.language.reading.fields import INTEGER, NUMBER, TEXT, TRUTH, Field, Read, Section
from ckptsurgeon.language.reading.rule_options import SHARED
from ckptsurgeon.language.rules import Number
from ckptsurgeon.language.yaml.nodes import Node

FORMS = ("buffers", "affine")


def arrow_text(node: Node) -> Read:
    """The two sides of `A -> B`, as `source` and `target`."""
    source, target = references.arrow(scalars.scalar(node, "an arrow `A -> B`"))
    return Read({"source": source, "target": target}, {})


def _eps(node: Node) -> Number:
    """A number of 0 or more, or an expression; a BatchNorm's eps is in no checkpoint."""
    value = scalars.number(node)
    if isinstance(value, int | float) and not 0 <= value < math.inf:
        raise wrong(node.place, f"`eps` must be a finite number of 0 or more, found {value}")
    return value


_EPS = Field(_eps, NUMBER, "The BatchNorm's eps (1e-5), which no checkpoint holds.")

FOLD = Section(
    "`fold_batchnorm`",
    {
        "conv": Field(
            references.source,
            TEXT,
            "The layer in front of the BatchNorm, convolution or linear, without the last dot; left"
            " out: a 1x1 identity kernel.",
        ),
        "batchnorm": Field(
            references.source, TEXT, "The BatchNorm, without the last dot.", "source"
        ),
        "to": Field(
            references.target, TEXT, "The layer that results; left out: that of `conv`.", "target"
        ),
        "eps": _EPS,
        "groups": Field(scalars.count, INTEGER, "Groups of the convolution (1)."),
        "transposed": Field(scalars.boolean, TRUTH, "Whether the convolution is a transposed one."),
        **SHARED,
    },
    ("batchnorm",),
)


FREEZE = Section(
    "`freeze_batchnorm`",
    {
        "from": Field(references.source, TEXT, "The BatchNorm, without the last dot.", "source"),
        "to": Field(
            references.target, TEXT, "The frozen form; left out: that of `from`.", "target"
        ),
        "as": Field(
            scalars.choice(FORMS),
            {"enum": list(FORMS)},
            "buffers (default): the four tensors without the counter; affine: weight and bias"
            " alone, which hold eps and the statistics.",
            "form",
        ),
        "eps": _EPS,
        **SHARED,
    },
    ("from",),
)
