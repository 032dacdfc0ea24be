"""What a plan does, for people and machines: a plan without its graph, counted and commented.

Nothing here prints, and nothing is folded: `render/` does both.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.cutting import list_some
from ckptsurgeon.plans.account import Finding, FindingKind, Note
from ckptsurgeon.plans.addresses import alias_of
from ckptsurgeon.plans.entries import Entries
from ckptsurgeon.plans.fates import Fate, Fates, Why
from ckptsurgeon.plans.graph import Made, Operand, RuleInfo
from ckptsurgeon.plans.kinds import OutputKind
from ckptsurgeon.plans.notes import WITHOUT_VALUES
from ckptsurgeon.plans.output_files import OutputFile
from ckptsurgeon.plans.outputs import Output, Outputs, Status
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.usage import Usage, any_left_out
from ckptsurgeon.report.advice import Advice, advise
from ckptsurgeon.report.sides import Side, Tally, add_tallies, count_tensors, side_of
from ckptsurgeon.showing import Paged
from ckptsurgeon.specs import TensorSpec, plural, shapes_agree
from ckptsurgeon.version import VERSION

FROM_SOURCE = (Status.COPIED, Status.MOVED, Status.RENAMED, Status.CHANGED)
"""The statuses of output keys whose values come from a source."""


MOST_NAMED = 4
"""Outputs that the bottom line names."""

FOLDS = ("fold_batchnorm", "freeze_batchnorm")
"""The kinds of rules that take tensors of which nothing ends in the output."""


@dataclass(frozen=True, slots=True)
class Row:
    """The account of one output key. `found` is the spec of its source where it has just one.

    `sources` are tensors of the checkpoints; the alias `dst` stands for the destination's own.
    `wanted` is the destination's spec, `allowed` the kind of finding that was accepted for it.
    """

    key: str
    spec: TensorSpec
    status: Status
    sources: tuple[Operand, ...]
    found: TensorSpec | None
    ops: tuple[str, ...]
    rule: RuleInfo | None
    wanted: TensorSpec | None
    allowed: str


class Rows(Entries[Row]):
    """A row for every output of a plan, in output order."""

    def __init__(self, plan: Plan) -> None:
        self.outputs = plan.outputs
        self._specs = {view.alias: view.specs for view in plan.sources}
        if plan.destination is not None:
            self._specs[DESTINATION] = plan.destination.specs

    def __len__(self) -> int:
        return len(self.outputs)

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, self.outputs.values())

    def _row(self, output: Output) -> Row:
        sources = output.sources
        return Row(
            key=output.key,
            spec=output.spec,
            status=output.status,
            sources=sources,
            found=self.find_spec(sources),
            ops=output.ops or making(output),
            rule=output.rule,
            wanted=output.wanted,
            allowed=output.allowed,
        )

    def find_spec(self, sources: Sequence[Operand]) -> TensorSpec | None:
        """The spec of an output's source where it has just one."""
        return self.spec_of(sources[0]) if len(sources) == 1 else None

    def spec_of(self, operand: Operand) -> TensorSpec | None:
        """The spec of a checkpoint's whole tensor; None where it is not known."""
        specs = self._specs.get(operand.source)
        return specs.get(operand.key) if specs is not None else None


