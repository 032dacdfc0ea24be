"""The last stage held against the destination: what is missing, unexpected, unused, mismatched."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.planner.stage.production import Origins
from ckptsurgeon.planner.stage.tables import Origin
from ckptsurgeon.plans.account import (
    Fate,
    Finding,
    FindingKind,
    Note,
    Operand,
    Output,
    SourceFate,
    Status,
    status_of,
)
from ckptsurgeon.plans.graph import Leaf
from ckptsurgeon.plans.logs import remarkable
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import TensorSpec


class Account:
    """Outputs, findings and notes of a result, with or without a destination."""

    def __init__(
        self, destination: SourceView | None, allow: Collection[str], problems: Problems
    ) -> None:
        self._destination = destination
        self._allow = frozenset(allow)
        self._problems = problems
        self.findings: list[Finding] = []
        self.notes: list[Note] = []

    def outputs(self, origins: Origins) -> dict[str, Output]:
        """The result's keys in output order: the destination's, else the source's."""
        if self._destination is None:
            return {
                key: _whole(key, origins, None) or self._output(key, origins[key], None)
                for key in origins
            }
        wanted = self._destination.specs
        outputs: dict[str, Output] = {}
        for key, spec in wanted.items():
            if (whole := _whole(key, origins, spec)) is not None:
                outputs[key] = whole
            elif key in origins:
                outputs[key] = self._fitted(key, origins[key], spec)
            elif (output := self._missing(key, spec)) is not None:
                outputs[key] = output
        for key in origins:
            if key not in wanted:
                outputs[key] = self._unexpected(key, origins[key])
        return outputs

    def _allowed(self, kind: FindingKind) -> bool:
        return kind.value in self._allow

    def _fitted(self, key: str, origin: Origin, wanted: TensorSpec) -> Output:
        output = self._output(key, origin, wanted)
        if output.spec.shape != wanted.shape:
            return self._mismatched(output, wanted)
        if output.spec.dtype != wanted.dtype:
            text = f"{output.spec.dtype} where the destination has {wanted.dtype}"
            self.notes.append(Note("dtype", text, key, origin.rule))
        return output

    def _mismatched(self, output: Output, wanted: TensorSpec) -> Output:
        kind = FindingKind.MISMATCHED
        self.findings.append(
            Finding(
                kind,
                output.key,
                found=output.spec,
                wanted=wanted,
                rule=output.rule,
                sources=output.sources,
                allowed=self._allowed(kind),
            )
        )
        return self._kept(output.key, wanted, kind) if self._allowed(kind) else output

    def _missing(self, key: str, wanted: TensorSpec) -> Output | None:
        kind = FindingKind.MISSING
        self.findings.append(Finding(kind, key, wanted=wanted, allowed=self._allowed(kind)))
        return self._kept(key, wanted, kind) if self._allowed(kind) else None

    def _kept(self, key: str, wanted: TensorSpec, kind: FindingKind) -> Output:
        if self._destination is not None and not self._destination.has_values:
            self._problems.add(
                f"--allow {kind.value} keeps the destination's `{key}`, and it has shapes alone",
                None,
                f"add a rule: `- init: {{to: {key}, fill: zeros}}`, or give a checkpoint as --into",
            )
        node = Leaf(DESTINATION, key, wanted)
        return Output(key, node, Status.KEPT, None, (), (), wanted, kind.value)

    def _unexpected(self, key: str, origin: Origin) -> Output:
        kind = FindingKind.UNEXPECTED
        output = self._output(key, origin, None)
        self.findings.append(
            Finding(
                kind,
                key,
                found=output.spec,
                rule=origin.rule,
                sources=origin.sources,
                allowed=self._allowed(kind),
            )
        )
        return output

    def _output(self, key: str, origin: Origin, wanted: TensorSpec | None) -> Output:
        status = status_of(origin.node, origin.rule)
        return Output(key, origin.node, status, origin.rule, origin.sources, origin.ops, wanted)

    def unused(self, fates: Sequence[SourceFate]) -> None:
        """A finding for each key that nothing takes."""
        kind = FindingKind.UNUSED
        for fate in remarkable(fates):
            if fate.fate is Fate.UNUSED:
                self.findings.append(
                    Finding(
                        kind,
                        fate.key,
                        found=fate.spec,
                        source=fate.source,
                        allowed=self._allowed(kind),
                    )
                )


def _whole(key: str, origins: Origins, wanted: TensorSpec | None) -> Output | None:
    """The output that is a tensor of a checkpoint as the destination wants it, as most are."""
    found = origins.whole(key)
    if found is None:
        return None
    leaf, rule = found
    spec = leaf.spec
    if wanted is not None and (spec.shape != wanted.shape or spec.dtype != wanted.dtype):
        return None
    status = Status.COPIED if rule is None else Status.RENAMED
    return Output(key, leaf, status, rule, (Operand(leaf.source, leaf.key),), (), wanted)
