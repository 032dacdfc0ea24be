"""What torch does by itself when a module loads, said as rules, so that reports tell it.

A counter of BatchNorm that a checkpoint lacks (from before torch 0.4.1) stays as it is, and one
that a frozen BatchNorm has no place for is left out. A tied key takes its partner's tensor.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from ckptsurgeon.drafting.saying import is_sayable
from ckptsurgeon.language.patterns import write_literal
from ckptsurgeon.language.rules import Ruleset
from ckptsurgeon.language.rulesets import parse_ruleset
from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.plans.plan import Plan

FILE = "<loading a module>"
"""What the places of these rules are called."""

COUNTER, MEAN = "num_batches_tracked", "running_mean"


def rules_of_ties(groups: Iterable[tuple[str, ...]]) -> Ruleset | None:
    """A `tie` for each group of keys that share a tensor of the destination; None without any."""
    rules = [
        f"{{tie: [{', '.join(map(_quote, group))}], optional: true}}"
        for group in groups
        if all(map(is_sayable, group))
    ]
    return _ruleset(rules)


def rules_of_loading(plan: Plan) -> Ruleset | None:
    """Rules for the counters that just one side of a plan has; None where there are none.

    The statistics beside a counter must have come along: a BatchNorm that is missing whole stays a
    finding.
    """
    kept = [_quote(finding.key) for finding in plan.findings if _lacks_counter(finding, plan)]
    spare = (finding for finding in plan.findings if _spare_counter(finding, plan))
    dropped = [_quote(finding.key, finding.source) for finding in spare]
    rules = [f"{{keep: [{', '.join(kept)}]}}"] if kept else []
    rules += [f"{{drop: [{', '.join(dropped)}]}}"] if dropped else []
    return _ruleset(rules)


def _ruleset(rules: list[str]) -> Ruleset | None:
    if not rules:
        return None
    return parse_ruleset("format: 1\nrules:\n" + "".join(f"- {rule}\n" for rule in rules), FILE)


def _quote(key: str, alias: str = "") -> str:
    text = write_literal(key)
    return json.dumps(f"{alias}::{text}" if alias else text, ensure_ascii=False)


def _lacks_counter(finding: Finding, plan: Plan) -> bool:
    """Whether a missing key is the counter of a BatchNorm whose statistics are given."""
    if finding.kind is not FindingKind.MISSING or not _is_counter(finding.key):
        return False
    mean = plan.outputs.get(_mean_of(finding.key))
    has_values = plan.destination is not None and plan.destination.has_values
    return has_values and mean is not None and mean.status is not Status.KEPT


def _spare_counter(finding: Finding, plan: Plan) -> bool:
    """Whether an unused key is the counter of a BatchNorm whose statistics are taken."""
    if finding.kind is not FindingKind.UNUSED or not _is_counter(finding.key):
        return False
    mean = _mean_of(finding.key)
    tables = (t for t in plan.fates.tables if t.source == finding.source and mean in t.specs)
    return any(table.of(mean).fate in (Fate.TAKEN, Fate.COPIED) for table in tables)


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] == COUNTER and is_sayable(key)


def _mean_of(key: str) -> str:
    prefix, dot, _ = key.rpartition(".")
    return f"{prefix}{dot}{MEAN}"
