"""For keys that rules give and the destination lacks: the rule, and what would be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.graph import Leaf, RuleInfo
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.report.suggestions.model import Degree, Keys, Open, Suggestion, placement
from ckptsurgeon.report.suggestions.pairs import find_pairs, find_spelled, pair_arrows
from ckptsurgeon.report.suggestions.prefixes import find_change
from ckptsurgeon.report.suggestions.writing import quoted
from ckptsurgeon.specs import plural

MOST_RULES = 8
"""Rules for whose keys others are looked for; each costs a few passes over what is missing."""


@dataclass(frozen=True, slots=True)
class Aim:
    """The missing keys that given ones are meant to be, and how they get there."""

    pairs: Mapping[str, str]
    how: str = ""
    degree: Degree = Degree.LIKELY


def settle_given(plan: Plan, still: Open, keys: Keys) -> tuple[Open, list[Suggestion]]:
    """What is open once the rules' targets are right, and how to make them so."""
    by_rule: dict[int, list[Finding]] = {}
    for finding in plan.open_findings:
        if finding.kind is FindingKind.UNEXPECTED and finding.rule is not None and finding.found:
            by_rule.setdefault(id(finding.rule), []).append(finding)
    told = []
    for number, findings in enumerate(by_rule.values()):
        rule = next(finding.rule for finding in findings if finding.rule)
        aim = _aim(findings, still) if number < MOST_RULES else Aim({})
        still = still.without(aim.pairs.values(), "", ())
        if aim.pairs:
            told.append(_changed(plan, rule, findings, aim, keys))
        if len(aim.pairs) < len(findings):
            told.append(_strange(rule, [f for f in findings if f.key not in aim.pairs]))
    return still, told


def _aim(findings: Sequence[Finding], still: Open) -> Aim:
    specs = {finding.key: finding.found for finding in findings if finding.found}
    change = find_change("", specs, still.missing, 0.0)
    if change is not None:
        return Aim(change.pairs, f" after {change.how}", change.degree)
    pairs, spelled = find_pairs(specs, still.missing), find_spelled(specs, still.missing)
    return Aim(pairs, degree=Degree.SURE if pairs == spelled else Degree.LIKELY)


def _changed(
    plan: Plan, rule: RuleInfo, findings: Sequence[Finding], aim: Aim, keys: Keys
) -> Suggestion:
    place, pairs = quoted(rule.place.file_line), aim.pairs
    if aim.how:
        sentence = f"{len(pairs):,} of {len(findings):,} keys that {place} gives match{aim.how}"
    else:
        given, wanted = next(iter(pairs.items()))
        more = f" (and {len(pairs) - 1:,} more so)" if len(pairs) > 1 else ""
        sentence = f"{place} gives {quoted(given)} where {quoted(wanted)} is wanted{more}"
    lines = _arrows(plan, findings, pairs, keys)
    where = placement(rule, len(pairs)) if lines else ""
    told = f"{sentence}: change its target{where}"
    return Suggestion(told, "\n".join(lines), aim.degree)


def _arrows(
    plan: Plan, findings: Sequence[Finding], pairs: Mapping[str, str], keys: Keys
) -> list[str]:
    """The rule as it should be; nothing where it does more than to rename."""
    by_alias: dict[str, dict[str, str]] = {}
    for finding in findings:
        if finding.key not in pairs:
            continue
        output = plan.outputs.get(finding.key)
        whole = output is not None and isinstance(output.node, Leaf) and not output.ops
        if not whole or len(finding.sources) != 1 or finding.sources[0].index is not None:
            return []
        operand = finding.sources[0]
        by_alias.setdefault(operand.source, {})[operand.key] = pairs[finding.key]
    return [
        line
        for alias, renamed in by_alias.items()
        for line in pair_arrows(alias, renamed, keys.sources.get(alias, ()))
    ]


def _strange(rule: RuleInfo, findings: Sequence[Finding]) -> Suggestion:
    place, number = quoted(rule.place.file_line), plural(len(findings), "key")
    sentence = (
        f"{place} gives {number} such as {quoted(findings[0].key)} that the destination lacks: "
        "change its target, or drop its sources before it"
    )
    return Suggestion(sentence, degree=Degree.OPEN)
