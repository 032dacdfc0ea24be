"""What is true of the numbers of every probe: of any dtypes, shapes, names and seeds."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptsurgeon.ops.carriers import all_finite, decode
from ckptsurgeon.ops.ranges import INTEGER_RANGES
from ckptsurgeon.probing.drawing import draw
from ckptsurgeon.probing.kinds import Kind, choose_kind
from ckptsurgeon.probing.recipes import FLOATS, Band, Recipe, make_recipes, numbers_of
from ckptsurgeon.specs import BITS, TensorSpec

Specs = Mapping[str, TensorSpec]

WHOLE = sorted(code for code in BITS if BITS[code] >= 8)
FLOATING = [*FLOATS, "F8_E8M0", "C64", "C128"]
NAMES = ("weight", "bias", "running_var", "num_batches_tracked", "position_ids", "scale", "w.v")

shapes = st.lists(st.integers(0, 9), max_size=4).map(tuple)
keys = st.tuples(st.text(max_size=4), st.sampled_from(NAMES)).map(".".join)
checkpoints = st.dictionaries(
    keys, st.builds(TensorSpec, st.sampled_from(sorted(BITS)), shapes), min_size=1, max_size=12
)
seeds = st.integers(0, 2**70)
unhurried = settings(max_examples=60)


def recipes_of(specs: Specs, seed: int = 0) -> dict[str, Recipe]:
    """The recipes of shapes alone, of which nothing is kept."""
    kinds = {key: choose_kind(key, spec, None) for key, spec in specs.items()}
    return make_recipes(specs, kinds, seed)


def whole(recipe: Recipe) -> np.ndarray[Any, Any]:
    return draw(recipe, 0, recipe.count)


def array(recipe: Recipe, spec: TensorSpec) -> np.ndarray[Any, Any]:
    """The tensor in its carrier."""
    return whole(recipe).view(spec.carrier or "u1").reshape(spec.shape)


@unhurried
@given(specs=checkpoints, seed=seeds)
def test_every_key_has_all_its_bytes(specs: Specs, seed: int) -> None:
    recipes = recipes_of(specs, seed)
    assert recipes.keys() == specs.keys()
    for key, spec in specs.items():
        assert whole(recipes[key]).nbytes == spec.nbytes


@unhurried
@given(specs=checkpoints, seed=seeds, size=st.integers(1, 70))
def test_blocks_of_any_size_give_the_same(specs: Specs, seed: int, size: int) -> None:
    for recipe in recipes_of(specs, seed).values():
        starts = range(0, recipe.count, size)
        parts = [draw(recipe, at, min(size, recipe.count - at)) for at in starts]
        assert b"".join(part.tobytes() for part in parts) == whole(recipe).tobytes()


@unhurried
@given(specs=checkpoints, order=st.randoms(use_true_random=False))
def test_the_order_of_the_keys_is_of_no_matter(specs: Specs, order: Any) -> None:
    shuffled = list(specs)
    order.shuffle(shuffled)
    assert recipes_of({key: specs[key] for key in shuffled}) == recipes_of(specs)


@unhurried
@given(specs=checkpoints, seed=seeds)
def test_nothing_is_infinite_or_nan(specs: Specs, seed: int) -> None:
    recipes = recipes_of(specs, seed)
    for key, spec in specs.items():
        if spec.carrier and spec.dtype not in INTEGER_RANGES:
            assert all_finite(array(recipes[key], spec), spec.dtype), key


@unhurried
@given(specs=checkpoints, seed=seeds)
def test_no_number_is_zero(specs: Specs, seed: int) -> None:
    recipes = recipes_of(specs, seed)
    for key, spec in specs.items():
        if spec.dtype in FLOATS:
            assert np.all(decode(array(recipes[key], spec), spec.dtype).astype(float) != 0)


@unhurried
@given(specs=checkpoints, seed=seeds)
def test_wide_numbers_differ_in_the_whole_checkpoint(specs: Specs, seed: int) -> None:
    recipes = recipes_of(specs, seed)
    for code in ("F32", "F64"):
        found = [whole(recipes[key]) for key, spec in specs.items() if numbers_of(spec)[0] == code]
        together = np.concatenate(found) if found else np.empty(0)
        assert len(np.unique(together)) == len(together)


@unhurried
@given(dtype=st.sampled_from(WHOLE), seed=seeds, name=st.sampled_from(["a.weight", "a.qweight"]))
def test_rows_and_planes_differ_along_every_dim(dtype: str, seed: int, name: str) -> None:
    spec = TensorSpec(dtype, (12, 10, 40))
    kinds = {name: Kind.BITS if dtype in INTEGER_RANGES else Kind.SMALL}
    if dtype == "BOOL":
        kinds = {name: Kind.FLAGS}
    found = array(make_recipes({name: spec}, kinds, seed)[name], spec)
    for dim, size in enumerate(spec.shape):
        planes = np.moveaxis(found, dim, 0).reshape(size, -1)
        assert len({plane.tobytes() for plane in planes}) == size
    rows = found.reshape(-1, spec.shape[-1])
    assert len({row.tobytes() for row in rows}) == len(rows) or dtype == "BOOL"


@unhurried
@given(dtype=st.sampled_from(["BF16", "F16"]), count=st.integers(1, 2048), seed=seeds)
def test_short_tensors_of_16_bits_have_no_number_twice(dtype: str, count: int, seed: int) -> None:
    found = whole(recipes_of({"a.bias": TensorSpec(dtype, (count,))}, seed)["a.bias"])
    assert len(np.unique(found)) == count


@unhurried
@given(dtype=st.sampled_from(list(FLOATS)), count=st.integers(1, 300), seed=seeds)
def test_kinds_of_numbers_lie_where_they_should(dtype: str, count: int, seed: int) -> None:
    specs = {name: TensorSpec(dtype, (count,)) for name in ("n.weight", "n.running_var", "n.bias")}
    recipes = recipes_of(specs, seed)
    numbers = {
        key: decode(array(recipes[key], spec), dtype).astype(float) for key, spec in specs.items()
    }
    assert numbers["n.weight"].min() >= 0.5
    assert numbers["n.weight"].max() < 2
    assert numbers["n.running_var"].min() >= 2
    assert numbers["n.running_var"].max() < 8
    assert np.abs(numbers["n.bias"]).max() < (4 if dtype.startswith("F8") else 2**-4)


@unhurried
@given(dtype=st.sampled_from(["I64", "I32", "U8", "I8"]), number=st.integers(1, 60), seed=seeds)
def test_counters_are_small_and_differ(dtype: str, number: int, seed: int) -> None:
    specs = {f"{i}.num_batches_tracked": TensorSpec(dtype, ()) for i in range(number)}
    found = [
        int(array(one, specs[key]).view(f"i{BITS[dtype] // 8}"))
        for key, one in recipes_of(specs, seed).items()
    ]
    assert len(set(found)) == number
    assert all(0 < one <= 1024 for one in found)


@unhurried
@given(dtype=st.sampled_from(sorted(INTEGER_RANGES)), shape=shapes)
def test_made_indexes_are_counted_along_rows_and_fit(dtype: str, shape: tuple[int, ...]) -> None:
    spec = TensorSpec(dtype, (*shape, 200))
    kinds = {"a": Kind.INDEX}
    found = array(make_recipes({"a": spec}, kinds, 0)["a"], spec)
    row = [min(place, INTEGER_RANGES[dtype][1]) for place in range(200)]
    assert np.array_equal(found, np.broadcast_to(row, spec.shape))


@unhurried
@given(bits=st.integers(1, 12), seed=st.integers(0, 2**64 - 1), width=st.sampled_from([16, 32, 64]))
def test_a_permuted_pool_uses_up_its_band(bits: int, seed: int, width: int) -> None:
    recipe = Recipe(Band(width, 5, bits), 1 << bits, seed)
    assert sorted(whole(recipe)) == list(range(5, 5 + (1 << bits)))


@pytest.mark.parametrize("bits", [31, 32, 56, 63])
def test_large_pools_have_no_number_twice_near_their_ends(bits: int) -> None:
    ends = [0, (1 << bits) - 1000] if bits < 63 else [0, 1 << 40]
    found = [draw(Recipe(Band(64, 0, bits), 1000, 7, start), 0, 1000) for start in ends]
    together = np.concatenate(found)
    assert len(np.unique(together)) == len(together)
    assert int(together.max()) < 1 << bits


def test_a_pool_without_room_is_drawn_number_by_number() -> None:
    specs = {"n.weight": TensorSpec("F32", (1 << 25,)), "m.weight": TensorSpec("F32", (4,))}
    recipes = recipes_of(specs)
    assert [one.permuted for one in recipes.values()] == [False, False]
    few = draw(recipes["n.weight"], 1 << 20, 50_000).view("f4")
    assert len(np.unique(few)) > 49_000
    assert (few.min() >= 0.5, few.max() < 2) == (True, True)


def test_larger_pools_get_wider_bands_as_far_as_there_are_numbers() -> None:
    found = {
        power: recipes_of({"w.v": TensorSpec("F32", (1 << power,))})["w.v"]
        for power in (10, 27, 28, 30, 31)
    }
    assert {power: one.band.bits for power, one in found.items()} == {
        10: 27,
        27: 27,
        28: 28,
        30: 30,
        31: 30,
    }
    assert [one.permuted for one in found.values()] == [True] * 4 + [False]
    assert np.isfinite(draw(found[30], 0, 1000).view("f4")).all()


def test_the_small_ones_deviate_by_a_fiftieth() -> None:
    found = whole(recipes_of({"w.v": TensorSpec("F32", (300, 300))})["w.v"]).view("f4")
    assert abs(found.std() - 0.02) < 0.001
    assert abs(found.mean()) < 0.001
    assert np.unique(found).size == found.size


def test_neighbours_have_nothing_to_do_with_each_other() -> None:
    for dtype in ("F32", "F64", "BF16"):
        spec = TensorSpec(dtype, (200, 200))
        numbers = decode(array(recipes_of({"w.v": spec})["w.v"], spec), dtype).astype(float)
        flat, across = numbers.reshape(-1), numbers.T.reshape(-1)
        for one in (flat, across):
            assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.03


@unhurried
@given(seed=seeds)
def test_another_seed_gives_other_numbers(seed: int) -> None:
    specs = {"a.weight": TensorSpec("BF16", (9, 9)), "b.weight": TensorSpec("F32", (9, 9))}
    one, other = recipes_of(specs, seed), recipes_of(specs, seed + 1)
    for key in specs:
        assert whole(one[key]).tobytes() != whole(other[key]).tobytes()


def test_tensors_of_one_spec_differ_in_every_dtype() -> None:
    for dtype in WHOLE:
        if dtype == "BOOL":
            continue
        names = ("a.qweight", "b.qweight", "c.qweight")
        recipes = recipes_of({name: TensorSpec(dtype, (8, 8)) for name in names})
        drawn = [whole(one).tobytes() for one in recipes.values()]
        assert all(one != other for one, other in itertools.combinations(drawn, 2)), dtype


EXPECTED = "0f971da95d2efdeb2786dc40921d0659f0acea90090f055937acee9b47506e38"


def test_the_bytes_are_these_on_every_machine() -> None:
    """Files that people keep stay reproducible: change this and say so in the changelog."""
    digest = hashlib.sha256()
    specs = {
        f"{dtype}.{name}": TensorSpec(dtype, (7, 11) if name == "v" else (77,))
        for dtype in sorted(BITS)
        for name in ("v", "weight", "running_var")
    }
    recipes = recipes_of(specs, 3)
    for key in specs:
        digest.update(whole(recipes[key]).tobytes())
    assert digest.hexdigest() == EXPECTED
