"""Rules as people write them at first: with the words of other tools, or words in other places."""

from __future__ import annotations

import re
from collections.abc import Sequence as List

from ckptsurgeon.errors import nearest
from ckptsurgeon.language.problems import MAX_SHOWN, shown, wrong
from ckptsurgeon.language.reading import arrow_guesses
from ckptsurgeon.language.reading.rule_kinds import BEHIND, RULE_WORDS
from ckptsurgeon.language.synonyms import find_meant, find_word
from ckptsurgeon.language.yaml import traps
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence, is_null, written
from ckptsurgeon.language.yaml.quoting import MAX_QUOTED
from ckptsurgeon.ops import OPS


def tell_arrows(node: Node) -> str:
    """The next step where rules are a mapping of old names to new ones."""
    if not isinstance(node, Mapping) or any(key.text in RULE_WORDS for key, _ in node.entries):
        return ""
    renames = [arrow for key, value in node.entries if (arrow := name_arrow(key, value))]
    return f"write each as an item of a list: `- {renames[0]}`" if renames else ""


def name_arrow(old: Node, new: Node) -> str:
    """The arrow of an old name and a new one; empty where they are none."""
    names = [one.text for one in (old, new) if isinstance(one, Scalar) and not one.null]
    plain = all(len(one) <= MAX_SHOWN and not re.search(r"\s|->", one) for one in names)
    return f"{names[0]} -> {names[1]}" if len(names) == 2 and plain else ""


def refuse_missing_colon(node: Scalar) -> None:
    """Raises RulesetError for `drop fc.*`, for `rename a -> b`, and Python's text `drop: fc.*`."""
    first, space, rest = node.text.partition(" ")
    word, rest = first.removesuffix(":"), rest.strip()
    meant = word if word in RULE_WORDS else find_word(word, RULE_WORDS)
    if word in RULE_WORDS and not rest:
        raise wrong(node.place, f"nothing stands behind {shown(word)}", f"write `{word}: …`")
    if not (space and rest) or rest.startswith("->") or not (meant or find_meant(word, RULE_WORDS)):
        return
    message = f"{shown(word)} without its `: `" if meant == word else f"unknown word {shown(word)}"
    if word != first:  # Python's, where a text is an arrow
        message = f"{shown(node.text)} is no arrow; other rules are dicts in Python"
    in_python = node.place.file == traps.PYTHON_RULES
    line = f"{{{meant!r}: {rest!r}}}" if in_python else f"{meant}: {rest}"
    arrow = arrow_guesses.arrow_of(rest) if meant in ("", "from") else ""
    help = f"write `{arrow or line}`" if meant or arrow else find_meant(word, RULE_WORDS)
    raise wrong(node.place, message, help)


def refuse_option_as_op(value: Scalar) -> None:
    """Raises RulesetError for `A -> B: where i < 2`, and for `A -> B: optional`."""
    found = re.fullmatch(r"\{?(\w+)(?:\s*[:= ]\s*(.+?))?\}?", value.text[:MAX_QUOTED])
    name = found[1] if found else ""
    word = name if name in BEHIND.fields else find_word(name, BEHIND.fields)
    if found and word and not find_word(name, OPS):
        given = found[2] or ("…" if word in ("where", "count", "map", "pick", "ops") else "true")
        message = f"{shown(value.text)} is no op"
        raise wrong(value.place, message, f"write `{{{word}: {given}}}`")


def refuse_op_as_word(node: Mapping) -> None:
    """Raises RulesetError for an op beside `from`, where `ops` holds them."""
    for key, value in node.entries:
        if key.text in OPS:
            message = f"`{key.text}` is an op, and no word of a rule"
            raise wrong(key.place, message, f"write `ops: {op_as_written(key, value)}`")


def op_as_written(name: Scalar, value: Node) -> str:
    """An op with what it is given, as `ops` has it."""
    if is_null(value) or (isinstance(value, Scalar) and value.truth is True):
        return name.text
    given = written(value)
    return f"{{{name.text}: {given if len(given) <= MAX_QUOTED else '…'}}}"


def tell_renamed(node: Mapping) -> str:
    """The next step for `rename: a -> b`, `rename: {a: b}` and `old: a` with `new: b`."""
    (key, value), *others = node.entries
    if isinstance(value, Scalar) and not others and find_meant(key.text, ()):
        arrow = arrow_guesses.arrow_of(value.text) if len(value.text) <= MAX_SHOWN else ""
        return arrow and f"to rename write `{arrow}`"
    sides: List[Node] = ()
    if isinstance(value, Mapping) and len(node.entries) == 1:
        sides = value.entries[0] if value.entries else ()
    elif isinstance(value, Sequence) and not others and find_meant(key.text, ()):
        sides = value.items
    elif len(others) == 1 and not (others[0][0].text in BEHIND.fields or "." in key.text):
        sides = (value, others[0][1])
    other = nearest(key.text, RULE_WORDS) or find_word(key.text, RULE_WORDS) not in ("", "from")
    arrow = name_arrow(*sides) if len(sides) == 2 and not other else ""
    return arrow and f"to rename write `{arrow}`"
