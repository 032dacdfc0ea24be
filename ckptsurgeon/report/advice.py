"""What would settle the findings of a plan: words on its rules, and rules for what they leave."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, starmap
from pathlib import Path

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents
from ckptsurgeon.cutting import cut_middle
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.drafting import draft_most
from ckptsurgeon.drafting.files import Head, rule_lines_of
from ckptsurgeon.drafting.steps import Degree, Grid, Step, given_by, move
from ckptsurgeon.errors import nearest
from ckptsurgeon.keys import without_integers
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.ops.layout import Transpose
from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.fates import Fate, KeyFates, Why
from ckptsurgeon.plans.graph import Call, Leaf, Node, RuleInfo, full_key, work_of
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.report.slips import find_slips
from ckptsurgeon.specs import TensorSpec, UnreadableSpec, plural
from ckptsurgeon.suggesting.finding import Findings, find_steps
from ckptsurgeon.suggesting.folding import is_foldable
from ckptsurgeon.suggesting.known import Known
from ckptsurgeon.suggesting.matching import count_pairs
from ckptsurgeon.suggesting.squares import TURNED
from ckptsurgeon.suggesting.suggesting import suggest_rules, suggest_whole
from ckptsurgeon.suggesting.suggestion import Suggestion
from ckptsurgeon.visible import visible

MOST_KEYS = 6000
"""Keys of one side that rules are looked for within a second; for more there is `suggest`."""

MOST_PAIRS = 20_000
"""Pairs of modules that are compared within that second."""

MOST_KNOWN = 20_000
"""Keys that rules give which are heard as evidence for those that are left."""

MOST_RULES = 6
"""Rules that something is said of; nobody reads more."""

LONGEST, TAIL = 80, 25
"""Characters of a key that a sentence names, and those of them behind its middle."""

MOST_GIVEN = 1000
"""Keys that a rule gives wrongly, for which the right ones are looked for."""

Specs = Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence on a rule that was given, and lines that may stand where it does."""

    sentence: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """Remarks on the rules that were given, and a rule file for what they leave.

    There is no suggestion where they leave nothing; where they leave `too_much`, nothing was looked
    for. `copies` says that keys that no rule takes keep their names there.
    """

    remarks: tuple[Remark, ...] = ()
    suggestion: Suggestion | None = None
    too_much: bool = False
    copies: bool = True

    def __bool__(self) -> bool:
        return bool(self.remarks or self.suggestion or self.too_much)


def advise(plan: Plan) -> Advice:
    """What would settle the findings of a plan that are open."""
    if not plan.open_findings:
        return Advice()
    aimed: set[str] = set()
    remarks = []
    for findings in islice(_by_rule(plan), MOST_RULES):
        remark, right = _remark(plan, findings)
        remarks.append(remark)
        aimed |= right
    remarks += _told_taken(plan)
    left = _Left.of(plan, aimed)
    if left.is_settled:
        return Advice(tuple(remarks))
    if left.size > MOST_KEYS or left.pairs > MOST_PAIRS:
        return Advice(tuple(remarks), too_much=True)
    return Advice(tuple(remarks), left.suggest(), copies=left.copies)


# --- what the rules leave -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Left:
    """The keys that no rule took, and those that none gives, with all that is copied."""

    sources: Mapping[str, Checkpoint]
    destination: Checkpoint
    roots: Mapping[str, str]
    known: Known
    copies: bool
    is_whole: bool
    is_settled: bool

    @classmethod
    def of(cls, plan: Plan, aimed: set[str]) -> _Left:
        """What the plan leaves but for the keys that rules were aimed at."""
        ruled = {key for key, output in plan.outputs.items() if output.rule is not None}
        wanted = plan.destination.specs if plan.destination else {}
        settled = ruled | aimed
        into = {key: spec for key, spec in wanted.items() if key not in settled}
        copies = not any(_is_held_back(table, into) for table, _ in _last_tables(plan))
        whole = copies and not plan.rules and all(map(_is_as_stored, plan.sources))
        sources = {
            table.source: _checkpoint(view, _untaken(table, plan), whole)
            for table, view in _last_tables(plan)
        }
        open = [one for one in plan.open_findings if _is_of_no_rule(one) and one.key not in aimed]
        roots = plan.sources[0].options.roots if plan.sources else {}
        destination = _checkpoint(plan.destination, into, whole)
        return cls(sources, destination, roots, _known(plan), copies, whole, not open)

    @property
    def size(self) -> int:
        """The keys of the larger side."""
        return max(
            sum(len(one.contents.specs) for one in self.sources.values()),
            len(self.destination.contents.specs),
        )

    @property
    def pairs(self) -> int:
        """The pairs of modules that would be compared."""
        offered = {key: spec for one in self.sources.values() for key, spec in _read(one).items()}
        return count_pairs(offered, _read(self.destination))

    def suggest(self) -> Suggestion:
        """The rules for all of it; with whole checkpoints also what stands beside rules."""
        if self.is_whole:
            return suggest_whole(self.sources, self.destination, self.roots, least="all")
        return suggest_rules(
            self.sources,
            self.destination,
            SourceOptions(),
            "all",
            copies=self.copies,
            known=self.known,
        )


