"""Rules out of nodes: what a line or a mapping of a rule file says, told apart by its words."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Table
from dataclasses import replace as replace_help

from msgspec import Struct
from msgspec.structs import replace

from ckptsurgeon.errors import RulesetError, nearest
from ckptsurgeon.language.patterns import Pattern, Reference
from ckptsurgeon.language.places import PYTHON_RULES
from ckptsurgeon.language.problems import Problems, both, shown, told, wrong
from ckptsurgeon.language.reading import arguments, references, rule_guesses
from ckptsurgeon.language.reading.fields import Read, unknown_word
from ckptsurgeon.language.reading.op_guesses import find_op
from ckptsurgeon.language.reading.rule_kinds import (
    BEHIND,
    INCLUDE,
    KINDS,
    RULE_WORDS,
    WITHIN,
    refuse_strange_fill,
)
from ckptsurgeon.language.reading.rule_options import options
from ckptsurgeon.language.reading.scalars import one_or_each, readable, scalar, unlike
from ckptsurgeon.language.reading.sections import STAGE
from ckptsurgeon.language.rules import (
    MAX_RULES,
    Init,
    Move,
    Prefix,
    Rule,
    Var,
    Within,
)
from ckptsurgeon.language.synonyms import find_meant, find_word, is_rename
from ckptsurgeon.language.yaml import traps
from ckptsurgeon.language.yaml.nodes import (
    Broken,
    Mapping,
    Node,
    Scalar,
    Sequence,
    is_whole,
)
from ckptsurgeon.ops import OPS

MAX_WITHIN = 64
"""Most levels of `within`, those around an included ruleset counted in."""

Included = tuple[tuple[Rule, ...], Table[str, Var]]


class Context(Struct, frozen=True):
    """What a rule is read in: names of vars, the reader of `rules: name`, levels of `within`.

    `problems` keeps those of rules in lists, each of which is read whatever the others say.
    """

    vars: frozenset[str]
    include: Callable[[Scalar, int], Included]
    problems: Problems
    within: int = 0


def read_rules(node: Node, context: Context) -> tuple[Rule, ...]:
    """The rules of a list that can be read; the problems of the others are kept."""

    def read(item: Node) -> Rule:
        rule = _rule_or_guess(item, context)
        # What a trap took of a rule is told; the rest of it may say something else than was meant.
        if not (isinstance(rule, Within) or is_whole(item)):
            raise told()
        return rule

    if isinstance(node, Sequence) and len(node.items) > MAX_RULES:
        raise wrong(node.place, f"a list of {len(node.items)} rules; at most {MAX_RULES}")
    help = rule_guesses.tell_renames(node) or "begin each with `- `"
    return readable(node, read, "rules", help, context.problems)


def _rule_or_guess(node: Node, context: Context) -> Rule:
    """A rule; the error of one that can't be read says what was meant, where that is known."""
    try:
        return _rule(node, context)
    except RulesetError as error:
        quiet = replace(context, problems=Problems())
        line = (
            rule_guesses.guess_rule(node, lambda meant: _rule(meant, quiet))
            if error.problems
            else ""
        )
        if not line:
            raise
        told_so = replace_help(error.problems[0], help=f"write `{line}`")
        raise RulesetError((told_so,)) from None


def _rule(node: Node, context: Context) -> Rule:
    """One rule: an arrow, or a mapping that a word of it names."""
    if isinstance(node, Scalar) and not node.null:
        _refuse_missing_colon(node)
        source, target = references.arrow(node)
        return Move((source,), (target,), place=node.place)
    if isinstance(node, Sequence):
        help = (
            "for several references write `{from: […], to: …}`; one that starts with [ wants quotes"
        )
        raise unlike(node, "a rule", help)
    if not isinstance(node, Mapping) or not node.entries:
        raise unlike(node, "a rule", "write `A -> B`, or `from: …` and `to: …`")
    if any("->" in key.text for key, _ in node.entries):
        return _arrow_with_value(node)
    return _of_kind(node, context)


