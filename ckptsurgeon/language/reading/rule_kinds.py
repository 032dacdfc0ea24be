"""The kinds of rules by the word that names them: the words that each takes, and what it makes."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Table

from msgspec import Struct

from ckptsurgeon.errors import Place, nearest
from ckptsurgeon.language.expressions import Expression
from ckptsurgeon.language.problems import shown, wrong
from ckptsurgeon.language.reading import batchnorm_rules, references, scalars
from ckptsurgeon.language.reading.arguments import ops
from ckptsurgeon.language.reading.fields import (
    DTYPE,
    INTEGER,
    NUMBER,
    REFERENCES,
    RULES,
    SIZES,
    TEXT,
    Field,
    Fields,
    Read,
    as_it_is,
    read_fields,
    section_schema,
)
from ckptsurgeon.language.reading.rule_options import MOVING, SHARED, both_options, options
from ckptsurgeon.language.rules import At, Drop, Init, Keep, Move, Number, Require, Rule, Tie
from ckptsurgeon.language.yaml.nodes import Node

FILLS = ("zeros", "ones", "eye", "normal")

Make = Callable[[Read, Place, frozenset[str]], Rule]


class Kind(Struct, frozen=True):
    """The words that a kind of rule takes, and the rule made of their values.

    `make` is given the values, the rule's place, and the names of the vars.
    """

    fields: Fields
    make: Make


# --- arrows and blocks ----------------------------------------------------------------------------

BEHIND: Fields = {
    "ops": Field(ops, {"$ref": "#/$defs/ops"}, "What is done to the tensors, in this order."),
    **MOVING,
}
"""What may stand behind an arrow, and beside `from` and `to`."""

BLOCK: Fields = {
    "from": Field(references.sources, REFERENCES, "The source keys that the rule takes."),
    "to": Field(
        references.targets,
        REFERENCES,
        "The output keys that it gives; left out: the pattern of `from`, with mapped captures.",
    ),
    **BEHIND,
}


def _block(read: Read, place: Place, vars: frozenset[str]) -> Move:
    given = options(read)
    return Move(read.get("from"), read.get("to", ()), read.get("ops", ()), given, place)


# --- init and require, whose words stand in a mapping of their own --------------------------------


def _fill(node: Node) -> str | Number:
    found = scalars.scalar(node, f"one of {', '.join(FILLS)}, or a number,")
    return found.text if found.text in FILLS else scalars.number(node)


def _std(node: Node) -> Number:
    value = scalars.number(node)
    if isinstance(value, int | float) and value < 0:
        raise wrong(node.place, f"`std` takes a number from 0, found {value}")
    return value


def _seed(node: Node) -> int | Expression:
    value = scalars.integer(node)
    if isinstance(value, int) and value < 0:
        raise wrong(node.place, f"`seed` takes an integer from 0, found {value}")
    return value


INIT: Fields = {
    "to": Field(references.targets, REFERENCES, "The keys that are given new values."),
    "fill": Field(
        _fill,
        {"anyOf": [{"enum": list(FILLS)}, NUMBER]},
        "What the tensor is filled with: a word, a number or an expression.",
    ),
    "std": Field(_std, NUMBER, "Deviation of `normal` (0.02)."),
    "seed": Field(_seed, INTEGER, "Seed of `normal`, per key (0)."),
    "shape": Field(scalars.sizes, SIZES, "Its shape, if there is no destination to take it from."),
    "dtype": Field(scalars.dtype, DTYPE, "Its dtype, if there is no destination to take it from."),
    **SHARED,
}


def _init_words(node: Node) -> Read:
    return read_fields(node, INIT, "`init`", ("to", "fill"))


def _init(read: Read, place: Place, vars: frozenset[str]) -> Init:
    inner: Read = read.get("init")
    targets, fill = inner.get("to"), inner.get("fill")
    _refuse_misspelt_fill(fill, targets, vars, inner.places["fill"])
    return Init(
        targets,
        fill,
        inner.get("std", 0.02),
        inner.get("seed", 0),
        inner.get("shape"),
        inner.get("dtype"),
        both_options(read, inner),
        place,
    )


def _refuse_misspelt_fill(
    fill: str | Number, targets: tuple[At, ...], vars: frozenset[str], place: Place
) -> None:
    if not isinstance(fill, Expression) or fill.names != {fill.text}:
        return
    captured = {capture.name for at in targets for capture in at.reference.pattern.captures}
    if nearest(fill.text, FILLS) and fill.text not in vars | captured:
        message = (
            f"unknown word {shown(fill.text)}; one of {', '.join(FILLS)}, or a number, is wanted"
        )
        raise wrong(place, message, nearest(fill.text, FILLS))


REQUIRE: Fields = {
    "key": Field(references.source, TEXT, "The source key, or a pattern."),
    "shape": Field(scalars.sizes, SIZES, "The shape that it must have."),
    "dtype": Field(scalars.dtype, DTYPE, "The dtype that it must have."),
    **SHARED,
    "count": Field(scalars.count, SHARED["count"].schema, "How many keys must match."),
}


def _require_words(node: Node) -> Read:
    return read_fields(node, REQUIRE, "`require`", ("key",))


def _require(read: Read, place: Place, vars: frozenset[str]) -> Require:
    inner: Read = read.get("require")
    given = both_options(read, inner)
    return Require(inner.get("key"), inner.get("shape"), inner.get("dtype"), given, place)


# --- the other kinds ------------------------------------------------------------------------------


def _drop(read: Read, place: Place, vars: frozenset[str]) -> Drop:
    return Drop(read.get("drop"), options(read), place)


def _keep(read: Read, place: Place, vars: frozenset[str]) -> Keep:
    return Keep(read.get("keep"), options(read), place)


def _tie(read: Read, place: Place, vars: frozenset[str]) -> Tie:
    return Tie(read.get("tie"), options(read), place)


def _beside(word: str, field: Field) -> Fields:
    """The word of a rule, and those that may stand beside it."""
    return {word: field, **SHARED}


WITHIN: Fields = {
    "within": Field(
        references.prefixes,
        REFERENCES,
        "A prefix `A -> B`: A before what reads the source, B before what names output keys;"
        " A alone is both, a list repeats the rules.",
    ),
    "rules": Field(
        as_it_is,
        {"anyOf": [RULES, {"type": "string"}]},
        "The rules under the prefix: a list, a shipped ruleset, or ./file.yaml.",
    ),
}

_DROP = Field(references.sources, REFERENCES, "Source keys to leave out.")
_KEEP = Field(references.targets, REFERENCES, "Keys that keep the destination's own value.")
_INIT = Field(_init_words, section_schema(INIT, ("to", "fill")), "Keys that get new values.")
_BATCHNORM = Field(
    batchnorm_rules.arrow_text,
    {"type": "string", "pattern": "->"},
    "A BatchNorm's five tensors as one unit, `A -> B`, without the last dot.",
)
_FOLD = Field(
    batchnorm_rules.fold_words,
    section_schema(batchnorm_rules.FOLD, ("batchnorm",)),
    "A BatchNorm worked into the layer before it.",
)
_FREEZE = Field(
    batchnorm_rules.freeze_words,
    section_schema(batchnorm_rules.FREEZE, ("from",)),
    "A BatchNorm as constants, for frozen forms.",
)
_TIE = Field(references.targets, REFERENCES, "Keys that share one tensor.")
_REQUIRE = Field(_require_words, section_schema(REQUIRE, ("key",)), "What the source must hold.")

KINDS: Table[str, Kind] = {
    "from": Kind(BLOCK, _block),
    "drop": Kind(_beside("drop", _DROP), _drop),
    "keep": Kind(_beside("keep", _KEEP), _keep),
    "init": Kind(_beside("init", _INIT), _init),
    "batchnorm": Kind(_beside("batchnorm", _BATCHNORM), batchnorm_rules.batchnorm),
    "fold_batchnorm": Kind(_beside("fold_batchnorm", _FOLD), batchnorm_rules.fold),
    "freeze_batchnorm": Kind(_beside("freeze_batchnorm", _FREEZE), batchnorm_rules.freeze),
    "tie": Kind(_beside("tie", _TIE), _tie),
    "require": Kind(_beside("require", _REQUIRE), _require),
}
"""Every kind of rule by its word, except for plain arrows, and `within`, which holds rules."""

RULE_WORDS = ("from", "within", *(word for word in KINDS if word != "from"))
"""The words that make a mapping a rule."""
