"""`convert_on_load`: models that take old checkpoints at every load from then on."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

from msgspec.structs import replace
from torch import nn
from torch.utils.hooks import RemovableHandle

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.models import (
    checkpoint_of_model,
    name_model,
    require_model,
    state_of,
    unwrapped,
)
from ckptsurgeon.checkpoints.tensors import is_torch
from ckptsurgeon.checkpoints.torch.nesting import EXTRA_STATE
from ckptsurgeon.engine.execution import Execution
from ckptsurgeon.engine.module_metadata import find_origins
from ckptsurgeon.errors import CheckpointError, CkptSurgeonError, FindingsError, PlanError
from ckptsurgeon.given_rules import load_rulesets
from ckptsurgeon.keys import prefixes_of
from ckptsurgeon.language.rules import Rule, Ruleset, Within
from ckptsurgeon.language.rulesets import Rules
from ckptsurgeon.modules.loading import (
    State,
    check_values,
    new_values,
    prepare_load,
    stray_values,
)
from ckptsurgeon.modules.torch_rules import COUNTER
from ckptsurgeon.planner.compiling.compilation import compile_rulesets
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.plans.outputs import Outputs, Status
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.request import (
    Allow,
    Config,
    Given,
    KindOfFinding,
    Request,
    open_request,
    read_kinds,
)
from ckptsurgeon.wanted import refuse


def convert_on_load(
    model: nn.Module,
    rules: Rules,
    *,
    allow: Allow = (),
    config: Config | None = None,
    variables: Given | None = None,
) -> RemovableHandle:
    """A handle of a hook by which `model.load_state_dict` takes old checkpoints, too.

    A state_dict that has all of the model's keys and shapes is loaded as it is, without what rules
    drop beside them; any other is converted by `rules` first, also when `model` is a part of the
    model that loads. What `rules` can't convert raises PlanError or FindingsError before a tensor
    of `model` is written, unless `allow`, which is said here and not to `load_state_dict`, accepts
    the kind of finding. The hook is copied and pickled with the model; `handle.remove()` takes it
    off.

    With `load_state_dict(…, strict=False)` rules may match nothing. Keys that none gives are told
    as torch's missing ones, and keys that none takes as its unexpected ones; shapes must fit, and
    something of the state_dict must end in the model.
    """
    require_model(model)
    if rules is None:
        refuse("convert_on_load: rules", rules, "a path, a name, a dict or a list")
    rulesets = load_rulesets(rules)
    compile_rulesets(rulesets)
    wishes = Wishes(rulesets, read_kinds(allow), config, variables)
    module: Any = unwrapped(model)  # torch's method has no types
    handle: RemovableHandle = module.register_load_state_dict_pre_hook(partial(_convert, wishes))
    return handle


def _convert(
    wishes: Wishes,
    module: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    *_: object,
) -> None:
    """The hook of `convert_on_load`: puts converted tensors in the place of the module's part."""
    load = Load.under_way()
    strict = load is None or load.is_strict
    own = {
        key.removeprefix(prefix): one for key, one in state_dict.items() if key.startswith(prefix)
    }
    given = {key: value for key, value in own.items() if is_torch(value)}
    nested = [key for key, one in own.items() if isinstance(one, Mapping)]
    if nested and not given and not prefix:
        raise CheckpointError(
            f"the dict holds no tensors, but a dict as {nested[0]!r}: give what is inside, "
            f"`load_state_dict(checkpoint[{nested[0]!r}])`"
        )
    wanted = state_of(module)
    destination = checkpoint_of_model(wanted, name_model(module))
    if _shapes(wanted).items() <= _shapes(given).items():
        for name in _find_dropped(wishes, given, destination, strict):
            del state_dict[prefix + name]
        return
    if not strict:  # what is missing stays as it is, also where it has no values
        destination = dataclasses.replace(destination, has_values=True)
    with _in_part(prefix.rstrip(".")):
        is_part = not strict and _shapes(given).items() <= _shapes(wanted).items()
        execution = _prepare(wishes, given, destination, strict=strict, is_part=is_part)
        if execution is None:
            return
        values = dict(new_values(execution))
        check_values(module, wanted, values, destination)
    unused = set() if strict else _names_of(execution.plan, Fate.UNUSED)
    for key in given.keys() - unused:  # torch tells what a loose load leaves
        del state_dict[prefix + key]
    for key, value in {**_beside(execution, wanted, strict), **values}.items():
        state_dict[prefix + key] = value
    origins = _origins(execution.plan, values)
    _move_extra_states(origins, state_dict, prefix)
    if load is not None:
        load.move_versions(origins, prefix, wanted)


