"""Words on rules that give what isn't wanted, or that take what is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, starmap

from ckptsurgeon.cutting import cut_middle
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.drafting import draft_most
from ckptsurgeon.drafting.files import Head, rule_lines_of
from ckptsurgeon.drafting.steps import Grid, Step, given_by, move
from ckptsurgeon.errors import nearest
from ckptsurgeon.keys import without_integers
from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.plans.graph import Leaf, RuleInfo, full_key
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.report.left import MOST_KEYS, Specs, checkpoint_of, last_tables
from ckptsurgeon.report.slips import find_slips
from ckptsurgeon.specs import TensorSpec, plural
from ckptsurgeon.suggesting.finding import Findings, find_steps
from ckptsurgeon.visible import visible

MOST_RULES = 6
"""Rules that something is said of; nobody reads more."""

LONGEST, TAIL = 80, 25
"""Characters of a key that a sentence names, and those of them behind its middle."""

MOST_GIVEN = 1000
"""Keys that a rule gives wrongly, for which the right ones are looked for."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence on a rule that was given, and lines that may stand where it does."""

    sentence: str
    lines: tuple[str, ...] = ()


def remarks_of(plan: Plan) -> tuple[list[Remark], set[str]]:
    """Remarks on the rules of a plan, and the keys that these were meant for."""
    aimed: set[str] = set()
    remarks = []
    for findings in islice(_by_rule(plan), MOST_RULES):
        remark, right = _remark(plan, findings)
        remarks.append(remark)
        aimed |= right
    return [*remarks, *_told_taken(plan)], aimed


def _by_rule(plan: Plan) -> Iterator[list[Finding]]:
    """The open findings on what rules give, those of one rule and one kind together."""
    groups: dict[tuple[int, FindingKind], list[Finding]] = {}
    for finding in plan.open_findings:
        if finding.kind in (FindingKind.UNEXPECTED, FindingKind.MISMATCHED) and finding.rule:
            groups.setdefault((id(finding.rule), finding.kind), []).append(finding)
    yield from groups.values()


def _remark(plan: Plan, findings: Sequence[Finding]) -> tuple[Remark, set[str]]:
    """What is said of a rule, and the keys that it was meant for."""
    rule = findings[0].rule
    assert rule is not None  # as `_by_rule` gives it
    found = _right(plan, findings) if len(findings) <= MOST_GIVEN else Findings((), {})
    steps = [step for step in found.steps if step.takes and len(step.takes) == 1 == len(step.gives)]
    place = f"`{rule.place.file_line}`"
    if findings[0].kind is FindingKind.UNEXPECTED:
        sentence = _told_unexpected(plan, place, findings, steps)
    else:
        sentence = _told_mismatched(plan, place, findings, steps)
    gives = sum(_is_one(output.rule, rule) for output in plan.outputs.values())
    shifted = gives > len(findings) and any(map(_is_renumbered, steps))
    lines = () if shifted else _lines(plan, findings, steps)
    if shifted:
        sentence += "; are the numbers of all its keys shifted?"
    if lines:
        where = "in place of" if max(gives, rule.steps) <= len(findings) else "above"
        sentence += f"; {where} {place}"
    right = given_by(steps) or ({one.key for one in findings if one.kind is FindingKind.MISMATCHED})
    return Remark(sentence, lines), right


def _told_taken(plan: Plan) -> Iterator[Remark]:
    """A remark on missing keys that a source has, and that a rule took for others, or dropped."""
    missing = [one.key for one in plan.open_findings if one.kind is FindingKind.MISSING]
    found: dict[Fate, list[str]] = {Fate.TAKEN: [], Fate.DROPPED: []}
    for table, _ in last_tables(plan):
        for key in missing if not table.source else ():
            claim = table.claims.get(key)
            if claim is not None and claim.rule is not None and claim.fate in found:
                found[claim.fate].append(key)
    for fate, keys in found.items():
        if keys:
            are = "is" if len(keys) == 1 else f"and {len(keys) - 1:,} more are"
            yield Remark(f"{_named(keys[0])} {are} {TAKEN[fate]}")


TAKEN = {
    Fate.TAKEN: "in the source, and taken there by a rule: where both names are wanted, give that "
    "rule both targets, `{from: A, to: [A, B]}`",
    Fate.DROPPED: "in the source, and dropped there by a rule: leave these out of its `drop`",
}
"""What is said of missing keys of a source, by what became of them."""


def _is_renumbered(step: Step) -> bool:
    """Whether a key as it is given and the one that is wanted differ in integers alone."""
    return without_integers(step.takes[0]) == without_integers(step.gives[0])


def _is_one(one: RuleInfo | None, other: RuleInfo) -> bool:
    return one is not None and (one.stage, one.number) == (other.stage, other.number)


