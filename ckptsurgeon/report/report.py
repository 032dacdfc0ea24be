"""What a plan does, for people and machines: a plan without its graph, counted and commented.

Nothing here prints, and nothing is folded: `render/` does both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.plans.account import (
    Fate,
    Fates,
    Finding,
    FindingKind,
    Note,
    Output,
    Status,
    status_of,
)
from ckptsurgeon.plans.digests import digest
from ckptsurgeon.plans.graph import Made, Operand, RuleInfo
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.report.suggestions import Suggestion, make_suggestions
from ckptsurgeon.specs import TensorSpec, human_bytes

FROM_SOURCE = (Status.COPIED, Status.RENAMED, Status.CHANGED)
"""The statuses of output keys whose values come from a source."""


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


class Rows(Sequence[Row]):
    """The rows of some outputs of a plan, each made when it is looked at: there may be millions."""

    def __init__(self, plan: Plan, outputs: Sequence[Output]) -> None:
        self._plan, self._outputs = plan, outputs
        self._specs = {view.alias: view.specs for view in plan.sources}
        if plan.destination is not None:
            self._specs[DESTINATION] = plan.destination.specs

    @property
    def outputs(self) -> Sequence[Output]:
        """The outputs that the rows tell of."""
        return self._outputs

    def found(self, output: Output) -> TensorSpec | None:
        """The spec of an output's source where it has just one."""
        if len(output.sources) != 1:
            return None
        operand = output.sources[0]
        specs = self._specs.get(operand.source)
        return specs.get(operand.key) if specs is not None else None

    def of(self, status: Status) -> Rows:
        """Those of one status."""
        return Rows(self._plan, [one for one in self._outputs if one.status is status])

    def __len__(self) -> int:
        return len(self._outputs)

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, self._outputs)

    @overload
    def __getitem__(self, at: int) -> Row: ...

    @overload
    def __getitem__(self, at: slice) -> Rows: ...

    def __getitem__(self, at: int | slice) -> Row | Rows:
        if isinstance(at, slice):
            return Rows(self._plan, self._outputs[at])
        return self._row(self._outputs[at])

    def _row(self, output: Output) -> Row:
        return Row(
            key=output.key,
            spec=output.spec,
            status=output.status,
            sources=output.sources,
            found=self.found(output),
            ops=output.ops or making(output),
            rule=output.rule,
            wanted=output.wanted,
            allowed=output.allowed,
        )


@dataclass(frozen=True, slots=True)
class Side:
    """A checkpoint as a report names it; `root` is the wrapper opened, of the `wrappers`."""

    alias: str
    path: str
    format: str
    tensors: int
    nbytes: int
    root: str
    wrappers: tuple[str, ...]
    has_values: bool
    specs: Mapping[str, TensorSpec]

    @property
    def digest(self) -> str:
        """SHA-256 over its keys and specs; worked out each time."""
        return digest(self.specs)


@dataclass(frozen=True, slots=True)
class Tally:
    """A number of tensors and their bytes."""

    tensors: int = 0
    nbytes: int = 0

    def __str__(self) -> str:
        return f"{plural(self.tensors, 'tensor')}, {human_bytes(self.nbytes)}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much the source gives and how much of it is used.

    `produced` of `wanted` destination keys come from a source in the right shape (both 0 without a
    destination);
    `consumed` of `offered` bytes of the sources are taken by rules or copied.
    """

    produced: int
    wanted: int
    consumed: int
    offered: int


@dataclass(frozen=True, slots=True)
class Report:
    """All that a plan does. `rows` are in output order, `fates` tell of every source key.

    `fate_counts` and `partly` count the checkpoints' own tensors (stage 0); `partly` those that
    slices took in part, with the bytes that nobody took.
    """

    sources: tuple[Side, ...]
    destination: Side | None
    rules: tuple[RuleInfo, ...]
    rows: Rows
    fates: Fates
    counts: Mapping[Status, Tally]
    fate_counts: Mapping[Fate, Tally]
    partly: Tally
    total: Tally
    coverage: Coverage
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    suggestions: tuple[Suggestion, ...]
    ties: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """The findings that were not allowed."""
        return tuple(finding for finding in self.findings if not finding.allowed)

    @property
    def clean(self) -> bool:
        return not self.open_findings

    @property
    def bottom_line(self) -> str:
        """The one sentence to read where there is no time for more."""
        unsettled = self.open_findings
        if unsettled:
            return (
                f"{plural(len(unsettled), 'finding')}: {count_kinds(unsettled)}"
                "; nothing is written until they are settled or allowed"
            )
        allowed = f" ({count_kinds(self.findings)} allowed)" if self.findings else ""
        return f"clean{allowed}: {self.total} would be written"


def plural(number: int, noun: str) -> str:
    """`1 tensor`, `1,000 tensors`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def count_kinds(findings: Iterable[Finding]) -> str:
    """`2 missing, 1 mismatched`, in the order in which the kinds are defined."""
    counts = Counter(finding.kind for finding in findings)
    return ", ".join(f"{counts[kind]:,} {kind.value}" for kind in FindingKind if counts[kind])


