"""What stands in a rule file beside its rules: format, about, source, output, vars, unmatched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec.structs import replace

from ckptsurgeon.errors import Place
from ckptsurgeon.language.patterns import parse_alias
from ckptsurgeon.language.problems import Problems, shown, wrong
from ckptsurgeon.language.reading.fields import RULES, TEXT, Field, Schema, Section, as_it_is
from ckptsurgeon.language.reading.scalars import (
    boolean,
    choice,
    destination_or_dtype,
    each,
    one_or_each,
    parsed,
    scalar,
    table,
    text,
    unlike,
    word,
)
from ckptsurgeon.language.reading.variables import CONFIG, GIVEN, SHAPE
from ckptsurgeon.language.rules import Front, OutputOptions, SourceOptions
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence
from ckptsurgeon.specs import BITS

T = TypeVar("T")

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

LONGEST_FRONT = 400
"""Characters of a root or of a wrapper: the two together are read again."""

MOST_DICTS = 40
"""Dicts in one another that a root or a wrapper may name."""


def _by_alias(read: Callable[[Node], T]) -> Callable[[Node], dict[str, tuple[T, Place | None]]]:
    """A reader of one value for all outputs, or of a mapping by their aliases."""

    def read_all(node: Node) -> dict[str, tuple[T, Place | None]]:
        if not isinstance(node, Mapping):
            return {"": (read(node), None)}
        problems = Problems()
        found = problems.gather(lambda one: _of_alias(one, read), node.entries)
        problems.raise_if_any()
        return dict(found)

    return read_all


def _of_alias(
    entry: tuple[Scalar, Node], read: Callable[[Node], T]
) -> tuple[str, tuple[T, Place | None]]:
    key, value = entry
    if key.text:
        parsed(key, parse_alias)
    return key.text, (read(value), key.place)


def _root(node: Node) -> Front:
    """The root of an output; an empty one is the top."""
    if isinstance(node, Scalar) and node.null:
        raise unlike(node, "text", 'write `root: ""` for the top')
    front = Front(text(node), node.place)
    return _checked(front) if front.path else front


def _wrappers(node: Node) -> tuple[Front, ...]:
    """The wrappers of an output, each once."""
    fronts = one_or_each(node, _wrapper, "names of dicts")
    problems = Problems()
    for number, front in enumerate(fronts):
        if any(other.path == front.path for other in fronts[:number]):
            message = f"{shown(front.path)} stands twice in `wrappers`"
            problems.add(message, front.place, "leave one of them out")
    problems.raise_if_any()
    return fronts


def _wrapper(node: Node) -> Front:
    found = scalar(node, "text")
    if not found.text:
        help = "a wrapper is the front of keys, such as `ema`; other keys stay at the top anyway"
        raise wrong(found.place, "an empty text where a wrapper is wanted", help)
    return _checked(Front(found.text, found.place))


def _checked(front: Front) -> Front:
    """A front that names dicts; raises RulesetError for pieces that name none, and for too many."""
    pieces = front.path.split(".")
    if not all(piece.strip() for piece in pieces):
        message = f"{shown(front.path)} has an empty name; dots stand between the names of dicts"
        meant = ".".join(piece for piece in pieces if piece.strip())
        help = f"write `{meant}`" if meant else "a name such as `state_dict` is wanted"
        raise wrong(front.place, message, help)
    if len(pieces) > MOST_DICTS or len(front.path) > LONGEST_FRONT:
        message = (
            f"{shown(front.path)} names {len(pieces)} dicts in {len(front.path):,} characters; "
            f"at most {MOST_DICTS} in {LONGEST_FRONT:,} are written"
        )
        raise wrong(front.place, message, "name fewer")
    return front


def _of_outputs(schema: Schema) -> Schema:
    """The schema of a value for all outputs, or of a mapping by their aliases."""
    return {
        "anyOf": [schema, {"type": "object", "minProperties": 1, "additionalProperties": schema}]
    }


OUTPUT = Section(
    "`output`",
    {
        "dtype": Field(
            destination_or_dtype,
            {"enum": ["destination", *BITS]},
            "What every floating tensor is cast to that no rule cast.",
        ),
        "separator": Field(
            _by_alias(word),
            _of_outputs({"type": "string"}),
            "What stands between the pieces of its keys (.); a mapping sets it by output.",
            "separators",
        ),
        "root": Field(
            _by_alias(_root),
            _of_outputs(TEXT),
            'The dict of a .pt file that everything is put under; "" puts it at the top. A mapping '
            "sets it by output.",
            "roots",
        ),
        "wrappers": Field(
            _by_alias(_wrappers),
            _of_outputs(_TEXTS),
            "Fronts of keys that are dicts of a .pt file, as `[image_proj, ip_adapter]`. A mapping "
            "sets them by output.",
            "wrappers",
        ),
    },
)


def _output(node: Node) -> OutputOptions:
    read = OUTPUT.read(node)
    places = {
        alias: place
        for word in ("separators", "roots", "wrappers")
        for alias, (_, place) in read.get(word, {}).items()
        if place is not None and alias
    }

    def values(word: str) -> dict[str, Any]:
        return {alias: value for alias, (value, _) in read.get(word, {}).items()}

    return OutputOptions(
        read.get("dtype"), values("separators"), values("roots"), values("wrappers"), places
    )


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
        "vars": Field(as_it_is, _VARS_SCHEMA, "Names for numbers, words, sizes, lists and tables."),
        "rules": Field(as_it_is, {"anyOf": [RULES, {"type": "null"}]}, "The rules, in order."),
    },
)
"""The words at the top of a document."""
