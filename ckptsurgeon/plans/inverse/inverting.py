"""A plan turned around: from its output back to its source, exact to the byte.

A plan names keys, sizes and ops, so each exact step has one inverse. What no output tells is
refused, all at once, or taken from another checkpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents
from ckptsurgeon.checkpoints.nesting import FLAT, Nesting
from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import CkptSurgeonError, PlanError, Problem
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.ops.indexing import resolve_index
from ckptsurgeon.ops.regions import taken_count
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.addresses import COLONS, alias_of, split_address
from ckptsurgeon.plans.fates import Claim, Fate, Fates, KeyFates, Why
from ckptsurgeon.plans.graph import (
    Address,
    Assembly,
    Leaf,
    Made,
    Node,
    RuleInfo,
    full_key,
    operands_of,
)
from ckptsurgeon.plans.inverse.losses import Losses
from ckptsurgeon.plans.inverse.walking import LOST, Recovery, StandIns, spot_of
from ckptsurgeon.plans.notes import fate_notes
from ckptsurgeon.plans.output_files import OF_INVERTED, OutputFile
from ckptsurgeon.plans.outputs import Output, Outputs, Status
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.steps import Steps
from ckptsurgeon.plans.views import SourceView, view_source
from ckptsurgeon.specs import TensorSpec, UnreadableSpec
from ckptsurgeon.wording import argument, name_alias

PLANNED = "planned"
"""The format of a checkpoint that a plan will write, as long as nobody has."""

SHOWN_KEYS = 3

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
    """The plan that makes the sources of `plan` out of its outputs; `name` is its name for people.

    The outputs of the one are the sources of the other, under the same aliases. `only` is the alias
    of one source to give back. `lost` is a checkpoint that has what the outputs lack. Raises
    PlanError with every tensor that is lost.
    """
    if plan.open_findings:
        raise CkptSurgeonError(f"{name}: has findings, so it has no output to be turned around")
    views = _chosen(plan, name, only, alone=lost is not None)
    lost_view = None if lost is None else view_source(lost, LOST, views[0].options)
    return _Inverse(plan, views, name, lost_view).plan()


def root_of(plan: Plan, only: str | None) -> str | None:
    """Where in a nested file the source to give back was, if the rules say."""
    roots = plan.sources[0].options.roots if plan.sources else {}
    alias = only if only is not None or not plan.sources else plan.sources[0].alias
    return roots.get(alias or "", roots.get(""))


def _chosen(plan: Plan, name: str, only: str | None, *, alone: bool) -> tuple[SourceView, ...]:
    """The sources to give back: all, or the one that is named; `alone` says that one must be."""
    known = {view.alias: view for view in plan.sources}
    if only is None and (len(known) == 1 or not alone):
        return plan.sources
    listed = ", ".join(alias or f"'' ({name_alias('')})" for alias in known)
    if only is None:
        raise CkptSurgeonError(
            f"{name}: reads {len(known)} sources ({listed}), and what is lost is of one of them: "
            f"name the one to give back by {argument('only', 'ALIAS')}"
        )
    if only not in known:
        raise CkptSurgeonError(f"{name}: has no source {only!r}; it has {listed}")
    return (known[only],)


@dataclass(frozen=True, slots=True)
class _Inverse:
    """The way back to the sources `views` of a plan; keys are addresses where there are several."""

    forward: Plan
    views: tuple[SourceView, ...]
    name: str
    lost: SourceView | None
    _known: dict[int, RuleInfo] = field(default_factory=dict)

    def plan(self) -> Plan:
        recovery = Recovery(self._given())
        outputs = self._outputs(self._tensors(recovery))
        written = self._written()
        fates = Fates(list(self._fates(outputs, written)))
        return Plan(
            sources=(*written, *([self.lost] if self.lost else [])),
            destination=None,
            outputs=outputs,
            steps=Steps(()),
            fates=fates,
            rules=tuple(_undone(rule) for rule in self.forward.rules),
            notes=(*self._notes(recovery), *fate_notes(fates)),
            ties=self._ties(outputs),
            files=tuple(
                OutputFile(self._alias(view), view.nesting, OF_INVERTED) for view in self.views
            ),
            is_named=self._is_named,
        )

    @property
    def _is_named(self) -> bool:
        return len(self.views) > 1

    def _alias(self, view: SourceView) -> str:
        """The name of the output that a source becomes."""
        return view.alias if self._is_named else ""

    def _key(self, view: SourceView, name: str) -> str:
        """The key of an output, by its name in the source."""
        return full_key(self._alias(view), name)

    # --- what goes in -----------------------------------------------------------------------------

    def _address(self, output: Output) -> Address:
        """Where an output is read again: under its file's alias and by its name there."""
        return alias_of(output.key) if self.forward.is_named else "", output.name

    def _written(self) -> tuple[SourceView, ...]:
        """The plan's outputs as they will be read: the files' own names, whatever the format."""
        specs: dict[str, dict[str, TensorSpec]] = {}
        for output in self.forward.outputs.values():
            alias, name = self._address(output)
            specs.setdefault(alias, {})[name] = output.spec
        nestings = {file.alias: file.nesting for file in self.forward.files}
        options = SourceOptions(roots=self._roots(nestings), one_shard=self.lost is not None)
        return tuple(
            SourceView(
                alias=alias,
                path=f"the output {alias} of {self.name}"
                if alias
                else f"the output of {self.name}",
                format=PLANNED,
                options=options,
                names={key: key for key in own},
                specs=own,
                contents=Contents(own),
                nesting=nestings.get(alias, FLAT),
            )
            for alias, own in specs.items()
        )

    def _roots(self, nestings: Mapping[str, Nesting]) -> Mapping[str, str]:
        """Where torch's files nest the outputs."""
        lost = root_of(self.forward, self.views[0].alias) if self.lost else None
        roots: dict[str, str | None] = {
            alias: one.root_text if one.is_nested else None for alias, one in nestings.items()
        }
        roots[LOST] = lost
        return {alias: root for alias, root in roots.items() if root is not None}

    # --- what comes out ---------------------------------------------------------------------------

    def _given(self) -> list[tuple[Node, Node]]:
        """What each output holds, and the output itself."""
        given: list[tuple[Node, Node]] = []
        for one in self.forward.outputs.values():
            alias, name = self._address(one)
            given.append((one.node, Leaf(alias, name, one.spec, name)))
        return given

    def _tensors(self, recovery: Recovery) -> dict[Address, Node]:
        """Every tensor of the sources as made of outputs; raises PlanError where any is lost.

        Other checkpoints, and other keys of one storage, are asked for what no output tells.
        """
        leaves = [view.leaf(key) for view in self.views for key in view.specs]
        found = {(leaf.source, leaf.key): recovery.tensor(leaf) for leaf in leaves}
        for view in self.views:
            found |= self._tied(view, found)
        missing = [leaf for leaf in leaves if found[leaf.source, leaf.key] is None]
        if missing and self.lost is not None:
            stand_in = StandIns(self.views[0].alias, self.lost)
            completed = Recovery(self._given(), stand_in)
            found |= {
                (leaf.source, leaf.key): completed.tensor(leaf) or stand_in(leaf)
                for leaf in missing
            }
        self._refuse([one for one in missing if found[one.source, one.key] is None], recovery)
        return {address: node for address, node in found.items() if node is not None}

    def _tied(
        self, view: SourceView, found: Mapping[Address, Node | None]
    ) -> dict[Address, Node | None]:
        """Lost keys whose tensors are there under the key that they shared their storage with."""
        keys = {name: (view.alias, key) for key, name in view.names.items()}
        twins: dict[Address, Node | None] = {}
        for group in view.contents.aliases:
            nodes = [found[keys[name]] for name in group]
            node = next((node for node in nodes if node is not None), None)
            if node is not None:
                twins |= {keys[name]: node for name in group if found[keys[name]] is None}
        return twins

    def _refuse(self, leaves: Sequence[Leaf], recovery: Recovery) -> None:
        problems = [*self._misnamed(), *self._unfound(leaves, recovery)]
        if problems:
            raise PlanError(problems)

    def _misnamed(self) -> Iterator[Problem]:
        """Keys of the unnamed source that would be read as those of a named one."""
        for view in (one for one in self.views if self._is_named and not one.alias):
            named = [f"`{name}`" for name in view.names.values() if COLONS in name]
            if named:
                only = argument("only", "''", "''")
                yield Problem(
                    f"{view.path}: has {list_some(named, SHOWN_KEYS)}: `{COLONS}` stands behind "
                    "the name of an output where there are several",
                    help=f"give one source back at a time: this one by `{only}`",
                )

    def _unfound(self, leaves: Sequence[Leaf], recovery: Recovery) -> Iterator[Problem]:
        if not leaves:
            return
        if self.lost is not None:
            yield from self._lacking(leaves, self.lost)
            return
        lost = [(leaf, recovery.cause(leaf), recovery.in_part(leaf)) for leaf in leaves]
        *problems, last = Losses(self.forward).problems(lost)
        given = argument("source_of_lost", "CKPT")
        help = f"`{given}` takes what is lost from a checkpoint that has it, such as the source"
        yield from (*problems, replace(last, help=help))

    def _lacking(self, leaves: Sequence[Leaf], lost: SourceView) -> Iterator[Problem]:
        for leaf in leaves:
            found = lost.specs.get(leaf.key)
            held = f"has it as {found}" if found else "has no such key"
            if isinstance(found, UnreadableSpec):
                held += f", unreadable: it is {found.what}"
            yield Problem(f"`{leaf.key}` {leaf.spec} is lost, and {lost.path} {held}")

    def _outputs(self, tensors: Mapping[Address, Node]) -> Outputs:
        fates, outputs = self.forward.fates, self.forward.outputs.values()
        makers = {self._address(output): output.rule for output in outputs}
        nodes: dict[str, Node] = {}
        rules: dict[str, RuleInfo | None] = {}
        for view in self.views:
            for key, name in view.names.items():
                node, fate = tensors[view.alias, key], fates.find(0, view.alias, key)
                by = (makers.get(one.at) for one in operands_of(node))
                rule = (fate and fate.rule) or next(filter(None, by), None)
                given = self._key(view, name)
                nodes[given], rules[given] = node, self._undone(rule) if rule else None
        return Outputs(nodes, rules, self._name, {}, {})

    def _name(self, key: str) -> str:
        """The name of an output in its file."""
        return split_address(key)[1] if self._is_named else key

    def _undone(self, rule: RuleInfo) -> RuleInfo:
        """One object for all that a rule made: reports tell these as one."""
        if id(rule) not in self._known:
            self._known[id(rule)] = _undone(rule)
        return self._known[id(rule)]

    # --- the account ------------------------------------------------------------------------------

    def _fates(self, outputs: Outputs, written: Sequence[SourceView]) -> Iterator[KeyFates]:
        takers = {one.at: output for output in outputs.values() for one in output.sources}
        claims: dict[str, dict[str, Claim]] = {view.alias: {} for view in written}
        for output in self.forward.outputs.values():
            rule = self._undone(output.rule) if output.rule else None
            alias, name = self._address(output)
            taker = takers.get((alias, name))
            if taker is not None:
                fate = Fate.COPIED if taker.status is Status.COPIED else Fate.TAKEN
                claims[alias][name] = Claim(fate, rule, untaken=_untaken(output))
            else:
                claims[alias][name] = Claim(Fate.DROPPED, rule, _unneeded(output))
        yield from (KeyFates(0, one.alias, one.specs, claims[one.alias]) for one in written)
        if self.lost is not None:
            specs = {key: spec for key, spec in self.lost.specs.items() if (LOST, key) in takers}
            yield KeyFates(0, LOST, specs, dict.fromkeys(specs, Claim(Fate.TAKEN)))

    def _ties(self, outputs: Outputs) -> dict[str, str]:
        """Keys that shared their storage in a source, where one tensor gives them all."""
        ties: dict[str, str] = {}
        for view in self.views:
            for group in view.contents.aliases:
                leader, *others = (self._key(view, name) for name in group)
                node = outputs.nodes[leader]
                ties |= {key: leader for key in others if outputs.nodes[key] is node}
        return ties

    def _notes(self, recovery: Recovery) -> Iterator[Note]:
        yield from (note for note in self.forward.notes if note.kind == "entry")
        for view in self.views:
            root = root_of(self.forward, view.alias)
            if root and not view.format.startswith("torch"):
                yield Note("root", f"keys are named as under the root `{root}` of {view.path}")
        yield from self._copies_notes(recovery)

    def _copies_notes(self, recovery: Recovery) -> Iterator[Note]:
        """Tensors that several outputs hold, of which the first goes back: they may differ by now.

        Those of one rule, which gave each as often, are one note.
        """
        outputs, ties = self.forward.outputs, self.forward.ties
        makers = {self._address(output): output.rule for output in outputs.values()}
        tied = Counter(spot_of(outputs.nodes[key]) for key in ties)
        alike: dict[tuple[RuleInfo | None, int], list[str]] = {}
        for spot, node, times in recovery.copies():
            count, first = times - tied[spot], next(iter(operands_of(node)))
            if count > 1:
                alike.setdefault((makers.get(first.at), count), []).append(full_key(*first.at))
        for (rule, count), firsts in alike.items():
            more = f", and so for {len(firsts) - 1} more" if len(firsts) > 1 else ""
            text = f"{count} copies go back as one, that of `{firsts[0]}`{more}"
            yield Note("copies", text, rule=None if rule is None else self._undone(rule))


def _undone(rule: RuleInfo) -> RuleInfo:
    """The rule as an inverse tells it; undone twice it is itself."""
    undone = rule.text.startswith(UNDO)
    text = rule.text.removeprefix(UNDO) if undone else f"{UNDO}{rule.text}"
    return msgspec.structs.replace(rule, text=text, kind=UNDOING)


def _untaken(output: Output) -> float:
    """The share of an output that is no source's: the destination's own, or made by `init`."""
    node = output.node
    if not isinstance(node, Assembly):
        return 0.0
    is_own = isinstance(node.base, Leaf) and node.base.source == DESTINATION
    parts = [one for one in node.parts if not is_own or not isinstance(one.node, Made)]
    if not is_own:
        parts = [one for one in node.parts if isinstance(one.node, Made)]
    count = sum(taken_count(resolve_index(part.index, node.spec.shape)) for part in parts)
    share = count / node.spec.count if node.spec.count else 0.0
    return 1 - share if is_own else share


def _unneeded(output: Output) -> Why:
    if output.status is Status.KEPT:
        return Why.OWN
    return Why.MADE if output.status is Status.INITIALISED else Why.UNNEEDED
