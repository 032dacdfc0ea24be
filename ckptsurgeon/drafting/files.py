"""The text of a rule file: what stands at its head, and its rules with what is said of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ckptsurgeon.drafting.arrows import Arrow
from ckptsurgeon.drafting.blocks import Entry
from ckptsurgeon.drafting.lines import line_of, pattern_text
from ckptsurgeon.drafting.steps import Degree
from ckptsurgeon.language.yaml.writing import write_key_text
from ckptsurgeon.visible import visible

ACTIVE = tuple(degree for degree in Degree if degree < Degree.OPEN)
"""The degrees of rules that hold; the others stand as comments."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands above the rules: comments, sections, and vars, each with what is said of it."""

    comments: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    vars: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def write_file(head: Head, entries: Sequence[Entry], footer: Sequence[str] = ()) -> str:
    """A whole rule file; `footer` are comments behind the rules.

    Comments may quote keys of strangers: none goes on behind its line.
    """
    lines = [*map(comment, head.comments), "format: 1", *head.sections]
    if head.vars:
        lines += ["vars:", *map(_var_line, head.vars.items())]
    rules = [line for entry in entries for line in _entry_lines(entry)]
    active = any(not line.lstrip().startswith("#") for line in rules)
    lines += ["rules:", *(f"  {line}" for line in rules)] if active else [*rules, EMPTY]
    return with_footer("".join(f"{line}\n" for line in lines), footer)


EMPTY = "rules: []"
"""How a file ends that has no rules."""


def with_footer(text: str, footer: Sequence[str]) -> str:
    """The file with comments behind its rules, which may become rules themselves."""
    if not footer:
        return text
    head = text.removesuffix(f"{EMPTY}\n")
    below = "" if head == text else "rules:\n"
    return "".join((head, below, *(f"  {comment(line)}\n" for line in footer)))


def rule_lines_of(text: str) -> tuple[str, ...]:
    """The lines below `rules:` of a whole file."""
    lines = text.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("rules:"))
    return tuple(line.removeprefix("  ") for line in lines[at + 1 :])


def comment(text: str) -> str:
    """The text behind a `#`, on one line whatever it quotes."""
    return f"# {visible(text)}"


def _var_line(item: tuple[str, tuple[str, str]]) -> str:
    name, (value, remark) = item
    return f"  {name}: {value}{f'  {comment(remark)}' if remark else ''}"


def _entry_lines(entry: Entry) -> Iterator[str]:
    if isinstance(entry, Arrow):
        yield from _rule_lines(entry, line_of(entry))
        return
    source, target = entry.prefix
    first = entry.arrows[0]
    prefixes = [pattern_text(source, "source", first), pattern_text(target, "target", first)]
    within = prefixes[0] if prefixes[0] == prefixes[1] else " -> ".join(prefixes)
    yield f"- within: {write_key_text(within)}"
    yield "  rules:"
    for arrow in entry.arrows:
        for line in _rule_lines(arrow, line_of(arrow, entry.prefix)):
            yield f"    {line}"


def _rule_lines(arrow: Arrow, line: str) -> Iterator[str]:
    """A rule with its remark before it, as a comment where it doesn't hold."""
    if arrow.degree not in ACTIVE:
        yield comment(f"- {line}{f'  # {arrow.remark}' if arrow.remark else ''}")
        return
    if arrow.degree is Degree.LIKELY:
        yield comment(f"CHECK: {arrow.remark}")
    elif arrow.remark:
        yield comment(arrow.remark)
    yield f"- {line}"
