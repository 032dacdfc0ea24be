"""What suggestions are, and what they are found from: the findings that are open and the keys."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.plans.graph import Leaf, RuleInfo
from ckptsurgeon.plans.outputs import Output
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.report.suggestions.writing import quoted
from ckptsurgeon.specs import TensorSpec, UnreadableSpec

Specs = Mapping[str, TensorSpec]


class Degree(Enum):
    """How far a suggestion can be trusted: only what is sure is a rule when it is pasted."""

    SURE = "sure"
    """Names, shapes and structure leave one reading."""

    LIKELY = "likely"
    """Names or shapes allow it, and don't prove it; or it takes a part, or computes."""

    OPEN = "open"
    """It would lose trained weights, or leave keys untrained: somebody has to look first."""


MARKS = {Degree.SURE: "", Degree.LIKELY: "# CHECK ", Degree.OPEN: "# "}
"""What stands in front of each line, so that YAML takes it for a comment."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A sentence, and lines for a rule file ("" where words must do).

    Both are safe on a terminal: what is not printable is escaped as YAML does.
    """

    sentence: str
    lines: str = ""
    degree: Degree = Degree.SURE

    @property
    def text(self) -> str:
        """The lines as they can be pasted: as comments, where they aren't sure."""
        mark = MARKS[self.degree]
        return "\n".join(mark + line for line in self.lines.splitlines())

    @property
    def is_rule(self) -> bool:
        """Whether it stands below `rules:` in a file; else it stands beside that."""
        return not self.lines.startswith("source:")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A destination key that is given another shape.

    `origin` is the source key that gives it whole, None where it is made in another way; `rule`
    gave it (None: copied, or a suggestion's doing). `degree` says how sure it is that the two
    belong together.
    """

    key: str
    found: TensorSpec
    wanted: TensorSpec
    alias: str = ""
    origin: str | None = None
    rule: RuleInfo | None = None
    degree: Degree = Degree.SURE


@dataclass(frozen=True, slots=True)
class Open:
    """What is still to be settled. `spare` are the unused keys of each source."""

    missing: Specs
    spare: Mapping[str, Specs]
    mismatched: tuple[Mismatch, ...]

    def without(self, missing: Iterable[str], alias: str, spare: Iterable[str]) -> Open:
        """The same without these keys."""
        gone, used = set(missing), set(spare)
        left = {k: s for k, s in self.spare.get(alias, {}).items() if k not in used}
        return replace(
            self,
            missing={k: s for k, s in self.missing.items() if k not in gone},
            spare={**self.spare, alias: left},
        )


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys that patterns may match: of the destination, and of each source by alias.

    A source key's value says whether a rule took it already. `shared` are those, by alias, of which
    another key has the storage that ends in the output.
    """

    destination: Specs
    has_values: bool
    sources: Mapping[str, Mapping[str, bool]]
    shared: Mapping[str, Collection[str]]
    staged: bool

    @property
    def copied(self) -> Iterable[str]:
        """The destination's keys that the unnamed source has, and no rule took."""
        return [key for key in self.untaken("") if key in self.destination]

    def untaken(self, alias: str) -> Iterable[str]:
        """The source's keys that no rule took: a new rule at the end can take just these."""
        return [key for key, taken in self.sources.get(alias, {}).items() if not taken]


def read_open(plan: Plan) -> Open:
    """What the plan's open findings leave to be settled."""
    missing: dict[str, TensorSpec] = {}
    spare: dict[str, dict[str, TensorSpec]] = {}
    mismatched = []
    for finding in plan.open_findings:
        if finding.kind is FindingKind.MISSING and finding.wanted:
            missing[finding.key] = finding.wanted
        elif finding.kind is FindingKind.MISMATCHED and finding.found and finding.wanted:
            if isinstance(finding.wanted, UnreadableSpec):
                continue  # neither kept nor filled in part
            mismatched.append(_mismatch(finding, plan.outputs.get(finding.key)))
        elif finding.found and _is_spare(finding):
            spare.setdefault(finding.source, {})[finding.key] = finding.found
    return Open(missing, spare, tuple(mismatched))


def _is_spare(finding: Finding) -> bool:
    """Whether a rule could take the key: no rule takes what can't be read."""
    copied = finding.kind is FindingKind.UNEXPECTED and finding.rule is None
    return copied or finding.kind is FindingKind.UNUSED


def _mismatch(finding: Finding, output: Output | None) -> Mismatch:
    if finding.found is None or finding.wanted is None:
        raise ValueError(f"a mismatched finding without its specs: {finding.key}")
    whole = len(finding.sources) == 1 and finding.sources[0].index is None
    if output is not None and output.ops:
        whole = False
    return Mismatch(
        key=finding.key,
        found=finding.found,
        wanted=finding.wanted,
        alias=finding.sources[0].source if whole else "",
        origin=finding.sources[0].key if whole else None,
        rule=finding.rule,
    )


def read_keys(plan: Plan) -> Keys:
    """The keys of the plan's checkpoints, and which of them rules took."""
    sources: dict[str, dict[str, bool]] = {view.alias: {} for view in plan.sources}
    for fate in plan.fates:
        taken = fate.fate in (Fate.TAKEN, Fate.DROPPED)
        keys = sources.setdefault(fate.source, {})
        keys[fate.key] = keys.get(fate.key, False) or taken
    destination = plan.destination
    return Keys(
        destination=destination.specs if destination else {},
        has_values=destination is not None and destination.has_values,
        sources=sources,
        shared={view.alias: _shared_keys(view, plan) for view in plan.sources},
        staged=any(fate.stage for fate in plan.fates),
    )


def _shared_keys(view: SourceView, plan: Plan) -> frozenset[str]:
    """Keys that share a storage with one that is an output as it is."""
    if not view.contents.aliases:
        return frozenset()
    leaves = (node for node in plan.outputs.nodes.values() if isinstance(node, Leaf))
    moved = {leaf.name for leaf in leaves if leaf.source == view.alias}
    keys = {name: key for key, name in view.names.items()}
    groups = (group for group in view.contents.aliases if not moved.isdisjoint(group))
    return frozenset(keys[name] for group in groups for name in group if name in keys)


def placement(rule: RuleInfo | None, number: int) -> str:
    """Where lines for that many keys belong where a rule gives them now; "" where none does."""
    if rule is None:
        return ""
    where = "in place of" if rule.steps <= number else "above"
    return f"; {where} {quoted(rule.place.file_line)}"
