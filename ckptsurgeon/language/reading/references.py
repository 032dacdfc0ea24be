"""References, arrows and prefixes: what a rule file says of keys, each part with its place."""

from __future__ import annotations

import itertools
import re
from functools import partial

from msgspec import structs

from ckptsurgeon.language.patterns import (
    Pattern,
    Reference,
    parse_prefix,
    parse_reference,
    split_arrow,
)
from ckptsurgeon.language.places import COMMAND_LINE, PYTHON_RULES
from ckptsurgeon.language.problems import MAX_SHOWN, both, shown, wrong
from ckptsurgeon.language.reading.arguments import ops
from ckptsurgeon.language.reading.arrow_guesses import find_arrow, listed_keys
from ckptsurgeon.language.reading.fields import Field, Section, as_it_is
from ckptsurgeon.language.reading.scalars import each, one_or_each, parsed, scalar
from ckptsurgeon.language.rules import At, Block, Prefix
from ckptsurgeon.language.yaml import traps
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence
from ckptsurgeon.ops import OPS


def sources(node: Node) -> tuple[At, ...]:
    """One reference or a list of them, which read keys."""
    return one_or_each(node, source, "references")


def targets(node: Node) -> tuple[At, ...]:
    """One reference or a list of them, which name keys."""
    return one_or_each(node, target, "references")


MAX_BLOCKS = 8
"""Most blocks in one another within `from`."""

BLOCK = Section(
    "a block within `from`",
    {
        "from": Field(as_it_is, {"$ref": "#/$defs/operands"}, "What its ops run on."),
        "ops": Field(ops, {"$ref": "#/$defs/ops"}, "What is done to it, in this order."),
    },
    ("from",),
)


def operands(node: Node, outer: Block | None = None, level: int = 0) -> tuple[At, ...]:
    """References of `from`, one or a list, and blocks of them, each with ops of its own."""
    if isinstance(node, Sequence):
        each_of = each(node, partial(_operand, outer=outer, level=level), "references")
        return tuple(itertools.chain(*each_of))
    return _operand(node, outer, level)


def _operand(node: Node, outer: Block | None, level: int) -> tuple[At, ...]:
    """A reference, or all those of a block."""
    if not isinstance(node, Mapping):
        found = source(node)
        return (found if outer is None else structs.replace(found, block=outer),)
    if level == MAX_BLOCKS:
        raise wrong(node.place, f"more than {MAX_BLOCKS} blocks in one another")
    _refuse_words(node)
    read = BLOCK.read(node)
    block = Block(read.get("ops", ()), node.entries[0][0].place, outer)
    return operands(read.get("from"), block, level + 1)


def _refuse_words(node: Mapping) -> None:
    """Raises RulesetError for words that stand in a rule, and in no block within its `from`."""
    for key, _ in node.entries:
        if key.text not in BLOCK.fields and key.text in RULE_ONLY:
            help = "the other words stand beside the rule's own `from`"
            message = f"a block within `from` takes `from` and `ops`, no `{key.text}`"
            raise wrong(key.place, message, help)


RULE_ONLY = ("to", "for", "where", "map", "pick", "optional", "count", "reuse", "fallback")


def names(node: Node) -> tuple[At, ...]:
    """One reference or a list of them, whose keys give names and no tensor."""
    return one_or_each(node, _name_giver, "references")


def _name_giver(node: Node) -> At:
    found = source(node)
    if found.index is not None:
        raise wrong(found.place, "`for` takes names, no slice", "leave the slice out")
    for capture in found.captures:
        if capture.separator is not None:
            help = "read names as they stand there: `<name:path>`"
            raise wrong(
                found.place, f"`{capture}` in `for`, which tells what names there are", help
            )
    return found


def source(node: Node) -> At:
    return _reference(node, is_target=False)


def target(node: Node) -> At:
    return _reference(node, is_target=True)


def _reference(node: Node, *, is_target: bool) -> At:
    found = scalar(node, "a reference such as `conv1.weight`")
    traps.refuse_long(found)
    traps.refuse_cut(found)
    before, *further = split_arrow(found.text)
    if further:
        raise wrong(
            found.at(len(before[0])),
            "an arrow where one reference is wanted",
            _tell_lone_arrow(found),
        )
    keys = listed_keys(found.text) if is_target and re.search(r"\s", found.text) else []
    if keys:
        raise wrong(found.place, f"{len(keys)} keys in one text", "write a list: `[…]`")
    return _side(found, found.text, 0, is_target=is_target)


def _side(node: Scalar, text: str, column: int, *, is_target: bool) -> At:
    lead = len(text) - len(text.lstrip())
    if re.fullmatch(r"""(['"]).*\1""", text.strip()):
        message = f"quotes in the text of a rule are part of a key: {shown(text.strip())}"
        raise wrong(node.at(column + lead), message, "quote the whole rule, or leave them out")
    found = parsed(node, partial(parse_reference, target=is_target), text, column)
    return At(*structs.astuple(found), place=node.at(column + lead))


