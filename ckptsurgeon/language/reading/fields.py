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
from ckptsurgeon.language.problems import Problems, shown, suggestion, wrong
from ckptsurgeon.language.reading.scalars import unlike
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar

Schema = Table[str, Any]


class Field(Struct, frozen=True):
    """One word: the reader of its value, the JSON Schema of its value, and a line about it.

    `name` is what the value is called once it is read, where that is not the word.
    """

    read: Callable[[Node], Any]
    schema: Schema
    about: str
    name: str = ""


Fields = Table[str, Field]

TEXT = {"$ref": "#/$defs/text"}
INTEGER = {"$ref": "#/$defs/integer"}
NUMBER = {"$ref": "#/$defs/number"}
DTYPE = {"$ref": "#/$defs/dtype"}
REFERENCES = {"$ref": "#/$defs/references"}
RULES = {"$ref": "#/$defs/rules"}
SIZES = {"type": "array", "items": INTEGER}
TRUTH = {"type": "boolean"}


def as_it_is(node: Node) -> Node:
    """The reader of a word whose value is read elsewhere."""
    return node


class Read(Struct, frozen=True):
    """The values of a mapping's words by their names, and the place of each word."""

    values: Table[str, Any]
    places: Table[str, Place]

    def get(self, word: str, default: Any = None) -> Any:
        return self.values.get(word, default)


NOTHING = Read({}, {})


class Section(Struct, frozen=True):
    """A mapping that takes these words and no others. `name` is what errors call it: `source`."""

    name: str
    fields: Fields
    required: tuple[str, ...] = ()

    def read(self, node: Node) -> Read:
        """The values of the words; raises RulesetError for all that is wrong in the mapping."""
        if not isinstance(node, Mapping):
            raise unlike(node, f"a mapping of {', '.join(self.fields)}", self._tell_required())
        problems = Problems(failed=not node.whole)
        values = dict(problems.gather(self._read_entry, node.entries))
        for word in self.required:
            if word not in node.words:
                message = f"`{word}` is missing in {self.name}"
                problems.add(message, node.place, f"add `{word}: …`")
        problems.raise_if_any()
        return Read(values, {key.text: key.place for key, _ in node.entries})

    def field(self, about: str) -> Field:
        """A word whose value is this mapping."""
        return Field(self.read, self.schema, about)

    def _tell_required(self) -> str:
        """The next step where something else stands in the place of the mapping."""
        if not self.required:
            return ""
        return f"write `{{{', '.join(f'{word}: …' for word in self.required)}}}`"

    def _read_entry(self, entry: tuple[Scalar, Node]) -> tuple[str, Any]:
        key, value = entry
        if key.text not in self.fields:
            raise unknown_word(key, self.fields, self.name)
        field = self.fields[key.text]
        return field.name or key.text, field.read(value)

    @property
    def schema(self) -> dict[str, object]:
        """The JSON Schema of the mapping."""
        properties = {
            word: {**field.schema, "description": field.about}
            for word, field in self.fields.items()
        }
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**schema, "required": list(self.required)} if self.required else schema


def unknown_word(key: Scalar, known: Iterable[str], inside: str) -> RulesetError:
    """The error for a word that is not known there."""
    message = f"unknown word {shown(key.text)} in {inside}"
    return wrong(key.place, message, suggestion(key.text, known))
