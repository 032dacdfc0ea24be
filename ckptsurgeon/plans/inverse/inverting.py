"""A plan turned around: from its output back to its source, exact to the byte.

A plan names keys, sizes and ops, so each exact step has one inverse. What no output tells is
refused, all at once, or taken from another checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents
from ckptsurgeon.checkpoints.nesting import FLAT, Nesting
from ckptsurgeon.errors import CkptSurgeonError, PlanError, Problem
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.ops.indexing import resolve_index
from ckptsurgeon.ops.regions import taken_count
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.fates import Claim, Fate, Fates, KeyFates, Why
from ckptsurgeon.plans.graph import Assembly, Leaf, Node, RuleInfo, operands_of
from ckptsurgeon.plans.inverse.losses import Losses
from ckptsurgeon.plans.inverse.walking import LOST, Recovery, Spot, StandIns, spot_of
from ckptsurgeon.plans.notes import fate_notes
from ckptsurgeon.plans.output_files import OF_INVERTED, OutputFile
from ckptsurgeon.plans.outputs import Output, Outputs, Status
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.steps import Steps
from ckptsurgeon.plans.views import SourceView, view_source
from ckptsurgeon.specs import UnreadableSpec
from ckptsurgeon.wording import argument, name_alias

PLANNED = "planned"
"""The format of a checkpoint that a plan will write, as long as nobody has."""

UNDO = "undo: "
"""What the text of a rule begins with where it is undone."""

UNDOING = "move"
"""The kind of rule that an undone one is: it gives tensors of the output back."""


def invert_plan(
    plan: Plan,
    name: str,
    *,
    only: str | None = None,
    lost: Checkpoint | None = None,
) -> Plan:
    """The plan that makes one source of `plan` out of its output; `name` names the plan for people.

    `only` is the alias of the source, which may be left out where there is one. `lost` is a
    checkpoint that has what the outputs lack. Raises PlanError with every tensor that is lost.
    """
    if plan.open_findings:
        raise CkptSurgeonError(f"{name}: has findings, so it has no output to be turned around")
    view = _chosen(plan, name, only)
    lost_view = None if lost is None else view_source(lost, LOST, view.options)
    return _Inverse(plan, view, name, lost_view).plan()


def root_of(plan: Plan, only: str | None) -> str | None:
    """Where in a nested file the source to give back was, if the rules say."""
    roots = plan.sources[0].options.roots if plan.sources else {}
    alias = only if only is not None or not plan.sources else plan.sources[0].alias
    return roots.get(alias or "", roots.get(""))


def _chosen(plan: Plan, name: str, only: str | None) -> SourceView:
    known = {view.alias: view for view in plan.sources}
    if only is None and len(known) == 1:
        return plan.sources[0]
    listed = ", ".join(alias or f"'' ({name_alias('')})" for alias in known)
    if only is None:
        raise CkptSurgeonError(
            f"{name}: reads {len(known)} sources ({listed}), and an inverse writes one checkpoint: "
            f"name the one to give back by {argument('only', 'ALIAS')}"
        )
    if only not in known:
        raise CkptSurgeonError(f"{name}: has no source {only!r}; it has {listed}")
    return known[only]


@dataclass(frozen=True, slots=True)
class _Inverse:
    """The way back to the source `view` of a plan."""

    forward: Plan
    view: SourceView
    name: str
    lost: SourceView | None
    _known: dict[int, RuleInfo] = field(default_factory=dict)

    def plan(self) -> Plan:
        outputs = self._outputs(self._tensors())
        fates = Fates(list(self._fates(outputs)))
        return Plan(
            sources=(self._written(), *([self.lost] if self.lost else [])),
            destination=None,
            outputs=outputs,
            steps=Steps(()),
            fates=fates,
            rules=tuple(_undone(rule) for rule in self.forward.rules),
            notes=(*self._notes(), *fate_notes(fates)),
            ties=self._ties(outputs),
            files=(OutputFile("", self.view.nesting, OF_INVERTED),),
        )

    # --- what goes in -----------------------------------------------------------------------------

    def _written(self) -> SourceView:
        """The plan's output as it will be read: the file's own names, whatever its format."""
        specs = {output.name: output.spec for output in self.forward.outputs.values()}
        return SourceView(
            alias="",
            path=f"the output of {self.name}",
            format=PLANNED,
            options=SourceOptions(roots=self._roots(), one_shard=self.lost is not None),
            names={key: key for key in specs},
            specs=specs,
            contents=Contents(specs),
            nesting=self._nesting(),
        )

    def _nesting(self) -> Nesting:
        """How the plan's output lies in dicts, where it is one of torch's files."""
        return self.forward.files[0].nesting if self.forward.files else FLAT

    def _roots(self) -> Mapping[str, str]:
        """Where torch's files nest the output."""
        lost = root_of(self.forward, self.view.alias) if self.lost else None
        nesting = self._nesting()
        roots = {"": nesting.root_text if nesting.is_nested else None, LOST: lost}
        return {alias: root for alias, root in roots.items() if root is not None}

    # --- what comes out ---------------------------------------------------------------------------

    def _tensors(self) -> dict[str, Node]:
        """Every tensor of the source as made of outputs; raises PlanError where any is lost.

        Other checkpoints, and other keys of one storage, are asked for what no output tells.
        """
        outputs = self.forward.outputs.values()
        given = [(one.node, Leaf("", one.name, one.spec, one.name)) for one in outputs]
        recovery = Recovery(given)
        leaves = [self.view.leaf(key) for key in self.view.specs]
        found = {leaf.key: recovery.tensor(leaf) for leaf in leaves}
        found |= self._tied(found)
        missing = [leaf for leaf in leaves if found[leaf.key] is None]
        if missing and self.lost is not None:
            stand_in = StandIns(self.view.alias, self.lost)
            completed = Recovery(given, stand_in)
            found |= {leaf.key: completed.tensor(leaf) or stand_in(leaf) for leaf in missing}
        self._refuse([leaf for leaf in missing if found[leaf.key] is None], recovery)
        return {key: node for key, node in found.items() if node is not None}

    def _tied(self, found: Mapping[str, Node | None]) -> dict[str, Node]:
        """Lost keys whose tensors are there under the key that they shared their storage with."""
        keys = {name: key for key, name in self.view.names.items()}
        twins: dict[str, Node] = {}
        for group in self.view.contents.aliases:
            nodes = [found[keys[name]] for name in group]
            node = next((node for node in nodes if node is not None), None)
            if node is not None:
                twins |= {keys[name]: node for name in group if found[keys[name]] is None}
        return twins

    def _refuse(self, leaves: Sequence[Leaf], recovery: Recovery) -> None:
        if not leaves:
            return
        if self.lost is not None:
            raise PlanError(self._lacking(leaves, self.lost))
        lost = [(leaf, recovery.cause(leaf), recovery.in_part(leaf)) for leaf in leaves]
        *problems, last = Losses(self.forward).problems(lost)
        given = argument("source_of_lost", "CKPT")
        help = f"`{given}` takes what is lost from a checkpoint that has it, such as the source"
        raise PlanError([*problems, replace(last, help=help)])

    def _lacking(self, leaves: Sequence[Leaf], lost: SourceView) -> Iterator[Problem]:
        for leaf in leaves:
            found = lost.specs.get(leaf.key)
            held = f"has it as {found}" if found else "has no such key"
            if isinstance(found, UnreadableSpec):
                held += f", unreadable: it is {found.what}"
            yield Problem(f"`{leaf.key}` {leaf.spec} is lost, and {lost.path} {held}")

    def _outputs(self, tensors: Mapping[str, Node]) -> Outputs:
        fates = self.forward.fates
        makers = {output.name: output.rule for output in self.forward.outputs.values()}
        rules: dict[str, RuleInfo | None] = {}
        for key, node in tensors.items():
            fate = fates.find(0, self.view.alias, key)
            by = (makers.get(one.key) for one in operands_of(node) if not one.source)
            rule = (fate and fate.rule) or next(filter(None, by), None)
            rules[self.view.names[key]] = self._undone(rule) if rule else None
        nodes = {self.view.names[key]: node for key, node in tensors.items()}
        return Outputs(nodes, rules, str, {}, {})

    def _undone(self, rule: RuleInfo) -> RuleInfo:
        """One object for all that a rule made: reports tell these as one."""
        if id(rule) not in self._known:
            self._known[id(rule)] = _undone(rule)
        return self._known[id(rule)]

    # --- the account ------------------------------------------------------------------------------

    def _fates(self, outputs: Outputs) -> Iterator[KeyFates]:
        takers = {one.at: output for output in outputs.values() for one in output.sources}
        claims: dict[str, Claim] = {}
        for output in self.forward.outputs.values():
            rule = self._undone(output.rule) if output.rule else None
            taker = takers.get(("", output.name))
            if taker is not None:
                fate = Fate.COPIED if taker.status is Status.COPIED else Fate.TAKEN
                claims[output.name] = Claim(fate, rule, untaken=_untaken(output))
            else:
                claims[output.name] = Claim(Fate.DROPPED, rule, _unneeded(output))
        yield KeyFates(0, "", self._written().specs, claims)
        if self.lost is not None:
            specs = {key: spec for key, spec in self.lost.specs.items() if (LOST, key) in takers}
            yield KeyFates(0, LOST, specs, dict.fromkeys(specs, Claim(Fate.TAKEN)))

    def _ties(self, outputs: Outputs) -> dict[str, str]:
        """Keys that shared their storage in the source, where one tensor gives them all."""
        ties: dict[str, str] = {}
        for leader, *others in self.view.contents.aliases:
            node = outputs.nodes[leader]
            ties |= {key: leader for key in others if outputs.nodes[key] is node}
        return ties

    def _notes(self) -> Iterator[Note]:
        yield from (note for note in self.forward.notes if note.kind == "entry")
        root = root_of(self.forward, self.view.alias)
        if root and not self.view.format.startswith("torch"):
            yield Note("root", f"keys are named as under the root `{root}` of {self.view.path}")
        yield from _copies_notes(self.forward)