OF_NO_KEY = (FindingKind.NOTHING, FindingKind.UNREADABLE)
"""Findings that no rule settles by giving a key."""


def _read(checkpoint: Checkpoint) -> Specs:
    """The keys that can be folded."""
    return {key: spec for key, spec in checkpoint.contents.specs.items() if is_foldable(key)}


def _is_of_no_rule(finding: Finding) -> bool:
    """Whether it is for want of a rule that may be found."""
    lost = isinstance(finding.wanted, UnreadableSpec)
    return finding.kind not in OF_NO_KEY and finding.rule is None and not lost


def _is_as_stored(view: SourceView) -> bool:
    """Whether rules see the keys that stand in the file."""
    return view.options == SourceOptions(view.options.roots)


def _last_tables(plan: Plan) -> Iterator[tuple[KeyFates, SourceView]]:
    """What the last rule file reads, with the checkpoints that it comes from."""
    last = max((table.stage for table in plan.fates.tables), default=0)
    views = {view.alias: view for view in plan.sources}
    for table in plan.fates.tables:
        if table.stage == last:
            yield table, views.get(table.source, plan.sources[0])


def _untaken(table: KeyFates, plan: Plan) -> Specs:
    """The keys that a further rule can take; without a destination, those that go nowhere."""
    kept = {Fate.UNUSED, Fate.UNREADABLE, *((Fate.COPIED,) if plan.destination else ())}
    return {
        key: spec
        for key, spec in table.specs.items()
        if (claim := table.claims[key]).fate in kept or claim.why is Why.UNMATCHED
    }


def _known(plan: Plan) -> Known:
    """What the plan's rules give, of whole checkpoints."""
    source = {key: spec for table, _ in _last_tables(plan) for key, spec in table.specs.items()}
    target = plan.destination.specs if plan.destination else {}
    outputs = islice(plan.outputs.items(), MOST_KNOWN)
    steps = (_step_of(key, output.node) for key, output in outputs)
    return Known([step for step in steps if step is not None], source, target)


def _step_of(key: str, node: Node) -> Step | None:
    """The step of an output that is a source's tensor, as it is or transposed."""
    work = work_of(node)
    turned = isinstance(work, Call) and isinstance(work.op, Transpose) and work.op.dims is None
    leaf = work_of(work.inputs[0]) if turned and isinstance(work, Call) else work
    if not isinstance(leaf, Leaf) or leaf.source == DESTINATION:
        return None
    step = move(leaf.key, key, Degree.SURE)
    return replace(step, calls=(TURNED,)) if turned else step


def _is_held_back(table: KeyFates, wanted: Specs) -> bool:
    """Whether keys that no rule takes don't keep their names: one that is wanted is left out."""
    return not table.source and any(
        claim.fate is Fate.UNUSED or claim.why is Why.UNMATCHED
        for key, claim in table.claims.items()
        if key in wanted
    )


def _checkpoint(view: SourceView | None, specs: Specs, whole: bool) -> Checkpoint:
    """The shapes alone of what is left of a checkpoint."""
    contents = Contents(specs) if view is None else replace(view.contents, specs=specs)
    path, format = (Path(view.path), view.format) if view else (Path(), "spec")
    if view is not None and not whole:
        keys = {name: key for key, name in view.names.items()}
        groups = (tuple(keys.get(one, one) for one in group) for group in view.contents.aliases)
        kept = (tuple(one for one in group if one in specs) for group in groups)
        contents = Contents(specs, tuple(group for group in kept if len(group) > 1))
    return Checkpoint(path=path, format=format, contents=contents, files=(), has_values=False)


# --- rules that give what isn't wanted ------------------------------------------------------------


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
    for table, _ in _last_tables(plan):
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
    return f"{told}: {remark or OTHER_SIZE}"


ONE_IS_GONE = "a size of 1 is gone: `keepdim: true` of the op keeps it, or `reshape` makes it"

OTHER_SIZE = (
    "take a part by a slice, or drop its sources before it and `keep` or `init` what it gave"
)
"""What can be done with a tensor of another size that no op is known for."""


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
    ground = Ground({one: _checkpoint(views[one], specs[one], False) for one in specs})
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
