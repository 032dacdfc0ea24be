"""Weights moved between `nn.Module`s, from files into them, and at every load from then on.

What fits is copied, rules do the rest, and the report accounts for every tensor. Values are all
computed before the first one is written, so a model is never left half-loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.memory import tensors_held
from ckptsurgeon.checkpoints.models import checkpoint_of_model, name_model, state_of, unwrapped
from ckptsurgeon.checkpoints.tensors import is_torch, to_torch
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.engine.execution import Execution
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.given_rules import load_rulesets
from ckptsurgeon.language.rules import Ruleset
from ckptsurgeon.language.rulesets import Rules
from ckptsurgeon.modules.torch_rules import rules_of_loading, rules_of_ties
from ckptsurgeon.plans.graph import Leaf
from ckptsurgeon.plans.outputs import Output, Status
from ckptsurgeon.report.report import Report, make_report
from ckptsurgeon.request import (
    Allow,
    Config,
    Given,
    Request,
    Root,
    Source,
    open_request,
)
from ckptsurgeon.specs import UnreadableSpec

State = Mapping[str, Any]


def transplant(
    source_model: nn.Module,
    destination_model: nn.Module,
    rules: Rules | None = None,
    allow: Allow = (),
    *,
    config: Config | None = None,
    variables: Given | None = None,
) -> Report:
    """Copies the source's weights into the destination by `rules`; what was done comes back.

    Like `load` from the source's state_dict. The source is not altered, unless it shares memory
    with the destination; they may be one model, whose weights are then all read before any is
    written.
    """
    return load(
        destination_model, source_model, rules, allow=allow, config=config, variables=variables
    )


def load(
    model: nn.Module,
    checkpoint: Source,
    rules: Rules | None = None,
    *,
    allow: Allow = (),
    sources: Mapping[str, Source] | None = None,
    config: Config | None = None,
    variables: Given | None = None,
    root: Root | None = None,
    one_shard: bool = False,
) -> Report:
    """Copies a checkpoint's tensors into the model's own by `rules`; what was done comes back.

    Tensors of equal name and shape are copied, rules do the rest. Everything else is a finding:
    FindingsError names it, unless `allow` accepts its kind ("missing" and "mismatched" then leave
    the model's own value, "unused" and "unexpected" leave the checkpoint's tensor out, "unreadable"
    one that has no values, and with "nothing" none needs to come from the checkpoint).

    The model's tensors keep their identity, dtype, device and `requires_grad`; tied ones stay tied;
    buffers that are not persistent are not touched. As in torch, a `num_batches_tracked` that only
    one side has is left as it is. On any error the model is as it was.

    `checkpoint` is a path, a dict, an open checkpoint or a module; for the rest see
    `ckptsurgeon.plan`. Raises also CheckpointError for a model with lazy layers, or on the meta
    device, and for a file with two sets of the same weights where no `root` says which is meant.
    """
    module = unwrapped(model)
    state = state_of(module)
    destination = checkpoint_of_model(state, name_model(module))
    _check_writable(module, state, destination)
    cast = _cast_to_destination(load_rulesets(rules))
    request = open_request(
        cast,
        checkpoint,
        destination,
        sources=sources,
        config=config,
        variables=variables,
        allow=allow,
        root=root,
        one_shard=one_shard,
    )
    execution = prepare_load(request, destination)
    values = dict(new_values(execution))
    check_values(module, state, values, destination)
    _write(state, values)
    return make_report(execution.hold("a model").plan, done="written")


# --- planning -------------------------------------------------------------------------------------


def prepare_load(request: Request, destination: Checkpoint) -> Execution:
    """The plan with the rules that tell what loading a module does by itself."""
    tied = request.with_rules(rules_of_ties(destination.contents.aliases))
    execution = tied.prepare()
    extra = rules_of_loading(execution.plan)
    return execution if extra is None else tied.with_rules(extra).prepare()


def _cast_to_destination(rulesets: Sequence[Ruleset]) -> Sequence[Ruleset]:
    """The rulesets with casts to the destination's dtypes, where they don't name another."""
    *before, last = rulesets
    *others, stage = last.stages
    if stage.output.dtype is not None:
        return rulesets
    output = replace(stage.output, dtype="destination")
    return [*before, replace(last, stages=(*others, replace(stage, output=output)))]


# --- writing --------------------------------------------------------------------------------------


def _check_writable(model: nn.Module, state: State, destination: Checkpoint) -> None:
    """Refuses tensors that `copy_` would not write, before anything is written.

    Those that can't be read are for the plan to tell.
    """
    own = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    for key, spec in destination.contents.specs.items():
        if isinstance(spec, UnreadableSpec) and not state[key].is_meta:
            continue
        if problem := _unwritable(state[key], own):
            raise CheckpointError(f"{name_model(model)}: `{key}` {problem}")


def check_values(
    model: nn.Module, state: State, values: Mapping[str, Tensor], destination: Checkpoint
) -> None:
    """Refuses values that the model's tensors can't hold, before anything is written.

    Floating ones may be rounded into another floating dtype: that they don't overflow, casts check.
    """
    for key, value in values.items():
        spec, target = destination.contents.specs[key], state[key]
        if isinstance(spec, UnreadableSpec):
            raise CheckpointError(
                f"{name_model(model)}: `{key}` is {spec.what}, which can't be written to; drop "
                "what the rules give it, and allow `unreadable`"
            )
        if lost := _count_lost(value, target.dtype):
            kinds = (str(one.dtype).removeprefix("torch.") for one in (value, target))
            raise CheckpointError(
                f"{name_model(model)}: `{key}`: {lost:,} of {value.numel():,} values would change "
                f"from {' to '.join(kinds)}; `drop` and `keep` it, or make the model's tensor of "
                "that dtype"
            )


def _count_lost(value: Tensor, dtype: torch.dtype) -> int:
    """How many values another dtype doesn't hold; rounding in a floating one is no loss."""
    return 0 if value.dtype == dtype else int(_are_lost(value, dtype).sum())


