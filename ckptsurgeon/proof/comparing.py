"""Two networks given the same input, and how far their outputs lie apart."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.proof.feeding import make_feed
from ckptsurgeon.proof.results import Comparison, Delta, Finding, Kind
from ckptsurgeon.wording import choose, name_kinds

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Tensors = Mapping[str, Any]


def compare(
    reference: nn.Module,
    checked: nn.Module,
    names: tuple[str, str],
    shape: tuple[int, ...] | None,
    seed: int,
    tolerance: float,
) -> tuple[Comparison, tuple[Finding, ...]]:
    """The outputs of two networks in eval mode held against each other, and what differs.

    `names` are the reference's checkpoint and model. Both run in float32, or in float64 where one
    has weights of it, so that what is compared is weights, not kernels of narrow dtypes.
    """
    dtype = _dtype(reference, checked)
    feed = make_feed(reference.to(dtype), checked.to(dtype), shape, seed, dtype)
    expected = _outputs(reference, feed.reference, names[1], seed)
    found = _outputs(checked, feed.checked, "the checked network", seed)
    pairs = {name: (one, found[name]) for name, one in expected.items() if name in found}
    alike = {name: pair for name, pair in pairs.items() if pair[0].shape == pair[1].shape}
    deltas = tuple(_delta(name, *pair, tolerance) for name, pair in alike.items())
    comparison = Comparison(
        *names,
        input_shape=tuple(feed.checked.shape),
        reference_input_shape=tuple(feed.reference.shape),
        seed=seed,
        tolerance=tolerance,
        dtype=str(dtype).removeprefix("torch."),
        deltas=deltas,
        notes=feed.notes,
    )
    return comparison, (*_unlike(expected, found), *_beyond(deltas, tolerance))


def _dtype(*models: nn.Module) -> torch.dtype:
    import torch

    wide = any(tensor.dtype == torch.float64 for model in models for tensor in model.parameters())
    return torch.float64 if wide else torch.float32


# --- outputs --------------------------------------------------------------------------------------


def _outputs(model: nn.Module, given: Tensor, name: str, seed: int) -> Tensors:
    import torch

    model.eval()
    torch.manual_seed(seed)  # for networks that draw numbers in eval mode, too
    try:
        with torch.no_grad():
            result = model(given)
    except Exception as error:
        raise _failed(error, name, tuple(given.shape)) from error
    tensors = dict(_tensors(result, "output"))
    if not tensors:
        raise CkptSurgeonError(f"{name}: gave {type(result).__name__}, in which there is no tensor")
    return tensors


def _failed(error: Exception, name: str, shape: tuple[int, ...]) -> CkptSurgeonError:
    """The network's own error with the line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    said = str(error).partition("\n")[0]
    return CkptSurgeonError(
        f"{name}: failed on an input of {list(shape)}: {type(error).__name__} at {where}: {said}; "
        f"give another shape, such as {choose('--input 1,3,224,224', 'shape=(1, 3, 224, 224)')}"
    )


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors in what a network gives: `output`, `output.logits`, `output.0`."""
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _tensors(one, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _tensors(one, f"{name}.{number}")


# --- differences ----------------------------------------------------------------------------------


def _delta(name: str, expected: Tensor, found: Tensor, tolerance: float) -> Delta:
    a, b = _wide(expected), _wide(found)
    largest = float((a - b).abs().max()) if a.numel() else 0.0
    size = float(a.abs().max()) if a.numel() else 0.0
    relative = largest if largest == 0 else largest / size if size else float("inf")
    return Delta(
        name=name,
        shape=tuple(expected.shape),
        largest=largest,
        relative=relative,
        cosine=_cosine(a, b),
        top1=_top1(a, b) if expected.is_floating_point() else None,
        within=relative <= tolerance,
    )


def _wide(tensor: Tensor) -> Tensor:
    """The numbers in float64; complex ones as pairs."""
    import torch

    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double()


def _cosine(a: Tensor, b: Tensor) -> float:
    """1 for vectors that are equal, also where both are zero."""
    import torch

    if torch.equal(a, b):
        return 1.0
    norms = float(a.norm()) * float(b.norm())
    return float((a * b).sum()) / norms if norms else 0.0


def _top1(a: Tensor, b: Tensor) -> float | None:
    if a.dim() < 2 or a.shape[-1] < 2 or not a.numel():
        return None
    return float((a.argmax(-1) == b.argmax(-1)).double().mean())


def _unlike(expected: Tensors, found: Tensors) -> Iterator[Finding]:
    """Outputs that only one network gives, or that have different shapes."""
    for name in dict.fromkeys((*expected, *found)):
        shapes = [tuple(side[name].shape) if name in side else None for side in (expected, found)]
        if shapes[0] != shapes[1]:
            old, new = ("nothing" if shape is None else str(list(shape)) for shape in shapes)
            text = f"the source gives {old}, this network {new}"
            fronts = {None if shape is None else shape[:-1] for shape in shapes}
            if len(fronts) == 1:
                text += _without_heads()
            yield Finding(Kind.DIFFERENT, name, text)


def _without_heads() -> str:
    return (
        "; another head? Let both factories leave it out, as by `model.fc = nn.Identity()`, and "
        f"give {name_kinds('unexpected')}: the features are compared then"
    )


def _beyond(deltas: tuple[Delta, ...], tolerance: float) -> Iterator[Finding]:
    for delta in deltas:
        if not delta.within:
            text = f"relative error {delta.relative:.1e}, above the tolerance of {tolerance:g}"
            yield Finding(Kind.DIFFERENT, delta.name, text)
