"""Ops that resize what knows places in an image: position embeddings and patch embeddings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ckptsurgeon.ops.base import Op, larger_spec, only
from ckptsurgeon.ops.computing import Resizing, narrow, refuse_all_but_real, tensor_of, widen
from ckptsurgeon.specs import Specs, TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays

Grid = tuple[int, int]
"""Height and width."""

Mode = Literal["bicubic", "bilinear"]

MAX_KERNEL = 4096
"""Most places of a patch's kernel (64 x 64): the work grows with the cube of their number."""


def resize(grids: Any, size: Grid, mode: str, antialias: bool) -> Any:
    """Torch's tensor[batch, channels, height, width] -> [batch, channels, *size]."""
    import torch.nn.functional

    return torch.nn.functional.interpolate(
        grids, size=size, mode=mode, align_corners=False, antialias=antialias
    )


def resize_rows(rows: Array, old: Grid, new: Grid, mode: str, antialias: bool) -> Array:
    """[old height * width, D] -> [new height * width, D], the rows being places of a grid."""
    grid = tensor_of(rows).reshape(1, *old, -1).permute(0, 3, 1, 2)
    made = resize(grid, new, mode, antialias).permute(0, 2, 3, 1)
    result: Array = made.reshape(-1, rows.shape[1]).numpy()
    return result


def check_grid(op: Op, name: str, grid: Grid | None) -> None:
    """Raises ShapeError for a height or width below 1."""
    if grid is not None and min(grid) < 1:
        raise op.error(f"`{name}` must be a height and a width of 1 or more, found {list(grid)}")


def square(count: int) -> Grid | None:
    """The square grid of that many places, or None where there is none."""
    side = math.isqrt(max(count, 0))
    return (side, side) if side and side * side == count else None


class ResizePosEmbed(Resizing, frozen=True, kw_only=True):
    """embedding[1, N, D] or [N, D] -> the same for another grid, its prefix tokens unchanged.

    N is `prefix_tokens` (class and register tokens) and the places of a grid, row by row. `to` is
    the number of tokens that results, or its grid [height, width]; `grid` is the one that there
    is, if it is not square. With `antialias` as timm's resample_abs_pos_embed, without as
    interpolate_pos_encoding of transformers. [1, H, W, D], as SAM has it, is its own grid,
    without prefix tokens.
    """

    name: ClassVar[str] = "resize_pos_embed"
    first: ClassVar[str | None] = "to"
    sized: ClassVar[tuple[str, ...]] = ("to", "grid")

    to: int | Grid | None = None
    prefix_tokens: int = 1
    grid: Grid | None = None
    antialias: bool = True
    mode: Mode = "bicubic"

    def __post_init__(self) -> None:
        if self.prefix_tokens < 0:
            raise self.error(f"`prefix_tokens` must be 0 or more, found {self.prefix_tokens}")
        check_grid(self, "grid", self.grid)
        if isinstance(self.to, int):
            self._square("to", self.to, ())
        else:
            check_grid(self, "to", self.to)

    def size_in(self, wanted: TensorSpec) -> object:
        if _is_grid(wanted):
            return wanted.shape[1:3]
        return wanted.shape[-2] if len(wanted.shape) > 1 else None

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        shape = spec.shape
        if len(shape) not in (2, 3, 4) or (len(shape) > 2 and shape[0] != 1):
            takes = "[1, tokens, width], [tokens, width] or [1, height, width, channels]"
            raise self.error(f"takes tensors of {takes}", specs)
        height, width = self._new(specs)
        self._old(specs)
        refuse_all_but_real(self, specs)
        tokens = self.prefix_tokens + height * width
        places = (1, height, width) if _is_grid(spec) else (*shape[:-2], tokens)
        return (larger_spec(self, spec.dtype, (*places, shape[-1]), specs),)

    def _new(self, specs: Specs) -> Grid:
        if self.to is None:
            raise self.error("needs `to`, the number of tokens or the grid that results", specs)
        if not isinstance(self.to, int):
            return self.to
        if _is_grid(specs[0]):
            raise self.error("a grid has no number of tokens; give `to` as [height, width]", specs)
        return self._square("to", self.to, specs)

    def _old(self, specs: Specs) -> Grid:
        if _is_grid(specs[0]):
            return self._own_grid(specs)
        tokens = specs[0].shape[-2]
        if self.grid is None:
            return self._square("grid", tokens, specs)
        places = math.prod(self.grid)
        if self.prefix_tokens + places != tokens:
            raise self.error(
                f"{self.prefix_tokens} prefix tokens and a grid of {places} places are"
                f" {self.prefix_tokens + places} tokens, not {tokens}",
                specs,
            )
        return self.grid

    def _own_grid(self, specs: Specs) -> Grid:
        """The grid that a tensor of [1, H, W, D] is, which a given one must be too."""
        _, height, width, _ = specs[0].shape
        if self.prefix_tokens > 1:
            raise self.error(
                f"a grid has no prefix tokens, and `prefix_tokens` is {self.prefix_tokens};"
                " leave it out",
                specs,
            )
        if self.grid not in (None, (height, width)):
            found = f"`grid` is {list(self.grid)}, and the tensor's own [{height}, {width}]"
            raise self.error(f"{found}; leave it out", specs)
        if not height * width:
            raise self.error("the grid has no places", specs)
        return height, width

    def _square(self, name: str, tokens: int, specs: Specs) -> Grid:
        grid = square(tokens - self.prefix_tokens)
        if grid is None:
            raise self.error(
                f"{tokens} tokens less {self.prefix_tokens} prefix tokens are no square grid;"
                f" give `{name}` as [height, width], or other `prefix_tokens`",
                specs,
            )
        return grid

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        (result,) = self.infer(specs)
        if self._new(specs) == self._old(specs):
            return arrays
        import numpy as np

        array = arrays[0].reshape(math.prod(specs[0].shape[:-1]), result.shape[-1])
        first = 0 if _is_grid(result) else self.prefix_tokens
        prefix, places = array[:first], array[first:]
        rows = widen(places, result.dtype)
        sizes = self._old(specs), self._new(specs)
        made = resize_rows(rows, *sizes, self.mode, self.antialias)
        encoded = narrow(made, result.dtype)
        return (np.concatenate([prefix, encoded]).reshape(result.shape),)


