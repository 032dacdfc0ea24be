"""Which BatchNorm comes right after which convolution, as torch.fx's trace of a model proves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from ckptsurgeon.batchnorm.layers import Layer
from ckptsurgeon.errors import CkptSurgeonError

Convolution = _ConvNd | nn.Linear


class _Tracer(fx.Tracer):
    """A tracer that sees BatchNorms and convolutions as whole calls, subclasses too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, Layer | Convolution):
            return True
        return super().is_leaf_module(m, module_qualified_name)


@dataclass(frozen=True, slots=True)
class _Trace:
    """The calls of every module in a graph, and the modules whose tensors it reads by itself."""

    modules: Mapping[str, nn.Module]
    names: Mapping[nn.Module, str]
    calls: dict[nn.Module, list[fx.Node]] = field(default_factory=dict)
    read: set[nn.Module] = field(default_factory=set)

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls."""
        return self.modules.get(str(node.target)) if node.op == "call_module" else None


def trace(model: nn.Module) -> Callable[[Layer], tuple[str, str]]:
    """What tells the convolution before a BatchNorm by name, or "" and why it has none.

    Raises CkptSurgeonError where torch.fx can't trace the model.
    """
    graph = _graph(model)
    every = dict(model.named_modules(remove_duplicate=False))
    found = _Trace(every, {module: name for name, module in model.named_modules()})
    for node in graph.nodes:
        module = found.module(node)
        if module is not None:
            found.calls.setdefault(module, []).append(node)
        if node.op == "get_attr":
            found.read.add(every[str(node.target).rpartition(".")[0]])
    return partial(_before, found)


def _graph(model: nn.Module) -> fx.Graph:
    try:
        return _Tracer().trace(model, concrete_args=_defaults(model))
    except Exception as error:  # a forward may raise anything when it is given no real tensor
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CkptSurgeonError(
            f"fold: torch.fx can't trace {type(model).__name__}: {reason}; "
            'give it an input, fold(model, example=image), or name pairs, {"conv1": "bn1"}'
        ) from error


def _defaults(model: nn.Module) -> dict[str, Any]:
    """The arguments that a plain call leaves out: traced as what they are then."""
    parameters = inspect.signature(model.forward).parameters
    plain = (type(None), bool, int, float, str)
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if isinstance(parameter.default, plain)
    }


def _before(trace: _Trace, layer: Layer) -> tuple[str, str]:
    nodes = trace.calls.get(layer, [])
    if len(nodes) != 1:
        return "", f"runs {len(nodes)} times"
    inputs = nodes[0].all_input_nodes
    convolution = trace.module(inputs[0]) if len(inputs) == 1 else None
    if not isinstance(convolution, Convolution):
        return "", f"comes after {' and '.join(map(_describe, inputs))}, not after a convolution"
    name = trace.names[convolution]
    if len(inputs[0].users) > 1:
        return "", f"what `{name}` gives is read elsewhere too"
    if len(trace.calls[convolution]) > 1:
        return "", f"`{name}` runs {len(trace.calls[convolution])} times"
    if trace.read & {convolution, layer}:
        return "", "the forward reads its tensors, or its convolution's, by itself"
    return name, ""


def _describe(node: fx.Node) -> str:
    """What a node does, for people."""
    if node.op == "placeholder":
        return "the model's input"
    if node.op == "call_function":
        return str(getattr(node.target, "__name__", node.target))
    return f"`{node.target}`"
