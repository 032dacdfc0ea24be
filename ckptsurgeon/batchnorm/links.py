"""Which tensors of one model give which BatchNorms of another: rules planned over two modules.

A link reads and writes live tensors, looked up by module and attribute each time: they may have
been replaced, moved or trained since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from torch import Tensor, nn

from ckptsurgeon.api import plan
from ckptsurgeon.batchnorm.layers import (
    Layer,
    different_eps,
    layers,
    listed,
    refuse,
    tensors_of,
)
from ckptsurgeon.batchnorm.results import Block, NormResult
from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.checkpoints.memory import checkpoint_of
from ckptsurgeon.checkpoints.models import unwrapped
from ckptsurgeon.checkpoints.tensors import to_torch
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.errors import CkptSurgeonError, FindingsError, Problem
from ckptsurgeon.language.rulesets import Rules
from ckptsurgeon.ops.indexing import Slice, as_slices, resolve_index
from ckptsurgeon.planner.compiling.compiled import BATCHNORM_PARTS, BATCHNORM_VECTORS
from ckptsurgeon.plans.account import Finding, FindingKind
from ckptsurgeon.plans.graph import Call, Leaf, sliced_leaf, uses, work_of
from ckptsurgeon.plans.outputs import Output, Status
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.request import KindOfFinding
from ckptsurgeon.specs import plural

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a tensor lives: an attribute of a module, by the name that a state_dict gives it."""

    key: str
    module: nn.Module
    attribute: str

    @property
    def tensor(self) -> Tensor:
        found: Tensor = getattr(self.module, self.attribute)
        return found

    @property
    def module_name(self) -> str:
        return self.key.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Feed:
    """A part of a destination layer and what it is made from, by alias and name in the file."""

    target: Spot
    output: Output
    inputs: Mapping[tuple[str, str], Spot]
    plan: Plan

    def value(self) -> Tensor:
        """The value as it is now; it may be a live tensor of the source, or a view of one."""
        work = work_of(self.output.node)
        leaf = sliced_leaf(work)
        if leaf is None:
            return self._evaluate()
        whole: Any = self.inputs[leaf.source, leaf.name].tensor
        if isinstance(work, Call) and isinstance(work.op, Slice):  # taken on its own device
            whole = whole[as_slices(resolve_index(work.op.index, leaf.spec.shape))]
        tensor: Tensor = whole.reshape(self.output.spec.shape)
        return tensor

    def _evaluate(self) -> Tensor:
        states: dict[str, State] = {view.alias: {} for view in self.plan.views}
        for (alias, name), spot in self.inputs.items():
            states[alias][name] = spot.tensor
        checkpoints = {alias: checkpoint_of(state) for alias, state in states.items()}
        array = Evaluator(checkpoints, [self.output.node]).output(self.output)
        tensor: Tensor = to_torch(array, self.output.spec, self.target.tensor.device)
        return tensor


