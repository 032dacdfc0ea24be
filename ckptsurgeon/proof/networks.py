"""The network that a checkpoint is proved in: what builds it, and puts the weights there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.models import require_model
from ckptsurgeon.checkpoints.planting import is_model
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.factories import build_model, is_pretrained
from ckptsurgeon.proof.loading import Loaded, State, load_strictly
from ckptsurgeon.proof.pretrained import load_pretrained
from ckptsurgeon.wanted import refuse

if TYPE_CHECKING:
    from torch import nn

Model = str | Callable[..., "nn.Module"]
"""A factory by name (`pkg.mod:factory`, `transformers:FOLDER`, `timm:NAME`), or a callable."""


@dataclass(frozen=True, slots=True)
class Network:
    """A model that can be built on a device, as often as it is needed."""

    model: Model
    arguments: Mapping[str, Any] | None
    word: str = "arguments"
    """What its arguments are called in `verify`."""

    @property
    def name(self) -> str:
        """What it is called for people."""
        if isinstance(self.model, str):
            return self.model
        return str(getattr(self.model, "__qualname__", type(self.model).__name__))

    def build(self, device: str) -> nn.Module:
        """The model on a device; raises CheckpointError for what makes none."""
        import torch

        if isinstance(self.model, str):
            return build_model(self.model, self.arguments, device)
        if is_model(self.model):
            raise CheckpointError(
                f"verify: {self.name} is built already; give what makes one, such as "
                "`lambda: copy.deepcopy(model)`, or the name of it"
            )
        if not callable(self.model):
            what = self.word.replace("arguments", "model")
            refuse(f"verify: {what}", self.model, "what makes one, or the name of it")
        given = self.arguments or {}
        self._check_arguments(self.model, given)
        with torch.device(device):
            made = self.model(**given)
        require_model(made)
        return made

    def _check_arguments(self, make: Callable[..., Any], given: Mapping[str, Any]) -> None:
        """Raises CheckpointError for arguments that the callable doesn't take."""
        try:
            takes = inspect.signature(make, follow_wrapped=False)
        except (TypeError, ValueError):  # a builtin that says nothing of itself
            return
        try:
            takes.bind(**given)
        except TypeError as error:
            message = f"verify: {self.name}: {error}; `{self.word}` are its own"
            raise CheckpointError(message) from None

    def load(self, state: State, device: str) -> tuple[nn.Module, Loaded]:
        """The model with a checkpoint's tensors, and what was wrong with them."""
        if isinstance(self.model, str) and is_pretrained(self.model):
            return load_pretrained(state, self.build("meta"))
        model = self.build(device)
        return model, load_strictly(state, model)