def _is_grid(spec: TensorSpec) -> bool:
    """Whether an embedding is [1, height, width, channels], and not a list of tokens."""
    return len(spec.shape) == 4


class ResamplePatchEmbed(Resizing, frozen=True, kw_only=True):
    """weight[O, I, h, w] -> weight[O, I, *to]: the kernel for patches of another size.

    FlexiViT's PI-resize, as timm's resample_patch_embed: the kernel whose answer to a resized patch
    is nearest to the old kernel's answer to the patch. `to` is a size, or [height, width].
    """

    name: ClassVar[str] = "resample_patch_embed"
    first: ClassVar[str | None] = "to"
    sized: ClassVar[tuple[str, ...]] = ("to",)

    to: int | Grid | None = None
    antialias: bool = True
    mode: Mode = "bicubic"

    def __post_init__(self) -> None:
        check_grid(self, "to", self._grid)

    @property
    def _grid(self) -> Grid | None:
        return (self.to, self.to) if isinstance(self.to, int) else self.to

    def size_in(self, wanted: TensorSpec) -> object:
        return wanted.shape[2:] if len(wanted.shape) == 4 else None

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        if len(spec.shape) != 4:
            raise self.error("takes weights of 4 dims, [out, in, height, width]", specs)
        if self._grid is None:
            raise self.error("needs `to`, the size of the patches that results", specs)
        refuse_all_but_real(self, specs)
        for height, width in (self._grid, spec.shape[2:]):
            if not 1 <= height * width <= MAX_KERNEL:
                raise self.error(
                    f"a kernel of {height} x {width} can't be resampled;"
                    f" from 1 to {MAX_KERNEL} places can",
                    specs,
                )
        return (larger_spec(self, spec.dtype, (*spec.shape[:2], *self._grid), specs),)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        (result,) = self.infer(specs)
        if result == specs[0]:
            return arrays
        import torch

        numbers = tensor_of(widen(arrays[0], result.dtype))
        back = torch.linalg.pinv(self._resizing(specs[0].shape[2:], numbers.dtype))
        made = numbers.reshape(*result.shape[:2], -1) @ back
        return (narrow(made.reshape(result.shape).numpy(), result.dtype),)

    def _resizing(self, old: tuple[int, ...], dtype: Any) -> Any:
        """The matrix [new places, old places] that resizes a flat patch."""
        import torch

        count, grid = math.prod(old), self._grid or (1, 1)
        patches = torch.eye(count, dtype=dtype).reshape(count, 1, *old)
        return resize(patches, grid, self.mode, self.antialias).reshape(count, -1).T
