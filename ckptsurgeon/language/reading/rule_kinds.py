"""The kinds of rules by the word that names them: the words that each takes, and what it makes."""

from __future__ import annotations

from collections.abc import Mapping as Table

import msgspec
from msgspec import Struct

from ckptsurgeon.errors import Place, nearest
from ckptsurgeon.language.expressions import Expression
from ckptsurgeon.language.problems import shown, wrong
from ckptsurgeon.language.reading import batchnorm_rules, references, scalars
from ckptsurgeon.language.reading.arguments import ops
from ckptsurgeon.language.reading.fields import (
    DTYPE,
    INTEGER,
    NOTHING,
    NUMBER,
    REFERENCES,
    RULES,
    SIZES,
    TEXT,
    Field,
    Fields,
    Read,
    Section,
    as_it_is,
)
from ckptsurgeon.language.reading.rule_options import MOVING, SHARED, options
from ckptsurgeon.language.reading.tables import listing
from ckptsurgeon.language.rules import (
    FILLS,
    BatchNorm,
    Drop,
    FoldBatchNorm,
    FreezeBatchNorm,
    Init,
    Keep,
    Move,
    Number,
    PlainRule,
    Require,
    Tie,
)
from ckptsurgeon.language.rules import Table as NameTable
from ckptsurgeon.language.yaml.nodes import Node


class Kind(Struct, frozen=True):
    """A kind of rule by its word: the words that it takes, and the rule whose fields they are.

    Where `to` is left out it is what the field `result_of` is.
    """

    word: str
    rule: type[PlainRule]
    fields: Fields
    result_of: str = ""
    shared: Fields = msgspec.field(default_factory=lambda: SHARED)

    @property
    def section(self) -> Section:
        return Section(f"a rule `{self.word}`", {**self.fields, **self.shared}, (self.word,))

    def make(self, outer: Read, place: Place) -> PlainRule:
        """The rule that the words say, some of which may stand in a mapping behind its word."""
        inner = next((value for value in outer.values.values() if isinstance(value, Read)), NOTHING)
        values = {**outer.values, **inner.values}
        if self.result_of and values.setdefault("target", values.get(self.result_of)) is None:
            help = f"without `{self.result_of}` the layer that results has no name: add `to: KEY`"
            raise wrong(place, f"`to` is missing in `{self.word}`", help)
        given = {name: values[name] for name in self.rule.__struct_fields__ if name in values}
        return self.rule(**given, options=options(outer, inner), place=place)


# --- arrows and blocks ----------------------------------------------------------------------------

_FOR = Field(
    references.names,
    REFERENCES,
    "Keys that give captures and no tensor, a step for each value; `dst::` asks the destination.",
    "names",
)

BEHIND = Section(
    "the words of an arrow",
    {
        "for": _FOR,
        "ops": Field(ops, {"$ref": "#/$defs/ops"}, "What is done to the tensors, in this order."),
        **MOVING,
    },
)
"""What may stand behind an arrow, and beside `from` and `to`."""

_FROM = Field(
    references.operands,
    {"$ref": "#/$defs/operands"},
    "The source keys that the rule takes; a block with `from` and `ops` stands for what it gives.",
    "sources",
)
_TO = Field(
    references.targets,
    REFERENCES,
    "The output keys that it gives; left out: the pattern of `from`, with mapped captures.",
    "targets",
)

# --- init and require, whose words stand in a mapping of their own --------------------------------


_FILL_WANTED = f"one of {', '.join(FILLS)}, or a number,"


def _fill(node: Node) -> str | Number:
    found = scalars.scalar(node, _FILL_WANTED)
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


INIT = Section(
    "`init`",
    {
        "to": Field(
            references.targets,
            REFERENCES,
            "The keys, or slices of them, that are given new values.",
            "targets",
        ),
        "for": _FOR,
        "fill": Field(
            _fill,
            {"anyOf": [{"enum": list(FILLS)}, NUMBER]},
            "What the tensor is filled with: a word, a number, or an expression, as `i + 1`.",
        ),
        "std": Field(_std, NUMBER, "Deviation of `normal` (0.02)."),
        "seed": Field(_seed, INTEGER, "Seed of `normal`, per key (0)."),
        "shape": Field(
            scalars.sizes,
            SIZES,
            "Its shape, if no destination has it; sizes may ask that of `for`, as `shape[1]`.",
        ),
        "dtype": Field(
            scalars.dtype, DTYPE, "Its dtype, if there is no destination to take it from."
        ),
        **SHARED,
    },
    ("to", "fill"),
)


