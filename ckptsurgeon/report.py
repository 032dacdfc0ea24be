"""What a plan does, for people and machines: a plan without its graph, counted and commented.

Nothing here prints, and nothing is folded: `render/` does both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from ckptsurgeon.planner.model import (
    DESTINATION,
    Fate,
    Finding,
    FindingKind,
    Made,
    Note,
    Operand,
    Output,
    Plan,
    RuleInfo,
    SourceFate,
    SourceView,
    Status,
)
from ckptsurgeon.specs import TensorSpec, human_bytes
from ckptsurgeon.suggestions import Suggestion, make_suggestions

FROM_SOURCE = (Status.COPIED, Status.RENAMED, Status.CHANGED)
"""The statuses of output keys whose values come from a source."""

T = TypeVar("T")


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
    digest: str


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
    rows: tuple[Row, ...]
    fates: tuple[SourceFate, ...]
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
    rows = _rows(plan)
    own = [fate for fate in plan.fates if fate.stage == 0]
    parts = [fate for fate in own if fate.untaken > 0]
    counts = _tallies(rows, lambda row: row.status, lambda row: row.spec.nbytes)
    return Report(
        sources=tuple(map(_side, plan.sources)),
        destination=_side(plan.destination) if plan.destination else None,
        rules=plan.rules,
        rows=rows,
        fates=plan.fates,
        counts={status: counts.get(status, Tally()) for status in Status},
        fate_counts=_fate_counts(own),
        partly=Tally(len(parts), sum(_untaken_bytes(fate) for fate in parts)),
        total=Tally(len(rows), sum(row.spec.nbytes for row in rows)),
        coverage=_coverage(plan, own),
        findings=plan.findings,
        notes=plan.notes,
        suggestions=make_suggestions(plan),
        ties=plan.ties,
        versions=dict(versions or {}),
    )


def _rows(plan: Plan) -> tuple[Row, ...]:
    specs: dict[str, Mapping[str, TensorSpec]] = {view.alias: view.specs for view in plan.sources}
    if plan.destination:
        specs[DESTINATION] = plan.destination.specs
    return tuple(_row(output, specs) for output in plan.outputs.values())


def _row(output: Output, specs: Mapping[str, Mapping[str, TensorSpec]]) -> Row:
    found = None
    if len(output.sources) == 1:
        operand = output.sources[0]
        found = specs.get(operand.source, {}).get(operand.key)
    return Row(
        key=output.key,
        spec=output.spec,
        status=output.status,
        sources=output.sources,
        found=found,
        ops=output.ops or _making(output),
        rule=output.rule,
        wanted=output.wanted,
        allowed=output.allowed,
    )


def _making(output: Output) -> tuple[str, ...]:
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
        nbytes=sum(spec.nbytes for spec in view.specs.values()),
        root=view.contents.root,
        wrappers=view.contents.wrappers,
        has_values=view.has_values,
        digest=view.digest,
    )


K = TypeVar("K")


def _tallies(
    items: Iterable[T], kind: Callable[[T], K], nbytes: Callable[[T], int]
) -> dict[K, Tally]:
    tensors: Counter[K] = Counter()
    sizes: Counter[K] = Counter()
    for item in items:
        tensors[kind(item)] += 1
        sizes[kind(item)] += nbytes(item)
    return {one: Tally(number, sizes[one]) for one, number in tensors.items()}


def _fate_counts(fates: Iterable[SourceFate]) -> dict[Fate, Tally]:
    counts = _tallies(fates, lambda fate: fate.fate, lambda fate: fate.spec.nbytes)
    return {fate: counts.get(fate, Tally()) for fate in Fate}


def _untaken_bytes(fate: SourceFate) -> int:
    return round(fate.spec.nbytes * fate.untaken)


def _fits(output: Output, wanted: TensorSpec | None) -> bool:
    return wanted is not None and output.spec.shape == wanted.shape


def _coverage(plan: Plan, own: Iterable[SourceFate]) -> Coverage:
    wanted = plan.destination.specs if plan.destination else {}
    return Coverage(
        produced=sum(
            output.status in FROM_SOURCE and _fits(output, wanted.get(output.key))
            for output in plan.outputs.values()
        ),
        wanted=len(wanted),
        consumed=sum(
            fate.spec.nbytes - _untaken_bytes(fate)
            for fate in own
            if fate.fate in (Fate.TAKEN, Fate.COPIED)
        ),
        offered=sum(spec.nbytes for view in plan.sources for spec in view.specs.values()),
    )
