"""The JSON Schema of rule files, made from the tables that the reader itself goes by."""

from __future__ import annotations

from collections.abc import Mapping as Table
from typing import Any

import msgspec

from ckptsurgeon.language.reading.arguments import parameter_types
from ckptsurgeon.language.reading.references import BLOCK
from ckptsurgeon.language.reading.rule_kinds import BEHIND, INCLUDE, KINDS, WITHIN
from ckptsurgeon.language.reading.sections import STAGE
from ckptsurgeon.language.reading.variables import GIVEN
from ckptsurgeon.ops import OPS, Arity, Op
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.specs import BITS

Schema = dict[str, Any]


_OPERAND = {"anyOf": [{"$ref": "#/$defs/text"}, BLOCK.schema]}
"""A reference of `from`, or a block."""


def json_schema() -> Schema:
    """The schema (draft 2020-12) of one document of a rule file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ckptsurgeon rule file",
        **STAGE.schema,
        "required": ["format"],
        "$defs": _definitions(),
    }


def _definitions() -> Schema:
    text = {"$ref": "#/$defs/text"}
    expression = {"type": "string", "description": "An expression."}
    return {
        # A text is taken as written, so what looks like a number is one to editors alone.
        "text": {"type": ["string", "number", "boolean"]},
        "references": {"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]},
        "operands": {"anyOf": [_OPERAND, {"type": "array", "items": _OPERAND, "minItems": 1}]},
        "integer": {"anyOf": [{"type": "integer"}, expression]},
        "number": {"anyOf": [{"type": "number"}, expression]},
        "dtype": {"enum": list(BITS)},
        "given": {
            "anyOf": [
                {"type": ["number", "boolean", "string"]},
                {"type": "array", "items": GIVEN},
                {"type": "object", "additionalProperties": GIVEN},
            ]
        },
        "rules": {"type": "array", "items": {"$ref": "#/$defs/rule"}},
        "rule": {"anyOf": [_arrow(), _arrow_with_value(), *_rules_by_word()]},
        "behind": BEHIND.schema,
        "ops": {
            "anyOf": [
                {"$ref": "#/$defs/op"},
                {"type": "array", "items": {"$ref": "#/$defs/op"}, "minItems": 1},
            ]
        },
        "op": _op(),
        **{f"op_{name}": _parameters(cls) for name, cls in OPS.items()},
    }


# --- rules ----------------------------------------------------------------------------------------


def _arrow() -> Schema:
    return {"type": "string", "pattern": "->", "description": "`A -> B`"}


def _arrow_with_value() -> Schema:
    """`A -> B: transpose`, with whatever may stand behind the colon."""
    value = {"anyOf": [{"$ref": "#/$defs/ops"}, {"$ref": "#/$defs/behind"}]}
    return _one_word({"patternProperties": {"->": value}})


def _rules_by_word() -> list[Schema]:
    return [WITHIN.schema, INCLUDE.schema, *(kind.section.schema for kind in KINDS.values())]


# --- ops ------------------------------------------------------------------------------------------


def _op() -> Schema:
    """An op's name, or a mapping of it to its parameters."""
    alone = [name for name, cls in OPS.items() if not _required(cls)]
    properties = {name: {"$ref": f"#/$defs/op_{name}"} for name in OPS}
    return {"anyOf": [{"enum": alone}, _one_word({"properties": properties})]}


def _one_word(words: Schema) -> Schema:
    """A mapping that has one of these words alone."""
    return {
        "type": "object",
        **words,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _required(cls: type[Op]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(cls) if field.required]


def _parameters(cls: type[Op]) -> Schema:
    """The parameters by name; the first may stand alone if the others can be left out."""
    properties = {name: _parameter(cls, name, kind) for name, kind in parameter_types(cls).items()}
    if cls.arity is not Arity.EACH:
        about = "The capture that it closes or opens."
        properties["over"] = {"type": "string", "description": about}
    further = {"$ref": "#/$defs/integer"} if cls.further else False
    required = _required(cls)
    by_name: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": further,
        **({"required": required} if required else {}),
    }
    first = cls.first
    variants = [by_name]
    if first is not None and set(required) <= {first}:
        variants.append(properties[first])
    return {"anyOf": variants, "description": _first_line(cls)}


def _first_line(cls: type[Op]) -> str:
    return (cls.__doc__ or cls.name).strip().partition("\n")[0]


def _parameter(cls: type[Op], name: str, kind: Any) -> Schema:
    if kind == Index:
        return {"type": ["string", "integer"], "description": "A slice, such as `:, :3`."}
    if name == "dtype":
        return {"$ref": "#/$defs/dtype"}
    return _written(msgspec.json.schema(kind))


def _written(schema: Table[str, Any]) -> Schema:
    """The schema of a value as written: what is a number may be an expression, null is not."""
    if "anyOf" in schema:
        variants = [part for part in schema["anyOf"] if part.get("type") != "null"]
        written = [_written(part) for part in variants]
        return written[0] if len(written) == 1 else {"anyOf": written}
    if schema.get("type") in ("integer", "number"):
        return {"$ref": f"#/$defs/{schema['type']}"}
    if schema.get("type") == "array":
        return {"anyOf": [_written_list(schema), {"type": "string"}]}
    return dict(schema)


def _written_list(schema: Table[str, Any]) -> Schema:
    """A list of written values. What is of each item may be said for all, or item by item."""
    items = {
        word: [_written(part) for part in value] if isinstance(value, list) else _written(value)
        for word, value in schema.items()
        if word in ("items", "prefixItems") and value is not False
    }
    return {**schema, **items}
