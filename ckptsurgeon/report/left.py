"""What the rules of a plan leave of both sides, and rules for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents
from ckptsurgeon.drafting.steps import Degree, Step, move
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.ops.layout import Transpose
from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.fates import Fate, KeyFates, Why
from ckptsurgeon.plans.graph import Call, Leaf, Node, work_of
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import TensorSpec, UnreadableSpec
from ckptsurgeon.suggesting.folding import is_foldable
from ckptsurgeon.suggesting.known import Known
from ckptsurgeon.suggesting.matching import count_pairs
from ckptsurgeon.suggesting.squares import TURNED
from ckptsurgeon.suggesting.suggesting import suggest_rules, suggest_whole
from ckptsurgeon.suggesting.suggestion import Suggestion

MOST_KEYS = 6000
"""Keys of one side that rules are looked for within a second; for more there is `suggest`."""

MOST_PAIRS = 20_000
"""Pairs of modules that are compared within that second."""

MOST_KNOWN = 20_000
"""Keys that rules give which are heard as evidence for those that are left."""

Specs = Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class Left:
    """The keys that no rule took, and those that none gives, with all that is copied."""

    sources: Mapping[str, Checkpoint]
    destination: Checkpoint
    roots: Mapping[str, str]
    known: Known
    copies: bool
    is_whole: bool
    is_settled: bool

    @classmethod
    def of(cls, plan: Plan, aimed: set[str]) -> Left:
        """What the plan leaves but for the keys that rules were aimed at."""
        ruled = {key for key, output in plan.outputs.items() if output.rule is not None}
        wanted = plan.destination.specs if plan.destination else {}
        settled = ruled | aimed
        into = {key: spec for key, spec in wanted.items() if key not in settled}
        copies = not any(_is_held_back(table, into) for table, _ in last_tables(plan))
        whole = copies and not plan.rules and all(map(_is_as_stored, plan.sources))
        sources = {
            table.source: checkpoint_of(view, _untaken(table, plan), whole)
            for table, view in last_tables(plan)
        }
        open = [one for one in plan.open_findings if _is_of_no_rule(one) and one.key not in aimed]
        roots = plan.sources[0].options.roots if plan.sources else {}
        destination = checkpoint_of(plan.destination, into, whole)
        return cls(sources, destination, roots, _known(plan), copies, whole, not open)

    @property
    def is_too_much(self) -> bool:
        """Whether it is more than rules are looked for within a second."""
        return self._size > MOST_KEYS or self._pairs > MOST_PAIRS

    @property
    def _size(self) -> int:
        """The keys of the larger side."""
        return max(
            sum(len(one.contents.specs) for one in self.sources.values()),
            len(self.destination.contents.specs),
        )

    @property
    def _pairs(self) -> int:
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


def last_tables(plan: Plan) -> Iterator[tuple[KeyFates, SourceView]]:
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
    source = {key: spec for table, _ in last_tables(plan) for key, spec in table.specs.items()}
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


def checkpoint_of(view: SourceView | None, specs: Specs, whole: bool) -> Checkpoint:
    """The shapes alone of what is left of a checkpoint."""
    contents = Contents(specs) if view is None else replace(view.contents, specs=specs)
    path, format = (Path(view.path), view.format) if view else (Path(), "spec")
    if view is not None and not whole:
        keys = {name: key for key, name in view.names.items()}
        groups = (tuple(keys.get(one, one) for one in group) for group in view.contents.aliases)
        kept = (tuple(one for one in group if one in specs) for group in groups)
        contents = Contents(specs, tuple(group for group in kept if len(group) > 1))
    return Checkpoint(path=path, format=format, contents=contents, files=(), has_values=False)
