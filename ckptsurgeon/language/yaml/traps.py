"""YAML's own traps in what its parser can read: each told with what to write instead.

A rule is a plain line with `*`, `[`, `:` and `#` in it, which all mean something to YAML. What its
parser can't read at all is in `snags.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ckptsurgeon.errors import Place, Problem, RulesetError
from ckptsurgeon.language.places import PYTHON_RULES
from ckptsurgeon.language.problems import shown, wrong
from ckptsurgeon.language.yaml.nodes import Node, Scalar
from ckptsurgeon.language.yaml.quoting import (
    quote_this,
    quoted,
    quoted_anew,
    value_begins,
    value_from,
    without_brackets,
    without_comment,
)

MAX_RULE = 10_000
"""Characters of the longest rule: two references of the longest, and what stands between them."""

_COMMENT = re.compile(r"\s+#")


def alias(place: Place) -> Problem:
    """`- **.bias -> x`: a text that starts with `*`."""
    text = value_from(place.text, place.column - 1)
    return Problem("a text that starts with `*` is an alias to YAML", place, quote_this(text))


def anchor(place: Place) -> Problem:
    return Problem(
        "a text that starts with `&` is an anchor to YAML; rule files have none",
        place,
        quote_this(value_from(place.text, place.column - 1)),
    )


def tag(place: Place) -> Problem:
    return Problem(
        "a text that starts with `!` is a tag to YAML; rule files have none",
        place,
        "write the value without its tag, or quote it",
    )


def merge_key(place: Place) -> Problem:
    return Problem(
        "`<<` is a merge key to YAML; rule files have none", place, "write the words out"
    )


def directive(place: Place) -> Problem:
    return Problem(
        "a line that starts with `%` is a directive to YAML; rule files have none",
        replace(place, column=1),
        "remove it; a text that starts with `%` wants quotes",
    )


def complex_key(place: Place) -> Problem:
    return Problem("a list or a mapping where a word is wanted", place, "a key is one line of text")


def escape(place: Place, char: str) -> Problem:
    """`"layers\\new"`: an escape that YAML knows, and that nobody meant."""
    return Problem(
        f"a backslash in double quotes makes the character U+{ord(char):04X}",
        place,
        f"use single quotes: {quoted_anew(place)}",
    )


def colon_in_slice(place: Place) -> Problem:
    """`w[: , :3] -> x`, where `: ` ends a key of YAML's."""
    begins = value_begins(place.text)
    text = without_comment(place.text[begins:])
    closes = text.find("]", max(0, place.column - 1 - begins)) + 1
    rule = text[:closes] + re.split(r":\s", text[closes:], maxsplit=1)[0]
    return Problem(
        "`: ` inside of a slice makes a mapping of the rule",
        place,
        f"{quote_this(rule)}, or leave the space out",
    )


def tuple_in_mapping(children: Sequence[Node]) -> Problem | None:
    """`{reshape: (2, 10)}`: YAML ends the value at the comma, and begins a key there.

    `children` are the keys and the values of a mapping, in turns.
    """
    texts = [one.text if isinstance(one, Scalar) and one.plain else "" for one in children]
    for at in range(1, len(texts) - 1, 2):
        if "(" in texts[at] and ")" not in texts[at]:
            items = [texts[at], *texts[at + 1 :: 2]]
            ends = next((number for number, item in enumerate(items) if ")" in item), 0)
            if ends and not texts[at].startswith("("):
                message = "round brackets, which YAML cuts at their comma"
                whole = ", ".join(items[: ends + 1])
                return Problem(message, children[at].place, quote_this(whole))
            inner = ", ".join(item.strip("() ") for item in items[: ends + 1] if item.strip("() "))
            message = "a list in round brackets, which YAML cuts at its comma"
            return Problem(message, children[at].place, f"write `{texts[at - 1]}: [{inner}]`")
    return None


def refuse_long(node: Scalar) -> None:
    """Raises RulesetError for a text that is longer than any rule, before a trap looks at it."""
    if len(node.text) > MAX_RULE:
        message = f"a rule of {len(node.text)} characters; at most {MAX_RULE}"
        raise wrong(node.place, message)


def refuse_cut(node: Scalar, *, arrow_wanted: bool = False) -> None:
    """Raises RulesetError for a rule that ` #` cut short: `w[0, #1] -> x`."""
    ends = node.place.column - 1 + len(node.text)
    if not node.plain or node.shift is None or not _COMMENT.match(node.place.text, ends):
        return
    rest = node.place.text[ends:]
    text = node.text.replace("->", "")
    open_bracket = text.count("[") > text.count("]") or text.count("<") > text.count(">")
    no_arrow = arrow_wanted and "->" not in node.text and "->" in rest
    if open_bracket or no_arrow or node.text.endswith("->"):
        raise wrong(
            node.at(len(node.text) + rest.index("#")),
            "` #` starts a comment, and cuts this short",
            quote_this(node.text + rest),
        )


def refuse_op_in_text(node: Scalar, target: str, column: int) -> None:
    """Raises RulesetError for `"A -> B: transpose"`, where the quotes hold the op as well."""
    found = re.search(r"(?<!\\):\s", without_brackets(target))
    if found is not None:
        arrow, op = node.text[: column + found.start()], target[found.end() :]
        in_python = node.place.file == PYTHON_RULES
        raise wrong(
            node.at(column + found.start()),
            "`: ` inside of the text of a rule",
            f"write {{{arrow.strip()!r}: {op.strip()!r}}}"
            if in_python
            else f"the quotes end before it: {quoted(arrow)}: {op}",
        )


def refuse_colon_in_slice(key: Scalar) -> None:
    """Raises RulesetError for a key that ends inside of a slice: `w[: :2] -> x`."""
    opened = key.text.rfind("[")
    if key.plain and opened >= 0 and "]" not in key.text[opened:]:
        raise RulesetError((colon_in_slice(key.at(opened)),))


def refuse_colon_in_rule(key: Scalar, value: Node) -> None:
    """Raises RulesetError for an arrow behind `: `, such as `a: b -> c`, where `a` is no word."""
    if key.plain and isinstance(value, Scalar) and value.plain and "->" in value.text:
        whole = f"{key.text}: {value.text}"
        message = f"unknown word {shown(key.text)}, made by the `: ` behind it"
        raise wrong(key.place, message, f"if it belongs to a key, {quote_this(whole)}")
