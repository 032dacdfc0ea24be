"""Words of a mapping as tables: how each is read and what an editor is told of it, in one row.

The reader and the JSON Schema are made from the same rows, so neither can know a word that the
other doesn't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Mapping as Table
from dataclasses import dataclass
from typing import Any

from ckptsurgeon.errors import Place
from ckptsurgeon.language.gathering import Gathering, shown, suggestion, wrong
from ckptsurgeon.language.reading.scalars import unlike
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar

Schema = Table[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One word: the reader of its value, the JSON Schema of its value, and a line about it."""

    read: Callable[[Node], Any]
    schema: Schema
    about: str


Fields = Table[str, Field]


@dataclass(frozen=True, slots=True)
class Read:
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
    gathering = Gathering()
    values: dict[str, Any] = {}
    for key, value in node.entries:
        if key.text not in fields:
            gathering.attempt(refuse_word, key, fields, inside)
        else:
            result = gathering.attempt(fields[key.text].read, value)
            if result is not None:
                values[key.text] = result
        if gathering.full:
            break
    for word in required:
        if word not in node.words:
            gathering.attempt(_refuse_lack, node, word, inside)
    gathering.finish()
    return Read(values, {key.text: key.place for key, _ in node.entries})


def refuse_word(key: Scalar, known: Iterable[str], inside: str) -> None:
    """Raises the error for a word that is not known there."""
    message = f"unknown word {shown(key.text)} in {inside}"
    raise wrong(key.place, message, suggestion(key.text, known))


def _refuse_lack(node: Mapping, word: str, inside: str) -> None:
    raise wrong(node.place, f"`{word}` is missing in {inside}", f"add `{word}: …`")
