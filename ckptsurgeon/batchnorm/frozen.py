"""`FrozenBatchNorm`: a BatchNorm that is a fixed scale and shift, and holds no parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Origin:
    """What a `FrozenBatchNorm` was made from, so that it can become that again.

    `kind` is torch's class; `trained` says of weight and bias, where the layer had them, whether
    they required gradients; `batches` is the value of `num_batches_tracked`, None where there was
    none.
    """

    kind: type[nn.modules.batchnorm._BatchNorm]
    momentum: float | None
    trained: tuple[tuple[str, bool], ...]
    batches: int | None


class FrozenBatchNorm(nn.Module):
    """(input[N, C, ...]) -> [N, C, ...]: (input - mean) / sqrt(var + eps) * weight + bias.

    The four tensors, each [C], are buffers: no optimizer sees them, no forward moves them, and
    `train()` changes nothing. The result is that of `torch.nn.BatchNorm*` in eval mode, for it
    comes from the same call with the same values; gradients reach the input.

    Loads, strictly, the state_dicts of BatchNorms, with `num_batches_tracked` or without, and those
    of torchvision's and detectron2's frozen ones. `running_var` is taken as it stands and `eps` is
    added in `forward`, whatever version `_metadata` tells: detectron2's layer took a BatchNorm's
    version for an old one of its own and subtracted eps (detectron2 #2413, mmcv #1294). Variances
    that detectron2 wrote before its version 3, with eps in them, need `eps=0`.

    Its own state_dict holds the four tensors and no version, which is what makes BatchNorm add the
    counter that is missing, and detectron2 leave the variance alone.

    eps is not in any state_dict: 1e-5 in torch, torchvision, detectron2 and transformers, 1e-3 in
    most networks that come from TensorFlow.
    """

    _version = None  # type: ignore[assignment]  # the docstring's last but one paragraph says why

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features, self.eps = num_features, eps
        self.origin: Origin | None = None
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            vector = torch.full((num_features,), float(value), device=device, dtype=dtype)
            self.register_buffer(name, vector)

    def forward(self, input: Tensor) -> Tensor:
        return functional.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=False,
            momentum=0.0,
            eps=self.eps,
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Loads the four tensors; the counter of a BatchNorm is no surprise, and is passed over."""
        super()._load_from_state_dict(state_dict, prefix, *rest)
        *_, unexpected_keys, _ = rest
        if (counter := f"{prefix}num_batches_tracked") in unexpected_keys:
            unexpected_keys.remove(counter)