def _beside(execution: Execution, wanted: State, strict: bool) -> State:
    """What goes into the state_dict beside new values, so that torch doesn't call it missing.

    In a loose load also what rules give and the model lacks, of which torch tells.
    """
    if strict:
        return wanted
    kept = _kept_by_rules(execution.plan.outputs)
    own = {key: wanted[key] for key in kept if not wanted[key].is_meta}
    return {**own, **dict(stray_values(execution))}


@contextlib.contextmanager
def _in_part(part: str) -> Iterator[None]:
    """Names the part of a larger model in what is raised."""
    try:
        yield
    except (FindingsError, PlanError) as error:
        if not part:
            raise
        if isinstance(error, FindingsError):
            text = f"{part}: {error}"
            raise FindingsError(error.problems, error.report, text) from None
        problems = error.problems
        told = (dataclasses.replace(one, message=f"{part}: {one.message}") for one in problems)
        raise PlanError(told) from None


def _find_dropped(
    wishes: Wishes, given: State, destination: Checkpoint, strict: bool
) -> Collection[str]:
    """The names beside the model's own that rules drop, or that a strict load is allowed to leave.

    What rules would move is left to torch: its place is taken.
    """
    beside = {key: one for key, one in given.items() if key not in destination.contents.specs}
    if not beside:
        return ()
    request = wishes.request(beside, destination, optional=True, loose=True)
    try:
        plan = prepare_load(request, destination).plan
    except CkptSurgeonError:
        return ()
    used = {operand.key for output in plan.outputs.values() for operand in output.sources}
    (view,) = plan.sources
    taken = _names_of(plan, Fate.TAKEN) - {view.names[key] for key in used if key in view.names}
    left = _names_of(plan, Fate.UNUSED) if strict and "unused" in wishes.allow else set()
    return beside.keys() & (taken | left | _names_of(plan, Fate.DROPPED))


def _names_of(plan: Plan, fate: Fate) -> set[str]:
    """The state_dict's names of the keys that became so."""
    (view,) = plan.sources
    found = plan.fates.of(lambda claim: claim.fate is fate)
    return {view.names[one.key] for one in found if one.stage == 0}


def _prepare(
    wishes: Wishes, given: State, destination: Checkpoint, *, strict: bool, is_part: bool
) -> Execution | None:
    """The load as it is planned; None for names that are the model's already.

    That is so where rules don't match, none takes anything, and keys are the model's, or all are
    behind one prefix in a strict load: torch tells what is wrong. So it is for a part of the
    model's own (`is_part`) in a loose load, unless a strict one would convert it.
    """

    def plan(optional: bool, loose: bool) -> Execution:
        request = wishes.request(given, destination, optional=optional, loose=loose)
        return prepare_load(request, destination)

    if is_part:
        with contextlib.suppress(PlanError):
            whole = plan(optional=False, loose=False)
            return None if whole.plan.open_findings else whole
        return None
    try:
        return plan(optional=False, loose=not strict)
    except PlanError as error:
        if not given:
            return None
        try:
            partly = plan(optional=True, loose=not strict)
        except PlanError:
            raise error from None
        takes = any(partly.plan.fates.of(lambda claim: claim.fate is Fate.TAKEN))
        own = destination.contents.specs
        if not takes and (
            not own.keys().isdisjoint(given) or (strict and _are_prefixed(given, own))
        ):
            return None
        if strict:
            raise
        return partly


def _are_prefixed(given: State, wanted: Collection[str]) -> bool:
    """Whether all names are the model's behind one prefix, as `module.`."""
    first = next(iter(given))
    prefixes = (f"{one}." for one in prefixes_of(first))
    return any(
        all(key.startswith(prefix) and key.removeprefix(prefix) in wanted for key in given)
        for prefix in prefixes
    )


