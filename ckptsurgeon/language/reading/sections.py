"""What stands in a rule file beside its rules: format, about, source, output, vars, unmatched."""

from __future__ import annotations

from msgspec.structs import replace

from ckptsurgeon.language.reading.fields import RULES, TEXT, Field, Section, as_it_is
from ckptsurgeon.language.reading.scalars import (
    boolean,
    choice,
    destination_or_dtype,
    each,
    one_or_each,
    table,
    text,
    word,
)
from ckptsurgeon.language.reading.variables import CONFIG, GIVEN, SHAPE
from ckptsurgeon.language.rules import OutputOptions, SourceOptions
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Sequence
from ckptsurgeon.specs import BITS

FORMAT = 1
UNMATCHED = ("copy", "drop", "error")

_TEXTS = {"anyOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}]}


# --- source ---------------------------------------------------------------------------------------


def _roots(node: Node) -> dict[str, str]:
    """The root by alias of a source; "" stands for all that are not named."""
    if isinstance(node, Mapping):
        return table(node, text, "a mapping of aliases to roots")
    return {"": text(node)}


def _words(node: Node) -> tuple[str, ...]:
    return one_or_each(node, word, "texts")


ANYWHERE = Section(
    "`strip`",
    {"anywhere": Field(_words, _TEXTS, "Whole pieces to take out, inside of keys.")},
    ("anywhere",),
)


def _strip(node: Node) -> SourceOptions:
    """A text, a list, or `{anywhere: …}`, which may also stand in the list."""
    if not isinstance(node, Sequence):
        return _strip_item(node)
    items = each(node, _strip_item, "texts")
    return SourceOptions(
        strip=tuple(text for item in items for text in item.strip),
        strip_anywhere=tuple(text for item in items for text in item.strip_anywhere),
    )


def _strip_item(node: Node) -> SourceOptions:
    if isinstance(node, Mapping):
        return SourceOptions(strip_anywhere=ANYWHERE.read(node).get("anywhere"))
    return SourceOptions(strip=(word(node),))


_STRIP_SCHEMA = {
    "anyOf": [
        TEXT,
        ANYWHERE.schema,
        {"type": "array", "minItems": 1, "items": {"anyOf": [TEXT, ANYWHERE.schema]}},
    ]
}
_SEPARATOR = Field(word, {"type": "string"}, "What stands between the pieces of its keys (.).")

SOURCE = Section(
    "`source`",
    {
        "root": Field(
            _roots,
            {"anyOf": [TEXT, {"type": "object", "additionalProperties": TEXT}]},
            'Where in a nested checkpoint; "" is all of it, a mapping sets it by alias.',
        ),
        "strip": Field(
            _strip, _STRIP_SCHEMA, "Taken off the front of each key that has it, repeatedly."
        ),
        "separator": _SEPARATOR,
        "one_shard": Field(
            boolean, {"type": "boolean"}, "One shard of a set is meant, without the others."
        ),
    },
)


def _source(node: Node) -> SourceOptions:
    read = SOURCE.read(node)
    stripped: SourceOptions = read.get("strip", SourceOptions())
    return replace(
        stripped,
        roots=read.get("root", {}),
        separator=read.get("separator", "."),
        one_shard=read.get("one_shard", False),
    )


# --- output ---------------------------------------------------------------------------------------

OUTPUT = Section(
    "`output`",
    {
        "dtype": Field(
            destination_or_dtype,
            {"enum": ["destination", *BITS]},
            "What every floating tensor is cast to that no rule cast.",
        ),
        "separator": _SEPARATOR,
    },
)


def _output(node: Node) -> OutputOptions:
    return OutputOptions(**OUTPUT.read(node).values)


# --- the whole ------------------------------------------------------------------------------------

_LOOKED_UP = [{"required": [word]} for word in ("shape", "config")]
_VARS_SCHEMA = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            SHAPE.schema,
            CONFIG.schema,
            {**GIVEN, "not": {"type": "object", "anyOf": _LOOKED_UP}},
        ]
    },
}


STAGE = Section(
    "a rule file",
    {
        "format": Field(as_it_is, {"const": FORMAT}, "The version of the rule language."),
        "about": Field(text, TEXT, "What the rules turn into what, in one line."),
        "source": Field(_source, SOURCE.schema, "How the source's keys are read."),
        "output": Field(_output, OUTPUT.schema, "How the output is written."),
        "unmatched": Field(
            choice(UNMATCHED), {"enum": list(UNMATCHED)}, "What becomes of keys that no rule takes."
        ),
        "vars": Field(as_it_is, _VARS_SCHEMA, "Names for numbers, words, lists and sizes."),
        "rules": Field(as_it_is, {"anyOf": [RULES, {"type": "null"}]}, "The rules, in order."),
    },
)
"""The words at the top of a document."""