@dataclass(frozen=True, slots=True)
class Link:
    """A BatchNorm of the destination, by name, and what feeds its tensors."""

    name: str
    layer: Layer
    feeds: tuple[Feed, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The source modules that the values come from."""
        spots = (spot for feed in self.feeds for spot in feed.inputs.values())
        mine = (spot for spot in spots if spot.module is not self.layer)
        return tuple(dict.fromkeys(spot.module_name for spot in mine))

    def values(self) -> Iterator[tuple[Tensor, Tensor, str]]:
        """(target, value, key) of every tensor that the link feeds."""
        return ((feed.target.tensor, feed.value(), feed.target.key) for feed in self.feeds)


@dataclass(frozen=True, slots=True)
class Pair:
    """A destination layer and the source modules that its values come from, by name."""

    destination: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Copied(NormResult):
    """What was copied where.

    `kept` are BatchNorms of the destination that nothing was copied to, `unused` those of the
    source that nothing was copied from.
    """

    pairs: tuple[Pair, ...]
    kept: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def summary(self) -> str:
        """How many layers were given values, kept theirs, and gave none."""
        left = [f"{len(self.kept):,} kept"] if self.kept else []
        left += [f"{len(self.unused):,} of the source unused"] if self.unused else []
        return ", ".join([f"{plural(len(self.pairs), 'BatchNorm')} given values", *left])

    @property
    def blocks(self) -> Sequence[Block]:
        """Which layer was given what, and those that were left out."""
        return (
            Block.of("given values", ((one.destination, one.sources) for one in self.pairs)),
            Block.names("kept, nothing is copied to them", self.kept),
            Block.names("unused, nothing is copied from them", self.unused),
        )


def links_between(
    source: nn.Module, destination: nn.Module, rules: Rules | None
) -> tuple[tuple[Link, ...], Copied]:
    """What rules, or the same names, make of the BatchNorms of two models; and that by name.

    Raises RulesetError, PlanError, FindingsError, and CkptSurgeonError for lazy layers, layers
    whose eps differs, and where nothing fits together.
    """
    source, destination = unwrapped(source), unwrapped(destination)
    wanted, given = layers(destination), layers(source)
    plan = _plan_all(source, destination, wanted, rules)
    _refuse(plan, wanted, given)
    links = tuple(_links(plan, source, destination, wanted))
    if not links:
        raise CkptSurgeonError(_nothing(wanted, given))
    refuse(_find_other_eps(links))
    pairs = tuple(Pair(link.name, link.sources) for link in links)
    linked = {pair.destination for pair in pairs}
    used = {name for pair in pairs for name in pair.sources}
    kept = tuple(name for name in wanted if name not in linked)
    return links, Copied(pairs, kept, tuple(name for name in given if name not in used))


def _plan_all(
    source: nn.Module, destination: nn.Module, wanted: Mapping[str, Layer], rules: Rules | None
) -> Plan:
    states = [_state(model) for model in (source, destination)]
    if rules is None:
        keys = _keys(wanted)
        states = [{k: tensor for k, tensor in state.items() if k in keys} for state in states]
    return plan(states[0], rules, states[1], allow=get_args(KindOfFinding))


def _state(model: nn.Module) -> State:
    """The tensors of a state_dict, without what modules add to it (`_extra_state`)."""
    state = model.state_dict(keep_vars=True)
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def _key(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _keys(names: Iterable[str]) -> set[str]:
    return {_key(name, part) for name in names for part in BATCHNORM_PARTS}


def _refuse(plan: Plan, wanted: Mapping[str, Layer], given: Mapping[str, Layer]) -> None:
    """Raises FindingsError for what does not come out even with a BatchNorm of either side."""
    ours, theirs = _keys(wanted), _keys(given)
    problems = [
        _problem(finding)
        for finding in plan.findings
        if (finding.kind is FindingKind.MISMATCHED and finding.key in ours)
        or (
            finding.kind is FindingKind.UNEXPECTED
            and finding.rule is not None
            and not finding.key.endswith("num_batches_tracked")  # frozen layers have no counter
            and any(operand.key in theirs for operand in finding.sources)
        )
    ]
    problems += _find_missing_parts(plan, wanted)
    if problems:
        raise FindingsError(problems)


def _problem(finding: Finding) -> Problem:
    place = finding.rule.place if finding.rule else None
    told = f"{finding.kind.value}: `{finding.key}`, found {finding.found}"
    if finding.wanted is None:
        return Problem(told, place, "the destination has no such key")
    wider = finding.found is not None and finding.found.shape < finding.wanted.shape
    advice = f"say which channels: `- batchnorm: {'A -> B[:n]' if wider else 'A[:n] -> B'}`"
    return Problem(f"{told}, wanted {finding.wanted}", place, advice)


def _find_missing_parts(plan: Plan, wanted: Mapping[str, Layer]) -> Iterator[Problem]:
    for name, layer in wanted.items():
        keys = [_key(name, part) for part in BATCHNORM_VECTORS if getattr(layer, part) is not None]
        missing = [key for key in keys if _is_kept(plan.outputs.get(key))]
        if missing and len(missing) < len(keys):
            told = ", ".join(f"`{key}`" for key in missing)
            yield Problem(
                f"missing: {told}, while the rest of the layer is given",
                None,
                "give all of it, or `keep` the rest by a rule",
            )


def _is_kept(output: Output | None) -> bool:
    """Whether no rule speaks of a destination key."""
    return output is None or (output.status is Status.KEPT and output.rule is None)


def _links(
    plan: Plan, source: nn.Module, destination: nn.Module, wanted: Mapping[str, Layer]
) -> Iterator[Link]:
    for name, layer in wanted.items():
        outputs = {part: plan.outputs.get(_key(name, part)) for part in tensors_of(layer)}
        feeds = tuple(
            Feed(Spot(output.key, layer, part), output, _inputs(output, source, destination), plan)
            for part, output in outputs.items()
            if output is not None and output.status is not Status.KEPT
        )
        if feeds:
            yield Link(name, layer, feeds)


def _inputs(
    output: Output, source: nn.Module, destination: nn.Module
) -> dict[tuple[str, str], Spot]:
    found = {}
    for leaf in reversed(list(uses([output.node]))):  # which comes to the last input first
        if isinstance(leaf, Leaf):
            above, _, attribute = leaf.name.rpartition(".")
            model = destination if leaf.source == DESTINATION else source
            spot = Spot(leaf.name, model.get_submodule(above), attribute)
            found[leaf.source, leaf.name] = spot
    return found


def _find_other_eps(links: Iterable[Link]) -> Iterator[str]:
    """What is wrong where statistics go to a layer of another eps."""
    for link in links:
        variances = (feed for feed in link.feeds if feed.target.attribute == "running_var")
        for spot in (spot for feed in variances for spot in feed.inputs.values()):
            eps = getattr(spot.module, "eps", link.layer.eps)
            if eps != link.layer.eps:
                told = f"`{spot.module_name}` -> `{link.name}`"
                yield f"{told}: {different_eps(eps, link.layer.eps)}"


def _nothing(wanted: Mapping[str, Layer], given: Mapping[str, Layer]) -> str:
    first, second = next(iter(given), "stem.bn"), next(iter(wanted), "bn1")
    named = [f" ({listed(names)})" if names else "" for names in (wanted, given)]
    return (
        f"none of the destination's {len(wanted)} BatchNorms{named[0]} is given anything by the "
        f"source's {len(given)}{named[1]}; say which goes where by rules, as in "
        f"[{{'batchnorm': '{first} -> {second}'}}]"
    )
