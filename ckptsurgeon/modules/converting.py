"""`convert_on_load`: models that take old checkpoints at every load from then on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from msgspec.structs import replace
from torch import nn
from torch.utils.hooks import RemovableHandle

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.models import checkpoint_of_model, name_model, state_of, unwrapped
from ckptsurgeon.checkpoints.tensors import is_torch
from ckptsurgeon.given_rules import load_rulesets
from ckptsurgeon.language.rules import Rule, Ruleset, Within
from ckptsurgeon.language.rulesets import Rules
from ckptsurgeon.modules.loading import State, check_values, new_values, prepare_load
from ckptsurgeon.modules.torch_rules import COUNTER
from ckptsurgeon.planner.compiling.compilation import compile_rulesets
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.request import (
    Allow,
    Config,
    Given,
    KindOfFinding,
    Request,
    open_request,
    read_kinds,
)


def convert_on_load(
    model: nn.Module,
    rules: Rules,
    *,
    allow: Allow = (),
    config: Config | None = None,
    variables: Given | None = None,
) -> RemovableHandle:
    """A handle of a hook by which `model.load_state_dict` takes old checkpoints, too.

    A state_dict that has the model's keys and shapes is loaded as it is; any other is converted by
    `rules` first, also when `model` is a part of the model that loads. What `rules` can't convert
    raises PlanError or FindingsError before a tensor of `model` is written. The hook is copied and
    pickled with the model; `handle.remove()` takes it off.

    With `load_state_dict(…, strict=False)` rules may match nothing. Keys that none gives are told
    as torch's missing ones, and keys that none takes as its unexpected ones; shapes must fit, and
    something of the state_dict must end in the model.
    """
    rulesets = load_rulesets(rules)
    compile_rulesets(rulesets)
    ask = Ask(rulesets, read_kinds(allow, get_args(KindOfFinding)), config, variables)
    module: Any = unwrapped(model)  # torch's method has no types
    handle: RemovableHandle = module.register_load_state_dict_pre_hook(partial(_convert, ask))
    return handle


def _convert(
    ask: Ask,
    module: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    *_: object,
) -> None:
    """The hook of `convert_on_load`: puts converted tensors in the place of the module's part."""
    strict = _is_strict()
    given = {
        key.removeprefix(prefix): value
        for key, value in state_dict.items()
        if key.startswith(prefix) and is_torch(value)
    }
    wanted = state_of(module)
    if _is_current(_shapes(given), _shapes(wanted), strict):
        return
    destination = checkpoint_of_model(wanted, name_model(module))
    execution = prepare_load(ask(given, destination, strict), destination)
    values = dict(new_values(execution))
    check_values(module, wanted, values, destination)
    unused = {fate.key for fate in execution.plan.fates.of(lambda one: one.fate is Fate.UNUSED)}
    for key in given:
        if strict or key not in unused:  # torch tells what a loose load leaves
            del state_dict[prefix + key]
    kept = wanted.items() if strict else ()
    state_dict.update((prefix + key, own) for key, own in kept if key not in values)
    state_dict.update((prefix + key, value) for key, value in values.items())


def _is_strict() -> bool:
    """Whether the load that calls the hook is strict: torch tells its hooks that all are."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is nn.Module.load_state_dict.__code__:
            return bool(frame.f_locals["strict"])
        frame = frame.f_back
    return True


Shapes = Mapping[str, tuple[int, ...]]


def _is_current(given: Shapes, wanted: Shapes, strict: bool) -> bool:
    """Whether a state_dict is the model's own, or a part of one, which a loose load may be."""
    return given == wanted if strict else bool(given) and given.items() <= wanted.items()


@dataclass(frozen=True, slots=True)
class Ask:
    """What makes the request of a load: the rules of `convert_on_load`, and what was said there."""

    rulesets: Sequence[Ruleset]
    allow: tuple[str, ...]
    config: Config | None
    variables: Given | None

    def __call__(self, given: State, destination: Checkpoint, strict: bool) -> Request:
        """The request; of a loose load, rules may match nothing, and keys may be left."""
        loose: tuple[KindOfFinding, ...] = () if strict else ("missing", "unused", "unexpected")
        return open_request(
            self.rulesets if strict else _make_optional(self.rulesets),
            given,
            destination,
            config=self.config,
            variables=self.variables,
            allow=(*self.allow, *loose),
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