def _are_lost(value: Tensor, dtype: torch.dtype) -> Tensor:
    if value.is_complex():
        turned = torch.zeros_like(value.imag) if dtype.is_complex else value.imag
        return (turned != 0) | _are_lost(value.real, dtype)
    held = dtype.to_real() if dtype.is_complex else dtype
    if value.is_floating_point() and held.is_floating_point:
        wide = value.to(torch.float64)  # not all small dtypes can say what is finite
        return wide.isfinite() & ~value.to(held).to(torch.float64).isfinite()
    exact = value.to(torch.float64 if value.is_floating_point() else torch.int64)
    lost = exact.to(held).to(exact.dtype) != exact
    if torch.uint64 in (value.dtype, held) and exact.dtype == torch.int64:
        # a sign that the other lacks, or the bit that stands in its place
        lost |= (exact < 0) & (not held.is_floating_point)
    return lost


def _unwritable(tensor: Tensor, own: Collection[int]) -> str:
    if tensor.is_meta:
        return (
            "is on the meta device, which holds no values; give it memory by "
            "`model.to_empty(device='cpu')`, or use `load_state_dict(tensors, assign=True)` with "
            "the tensors of `ckptsurgeon.apply`"
        )
    if id(tensor) not in own:
        return "is made up by its module when asked for, and can't be written to"
    if type(tensor) not in (Tensor, nn.Parameter, nn.Buffer):
        return f"is a {type(tensor).__name__}; wanted plain tensors"
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        return "was made in inference mode, and can't be written to"
    if any(size > 1 and not step for size, step in zip(tensor.shape, tensor.stride(), strict=True)):
        return "is an expanded view, whose elements share memory; clone it first"
    return ""


def new_values(execution: Execution) -> Iterator[tuple[str, Tensor]]:
    """The model's keys that change, each with its new value."""
    yield from _values(execution, lambda output: output.wanted is not None)


def stray_values(execution: Execution) -> Iterator[tuple[str, Tensor]]:
    """The keys that rules give and the model lacks, each with its value."""
    yield from _values(execution, lambda output: output.wanted is None)


def _values(
    execution: Execution, are_meant: Callable[[Output], bool]
) -> Iterator[tuple[str, Tensor]]:
    plan, given = execution.plan, tensors_held(execution.checkpoints)
    evaluator = execution.evaluate()
    for output in plan.outputs.values():
        if output.status is not Status.KEPT and are_meant(output):
            yield output.name, _value(output, evaluator, given)


def _value(output: Output, evaluator: Evaluator, given: Mapping[str, State]) -> Tensor:
    """The tensor that was given, where it is whole and torch's; else what the plan computes."""
    node = output.node
    if isinstance(node, Leaf) and node.source in given:
        found = given[node.source][node.name]
        if is_torch(found) and not found.is_meta:
            return found  # type: ignore[no-any-return]
    tensor: Tensor = to_torch(evaluator.output(output), output.spec, "cpu")
    return tensor


@torch.no_grad()
def _write(state: State, values: dict[str, Tensor]) -> None:
    """Copies values into the model's tensors; those that share memory with any are cloned first."""
    written = {_storage(state[key]) for key in values}
    for key, value in values.items():
        if value is not state[key] and _storage(value) in written:
            values[key] = value.clone()
    for key, value in values.items():
        if value is not state[key]:
            state[key].copy_(value)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
