"""Rules as a help writes them: their own lines, with a near reading in the place of a reference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ckptsurgeon.language.expressions import names_in
from ckptsurgeon.language.patterns import Formula, Kind, Literal, Pattern, parse_reference
from ckptsurgeon.language.reading.arrows import FILE as COMMAND_LINE
from ckptsurgeon.language.rules import (
    At,
    BatchNorm,
    Drop,
    Move,
    Norms,
    Options,
    PlainRule,
    Require,
    Rule,
    Within,
)
from ckptsurgeon.language.yaml.quoting import quote_rule, quoted, value_begins, without_comment
from ckptsurgeon.language.yaml.traps import PYTHON_RULES
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.stage.near import Change, Near
from ckptsurgeon.planner.stage.searching import Write

LONGEST_LINE = 160
"""Longest line of a rule file that a help repeats."""

Edit = tuple[At, str]
"""A reference of a rule, and what is written in its place."""


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
            return _write_within(rules, rule.rule, pattern, at)
        alias = f"{at.alias}::" if at.alias else ""
        source = f"{alias}{pattern.removeprefix(around)}{at.index or ''}"
        new = near.pattern.names - reader.pattern.names
        if isinstance(rule.rule, Move) and pattern.startswith("re:.*"):
            return source  # its target names one key, and this matches parts of many
        return _write_line(rule.rule, at, source, near.change, new)

    return write


def _computed_names(rule: PlainRule) -> frozenset[str]:
    """The names that formulas, ops and the condition of a rule take for numbers."""
    targets = rule.targets if isinstance(rule, Move) else ()
    formulas = (one for at in targets for one in at.pattern.pieces if isinstance(one, Formula))
    ops = names_in([call.arguments for call in rule.ops]) if isinstance(rule, Move) else ()
    condition = rule.options.where
    with_words = condition is not None and re.search("['\"]", condition.text)
    where = condition.names if condition and not with_words else ()
    return frozenset().union(*(one.expression.names for one in formulas), ops, where)


def _made_text(old: Pattern, new: Pattern) -> frozenset[str]:
    """The integers of a pattern that are text in another."""
    integers = {one.name for one in old.captures if one.kind is Kind.INT}
    texts = {one.name for one in new.captures if one.kind in (Kind.TEXT, Kind.PATH)}
    return frozenset(integers & texts)


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


def _write_within(rules: Sequence[Rule], rule: PlainRule, pattern: str, at: At) -> str:
    """The `within` of a rule with another prefix; nothing where there are several."""
    around = next(_around(rules, rule), ())
    if len(around) != 1 or len(around[0].prefixes) != 1 or not pattern.endswith(str(at.pattern)):
        return ""
    (prefix,) = around[0].prefixes
    alias = f"{prefix.source.alias}::" if prefix.source.alias else ""
    source = f"{alias}{pattern.removesuffix(str(at.pattern))}"
    target = prefix.source.pattern if prefix.target is None else prefix.target.pattern
    return f"within: {_quote_star(f'{source} -> {target}', at)}"


def dot_within(
    rules: Sequence[Rule], rule: CompiledRule, reader: Reader
) -> tuple[Pattern, str] | None:
    """What a reader reads with a dot behind the prefix of its `within`, and that `within`.

    None where there is not one prefix, or where it ends in a dot.
    """
    at, _ = _as_written(rule, reader)
    around = next(_around(rules, rule.rule), ())
    if len(around) != 1 or len(around[0].prefixes) != 1:
        return None
    (prefix,) = around[0].prefixes
    sides = [prefix.source.pattern, *([prefix.target.pattern] if prefix.target else [])]
    number = len(sides[0].pieces)
    if not number or str(sides[0]).endswith("."):
        return None
    pieces = (*reader.pattern.pieces[:number], Literal("."), *reader.pattern.pieces[number:])
    alias = f"{prefix.source.alias}::" if prefix.source.alias else ""
    dotted = " -> ".join(f"{side}".rstrip(".") + "." * bool(side.pieces) for side in sides)
    return Pattern(pieces), f"within: {_quote_star(alias + dotted, at)}"


def once_within(
    rules: Sequence[Rule], rule: CompiledRule, reader: Reader
) -> tuple[Pattern, str] | None:
    """What a reader reads without the prefix of its `within`, which it repeats, and its text then.

    None where there is not one prefix, or where the reference doesn't begin with it.
    """
    at, suffix = _as_written(rule, reader)
    around = next(_around(rules, rule.rule), ())
    if len(around) != 1 or len(around[0].prefixes) != 1:
        return None
    prefix = around[0].prefixes[0].source.pattern
    rest = str(at.pattern).removeprefix(str(prefix))
    if not rest or rest == str(at.pattern):
        return None
    behind = (Literal(suffix),) if suffix else ()
    pieces = reader.pattern.pieces[: len(prefix.pieces)]
    return Pattern((*pieces, *parse_reference(rest).pattern.pieces, *behind)), rest


def _quote_star(text: str, at: At) -> str:
    """A text as its file would have it: YAML takes one with a star in front for an alias."""
    return quoted(text) if text.startswith("*") and _in_file(at) else text


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
    if line := _edit(((at, source), *changed)):
        return line
    if isinstance(rule, Move) and targets and not ops and rule.options == Options():
        return f"{source} -> {targets[0][1]}"
    return f"from: {alone}` and `to: {changed[0][1]}" if changed else alone


def _targets(rule: PlainRule) -> tuple[At, ...] | None:
    """What goes with the one source of a rule: a target, or nothing; None for other rules."""
    if isinstance(rule, BatchNorm):
        return (rule.target,)
    one_source = isinstance(rule, Move | Drop) and len(rule.sources) == 1
    targets = rule.targets if isinstance(rule, Move) else ()
    return targets if one_source and len(targets) < 2 else None


def _edit(edits: Sequence[Edit]) -> str:
    """The line that some references stand in, with other texts for them.

    Nothing where it doesn't show each of them, is cut, or is too long to be repeated.
    """
    place = edits[0][0].place
    spans = [(_find(at), text) for at, text in edits]
    if any(at.place.line != place.line for at, _ in edits) or any(
        span is None for span, _ in spans
    ):
        return ""
    line = place.text
    for span, text in sorted(((span, text) for span, text in spans if span), reverse=True):
        line = line[: span[0]] + _fit(line[: span[0]], text, edits[0][0]) + line[span[1] :]
    return _tidy(line, edits[0][0])


def _find(at: At) -> tuple[int, int] | None:
    """Where a reference stands in its line: at its place, or else where the line has it once."""
    begins = at.place.column - 1
    if _whole_at(at.place.text, begins, at.text):
        return begins, begins + len(at.text)
    if at.place.file != PYTHON_RULES:
        return None
    found = [one.start() for one in re.finditer(re.escape(at.text), at.place.text)]
    found = [start for start in found if _whole_at(at.place.text, start, at.text)]
    return (found[0], found[0] + len(at.text)) if len(found) == 1 else None


def _whole_at(line: str, start: int, text: str) -> bool:
    """Whether a text stands there, and not as a part of a longer one."""
    ends = start + len(text)
    if not (text and line.startswith(text, start)):
        return False
    return line[:start][-1:] in ("", *" '\"[{(,\t") and line[ends : ends + 1] in ("", *" '\"]}),:")


def _fit(before: str, text: str, at: At) -> str:
    """A reference as it can stand behind the front of its line: YAML wants quotes for a star."""
    in_flow = at.place.file != PYTHON_RULES and before.lstrip(" -")[:1] == "{"
    return quoted(text) if in_flow and text.startswith("*") and before[-1:] not in "'\"" else text


def _tidy(line: str, at: At) -> str:
    """A line without its dash and its comment; nothing for one that is a part or too long."""
    if _in_file(at):
        begins = value_begins(line)
        text = without_comment(line[begins:]).rstrip()
        head = re.sub(r"^\s*(?:-\s+)*", "", line[:begins])
        line = head + (quote_rule(text) if text.startswith("*") else text)
    whole = all(line.count(left) == line.count(right) for left, right in ("[]", "{}"))
    return line if whole and len(line) <= LONGEST_LINE else ""


def _in_file(at: At) -> bool:
    """Whether a reference stands in a file, where YAML takes a star in front for an alias."""
    return at.place.file not in (COMMAND_LINE, PYTHON_RULES)
