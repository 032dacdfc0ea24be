"""noise: the numbers of a seed, a key and a place, added in float32 and rounded once."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.applying import applied

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops import build
from ckptsurgeon.ops.normals import RUN, normals

quickly = settings(max_examples=40, derandomize=True)
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


def drawn(text: str, count: int) -> np.ndarray:
    """The numbers as the documentation tells them: a run of 65,536 is seeded together."""
    runs = []
    for number in range(-(-count // RUN)):
        digest = hashlib.sha256(f"{text}\0{number}".encode()).digest()
        draws = np.random.RandomState(np.frombuffer(digest, "<u4"))
        runs.append(draws.standard_normal(RUN))
    return np.concatenate([*runs, np.empty(0)])[:count]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 5), (), (0, 4), (300, 300)])
def test_values(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape).to(dtype)
    how = {"std": 0.25, "seed": 7, "key": "a.weight", "place": 2}
    made = applied("placed_noise", how, tensor)
    numbers = torch.from_numpy(drawn("noise\0007\0002\0a.weight", tensor.numel()) * 0.25)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert torch.equal(made, (tensor.to(wide) + numbers.reshape(shape).to(wide)).to(dtype))


@quickly
@given(st.integers(0, 3 * RUN), st.integers(0, 1000) | st.integers(0, 2 * RUN))
def test_any_part_of_the_numbers(start: int, count: int) -> None:
    assert np.array_equal(normals("a", start, count), drawn("a", start + count)[start:])


def test_the_numbers_stay_what_they_are() -> None:
    """Another version must give the same: people name a seed to get the same weights again."""
    how = {"std": 1, "key": "a.weight", "place": 0}
    made = applied("placed_noise", how, torch.zeros(RUN + 2))
    wanted = [-0.18403919, -1.35196839, -1.24685692, -1.48440753]
    torch.testing.assert_close(made[[0, 1, RUN, RUN + 1]], torch.tensor(wanted))


def test_they_are_normal() -> None:
    noise = applied("noise", {"std": 2}, torch.zeros(1000, 1000))
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 2) < 0.01
    beyond = (noise.abs() > 4).double().mean()
    assert abs(float(beyond) - math.erfc(math.sqrt(2))) < 0.001


def test_seed_key_and_place_each_give_others() -> None:
    plain = {"std": 1, "seed": 0, "key": "a", "place": 0}
    others = [{}, {"seed": 1}, {"seed": -1}, {"key": "b"}, {"place": 1}]
    made = [applied("placed_noise", {**plain, **one}, torch.zeros(4)) for one in others]
    assert len({tuple(one.tolist()) for one in made}) == len(others)


def test_a_deviation_of_0_changes_nothing() -> None:
    tensor = torch.randn(5, 5).bfloat16()
    assert torch.equal(applied("noise", {"std": 0}, tensor), tensor)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"std": -0.5}, "`std` must be 0 or more, found -0.5"),
        ({"std": math.inf}, "`std` must be finite, found inf"),
        ({}, "needs `std`, a number"),
        ({"std": 1, "seed": 0.5}, "`seed` must be an integer, found 0.5"),
        ({"std": 1, "key": "a"}, "unknown parameter `key`"),
    ],
)
def test_a_parameter_that_can_not_be(parameters: dict[str, object], words: str) -> None:
    with pytest.raises(ShapeError, match=f"^noise: {words}"):
        build("noise", parameters)
