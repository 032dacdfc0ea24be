"""Words of a mapping as tables: how each is read and what an editor is told of it, in one row.

The reader and the JSON Schema are made from the same rows, so neither can know a word that the
other doesn't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Mapping as Table
from typing import Any

from msgspec import Struct

from ckptsurgeon.errors import Place, RulesetError
from ckptsurgeon.language.problems import Problems, shown, suggestion, told, wrong
from ckptsurgeon.language.reading.scalars import unlike
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar

Schema = Table[str, Any]


class Field(Struct, frozen=True):
    """One word: the reader of its value, the JSON Schema of its value, and a line about it."""

    read: Callable[[Node], Any]
    schema: Schema
    about: str


Fields = Table[str, Field]

TEXT = {"$ref": "#/$defs/text"}
INTEGER = {"$ref": "#/$defs/integer"}
NUMBER = {"$ref": "#/$defs/number"}
DTYPE = {"$ref": "#/$defs/dtype"}
REFERENCES = {"$ref": "#/$defs/references"}
RULES = {"$ref": "#/$defs/rules"}
SIZES = {"type": "array", "items": INTEGER}
TRUTH = {"type": "boolean"}


def section_schema(fields: Fields, required: tuple[str, ...] = ()) -> dict[str, object]:
    """The JSON Schema of a mapping that takes these words and no others."""
    properties = {
        word: {**field.schema, "description": field.about} for word, field in fields.items()
    }
    schema: dict[str, object] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "required": list(required)} if required else schema


def as_it_is(node: Node) -> Node:
    """The reader of a word whose value is read elsewhere."""
    return node


class Read(Struct, frozen=True):
    """The values of a mapping's words, and the place of each word."""

    values: Table[str, Any]
    places: Table[str, Place]

    def get(self, word: str, default: Any = None) -> Any:
        return self.values.get(word, default)


def read_fields(node: Node, fields: Fields, inside: str, required: Iterable[str] = ()) -> Read:
    """The values of a mapping that may hold these words only.

    Raises RulesetError for all that is wrong in it. `inside` names it: "in `source`".
    """
    if not isinstance(node, Mapping):
        raise unlike(node, f"a mapping of {', '.join(fields)}")
    problems = Problems()
    values: dict[str, Any] = {}
    with problems.at():
        if not node.whole:
            raise told()
    for key, value in node.entries:
        with problems.at():
            if key.text not in fields:
                raise unknown_word(key, fields, inside)
            values[key.text] = fields[key.text].read(value)
        if problems.full:
            break
    for word in required:
        if word not in node.words:
            problems.add(f"`{word}` is missing in {inside}", node.place, f"add `{word}: …`")
    problems.raise_if_any()
    return Read(values, {key.text: key.place for key, _ in node.entries})


def unknown_word(key: Scalar, known: Iterable[str], inside: str) -> RulesetError:
    """The error for a word that is not known there."""
    message = f"unknown word {shown(key.text)} in {inside}"
    return wrong(key.place, message, suggestion(key.text, known))