def _right(plan: Plan, findings: Sequence[Finding]) -> Findings:
    """What leads from keys as a rule gives them to what the destination wants."""
    given = {one.key: one.found for one in findings if one.found is not None}
    wanted = {one.key: one.wanted for one in findings if one.wanted is not None}
    if findings[0].kind is not FindingKind.UNEXPECTED:
        return find_steps(given, wanted)
    missing = (one for one in plan.open_findings if one.kind is FindingKind.MISSING)
    wanted = {one.key: one.wanted for one in missing if one.wanted is not None}
    if len(wanted) > MOST_KEYS:
        return Findings((), {})
    slips = find_slips(given, wanted)
    settled = {*slips.unclear, *slips.meant, *slips.meant.values()}
    found = find_steps(_without(given, settled), _without(wanted, settled))
    return replace(found, steps=[*starmap(move, slips.meant.items()), *found.steps])


def _without(specs: Specs, keys: Collection[str]) -> Specs:
    return {key: spec for key, spec in specs.items() if key not in keys}


def _told_unexpected(
    plan: Plan, place: str, findings: Sequence[Finding], steps: Sequence[Step]
) -> str:
    if not steps:
        key = findings[0].key
        given = f"{plural(len(findings), 'key')} such as {_named(key)}"
        missing = (one.key for one in plan.open_findings if one.kind is FindingKind.MISSING)
        near = nearest(key, islice(missing, MOST_GIVEN))
        advised = near or "change its target, or drop its sources before it"
        return f"{place} gives {given} that the destination lacks: {advised}"
    step, more = steps[0], len(steps) - 1
    rest = f" (and {more:,} more so)" if more else ""
    given, wanted = _named(step.takes[0]), _named(step.gives[0])
    return f"{place} gives {given} where {wanted} is wanted{rest}: change its target"


def _told_mismatched(
    plan: Plan, place: str, findings: Sequence[Finding], steps: Sequence[Step]
) -> str:
    one, more = findings[0], len(findings) - 1
    rest = f" and {more:,} more" if more else ""
    told = f"{place} gives {_named(one.key)}{rest} as {one.found}, {one.wanted} is wanted"
    if all(map(_lacks_ones, findings)):
        return f"{told}: {ONE_IS_GONE}"
    remark = next((step.remark for step in steps if step.remark), "")
    if not remark and _origin(plan, one) is None:
        remark = "change its ops or its sizes"
    return f"{told}: {remark or (SMALLER if all(map(_is_smaller, findings)) else OTHER_SIZE)}"


SMALLER = "it fills a part of the target by a slice there, as `KEY[:8]`, or all by `pad`"

ONE_IS_GONE = "a size of 1 is gone: `keepdim: true` of the op keeps it, or `reshape` makes it"

OTHER_SIZE = (
    "take a part by a slice, or drop its sources before it and `keep` or `init` what it gave"
)
"""What can be done with a tensor of another size that no op is known for."""


def _is_smaller(finding: Finding) -> bool:
    """Whether what is given would fit into what is wanted."""
    if finding.found is None or finding.wanted is None:
        return False
    one, other = finding.found.shape, finding.wanted.shape
    return len(one) == len(other) and all(a <= b for a, b in zip(one, other, strict=True))


def _lacks_ones(finding: Finding) -> bool:
    """Whether sizes of 1 are all that a shape lacks."""
    if finding.found is None or finding.wanted is None:
        return False
    shapes = (finding.found.shape, finding.wanted.shape)
    found, wanted = ([size for size in shape if size != 1] for shape in shapes)
    return found == wanted and len(shapes[0]) < len(shapes[1])


def _lines(plan: Plan, findings: Sequence[Finding], steps: Sequence[Step]) -> tuple[str, ...]:
    """The rule as it should be; none where it does more than to rename."""
    origins = {one.key: _origin(plan, one) for one in findings}
    leaves = [origins[step.takes[0]] for step in steps]
    whole = [leaf for leaf in leaves if leaf is not None]
    if not steps or len(whole) < len(leaves):
        return ()
    specs: dict[str, dict[str, TensorSpec]] = {}
    for leaf in whole:
        specs.setdefault(leaf.source, {})[leaf.key] = leaf.spec
    views = {view.alias: view for view in plan.sources}
    if not specs.keys() <= views.keys():
        return ()
    ground = Ground({one: checkpoint_of(views[one], specs[one], False) for one in specs})
    moved = [
        replace(step, sources=Grid((full_key(leaf.source, leaf.key),)))
        for step, leaf in zip(steps, whole, strict=True)
    ]
    if not all(map(ground.can_say, moved)):
        return ()
    draft, lost = draft_most(moved, Head(), ground, copies=False)
    return () if lost else rule_lines_of(draft.text)


def _origin(plan: Plan, finding: Finding) -> Leaf | None:
    """The whole tensor of a source that a rule only gives another name."""
    output = plan.outputs.get(finding.key)
    if output is None or output.ops or not isinstance(output.node, Leaf):
        return None
    return output.node


def _named(key: str) -> str:
    """A key in a sentence."""
    return f"`{cut_middle(key, LONGEST, LONGEST - TAIL, visible)}`"
