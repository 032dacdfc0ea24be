"""Names and shapes of the modules that real networks are made of, as their files have them."""

from __future__ import annotations

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
"""What a state dict holds: key -> shape."""


def join(*parts: Shapes) -> Shapes:
    """All parts in their order; a key that stands in two of them raises ValueError."""
    joined: Shapes = {}
    for part in parts:
        if twice := joined.keys() & part.keys():
            raise ValueError(f"two shapes for {sorted(twice)}")
        joined |= part
    return joined


def under(prefix: str, *parts: Shapes) -> Shapes:
    """weight -> prefix + weight, of all parts."""
    return {prefix + key: shape for key, shape in join(*parts).items()}


def layers(prefix: str, count: int, *parts: Shapes, first: int = 0) -> Shapes:
    """weight -> prefix with each number in place of `{}` + weight: equal layers in a list."""
    numbers = range(first, first + count)
    return join(*(under(prefix.format(number), *parts) for number in numbers))


def each(names: str, *parts: Shapes) -> Shapes:
    """weight -> NAME.weight for each of the words of `names`."""
    return join(*(under(f"{name}.", *parts) for name in names.split()))


def weight(*shape: int, bias: bool = True) -> Shapes:
    """A weight[out, in, …] and, unless told otherwise, a bias[out]."""
    return {"weight": shape} | ({"bias": shape[:1]} if bias else {})


def linear(names: str, wide: int, out: int, bias: bool = True) -> Shapes:
    """NAME.weight[out, in] and NAME.bias[out] for each of the words of `names`."""
    return each(names, weight(out, wide, bias=bias))


def conv(names: str, wide: int, out: int, *kernel: int, bias: bool = True) -> Shapes:
    """NAME.weight[out, in, *kernel] and NAME.bias[out] for each of the words of `names`."""
    return each(names, weight(out, wide, *kernel, bias=bias))


def norm(names: str, width: int, bias: bool = True) -> Shapes:
    """NAME.weight[width] and NAME.bias[width] for each of the words of `names`."""
    return each(names, weight(width, bias=bias))


def batchnorm(names: str, width: int, counter: bool = True) -> Shapes:
    """The five tensors of each BatchNorm; four without a counter, as of frozen ones."""
    vectors = ("weight", "bias", "running_mean", "running_var")
    shapes: Shapes = dict.fromkeys(vectors, (width,))
    return each(names, shapes | ({"num_batches_tracked": ()} if counter else {}))


def leaf(name: str, *shape: int) -> Shapes:
    """One tensor by its whole name."""
    return {name: shape}
