"""A worked job: a rule file, an input, and what must come out by code that isn't ckptsurgeon's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from comparison import assert_rounded_alike, same_bits
from safetensors.torch import load_file, save_file
from torch import Tensor

RULES = Path(__file__).with_name("rules")

Nested = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Near:
    """A value in float64, which the output has but for so many roundings of its terms."""

    value: Tensor
    roundings: int
    terms: Tensor | float | None = None
    dtype: torch.dtype = torch.float32

    def hold(self, found: Tensor) -> None:
        assert found.dtype == self.dtype
        assert self.value.dtype == torch.float64
        assert_rounded_alike(found, self.value, self.roundings, self.terms)


@dataclass(frozen=True, eq=False)
class Noisy:
    """A tensor to which normal values were added, all within six times their `std`."""

    value: Tensor
    std: float

    def hold(self, found: Tensor) -> None:
        assert (found.dtype, found.shape) == (self.value.dtype, self.value.shape)
        noise = (found.double() - self.value.double()) / self.std
        assert noise.abs().max() < 6
        assert 0.8 < noise.std() < 1.2
        assert noise.mean().abs() < 0.2


@dataclass(frozen=True, eq=False)
class Same:
    """A tensor that comes out with the very bytes."""

    value: Tensor

    def hold(self, found: Tensor) -> None:
        assert same_bits(found, self.value)


@dataclass(frozen=True, eq=False)
class Job:
    """Source and output are nested as their files are; safetensors has one level.

    A job has a `source`, or `sources` by their aliases; it has `wanted`, or several outputs.

    An output has a tensor where its bytes are meant, else what holds it against the one found.
    `words` are further words of the command line. `front` is what the rules don't see of the
    source's keys: a root, or what is stripped. `lost` are regular expressions of keys, as the
    rules see them, that the plan loses.
    """

    name: str
    rules: str
    source: Nested = field(default_factory=dict)
    wanted: Nested = field(default_factory=dict)
    into: Nested | None = None
    sources: Mapping[str, Nested] = field(default_factory=dict)
    outputs: Mapping[str, Nested] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    config: Nested | None = None
    lost: tuple[str, ...] = ()
    front: str = ""
    source_name: str = "source.safetensors"
    output_name: str = "output.safetensors"

    @property
    def lost_keys(self) -> set[str]:
        """The addresses that `lost` means."""
        return set().union(*(self._lost_of(alias) for alias in self.all_sources))

    @property
    def all_sources(self) -> Mapping[str, Nested]:
        """Each source by its alias, "" being the one without."""
        return self.sources or {"": self.source}

    @property
    def all_outputs(self) -> Mapping[str, Nested]:
        return self.outputs or {"": self.wanted}

    def _lost_of(self, alias: str) -> set[str]:
        keys = [key.removeprefix(self.front) for key, _ in flat(self.all_sources[alias])]
        lost = [key for key in keys if any(re.fullmatch(one, key) for one in self.lost)]
        return {f"{alias}::{key}" if alias else key for key in lost}


def flat(tensors: Nested, front: str = "") -> Iterator[tuple[str, Any]]:
    """Each tensor with its dotted key, through dicts."""
    for name, value in tensors.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{front}{name}.")
        elif not isinstance(value, int | float | str):
            yield f"{front}{name}", value


def tensors_alone(nested: Nested) -> Nested:
    """What is nested, without entries that are no tensors."""
    return {
        name: tensors_alone(value) if isinstance(value, Mapping) else value
        for name, value in nested.items()
        if not isinstance(value, int | float | str)
    }


def save(tensors: Nested, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return path


def read(path: Path) -> Nested:
    """The file as its own library reads it."""
    if path.suffix == ".safetensors":
        return load_file(path)
    nested: Nested = torch.load(path, weights_only=True)
    return nested


def hold(found: Nested, wanted: Nested) -> None:
    """Fails where two nestings, keys, dtypes, shapes or values differ."""
    assert list(found) == list(wanted) or sorted(found) == sorted(wanted)
    for name, value in wanted.items():
        try:
            _hold_one(found[name], value)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def _hold_one(found: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        hold(found, value)
    elif isinstance(value, Tensor):
        Same(value).hold(found)
    elif isinstance(value, int | float | str):
        assert found == value
    else:
        value.hold(found)


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=_GENERATOR).to(dtype)


_GENERATOR = torch.Generator().manual_seed(0)
