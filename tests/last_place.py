"""A plugin of pytest that makes sums err as another processor's might.

`PYTHONPATH=tests pytest -p last_place`: what torch's kernels add up in float32 and float64 is off
by one unit in its last place, at random. A test that asks for equal bits of it fails.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

ADDING = {
    *("mm", "addmm", "bmm", "baddbmm", "mv", "dot", "convolution", "convolution_backward"),
    *("native_batch_norm", "native_batch_norm_backward", "_native_batch_norm_legit_no_training"),
    *("native_layer_norm", "_scaled_dot_product_flash_attention_for_cpu", "_softmax"),
    *("upsample_bicubic2d", "upsample_bilinear2d"),
    *("_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa"),
    *("sum", "mean", "var", "_weight_norm_interface", "linalg_pinv", "linalg_vector_norm"),
    *("rsqrt", "exp", "pow", "tanh", "sigmoid", "gelu"),
}
"""Kernels, as ATen calls them, whose result has no one right answer."""


class LastPlace(TorchDispatchMode):
    """Within it, about half of the items that those kernels make go to a neighbour."""

    def __init__(self) -> None:
        super().__init__()
        self.random = torch.Generator().manual_seed(0)

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if func._schema.name.removeprefix("aten::") in ADDING:
            tree_map_only(Tensor, self._unsettle, made)
        return made

    def _unsettle(self, tensor: Tensor) -> None:
        held = type(tensor) is Tensor and tensor.device.type == "cpu"
        if not held or tensor.dtype not in (torch.float32, torch.float64):
            return
        ends = torch.tensor([-torch.inf, torch.inf], dtype=tensor.dtype)
        toward = ends[torch.randint(2, tensor.shape, generator=self.random)]
        chosen = torch.rand(tensor.shape, generator=self.random) < 0.5
        chosen &= tensor.isfinite() & (tensor != 0)
        tensor.copy_(torch.where(chosen, torch.nextafter(tensor, toward), tensor))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, Any, Any]:
    with LastPlace():
        return (yield)