def _kept_by_rules(outputs: Outputs) -> Iterator[str]:
    """The keys that rules say to keep: a loose load isn't told that they are missing."""
    for kind in outputs.kinds:
        first = outputs.first(kind)
        if first.status is Status.KEPT and first.rule is not None:
            yield from kind.keys


def _origins(plan: Plan, values: Mapping[str, Any]) -> dict[str, str]:
    """The modules of the state_dict by those that are given values of them."""
    (view,) = plan.sources
    modules = {key.rpartition(".")[0] for key in view.specs}
    given = {key.rpartition(".")[0] for key in values}
    found = find_origins(plan, {view.alias: modules})
    return {module: old for module, (_, old) in found.items() if module in given}


def _move_extra_states(origins: Mapping[str, str], state_dict: dict[str, Any], prefix: str) -> None:
    """Gives modules the extra state of those that they come from, where it is no tensor."""

    def name(module: str) -> str:
        return prefix + ".".join((*filter(None, [module]), EXTRA_STATE))

    held = {
        name(new): state_dict[name(old)] for new, old in origins.items() if name(old) in state_dict
    }
    for old in origins.values():
        state_dict.pop(name(old), None)
    state_dict.update(held)


@dataclass(frozen=True, slots=True)
class Load:
    """The call of `load_state_dict` that a hook runs in, which torch doesn't hand to its hooks."""

    frame: FrameType

    @classmethod
    def under_way(cls) -> Load | None:
        """The innermost one; None where a hook is called by something else."""
        frame = inspect.currentframe()
        while frame is not None and frame.f_code is not nn.Module.load_state_dict.__code__:
            frame = frame.f_back
        return None if frame is None else cls(frame)

    @property
    def is_strict(self) -> bool:
        """What it was called with: torch tells its hooks that all loads are strict."""
        return bool(self.frame.f_locals["strict"])

    def move_versions(self, origins: Mapping[str, str], prefix: str, wanted: State) -> None:
        """Gives modules the `_metadata` of those that they come from, for the rest of the load.

        The caller's own isn't altered: the load is given another.
        """
        metadata = self.frame.f_locals.get("metadata")
        inner = self.frame.f_locals.get("load")
        if metadata is None or inner is None:
            return

        def name(module: str) -> str:
            return f"{prefix}{module}".rstrip(".")

        own: Any = wanted
        kept = {name(module): one for module, one in own._metadata.items()}
        moved = {name(module): metadata.get(name(old), {}) for module, old in origins.items()}
        cells = dict(zip(inner.__code__.co_freevars, inner.__closure__, strict=True))
        cells["metadata"].cell_contents = {**metadata, **kept, **moved}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What `convert_on_load` was told: the rules, and the words beside them."""

    rulesets: Sequence[Ruleset]
    allow: tuple[str, ...]
    config: Config | None
    variables: Given | None

    def request(
        self, given: State, destination: Checkpoint, *, optional: bool, loose: bool
    ) -> Request:
        """The request; rules may match nothing where they are `optional`, keys be left in loose."""
        left: tuple[KindOfFinding, ...] = ("missing", "unused", "unexpected") if loose else ()
        return open_request(
            _make_optional(self.rulesets) if optional else self.rulesets,
            given,
            destination,
            config=self.config,
            variables=self.variables,
            allow=(*self.allow, *left),
        )


def _make_optional(rulesets: Sequence[Ruleset]) -> list[Ruleset]:
    """The rulesets with rules that may all match nothing."""
    return [
        replace(
            ruleset,
            stages=tuple(
                replace(stage, rules=tuple(map(_optional, stage.rules))) for stage in ruleset.stages
            ),
        )
        for ruleset in rulesets
    ]


def _optional(rule: Rule) -> Rule:
    if isinstance(rule, Within):
        return replace(rule, rules=tuple(map(_optional, rule.rules)))
    return replace(rule, options=replace(rule.options, optional=True))


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    """The shapes by key, without those of counters, which may be there or not."""
    keys = (key for key in state if key.rpartition(".")[2] != COUNTER)
    return {key: tuple(state[key].shape) for key in keys}
