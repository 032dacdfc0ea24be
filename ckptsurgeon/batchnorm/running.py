"""Which BatchNorm comes right after which convolution, as a run of the model on one input shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
            if id(value) in self.given and (id(value) != input_id or not _is_layer(module)):
                self.shared.add(self.given[id(value)][1])
            owner = self._owners.get(id(value))
            if owner is not None and owner is not module:
                self.shared.add(owner)

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A forward pre-hook of convolutions and BatchNorms."""
        self.calls[module] += 1
        given = id(inputs[0]) if inputs else 0
        self._inside.append((module, given))
        if _is_layer(module):
            self.before[module] = self.given[given][1] if given in self.given else None

    def leave(self, module: nn.Module, inputs: object, output: Any) -> None:
        """A forward hook of convolutions and BatchNorms."""
        self._inside.pop()
        if isinstance(module, Convolution):
            self.given[id(output)] = output, module


def _is_layer(module: nn.Module | None) -> bool:
    return isinstance(module, Layer)


def run_pairs(
    model: nn.Module, found: Mapping[str, Layer], example: Any
) -> tuple[dict[str, str], dict[str, str]]:
    """(convolution -> BatchNorm, BatchNorm -> why it has no convolution), by name.

    `example` goes through as `model(example)`, a tuple as arguments, a mapping as keywords.
    """
    recorder = _recorded(model, example)
    pairs, lonely = {}, {}
    for name, layer in found.items():
        reason = _reason(recorder, layer)
        if reason:
            lonely[name] = reason
        else:
            pairs[recorder.names[recorder.before[layer]]] = name  # type: ignore[index]
    return pairs, lonely


def _recorded(model: nn.Module, example: Any) -> _Recorder:
    named = {module: name for name, module in model.named_modules()}
    recorder = _Recorder({m: n for m, n in named.items() if isinstance(m, Layer | Convolution)})
    with _hooked(recorder), torch.no_grad(), recorder:
        if isinstance(example, Mapping):
            output = model(**example)
        else:
            output = model(*(example if isinstance(example, tuple) else (example,)))
    recorder._inside.clear()
    recorder._read(tree_leaves(_plain(output)))
    return recorder


def _plain(output: Any) -> Any:
    """What a model gives, with the outputs of transformers as the dicts that they are."""
    return dict(output) if isinstance(output, Mapping) else output


@contextmanager
def _hooked(recorder: _Recorder) -> Iterator[None]:
    handles = []
    for module in recorder.names:
        handles.append(module.register_forward_pre_hook(recorder.enter))
        handles.append(module.register_forward_hook(recorder.leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _reason(recorder: _Recorder, layer: Layer) -> str:
    """Why a BatchNorm can't be folded into what comes before; "" where it can."""
    if recorder.calls[layer] != 1:
        return f"runs {recorder.calls[layer]} times"
    convolution = recorder.before[layer]
    if convolution is None:
        return "its input is not what a convolution gives"
    name = recorder.names[convolution]
    if recorder.calls[convolution] > 1:
        return f"`{name}` runs {recorder.calls[convolution]} times"
    if recorder.shared & {convolution, layer}:
        return f"what `{name}` gives, or a tensor of the two, is read elsewhere too"
    return ""