def _tell_lone_arrow(node: Scalar) -> str:
    """The next step for an arrow where one reference is wanted, by the word before it."""
    before = node.place.text[: node.place.column - 1]
    word = re.search(r"\b(tie|drop|keep)['\"]?:([^:]*)$", before)
    if word is None:
        return "what stands left of it is `from`, what stands right of it is `to`"
    left, _, right = (part.strip() for part in node.text.partition("->"))
    if word[1] == "tie":
        return f"write `tie: [{left}, {right}]`"
    of = "" if word[1] == "drop" else " of the destination"
    alone = f": write `drop: {left}`" if not (of or "[" in word[2]) else ""
    return f"`{word[1]}` takes keys{of} and no target{alone}"


def _tell_no_arrow(text: str, file: str) -> str:
    """The next step for a text without an arrow where a rule is wanted."""
    if file == COMMAND_LINE and text.endswith("-"):
        return "write it in quotes, `-e 'OLD -> NEW'`: the shell takes a `>` for a file"
    if file == PYTHON_RULES and text.endswith((".yaml", ".yml")):
        return "rule files that run one after the other: `[load_ruleset(one) for one in files]`"
    if len(text) <= MAX_SHOWN and not re.search(r"[\s,;]|^s/", text):
        return f"write both sides, also where they are the same: `{text} -> {text}`"
    return "write both sides: `OLD -> NEW`"


def _sides(node: Scalar, wanted: str) -> list[tuple[str, int]]:
    """The two sides of `A -> B` with their columns; raises RulesetError for any other number."""
    traps.refuse_long(node)
    traps.refuse_cut(node, arrow_wanted=True)
    refuse_other_arrow(node, wanted)
    found = split_arrow(node.text)
    if len(found) == 1:
        message = f"no `->` in {shown(node.text)}; {wanted} is wanted"
        raise wrong(node.place, message, _tell_no_arrow(node.text.strip(), node.place.file))
    if len(found) > 2:
        joined = node.shift is None
        help = "begin each rule with `- ` in a line of its own" if joined else "write one rule each"
        raise wrong(node.at(found[1][1] + len(found[1][0])), "a second `->` in one rule", help)
    return found


def refuse_other_arrow(node: Scalar, wanted: str = "a rule `A -> B`") -> None:
    """Raises RulesetError for another language's arrow, where ours is not there or part of it."""
    found = find_arrow(node.text)
    if found is not None:
        message = f"{wanted} is written with `->`, not `{found.text}`"
        raise wrong(node.at(found.column), message, "write `->`")


def arrow(node: Scalar) -> tuple[At, At]:
    """Both sides of a rule `A -> B`; neither may be empty."""
    (left, left_at), (right, right_at) = _sides(node, "a rule `A -> B`")
    if not left.strip():
        raise wrong(node.place, "nothing stands left of `->`", "write the key that is read there")
    if not right.strip():
        place, key = node.at(right_at - 2), left.strip()
        help = "for keys to leave out write `drop: …`"
        if re.fullmatch(r"\S{1,200}\.\*\*", key):
            help = f"to take the prefix off write `{key} -> **`; {help}"
        raise wrong(place, "nothing stands right of `->`", help)
    traps.refuse_op_in_text(node, right, right_at)
    tight = re.search(r"(?<![\\:]):(\w+)$", right.rstrip())
    if tight is not None and tight[1] in OPS:
        message = f"`{tight[0]}` at the end of a key: an op stands behind `: `"
        raise wrong(node.at(right_at + tight.start()), message, "a colon in a key is `\\:`")
    _refuse_list(node, left, left_at)
    _refuse_list(node, right, right_at)
    return both(
        lambda: _side(node, left, left_at, is_target=False),
        lambda: _side(node, right, right_at, is_target=True),
    )


def _refuse_list(node: Scalar, side: str, column: int) -> None:
    """Raises RulesetError for `[A, B] -> C`, for `A -> [B, C]` and `A -> B, C`."""
    text = side.strip()
    in_brackets = text.startswith("[") and text.endswith("]")
    is_target = column > 0 and re.search(r"\s", text) is not None
    if in_brackets or (is_target and listed_keys(text)):
        at = node.at(column + len(side) - len(side.lstrip()))
        raise wrong(at, "a list of keys in an arrow", "write `{from: […], to: …}`")


def prefixes(node: Node) -> tuple[Prefix, ...]:
    """The `A -> B` of a `within`, or a list of them."""
    return one_or_each(node, _prefix, "prefixes")


def _prefix(node: Node) -> Prefix:
    found = scalar(node, "a prefix such as `layer<i>. -> stages.<i-1>.`")
    if re.search(r"\s", found.text):
        refuse_other_arrow(found, "a prefix `A -> B`")
    if len(split_arrow(found.text)) == 1:
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