def _copies_notes(plan: Plan) -> Iterator[Note]:
    """Tensors that a plan gave several keys, of which the first goes back: they may differ by now.

    Those of one rule, which gave each as often, are one note.
    """
    keys: dict[Spot, list[str]] = {}
    for key, node in plan.outputs.nodes.items():
        if key not in plan.ties:
            keys.setdefault(spot_of(node), []).append(key)
    alike: dict[tuple[RuleInfo | None, int], list[str]] = {}
    for copies in keys.values():
        if len(copies) > 1:
            alike.setdefault((plan.outputs.rules[copies[0]], len(copies)), []).append(copies[0])
    for (rule, count), firsts in alike.items():
        more = f", and so for {len(firsts) - 1} more" if len(firsts) > 1 else ""
        text = f"{count} copies go back as one, that of `{firsts[0]}`{more}"
        yield Note("copies", text, rule=None if rule is None else _undone(rule))


def _undone(rule: RuleInfo) -> RuleInfo:
    """The rule as an inverse tells it; undone twice it is itself."""
    undone = rule.text.startswith(UNDO)
    text = rule.text.removeprefix(UNDO) if undone else f"{UNDO}{rule.text}"
    return msgspec.structs.replace(rule, text=text, kind=UNDOING)


def _untaken(output: Output) -> float:
    """The share of an output that came from the destination, and so is no source's."""
    node = output.node
    if not (isinstance(node, Assembly) and isinstance(node.base, Leaf)):
        return 0.0
    if node.base.source != DESTINATION:
        return 0.0
    parts = (taken_count(resolve_index(part.index, node.spec.shape)) for part in node.parts)
    return 1 - sum(parts) / math.prod(node.spec.shape)


def _unneeded(output: Output) -> Why:
    if output.status is Status.KEPT:
        return Why.OWN
    return Why.MADE if output.status is Status.INITIALISED else Why.UNNEEDED