@dataclass(frozen=True, slots=True)
class OutputSide:
    """A file to be written, and what goes into it."""

    file: OutputFile
    tensors: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much the source gives and how much of it is used.

    `produced` of `wanted` destination keys come from a source in the right shape (both 0 without a
    destination). Of the `offered` tensors of the sources those that are `used` end in the output,
    whole or with the bytes that are told. `outside` are the tensors that the sources' roots leave
    out.
    """

    produced: int
    wanted: int
    used: Tally
    offered: Tally
    outside: Tally


Done = Literal["would be written", "made", "written"]
"""What became of the output: nothing yet, tensors in Python, or a file or a model that has it."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Report(Paged):
    """All that a plan does. `rows` are in output order, `fates` tell of every source key.

    `kinds` are those of the outputs by how they got their values, `counts` counts them; `files` are
    those to be written, `is_named` says that keys have the names of outputs in front. `rule_texts`
    are of the rule files, by the names that places have; none of a saved plan's.
    `fate_counts` and `partly` count the checkpoints' own tensors (stage 0); `partly` those of which
    a part alone ends in the output, with the bytes that don't.
    """

    sources: tuple[Side, ...]
    destination: Side | None
    rules: tuple[RuleInfo, ...]
    rows: Rows
    fates: Fates
    kinds: Mapping[Status, Sequence[OutputKind]]
    counts: Mapping[Status, Tally]
    fate_counts: Mapping[Fate, Tally]
    partly: Tally
    total: Tally
    coverage: Coverage
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    advice: Advice
    ties: Mapping[str, str]
    files: tuple[OutputSide, ...] = ()
    is_named: bool = False
    rule_texts: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    done: Done = "would be written"

    @property
    def written(self) -> bool:
        """Whether the output is in a file, or in a model."""
        return self.done == "written"

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """The findings that were not allowed."""
        return tuple(finding for finding in self.findings if not finding.allowed)

    @property
    def clean(self) -> bool:
        """Whether there was no finding, not even one that was allowed."""
        return not self.findings

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 1 where a finding is open, else 0."""
        return 1 if self.open_findings else 0

    @property
    def advice_text(self) -> str:
        """The findings that are open, folded, with what would settle them."""
        return self.call_renderer("write_advice")

    @property
    def summary(self) -> str:
        """The bottom line, which ends in what comes out."""
        return self.bottom_line

    @property
    def _held_against_nothing(self) -> str:
        """The outputs that are held against no destination, where others are."""
        bare = [one.file.alias for one in self.files if not one.file.into]
        if self.destination is None or not self.is_named or not bare:
            return ""
        names = list_some((alias or "the one without a name" for alias in bare), MOST_NAMED)
        return f"; {names} {'is' if len(bare) == 1 else 'are'} held against nothing"

    @property
    def bottom_line(self) -> str:
        """The one sentence to read where there is no time for more."""
        unsettled = self.open_findings
        if unsettled:
            they = "it is" if len(unsettled) == 1 else "they are"
            return (
                f"{plural(len(unsettled), 'finding')}: {count_kinds(unsettled)}"
                f"; nothing is written until {they} settled or allowed"
            )
        several = f" in {plural(len(self.files), 'output')}" if self.is_named else ""
        done = f"{self.total}{several} {self.done}{self._held_against_nothing}"
        without = sum(note.text == WITHOUT_VALUES for note in self.notes)
        if without:
            done = f"{self.total} fit, of which {without:,} have no values: nothing can be written"
        return (
            f"allowed: {count_kinds(self.findings)}; {done}" if self.findings else f"clean: {done}"
        )


def _count_files(plan: Plan) -> tuple[OutputSide, ...]:
    """The files with the number and the size of their tensors."""
    tensors, nbytes = Counter[str](), Counter[str]()
    for key, node in plan.outputs.nodes.items():
        alias = alias_of(key) if plan.is_named else ""
        tensors[alias] += 1
        nbytes[alias] += node.spec.nbytes
    return tuple(OutputSide(one, tensors[one.alias], nbytes[one.alias]) for one in plan.files)


def count_kinds(findings: Iterable[Finding]) -> str:
    """`2 missing, 1 mismatched, nothing moved`, in the order in which the kinds are defined."""
    counts = Counter(finding.kind for finding in findings)
    return ", ".join(
        "nothing moved" if kind is FindingKind.NOTHING else f"{counts[kind]:,} {kind.value}"
        for kind in FindingKind
        if counts[kind]
    )


def tell_nothing(findings: Sequence[Finding]) -> str:
    """`nothing of the source ends in rank0, rank1`: the outputs that findings of the kind name."""
    names = [alias_of(finding.key) for finding in findings]
    named = (name or "the one without a name" for name in names)
    there = list_some(named, MOST_NAMED) if any(names) else "the output"
    return f"nothing of the source ends in {there}"


def make_report(plan: Plan, *, done: Done = "would be written") -> Report:
    """The report of a plan, and what was done with its output."""
    outputs, kinds = plan.outputs, _sort_kinds(plan)
    counts = {status: _count_outputs(outputs, own) for status, own in kinds.items()}
    sources = tuple(map(side_of, plan.sources))
    fate_counts = _count_fates(plan)
    taken = add_tallies((fate_counts[Fate.TAKEN], fate_counts[Fate.COPIED]))
    used, partly = _count_used(plan, taken)
    outside = [one for side in sources for one in side.outside]
    return Report(
        sources=sources,
        destination=side_of(plan.destination) if plan.destination else None,
        rules=plan.rules,
        rows=Rows(plan),
        fates=plan.fates,
        kinds=kinds,
        counts=counts,
        fate_counts=fate_counts,
        partly=partly,
        total=add_tallies(counts.values()),
        coverage=Coverage(
            produced=_count_produced(plan, kinds),
            wanted=len(plan.destination.specs) if plan.destination else 0,
            used=used,
            offered=add_tallies(Tally(side.tensors, side.nbytes) for side in sources),
            outside=Tally(sum(o.tensors for o in outside), sum(o.nbytes for o in outside)),
        ),
        findings=plan.findings,
        notes=plan.notes,
        advice=advise(plan),
        ties=plan.ties,
        files=_count_files(plan),
        is_named=plan.is_named,
        rule_texts=plan.rule_texts,
        versions={"ckptsurgeon": VERSION},
        done=done,
    )


def making(output: Output) -> tuple[str, ...]:
    """How an initialised key is filled: `zeros`, `normal(std=0.02, seed=0)`."""
    node = output.node
    if not isinstance(node, Made):
        return ()
    seeded = f"(std={node.std:g}, seed={node.seed})" if node.fill == "normal" else ""
    return (f"{node.fill}{seeded}",)


def _sort_kinds(plan: Plan) -> dict[Status, list[OutputKind]]:
    """The kinds of the outputs by status, without those that open findings keep from their keys."""
    misfits = {one.key for one in plan.open_findings if one.kind is FindingKind.MISMATCHED}
    kinds: dict[Status, list[OutputKind]] = {status: [] for status in Status}
    for kind in plan.outputs.kinds:
        fitting = kind.restrict(lambda key: key not in misfits) if misfits else kind
        if fitting.keys:
            kinds[plan.outputs.first(kind).status].append(fitting)
    return kinds


def _count_outputs(outputs: Outputs, kinds: Iterable[OutputKind]) -> Tally:
    sizes = [(len(kind.keys), outputs.first(kind).spec.nbytes) for kind in kinds]
    return Tally(sum(count for count, _ in sizes), sum(count * nbytes for count, nbytes in sizes))


def _count_fates(plan: Plan) -> dict[Fate, Tally]:
    """The checkpoints' own tensors by their fates."""
    specs: dict[Fate, list[TensorSpec]] = {fate: [] for fate in Fate}
    for table in plan.fates.tables:
        for key, spec in table.specs.items() if table.stage == 0 else ():
            specs[table.claims[key].fate].append(spec)
    return {fate: count_tensors(own) for fate, own in specs.items()}


