"""`within` unfolded: every rule with the prefixes that stand before it, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from ckptsurgeon.errors import Place
from ckptsurgeon.language.expressions import Expression
from ckptsurgeon.language.patterns import Literal, Pattern, Reference, write_literal
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import (
    MAX_RULES,
    At,
    Drop,
    Entry,
    Move,
    PlainRule,
    Prefix,
    Rule,
    ShapeVar,
    Table,
    Var,
    Within,
)

NOTHING = Pattern(())


class Context(Struct, frozen=True):
    """What stands around a rule: prefixes for both sides, and the vars in force.

    `alias` is that of the source, `output` that of the output.
    """

    source: Pattern = NOTHING
    target: Pattern = NOTHING
    alias: Pattern | None = None
    output: Pattern | None = None
    vars: Mapping[str, Var] = field(default_factory=dict)


class PlacedRule(Struct, frozen=True):
    """A rule in its context. Repetitions of one rule of the file share a `group`."""

    rule: PlainRule
    context: Context
    group: int


def unfold(rules: Sequence[Rule], vars: Mapping[str, Var], problems: Problems) -> list[PlacedRule]:
    """All rules, `within` by `within`; a list of prefixes repeats its rules for each of them."""
    placed: list[PlacedRule] = []
    groups: dict[int, int] = {}
    unfolding = _Unfolding(problems)
    for rule, context in unfolding.walk(rules, Context(vars=vars)):
        placed.append(PlacedRule(rule, context, groups.setdefault(id(rule), len(groups))))
        if len(placed) > MAX_RULES:
            problems.add(f"`within` unfolds to more than {MAX_RULES} rules", rule.place)
            return []
    return placed


class _Unfolding:
    """Goes through the rules; what a table is written as stays one for all prefixes."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._written: dict[int, tuple[PlainRule, ...]] = {}

    def walk(
        self, rules: Sequence[Rule], context: Context, *, writes: bool = False
    ) -> Iterator[tuple[PlainRule, Context]]:
        """The rules, each with what stands around it; with `writes` tables as rules of entries.

        A table is written so behind all of its prefixes where one of these has captures.
        """
        for rule in rules:
            if isinstance(rule, Within):
                all_inner = [_inside(context, one, rule, self._problems) for one in rule.prefixes]
                writes_inner = writes or not all(map(_is_literal, all_inner))
                for inner in all_inner:
                    yield from self.walk(rule.rules, inner, writes=writes_inner)
            elif isinstance(rule, Table) and (writes or not _is_literal(context)):
                yield from ((one, context) for one in self._write(rule))
            else:
                yield rule, context

    def _write(self, table: Table) -> tuple[PlainRule, ...]:
        """The entries of a table as rules of their own, as they stand behind captures."""
        if isinstance(table.entries, Expression):
            message = f"`table: {table.entries}` behind a prefix with captures"
            help = "write the table there, or into a file: a var is not known yet"
            self._problems.add(message, table.place, help)
            return ()
        if id(table) not in self._written:
            file, entries = table.entries.file, table.entries.entries
            self._written[id(table)] = tuple(
                _written(entry, Place(file, entry.line, 1), table) for entry in entries
            )
        return self._written[id(table)]


def _written(entry: Entry, place: Place, table: Table) -> Move | Drop:
    """An entry of a table as an arrow, or as a drop."""
    old = At(Pattern((Literal(entry.old),)), text=write_literal(entry.old), place=place)
    if entry.new is None:
        options = replace(table.options, reuse=False)
        return Drop(sources=(old,), options=options, place=place)
    new = At(Pattern((Literal(entry.new),)), text=write_literal(entry.new), place=place)
    return Move(sources=(old,), targets=(new,), options=table.options, place=place)


def _is_literal(context: Context) -> bool:
    """Whether the prefixes of both sides, and the alias, are texts as they are."""
    aliases = (context.alias or NOTHING, context.output or NOTHING)
    patterns = (context.source, context.target, *aliases)
    return all(pattern.literal is not None for pattern in patterns)


def _inside(context: Context, prefix: Prefix, rule: Within, problems: Problems) -> Context:
    own, alias = number_stars(context, prefix.source, prefix.place, problems)
    target = own if prefix.target is None else prefix.target.pattern.numbered_after(context.target)
    output = context.output
    if prefix.target is not None:
        output = join_alias(output, prefix.target, prefix.place, problems, "an output")
    inner = Context(
        Pattern(context.source.pieces + own.pieces),
        Pattern(context.target.pieces + target.pieces),
        alias,
        output,
        context.vars,
    )
    if rule.vars is None:
        return inner
    return replace(inner, vars={name: _moved(var, inner) for name, var in rule.vars.items()})


def number_stars(
    context: Context, reference: Reference, place: Place, problems: Problems
) -> tuple[Pattern, Pattern | None]:
    """What a reference that reads keys adds to its context, and the alias in force.

    Their stars are numbered on from those that stand before them: the alias is before the key.
    """
    alias = join_alias(context.alias, reference, place, problems, "a source")
    if reference.alias is not None:
        alias = reference.alias.numbered_after(context.source)
        return reference.pattern.numbered_after(context.source), alias
    return reference.pattern.numbered_after(context.source, context.alias or NOTHING), alias


def join_alias(
    outer: Pattern | None, reference: Reference, place: Place, problems: Problems, what: str
) -> Pattern | None:
    """The alias in force, of `a source` or `an output`; two of them are a problem."""
    if outer is not None and reference.alias is not None:
        problems.add(f"`{reference}` names {what}, and so does the `within` around it", place)
    return outer if reference.alias is None else reference.alias


def _moved(var: Var, context: Context) -> Var:
    """A var of an included ruleset: the key that it looks at stands behind the prefix."""
    if not isinstance(var.value, ShapeVar):
        return var
    reference = var.value.reference
    to_destination = reference.alias is not None and str(reference.alias) == "dst"
    prefix = context.target if to_destination else context.source
    alias = reference.alias or context.alias
    moved = replace(reference, pattern=reference.pattern.after(prefix), alias=alias)
    return replace(var, value=replace(var.value, reference=moved))