def _refuse_missing_colon(node: Scalar) -> None:
    """Raises RulesetError for `drop fc.*`, for `rename a -> b`, and Python's text `drop: fc.*`."""
    first, space, rest = node.text.partition(" ")
    word, rest = first.removesuffix(":"), rest.strip()
    if not word.isidentifier():
        return
    if word in RULE_WORDS and not rest:
        raise wrong(node.place, f"nothing stands behind {shown(word)}", f"write `{word}: …`")
    has_arrow = "->" in rest
    if not (space and rest) or rest.startswith("->"):
        return
    if word != first:  # Python's, where a text is an arrow
        message = f"{shown(node.text)} is no arrow; other rules are dicts in Python"
        help = f"write `{{'{word}': …}}`" if word in RULE_WORDS else ""
        if word in STAGE.fields:
            entries = "" if word in ("format", "rules") else f" '{word}': …,"
            help = f"write a dict of all: `{{'format': 1,{entries} 'rules': […]}}`"
        raise wrong(node.place, message, help)
    if word in RULE_WORDS:
        raise wrong(node.place, f"{shown(word)} without its `: `", f"write `{word}: …`")
    meant = find_word(word, RULE_WORDS)
    if is_rename(word) or (meant and (not has_arrow or "batchnorm" in meant)):
        raise wrong(node.place, f"unknown word {shown(word)}", find_meant(word, RULE_WORDS))


# --- arrows with a value --------------------------------------------------------------------------


def _arrow_with_value(node: Mapping) -> Move:
    """`A -> B: transpose`, and whatever else may stand behind the colon."""
    key, value = next(entry for entry in node.entries if "->" in entry[0].text)
    other = next((word for word, _ in node.entries if word is not key), None)
    if other is not None and "->" in other.text:
        in_python = node.place.file == PYTHON_RULES
        help = "make two rules of it" if in_python else "begin each rule with `- `"
        raise wrong(other.place, "two arrows in one rule", help)
    if other is not None:
        help = f"put it behind the colon: `A -> B: {{{other.text}: …, ops: […]}}`"
        raise wrong(other.place, f"{shown(other.text)} beside an arrow", help)
    traps.refuse_colon_in_slice(key)
    (source, target), behind = both(lambda: references.arrow(key), lambda: _behind(value))
    ops, names = behind.get("ops", ()), behind.get("names", ())
    return Move((source,), (target,), ops, names, options=options(behind), place=key.place)


def _behind(value: Node) -> Read:
    """What stands behind the colon of an arrow, by its words; ops may stand there alone."""
    if isinstance(value, Scalar) and value.null:
        help = "leave the colon out, or write an op"
        raise wrong(value.place, "nothing stands behind the `:` of an arrow", help)
    if not isinstance(value, Mapping):
        return Read({"ops": arguments.ops(value)}, {})
    _refuse_unknown_behind(value)
    op_words = [key for key, _ in value.entries if key.text in OPS]
    if not op_words:
        return BEHIND.read(value)
    option = next((key for key, _ in value.entries if key.text in BEHIND.fields), None)
    if option is not None:
        op = op_words[0].text
        raise wrong(
            op_words[0].place,
            f"`{op}` is an op, `{option.text}` is a word of the rule: they don't mix",
            f"write `{{{option.text}: …, ops: [{{{op}: …}}]}}`",
        )
    return Read({"ops": arguments.ops(value)}, {})


def _refuse_unknown_behind(value: Mapping) -> None:
    if not value.entries:
        raise wrong(value.place, "an empty mapping behind an arrow", "write an op, or leave it out")
    known = {*BEHIND.fields, *OPS}
    strange = next((key for key, _ in value.entries if key.text not in known), None)
    meant = find_op(value.entries, arguments.op) if strange else ""
    if strange and meant:
        message = f"unknown word {shown(strange.text)} in {BEHIND.name}"
        raise wrong(strange.place, message, meant)
    problems = Problems()
    for key, _ in value.entries:
        if key.text in ("from", "to"):
            message = f"`{key.text}` behind an arrow, which has both sides"
            problems.add(message, key.place, "leave it out")
        elif key.text not in OPS and key.text not in BEHIND.fields:
            problems.take(unknown_word(key, [*BEHIND.fields, *OPS], BEHIND.name).problems)
    problems.raise_if_any()