def refuse_strange_fill(rule: Init, vars: frozenset[str]) -> None:
    """Raises RulesetError for a fill that is no value, or that other words don't go with.

    A name that stands alone is one of FILLS or a var; `std` and `seed` are those of `normal`.
    """
    fill, places = rule.fill, rule.options.places
    for word in ("std", "seed"):
        if word in places and fill != "normal":
            text = f"`{word}` goes with `fill: normal`, found `fill: {fill}`"
            raise wrong(places[word], text, "leave it out, or write `fill: normal`")
    if not isinstance(fill, Expression) or fill.names != {fill.text}:
        return
    captured = {capture.name for at in rule.targets for capture in at.captures}
    if fill.text not in vars | captured:
        message = f"unknown word {shown(fill.text)}; {_FILL_WANTED} is wanted"
        help = nearest(fill.text, FILLS) or "`fill: normal` takes `std` and `seed`"
        raise wrong(places["fill"], message, help)


REQUIRE = Section(
    "`require`",
    {
        "key": Field(references.source, TEXT, "The source key, or a pattern.", "source"),
        "shape": Field(scalars.sizes, SIZES, "The shape that it must have."),
        "dtype": Field(scalars.dtype, DTYPE, "The dtype that it must have."),
        **SHARED,
        "count": Field(scalars.count, SHARED["count"].schema, "How many keys must match."),
    },
    ("key",),
)

_KEY_OR_NULL = {"anyOf": [TEXT, {"type": "null"}]}

# --- all kinds ------------------------------------------------------------------------------------

WITHIN = Section(
    "a rule `within`",
    {
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
    },
    ("within", "rules"),
)

INCLUDE = Section(
    "a rule `include`",
    {
        "include": Field(
            as_it_is,
            REFERENCES,
            "Rulesets whose rules stand here as they are: shipped ones, or ./file.yaml.",
        )
    },
    ("include",),
)

_TABLE = Field(
    listing,
    {
        "anyOf": [
            {"type": "object", "minProperties": 1, "additionalProperties": _KEY_OR_NULL},
            {
                "type": "string",
                "description": "names.json or names.csv in the rule file's folder, or a var.",
            },
        ]
    },
    "Keys by name, old to new; null drops one. Inline, a JSON or CSV file, or a var.",
    "entries",
)
_DROP = Field(references.sources, REFERENCES, "Source keys to leave out.", "sources")
_KEEP = Field(
    references.targets, REFERENCES, "Keys that keep the destination's own value.", "targets"
)
_TIE = Field(references.targets, REFERENCES, "Keys that share one tensor.", "targets")
_FOLD = batchnorm_rules.FOLD.field("A BatchNorm worked into the layer before it.")
_FREEZE = batchnorm_rules.FREEZE.field("A BatchNorm as constants, for frozen forms.")
_BATCHNORM = Field(
    batchnorm_rules.arrow_text,
    {"type": "string", "pattern": "->"},
    "A BatchNorm's five tensors as one unit, `A -> B`, without the last dot.",
)

_KINDS = (
    Kind("from", Move, {"from": _FROM, "to": _TO, **BEHIND.fields}),
    Kind(
        "table",
        NameTable,
        {"table": _TABLE},
        shared={word: MOVING[word] for word in ("optional", "reuse")},
    ),
    Kind("drop", Drop, {"drop": _DROP}),
    Kind("keep", Keep, {"keep": _KEEP}),
    Kind("init", Init, {"init": INIT.field("Keys that get new values.")}),
    Kind("batchnorm", BatchNorm, {"batchnorm": _BATCHNORM}),
    Kind("fold_batchnorm", FoldBatchNorm, {"fold_batchnorm": _FOLD}, "conv"),
    Kind("freeze_batchnorm", FreezeBatchNorm, {"freeze_batchnorm": _FREEZE}, "source"),
    Kind("tie", Tie, {"tie": _TIE}),
    Kind("require", Require, {"require": REQUIRE.field("What the source must hold.")}),
)

KINDS: Table[str, Kind] = {kind.word: kind for kind in _KINDS}
"""Every kind of rule by its word, but for plain arrows, `within` and `include`."""

RULE_WORDS = ("from", "within", "include", *(word for word in KINDS if word != "from"))
"""The words that make a mapping a rule."""
