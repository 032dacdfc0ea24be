"""Rules as a help writes them: their own lines, with a near reading in the place of a reference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ckptsurgeon.errors import PatternError
from ckptsurgeon.language.expressions import names_in
from ckptsurgeon.language.lines import edit_line, is_in_file
from ckptsurgeon.language.patterns import Formula, Kind, Literal, Pattern, parse_reference
from ckptsurgeon.language.rules import (
    At,
    BatchNorm,
    Drop,
    Move,
    Norms,
    PlainRule,
    Prefix,
    Require,
    Rule,
    Within,
)
from ckptsurgeon.language.yaml.quoting import quoted
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.stage.near import Change, Near
from ckptsurgeon.planner.stage.searching import Write


def write_rule(rules: Sequence[Rule], rule: CompiledRule, reader: Reader) -> Write:
    """What writes a rule of some with a near reading of one of its patterns.

    It writes the whole line with all that stands in it, or else the reference alone; the line of
    its `within`, where that is what the reading changes; and nothing where neither would be right.
    """
    at, suffix = _as_written(rule, reader)
    computed = _computed_names(rule.rule)
    own = len(at.pattern.pieces) + bool(suffix)
    around = str(Pattern(reader.pattern.pieces[: len(reader.pattern.pieces) - own]))

    def write(near: Near) -> str:
        if computed & _made_text(reader.pattern, near.pattern):
            return ""
        pattern = str(near.pattern).removesuffix(suffix)
        if not pattern.startswith(around):
            return _write_within(rules, rule.rule, near, pattern.removesuffix(str(at.pattern)))
        alias = f"{at.alias}::" if at.alias else ""
        source = f"{alias}{pattern.removeprefix(around)}{at.index or ''}"
        new = near.pattern.names - reader.pattern.names
        if isinstance(rule.rule, Move) and pattern.startswith("re:"):
            return source if all(_is_plain(to.text) for to in rule.rule.targets) else ""
        if isinstance(rule.rule, Move) and _gathers_text(rule.rule, near, new):
            return ""
        return _write_line(rule.rule, at, source, near.change, new)

    return write


def _computed_names(rule: PlainRule) -> frozenset[str]:
    """The names that formulas, ops and the condition of a rule take for numbers."""
    targets = rule.targets if isinstance(rule, Move) else ()
    formulas = (one for at in targets for one in at.pattern.pieces if isinstance(one, Formula))
    ops = names_in([call.arguments for call in rule.calls]) if isinstance(rule, Move) else ()
    condition = rule.options.where
    with_words = condition is not None and re.search("['\"]", condition.text)
    where = condition.names if condition and not with_words else ()
    listed = (*rule.options.map, *rule.options.pick) if isinstance(rule, Move) else ()
    return frozenset().union(*(one.expression.names for one in formulas), ops, where, listed)


def _made_text(old: Pattern, new: Pattern) -> frozenset[str]:
    """The integers and words of a pattern that are text in another."""
    integers = {one.name for one in old.captures if one.kind in (Kind.INT, Kind.WORDS)}
    texts = {one.name for one in new.captures if one.kind in (Kind.TEXT, Kind.PATH)}
    return frozenset(integers & texts)


def _is_plain(target: str) -> bool:
    return re.fullmatch(r"[\w./-]+", target) is not None


def _gathers_text(rule: Move, near: Near, new: frozenset[str]) -> bool:
    """Whether a reading has new text that no target takes, and ops, which join integers alone."""
    texts = {one.name for one in near.pattern.captures if one.kind is not Kind.INT}
    given = frozenset().union(*(near.change(to.pattern).names for to in rule.targets))
    return bool(rule.ops and (new & texts) - given)


def _as_written(rule: CompiledRule, reader: Reader) -> tuple[At, str]:
    """The reference of a rule file that a reader reads by, and what was put behind it."""
    number, written = rule.readers.index(reader), rule.rule
    if isinstance(written, Move | Drop):
        return written.sources[number], ""
    if isinstance(written, Norms):
        at, name = written.reads[number]
        return at, f".{name}"
    if isinstance(written, Require):
        return written.source, ""
    raise TypeError(f"{written} reads no keys")


# --- within ---------------------------------------------------------------------------------------


def _write_within(rules: Sequence[Rule], rule: PlainRule, near: Near, source: str) -> str:
    """The `within` of a rule with another prefix; nothing where there are several."""
    prefix = _only_prefix(rules, rule)
    if prefix is None or not str(near.pattern).startswith(source):
        return ""
    own = prefix.source.pattern
    target = own if prefix.target is None else near.change(prefix.target.pattern)
    alike = re.sub(r"<[^>]*>", "", source) == re.sub(r"<[^>]*>", "", str(own))
    line = f"{_alias_of(prefix)}{source}"
    if prefix.target is not None or not alike:
        line += f" -> {target}"
    return f"within: {quoted(line) if line.startswith('*') else line}"


def _only_prefix(rules: Sequence[Rule], rule: PlainRule) -> Prefix | None:
    """The prefix of the one `within` around a rule; None where there are more, or none."""
    around = next(_around(rules, rule), ())
    return around[0].prefixes[0] if len(around) == 1 == len(around[0].prefixes) else None


def _alias_of(prefix: Prefix) -> str:
    return f"{prefix.source.alias}::" if prefix.source.alias else ""


def dot_within(
    rules: Sequence[Rule], rule: CompiledRule, reader: Reader
) -> tuple[Pattern, str] | None:
    """What a reader reads with a dot behind the prefix of its `within`, and that `within`.

    None where there is not one prefix, or where it ends in a dot.
    """
    at, _ = _as_written(rule, reader)
    prefix = _only_prefix(rules, rule.rule)
    if prefix is None:
        return None
    sides = [prefix.source.pattern, *([prefix.target.pattern] if prefix.target else [])]
    number = len(sides[0].pieces)
    if not number or str(sides[0]).endswith("."):
        return None
    pieces = (*reader.pattern.pieces[:number], Literal("."), *reader.pattern.pieces[number:])
    alias = _alias_of(prefix)
    dotted = " -> ".join(f"{side}".rstrip(".") + "." * bool(side.pieces) for side in sides)
    return Pattern(pieces), f"within: {_quote_star(alias + dotted, at)}"


def once_within(
    rules: Sequence[Rule], rule: CompiledRule, reader: Reader
) -> tuple[Pattern, str] | None:
    """What a reader reads without the prefix of its `within`, which it repeats, and its text then.

    None where there is not one prefix, or where the reference doesn't begin with it.
    """
    at, suffix = _as_written(rule, reader)
    around = _only_prefix(rules, rule.rule)
    if around is None:
        return None
    prefix = around.source.pattern
    rest = str(at.pattern).removeprefix(str(prefix))
    if not rest or rest == str(at.pattern):
        return None
    behind = (Literal(suffix),) if suffix else ()
    pieces = reader.pattern.pieces[: len(prefix.pieces)]
    try:
        own = parse_reference(rest).pattern.pieces
    except PatternError:
        return None
    return Pattern((*pieces, *own, *behind)), f"{rest}{at.index or ''}"


def index_text(rule: CompiledRule, reader: Reader) -> str:
    """The slice of a reference, as it is written; empty where it has none."""
    at, _ = _as_written(rule, reader)
    return str(at.index or "")


def _quote_star(text: str, at: At) -> str:
    """A text as its file would have it: YAML takes one with a star in front for an alias."""
    return quoted(text) if text.startswith("*") and is_in_file(at) else text


def _around(rules: Sequence[Rule], rule: PlainRule) -> Iterator[tuple[Within, ...]]:
    """What stands around a rule, the outermost first."""
    for one in rules:
        if one is rule:
            yield ()
        elif isinstance(one, Within):
            yield from ((one, *inner) for inner in _around(one.rules, rule))


# --- lines ----------------------------------------------------------------------------------------


def _write_line(rule: PlainRule, at: At, source: str, change: Change, new: frozenset[str]) -> str:
    """The line of a rule with another source, and the target that goes with it.

    `new` are the captures that only the new source has: no line is right whose target lacks them.
    """
    alone = _quote_star(source, at)
    named = _targets(rule)
    if named is None:
        return alone
    patterns = [change(to.pattern) for to in named]
    ops = rule.ops if isinstance(rule, Move) else ()
    if any(new - pattern.names for pattern in patterns) and not ops:
        return alone
    targets = [
        (to, f"{pattern}{to.index or ''}") for to, pattern in zip(named, patterns, strict=True)
    ]
    changed = [(to, text) for to, text in targets if text != f"{to.pattern}{to.index or ''}"]
    if line := edit_line(((at, source), *changed)):
        return line
    if isinstance(rule, Move) and targets and rule.plain:
        return f"{source} -> {targets[0][1]}"
    return f"from: {alone}` and `to: {changed[0][1]}" if changed else alone


def _targets(rule: PlainRule) -> tuple[At, ...] | None:
    """What goes with the one source of a rule: a target, or nothing; None for other rules."""
    if isinstance(rule, BatchNorm):
        return (rule.target,)
    one_source = isinstance(rule, Move | Drop) and len(rule.sources) == 1
    targets = rule.targets if isinstance(rule, Move) else ()
    return targets if one_source and len(targets) < 2 else None
