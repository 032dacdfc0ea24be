"""The last stage held against the destination, and the findings that come of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.planner.stage.production import Given
from ckptsurgeon.plans.account import Finding, FindingKind, Note
from ckptsurgeon.plans.addresses import COLONS, alias_of
from ckptsurgeon.plans.fates import Fate, Fates
from ckptsurgeon.plans.graph import Leaf, Node, RuleInfo, operands_of
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import UNKNOWN, TensorSpec, UnreadableSpec

MISFITS = (FindingKind.MISMATCHED, FindingKind.UNEXPECTED)
"""The findings of outputs that are no fitting key of the destination."""


class Account:
    """Outputs, findings and notes of a result, with or without a destination.

    `is_held` tells the keys of outputs that are held against the destination, `aliases` are those
    that outputs may have.
    """

    def __init__(
        self,
        destination: SourceView | None,
        allow: Collection[str],
        is_held: Callable[[str], bool] = lambda key: True,
    ) -> None:
        self._destination, self._is_held = destination, is_held
        self._allow = frozenset(allow)
        self._accepted: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.notes: list[Note] = []

    def outputs(self, given: Given, name_of: Callable[[str], str]) -> Outputs:
        """The result's keys in output order: the destination's, else as they are given."""
        if self._destination is None:
            return Outputs(given.nodes, given.rules, name_of, {}, {})
        wanted, nodes = self._destination.specs, dict[str, Node]()
        for key, spec in wanted.items():
            node = given.nodes.get(key)
            if node is None or node.spec is not spec:
                node = self._missing(key) if node is None else self._fit(given, key, node, spec)
            if node is not None:
                nodes[key] = node
        for key, node in given.nodes.items():
            if key not in wanted:
                if self._is_held(key):
                    self._tell(FindingKind.UNEXPECTED, key, node, given.rules[key])
                nodes[key] = node
        rules = {**given.rules, **dict.fromkeys(self._accepted)} if self._accepted else given.rules
        return Outputs(nodes, rules, name_of, wanted, self._accepted)

    def _fit(self, given: Given, key: str, node: Node, wanted: TensorSpec) -> Node | None:
        """The tensor of a key that the destination has; its own where another shape is allowed."""
        spec, rule = node.spec, given.rules[key]
        if spec == wanted:
            return node
        if isinstance(wanted, UnreadableSpec) and not wanted.has_shape:
            text = f"{spec}, whose shape is not known in the destination: {wanted.what}"
            self.notes.append(Note("shape", text, key, rule))
            return node
        if spec.shape != wanted.shape:
            allowed = self._tell(FindingKind.MISMATCHED, key, node, rule, wanted)
            if allowed and isinstance(wanted, UnreadableSpec):
                return self._missing(key)
            return self._keep(key, FindingKind.MISMATCHED) if allowed else node
        if wanted.dtype in (spec.dtype, UNKNOWN):
            return node
        text = f"{spec.dtype} where the destination has {wanted.dtype}"
        self.notes.append(Note("dtype", text, key, rule))
        return node

    def _missing(self, key: str) -> Node | None:
        """The destination's own tensor, where that is allowed; none that can't be read."""
        wanted = self._destination.specs[key] if self._destination else None
        if isinstance(wanted, UnreadableSpec):
            self._add(FindingKind.UNREADABLE, key, wanted=wanted, source=DESTINATION)
            return None
        allowed = self._tell(FindingKind.MISSING, key, None, None, wanted)
        return self._keep(key, FindingKind.MISSING) if allowed else None

    def _tell(
        self,
        kind: FindingKind,
        key: str,
        node: Node | None,
        rule: RuleInfo | None,
        wanted: TensorSpec | None = None,
    ) -> bool:
        """Whether a finding, which is noted, is allowed."""
        found, sources = (node.spec, operands_of(node)) if node is not None else (None, ())
        return self._add(kind, key, found=found, wanted=wanted, rule=rule, sources=sources)

    def _add(self, kind: FindingKind, key: str, **facts: Any) -> bool:
        """Whether a finding, which is noted, is allowed."""
        allowed = kind.value in self._allow
        self.findings.append(Finding(kind, key, **facts, allowed=allowed))
        return allowed

    def _keep(self, key: str, kind: FindingKind) -> Leaf:
        destination = self._destination
        if destination is None:
            raise ValueError(f"{key} has no destination to be kept from")
        self._accepted[key] = kind.value
        return destination.leaf(key)

    def unused(self, fates: Fates) -> None:
        """A finding for each key that nothing takes."""
        for fate in fates.of(lambda claim: claim.fate is Fate.UNUSED):
            self._add(FindingKind.UNUSED, fate.key, found=fate.spec, source=fate.source)

    def unreadable(self, fates: Fates) -> None:
        """A finding for each tensor that can't be read and is not dropped."""
        for fate in fates.of(lambda claim: claim.fate is Fate.UNREADABLE):
            rule, source = fate.rule, fate.source
            self._add(FindingKind.UNREADABLE, fate.key, found=fate.spec, rule=rule, source=source)

    def nothing(self, outputs: Outputs, aliases: Collection[str] = ()) -> None:
        """A finding where no key that fits comes from a source, or there is no tensor at all.

        Where outputs have names, it is one for each of these `aliases`.
        """
        misfits = {one.key for one in self.findings if one.kind in MISFITS}
        fitting = ((key, node) for key, node in outputs.nodes.items() if key not in misfits)
        if not aliases:
            if not any(operands_of(node) for _, node in fitting):
                self._add(FindingKind.NOTHING, "")
            return
        filled = {alias_of(key) for key, node in fitting if operands_of(node)}
        for alias in aliases:
            if alias not in filled:
                self._add(FindingKind.NOTHING, f"{alias}{COLONS}" if alias else "")