def make_report(plan: Plan, *, versions: Mapping[str, str] | None = None) -> Report:
    """The report of a plan; `versions` names the software, such as `{"ckptsurgeon": "0.1.0"}`."""
    rows = Rows(plan, list(plan.outputs.values()))
    counts = _status_counts(plan)
    fate_counts, partly = _fate_counts(plan)
    return Report(
        sources=tuple(map(_side, plan.sources)),
        destination=_side(plan.destination) if plan.destination else None,
        rules=plan.rules,
        rows=rows,
        fates=plan.fates,
        counts=counts,
        fate_counts=fate_counts,
        partly=partly,
        total=Tally(len(rows), sum(tally.nbytes for tally in counts.values())),
        coverage=_coverage(plan, fate_counts, partly),
        findings=plan.findings,
        notes=plan.notes,
        suggestions=make_suggestions(plan),
        ties=plan.ties,
        versions=dict(versions or {}),
    )


def making(output: Output) -> tuple[str, ...]:
    """How an initialised key is filled: `zeros`, `normal(std=0.02, seed=0)`."""
    node = output.node
    if not isinstance(node, Made):
        return ()
    seeded = f"(std={node.std:g}, seed={node.seed})" if node.fill == "normal" else ""
    return (f"{node.fill}{seeded}",)


def _side(view: SourceView) -> Side:
    return Side(
        alias=view.alias,
        path=view.path,
        format=view.format,
        tensors=len(view.specs),
        nbytes=nbytes_of(view.specs.values()),
        root=view.contents.root,
        wrappers=view.contents.wrappers,
        has_values=view.has_values,
        specs=view.contents.specs,
    )


def nbytes_of(specs: Iterable[TensorSpec]) -> int:
    """The bytes of tensors together; the size of a spec that many share is worked out once."""
    given = list(specs)
    known = {id(spec): spec for spec in given}
    return sum(known[at].nbytes * number for at, number in Counter(map(id, given)).items())


def _status_counts(plan: Plan) -> dict[Status, Tally]:
    specs: dict[int, list[TensorSpec]] = {id(status): [] for status in Status}
    for key, node in plan.outputs.nodes.items():
        specs[id(status_of(node, plan.outputs.rules[key]))].append(node.spec)
    found = ((status, specs[id(status)]) for status in Status)
    return {status: Tally(len(own), nbytes_of(own)) for status, own in found}


def _fate_counts(plan: Plan) -> tuple[dict[Fate, Tally], Tally]:
    """The checkpoints' own tensors by their fates, and what of them slices left or dropped."""
    specs: dict[int, list[TensorSpec]] = {id(fate): [] for fate in Fate}
    partly: list[int] = []
    for table in plan.fates.tables:
        for key, spec in table.specs.items() if table.stage == 0 else ():
            claim = table.claims[key]
            specs[id(claim.fate)].append(spec)
            if claim.fate is Fate.TAKEN and not claim.is_plain:
                unused = round(spec.nbytes * (claim.untaken + claim.dropped))
                partly += [unused] if unused else []
    found = ((fate, specs[id(fate)]) for fate in Fate)
    counts = {fate: Tally(len(own), nbytes_of(own)) for fate, own in found}
    return counts, Tally(len(partly), sum(partly))


def _coverage(plan: Plan, fates: Mapping[Fate, Tally], partly: Tally) -> Coverage:
    wanted = plan.destination.specs if plan.destination else {}
    taken = fates[Fate.TAKEN].nbytes + fates[Fate.COPIED].nbytes
    rules = plan.outputs.rules
    return Coverage(
        produced=sum(
            key in wanted
            and node.spec.shape == wanted[key].shape
            and status_of(node, rules[key]) in FROM_SOURCE
            for key, node in (plan.outputs.nodes.items() if wanted else ())
        ),
        wanted=len(wanted),
        consumed=taken - partly.nbytes,
        offered=sum(nbytes_of(view.specs.values()) for view in plan.sources),
    )
