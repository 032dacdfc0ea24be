"""`within` unfolded: every rule with the prefixes that stand before it, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from ckptsurgeon.errors import Place
from ckptsurgeon.language.patterns import Pattern, Reference
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.rules import MAX_RULES, PlainRule, Prefix, Rule, ShapeVar, Var, Within

NOTHING = Pattern(())


class Context(Struct, frozen=True):
    """What stands around a rule: prefixes for both sides, the alias, and the vars in force."""

    source: Pattern = NOTHING
    target: Pattern = NOTHING
    alias: Pattern | None = None
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
    for rule, context in _walk(rules, Context(vars=vars), problems):
        placed.append(PlacedRule(rule, context, groups.setdefault(id(rule), len(groups))))
        if len(placed) > MAX_RULES:
            problems.add(f"`within` unfolds to more than {MAX_RULES} rules", rule.place)
            return []
    return placed


def _walk(
    rules: Sequence[Rule], context: Context, problems: Problems
) -> Iterator[tuple[PlainRule, Context]]:
    for rule in rules:
        if not isinstance(rule, Within):
            yield rule, context
            continue
        for prefix in rule.prefixes:
            inner = _inside(context, prefix, rule, problems)
            yield from _walk(rule.rules, inner, problems)


def _inside(context: Context, prefix: Prefix, rule: Within, problems: Problems) -> Context:
    own, alias = number_stars(context, prefix.source, prefix.place, problems)
    target = own if prefix.target is None else prefix.target.pattern.numbered_after(context.target)
    inner = Context(
        Pattern(context.source.pieces + own.pieces),
        Pattern(context.target.pieces + target.pieces),
        alias,
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
    alias = join_alias(context.alias, reference, place, problems)
    if reference.alias is not None:
        alias = reference.alias.numbered_after(context.source)
        return reference.pattern.numbered_after(context.source), alias
    return reference.pattern.numbered_after(context.source, context.alias or NOTHING), alias


def join_alias(
    outer: Pattern | None, reference: Reference, place: Place, problems: Problems
) -> Pattern | None:
    """The alias in force; two of them are a problem."""
    if outer is not None and reference.alias is not None:
        problems.add(f"`{reference}` names a source, and so does the `within` around it", place)
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