# --- mappings -------------------------------------------------------------------------------------

_WITHIN_NEEDS = "`within` goes with `rules: …`, a list, a shipped ruleset or ./file.yaml"


def _of_kind(node: Mapping, context: Context) -> Rule:
    named = [key for key, _ in node.entries if key.text in RULE_WORDS]
    if not named:
        raise _no_kind(node)
    if len(named) > 1:
        message = f"`{named[0].text}` and `{named[1].text}` in one rule"
        raise wrong(named[1].place, message, "write one rule each")
    word, place = named[0].text, node.entries[0][0].place
    if word == "within":
        return _within(node, context)
    if word == "include":
        return _include_all(node, context)
    kind = KINDS[word]
    if word == "from" and (op := next((key for key, _ in node.entries if key.text in OPS), None)):
        message = f"`{op.text}` is an op, and no word of a rule"
        raise wrong(op.place, message, f"write `ops: {op.text}`")
    rule = kind.make(kind.section.read(node), place)
    if isinstance(rule, Init):
        refuse_strange_fill(rule, context.vars)
    return rule


def _no_kind(node: Mapping) -> RulesetError:
    """The error for a mapping that none of its words makes a rule."""
    key, value = node.entries[0]
    traps.refuse_colon_in_slice(key)
    references.refuse_other_arrow(key)
    if key.text in ("to", *BEHIND.fields):
        help = "add `from: …`"
        if key.text == "to":
            help = "it stands in the item of its `from`, without a `- ` of its own"
        return wrong(key.place, f"`{key.text}` without `from`", help)
    if key.text in OPS:
        return wrong(key.place, f"the op `{key.text}` alone", f"write `A -> B: {key.text}`")
    if key.text in STAGE.fields:
        message = f"`{key.text}` where a rule is wanted"
        help = "it stands at the top of a rule file, beside `rules`"
        if "rules" in node.words:
            message = "a whole rule file where a rule is wanted"
            help = "files that run one after the other: `[load_ruleset(one) for one in files]`"
        elif key.place.file == PYTHON_RULES:
            entries = "" if key.text == "format" else f" '{key.text}': …,"
            help = f"write a dict: `{{'format': 1,{entries} 'rules': […]}}`"
        return wrong(key.place, message, help)
    if "." in key.text or not (nearest(key.text, RULE_WORDS) or find_meant(key.text, RULE_WORDS)):
        traps.refuse_colon_in_rule(key, value)
    return unknown_word(key, RULE_WORDS, "a rule")


def _within(node: Mapping, context: Context) -> Within:
    place = node.entries[0][0].place
    if context.within >= MAX_WITHIN:
        raise wrong(place, f"more than {MAX_WITHIN} levels of `within`")
    inner = replace(context, within=context.within + 1)
    rules = node.get("rules")
    if rules is None:
        raise wrong(place, "`within` without `rules`", _WITHIN_NEEDS)
    read, (found, vars) = both(
        lambda: WITHIN.read(node),
        lambda: _inner_rules(rules, inner),
    )
    return Within(read.get("within"), found, vars, place)


def _include_all(node: Mapping, context: Context) -> Within:
    """The rules of whole rulesets, as under a `within` without prefixes."""
    place, inner = node.entries[0][0].place, replace(context, within=context.within + 1)
    prefixes = (Prefix(Reference(Pattern(())), None, place),)

    def include(name: Node) -> Within:
        rules, vars = context.include(scalar(name, "a ruleset"), inner.within)
        return Within(prefixes, rules, vars, name.place)

    found = one_or_each(INCLUDE.read(node).get("include"), include, "rulesets")
    return Within(prefixes, found, None, place)


def _inner_rules(node: Node, context: Context) -> tuple[tuple[Rule, ...], Table[str, Var] | None]:
    """The rules of a `within`, and the vars of the ruleset that they are included from."""
    if isinstance(node, Scalar) and not node.null:
        return context.include(node, context.within)
    if isinstance(node, Sequence | Broken):
        return read_rules(node, context), None
    raise unlike(node, "a list of rules, a shipped ruleset or ./file.yaml", "begin each with `- `")
