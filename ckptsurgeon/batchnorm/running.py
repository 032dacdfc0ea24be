"""Which BatchNorm comes right after which convolution, as a run of the model on one input shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ckptsurgeon.batchnorm.layers import Layer, tensors_of
from ckptsurgeon.batchnorm.tracing import Convolution


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Sees every operation, and so who reads what a convolution gives and what modules hold."""

    def __init__(self, modules: Mapping[nn.Module, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.names = modules
        self.calls: Counter[nn.Module] = Counter()
        self.given: dict[int, tuple[Tensor, nn.Module]] = {}
        """Outputs of convolutions by id, held so that no other tensor gets their id."""
        self.before: dict[nn.Module, nn.Module | None] = {}
        """The convolution whose very output a BatchNorm was given."""
        self.shared: set[nn.Module] = set()
        """Convolutions whose output, and modules whose tensors, something else reads."""
        self._owners = {id(t): m for m in modules for t in tensors_of(m).values()}
        self._inside: list[tuple[nn.Module, int]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self._read(tree_leaves((args, kwargs or {})))
        return func(*args, **(kwargs or {}))

    def _read(self, values: list[object]) -> None:
        module, input_id = self._inside[-1] if self._inside else (None, 0)
        for value in values:
            if id(value) in self.given and (id(value) != input_id or not isinstance(module, Layer)):
                self.shared.add(self.given[id(value)][1])
            owner = self._owners.get(id(value))
            if owner is not None and owner is not module:
                self.shared.add(owner)

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A forward pre-hook of convolutions and BatchNorms."""
        self.calls[module] += 1
        given = id(inputs[0]) if inputs else 0
        self._inside.append((module, given))
        if isinstance(module, Layer):
            self.before[module] = self.given[given][1] if given in self.given else None

    def leave(self, module: nn.Module, inputs: object, output: Any) -> None:
        """A forward hook of convolutions and BatchNorms."""
        self._inside.pop()
        if isinstance(module, Convolution):
            self.given[id(output)] = output, module


def run(model: nn.Module, example: Any) -> Callable[[Layer], tuple[str, str]]:
    """What tells the convolution before a BatchNorm by name, or "" and why it has none.

    `example` goes through as `model(example)`, a tuple as arguments, a mapping as keywords.
    """
    named = {module: name for name, module in model.named_modules()}
    recorder = _Recorder({m: n for m, n in named.items() if isinstance(m, Layer | Convolution)})
    with _hook(recorder), torch.no_grad(), recorder:
        if isinstance(example, Mapping):
            output = model(**example)
        else:
            output = model(*(example if isinstance(example, tuple) else (example,)))
    recorder._inside.clear()
    if isinstance(output, Mapping):
        output = dict(output)  # which the outputs of transformers are, but not to torch
    recorder._read(tree_leaves(output))
    return partial(_before, recorder)


def _hook(recorder: _Recorder) -> ExitStack:
    """The recorder's hooks, which go when this is left."""
    hooks = ExitStack()
    for module in recorder.names:
        hooks.enter_context(module.register_forward_pre_hook(recorder.enter))
        hooks.enter_context(module.register_forward_hook(recorder.leave))
    return hooks


def _before(recorder: _Recorder, layer: Layer) -> tuple[str, str]:
    if recorder.calls[layer] != 1:
        return "", f"runs {recorder.calls[layer]} times"
    convolution = recorder.before[layer]
    if convolution is None:
        return "", "its input is not what a convolution gives"
    name = recorder.names[convolution]
    if recorder.calls[convolution] > 1:
        return "", f"`{name}` runs {recorder.calls[convolution]} times"
    if recorder.shared & {convolution, layer}:
        return "", f"what `{name}` gives, or a tensor of the two, is read elsewhere too"
    return name, ""
