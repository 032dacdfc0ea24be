"""References, arrows and prefixes: what a rule file says of keys, each part with its place."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from msgspec.structs import astuple

from ckptsurgeon.errors import PatternError, RulesetError
from ckptsurgeon.language.patterns import (
    Pattern,
    Reference,
    parse_prefix,
    parse_reference,
    split_arrow,
)
from ckptsurgeon.language.problems import MAX_SHOWN, both, shown, wrong
from ckptsurgeon.language.reading.arrow_guesses import (
    listed_keys,
    refuse_list,
    refuse_other_arrow,
    refuse_word_beside,
    tell_lone_arrow,
    tell_op_between,
)
from ckptsurgeon.language.reading.notations import other_notations
from ckptsurgeon.language.reading.scalars import one_or_each, parsed, scalar
from ckptsurgeon.language.rules import At, Prefix
from ckptsurgeon.language.yaml import traps
from ckptsurgeon.language.yaml.nodes import Node, Scalar


def sources(node: Node) -> tuple[At, ...]:
    """One reference or a list of them, which read keys."""
    return one_or_each(node, source, "references")


def targets(node: Node) -> tuple[At, ...]:
    """One reference or a list of them, which name keys."""
    return one_or_each(node, target, "references")


def source(node: Node) -> At:
    return _reference(node, is_target=False)


def target(node: Node) -> At:
    return _reference(node, is_target=True)


def _reference(node: Node, *, is_target: bool) -> At:
    found = scalar(node, "a reference such as `conv1.weight`")
    traps.refuse_long(found)
    traps.refuse_cut(found)
    if "->" in found.text:
        raise wrong(
            found.at(found.text.index("->")),
            "an arrow where one reference is wanted",
            tell_lone_arrow(found),
        )
    keys = listed_keys(found.text) if is_target and re.search(r"\s", found.text) else []
    if keys:
        raise wrong(found.place, f"{len(keys)} keys in one text", f"write `[{', '.join(keys)}]`")
    return _side(found, found.text, 0, is_target=is_target)


def _side(node: Scalar, text: str, column: int, *, is_target: bool) -> At:
    lead = len(text) - len(text.lstrip())
    try:
        found = parsed(node, partial(parse_reference, target=is_target), text, column)
    except RulesetError as error:
        meant = "" if is_target else next((left for left, _ in other_notations(text, "")), "")
        if meant == text or not _is_arrow(meant, "x"):
            raise
        raise RulesetError((replace(error.problems[0], help=f"write `{meant}`"),)) from None
    return At(*astuple(found), place=node.at(column + lead))


def _sides(node: Scalar, wanted: str) -> list[tuple[str, int]]:
    """The two sides of `A -> B` with their columns; raises RulesetError for any other number."""
    traps.refuse_long(node)
    traps.refuse_cut(node, arrow_wanted=True)
    refuse_other_arrow(node, wanted)
    found = split_arrow(node.text)
    if len(found) == 1:
        message = f"no `->` in {shown(node.text)}; {wanted} is wanted"
        key = node.text.strip()
        help = f"write both sides, also where they are the same: `{key} -> {key}`"
        is_key = len(key) <= MAX_SHOWN and not re.search(r"[\s,;]|^s/", key)
        raise wrong(node.place, message, help if is_key else "write both sides: `OLD -> NEW`")
    if len(found) > 2:
        joined = node.shift is None
        help = "begin each rule with `- ` in a line of its own" if joined else "write one rule each"
        help = tell_op_between([side for side, _ in found]) or help
        raise wrong(node.at(found[1][1] + len(found[1][0])), "a second `->` in one rule", help)
    return found


def arrow(node: Scalar) -> tuple[At, At]:
    """Both sides of a rule `A -> B`; neither may be empty."""
    (left, left_at), (right, right_at) = _sides(node, "a rule `A -> B`")
    if not left.strip():
        raise wrong(node.place, "nothing stands left of `->`", "write the key that is read there")
    if not right.strip():
        place = node.at(right_at - 2)
        raise wrong(place, "nothing stands right of `->`", "for keys to leave out write `drop: …`")
    traps.refuse_op_in_text(node, right, right_at)
    refuse_word_beside(node, left, right, right_at)
    refuse_list(node, left, right, left_at)
    refuse_list(node, right, left, right_at)
    try:
        return both(
            lambda: _side(node, left, left_at, is_target=False),
            lambda: _side(node, right, right_at, is_target=True),
        )
    except RulesetError as error:
        for source, target in other_notations(left.strip(), right.strip()):
            if _is_arrow(source, target):
                help = f"write `{source} -> {target}`"
                raise RulesetError((replace(error.problems[0], help=help),)) from None
        raise


def _is_arrow(source: str, target: str) -> bool:
    """Whether both sides can be read."""
    try:
        parse_reference(source)
        parse_reference(target, target=True)
    except PatternError:
        return False
    return True


def prefixes(node: Node) -> tuple[Prefix, ...]:
    """The `A -> B` of a `within`, or a list of them."""
    return one_or_each(node, _prefix, "prefixes")


def _prefix(node: Node) -> Prefix:
    found = scalar(node, "a prefix such as `layer<i>. -> stages.<i-1>.`")
    if "->" not in found.text:
        return Prefix(parsed(found, parse_prefix), None, found.place)
    (left, left_at), (right, right_at) = _sides(found, "a prefix `A -> B`")
    first, second = both(
        lambda: parsed(found, _source_prefix, left, left_at),
        lambda: parsed(found, partial(parse_prefix, target=True), right, right_at),
    )
    return Prefix(first, second, found.place)


def _source_prefix(text: str) -> Reference:
    """An empty left side of an arrow adds a prefix to whatever the rules read."""
    return parse_prefix(text) if text.strip() else Reference(Pattern(()))
