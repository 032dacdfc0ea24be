"""The plan put together: what the stages gave, with files, ties, findings and notes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.errors import PlanError
from ckptsurgeon.planner.aliases import misnamed_outputs
from ckptsurgeon.planner.findings import Account
from ckptsurgeon.planner.nesting import front_notes
from ckptsurgeon.planner.output_files import (
    clashing_names,
    file_problems,
    output_files,
    separators_of,
)
from ckptsurgeon.planner.stage.production import Given
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.plans.account import CheckedTie, FindingKind, Note
from ckptsurgeon.plans.addresses import alias_of
from ckptsurgeon.plans.fates import Fates
from ckptsurgeon.plans.graph import Node, RuleInfo
from ckptsurgeon.plans.layers import list_notes
from ckptsurgeon.plans.leftovers import Leftovers, fold_notes
from ckptsurgeon.plans.notes import (
    config_notes,
    left_out_notes,
    named_notes,
    output_notes,
    tie_notes,
    unique_notes,
)
from ckptsurgeon.plans.output_files import OutputFile
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.plans.plan import Plan, name_outputs
from ckptsurgeon.plans.scales import scale_notes
from ckptsurgeon.plans.steps import Batch, Steps
from ckptsurgeon.plans.ties import (
    Storages,
    Ties,
    broken_ties,
    carried_ties,
    earlier_ties,
    parted_ties,
    template_ties,
    united,
)
from ckptsurgeon.plans.views import SourceView


@dataclass(frozen=True, slots=True)
class Staged:
    """What the stages gave, and what it is held against.

    `last` is the run of the last one, `given` its tensors in output order, `ties` those of its
    rules; `tied` are tensors that rules of any stage without a destination tied. `sources` are by
    alias, `held` the checkpoints of the destination by the aliases of outputs; `allow` are the
    kinds of finding that are accepted, `rule_texts` what stands in the rule files.
    """

    last: StageRun
    given: Given
    ties: Ties
    tied: Sequence[tuple[Node, Node, RuleInfo]]
    fates: Fates
    rules: tuple[RuleInfo, ...]
    batches: Sequence[Batch]
    notes: Sequence[Note]
    sources: Mapping[str, Checkpoint]
    held: Mapping[str, Checkpoint]
    allow: Collection[str]
    rule_texts: Mapping[str, str]

    @property
    def views(self) -> tuple[SourceView, ...]:
        """The sources as the rules see them."""
        return self.last.views

    @property
    def destination(self) -> SourceView | None:
        """The destination as the rules see it."""
        return self.last.destination

    @property
    def is_named(self) -> bool:
        """Whether outputs have names, and so keys are addresses."""
        return self.last.compiled.is_named


def assemble(staged: Staged) -> Plan:
    """The plan of what the stages gave; raises PlanError for names and files that can't be."""
    last, is_named = staged.last, staged.is_named
    account = Account(staged.destination, staged.allow, last.is_held)
    outputs = _named_outputs(staged, account)
    files = output_files(last, outputs, staged.sources, staged.held)
    last.problems.take(clashing_names(last, outputs))
    last.problems.take(file_problems(last, files, outputs))
    account.unused(staged.fates)
    account.unreadable(staged.fates)
    account.nothing(outputs, [file.alias for file in files] if is_named else ())
    last.problems.raise_if_any(PlanError)
    tied = _tied(staged, outputs)
    return Plan(
        sources=staged.views,
        destination=staged.destination,
        outputs=outputs,
        steps=Steps(staged.batches),
        fates=staged.fates,
        rules=staged.rules,
        findings=tuple(account.findings),
        notes=unique_notes(_notes(staged, account, outputs, files, tied)),
        ties=tied.leaders,
        checked_ties=tied.checked,
        separator=last.compiled.stage.output.separator,
        files=files,
        is_named=is_named,
        rule_texts=staged.rule_texts,
    )


def _named_outputs(staged: Staged, account: Account) -> Outputs:
    """The outputs with the names that they have in their files."""
    separators = separators_of(staged.last, staged.given)
    name_of = name_outputs(staged.destination, separators, is_named=staged.is_named)
    return account.outputs(staged.given, name_of)


class _Tied(NamedTuple):
    """Each tied output with its leader, the ties to be checked, and what is said of broken ones."""

    leaders: dict[str, str]
    checked: tuple[CheckedTie, ...]
    broken: tuple[Note, ...]


def _tied(staged: Staged, outputs: Outputs) -> _Tied:
    """The ties of sources, of the destination and of rules that the outputs keep."""
    views, destination, is_named = staged.views, staged.destination, staged.is_named
    storages = Storages(views if destination is None else (*views, destination))
    ruled = {key: tie for key, tie in staged.ties.items() if {key, tie[0]} <= outputs.keys()}
    ruled |= earlier_ties(outputs, staged.tied, is_named=is_named)
    pairs = (
        *carried_ties(outputs, storages, is_named=is_named).items(),
        *(template_ties(outputs, destination).items() if destination else ()),
        *((key, leader) for key, (leader, _) in ruled.items()),
    )
    leaders = united(pairs, outputs)
    broken = broken_ties(outputs, leaders, views, destination, storages)
    return _Tied(leaders, tuple(_to_check(ruled, outputs, storages)), tuple(broken))


def _to_check(ties: Ties, outputs: Outputs, storages: Storages) -> Iterator[CheckedTie]:
    """Ties of tensors that were made apart, and so may differ."""
    for key, (leader, rule) in ties.items():
        if storages.of(outputs.nodes[key]) != storages.of(outputs.nodes[leader]):
            yield CheckedTie(key, leader, rule)


def _notes(
    staged: Staged,
    account: Account,
    outputs: Outputs,
    files: Sequence[OutputFile],
    tied: _Tied,
) -> Iterator[Note]:
    """What is to be said of the plan, the notes of the stages first."""
    last, destination = staged.last, staged.destination
    yield from staged.notes
    yield from front_notes([run.compiled.stage for run in (*last.earlier, last)], files)
    if staged.is_named:
        yield from named_notes(files)
        missing = (one.key for one in account.findings if one.kind is FindingKind.MISSING)
        lacking = list(dict.fromkeys(filter(None, map(alias_of, missing))))
        yield from misnamed_outputs(last.held, dict.fromkeys(map(alias_of, outputs)), lacking)
        yield from parted_ties(outputs, staged.views)
    yield from config_notes(last.surroundings.config, last.surroundings.reads)
    yield from account.notes
    yield from left_out_notes(outputs, staged.fates)
    yield from output_notes(outputs, destination)
    yield from tie_notes(tied.leaders)
    yield from tied.broken
    left = Leftovers.of(staged.fates, outputs, account.findings)
    sources = {view.alias: view for view in staged.views}
    yield from fold_notes(left, outputs, sources)
    yield from scale_notes(left, sources)
    yield from list_notes(left, outputs, sources, destination)