def _count_used(plan: Plan, taken: Tally) -> tuple[Tally, Tally]:
    """What of the sources ends in outputs, and the tensors of which only a part does.

    The second has the bytes that don't. All that rules take or that is copied ends there, as much
    as is `taken`, but where an output is of another shape than the destination's, where a fallback
    gives way, where a BatchNorm is folded (its counter goes nowhere), and where a later stage, a
    slice, a split or a `take` leaves something out.
    """
    outputs = plan.outputs
    misfits = {one.key for one in plan.findings if one.kind is FindingKind.MISMATCHED}
    simple = not misfits and all(table.stage == 0 for table in plan.fates.tables)
    simple = simple and not any(rule.kind in FOLDS for rule in plan.rules)
    simple = simple and not any(plan.fates.of(lambda claim: claim.why is Why.GAVE_WAY))
    if simple and not any_left_out(outputs):
        return taken, Tally()
    usage = Usage(node for key, node in outputs.nodes.items() if key not in misfits)
    partly = [leaf.spec.nbytes - used for leaf, used in usage.partly()]
    return Tally(usage.tensors, usage.nbytes), Tally(len(partly), sum(partly))


def _count_produced(plan: Plan, kinds: Mapping[Status, Sequence[OutputKind]]) -> int:
    """The destination's keys that come from a source in the right shape."""
    wanted = plan.destination.specs if plan.destination else {}
    produced = 0
    for kind in itertools.chain(*(kinds[status] for status in FROM_SOURCE)):
        spec = plan.outputs.first(kind).spec
        found = Counter(wanted[key] for key in kind.keys if key in wanted)
        produced += sum(number for one, number in found.items() if shapes_agree(one, spec))
    return produced
