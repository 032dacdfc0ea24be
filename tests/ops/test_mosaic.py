"""A mosaic tells of every move what applying the ops gives, item by item."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops.strategies import CASES, Case

from ckptsurgeon.ops import OPS, build
from ckptsurgeon.ops.base import Move
from ckptsurgeon.ops.carriers import encode
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.ops.mosaic import Mosaic, dense
from ckptsurgeon.ops.movable import NotAMosaic
from ckptsurgeon.ops.tiles import MAX_TILES, View
from ckptsurgeon.specs import TensorSpec

Array = np.ndarray[Any, Any]

MOVING = [name for name, cls in OPS.items() if issubclass(cls, Move | Cast)]
quickly = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def positions(view: View) -> Array:
    """The item of its source that each place of a view shows."""
    axes = [axis for dim in view.dims for axis in dim]
    found = np.full((), view.offset)
    for axis in axes:
        found = found[..., np.newaxis] + np.arange(axis.size) * axis.stride
    return found.reshape(view.shape)


def picture(mosaic: Mosaic, arrays: tuple[Array, ...], spec: TensorSpec) -> Array:
    """The tensor that a mosaic tells of; every place is filled by exactly one tile."""
    result = np.zeros(mosaic.shape, spec.carrier)
    filled = np.zeros(mosaic.shape, int)
    for tile in mosaic.tiles:
        ends = zip(tile.start, tile.view.shape, strict=True)
        box = (*(slice(start, start + size) for start, size in ends), ...)
        filled[box] += 1
        if tile.view.source is None:
            result[box] = encode(tile.view.value, spec.dtype)
            continue
        source = arrays[int(str(tile.view.source))]
        values = source.reshape(-1)[positions(tile.view)]
        dtype = tile.view.dtype
        for code in tile.view.casts:
            before = TensorSpec(dtype, values.shape)
            (values,) = Cast(dtype=code).apply((np.ascontiguousarray(values),), (before,))
            dtype = code
        result[box] = values
    assert (filled == 1).all()
    return result


@pytest.mark.parametrize("name", MOVING)
@quickly
@given(data=st.data())
def test_a_mosaic_is_what_apply_gives(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name])
    sources = tuple(dense(number, spec) for number, spec in enumerate(case.specs))
    arrays = tuple(map(np.ascontiguousarray, case.arrays))
    for mosaic, spec, array in zip(
        case.op.trace(sources, case.specs),
        case.op.infer(case.specs),
        case.op.apply(case.arrays, case.specs),
        strict=True,
    ):
        assert picture(mosaic, arrays, spec).tobytes() == np.ascontiguousarray(array).tobytes()


def scattered(data: st.DataObject, array: Array, dtype: str, sources: list[Array]) -> Mosaic:
    """The array as parts of two sources, whose dims have another order."""
    rank = array.ndim
    order = data.draw(st.permutations(range(rank)))
    stored = array.transpose(order)
    dim = data.draw(st.integers(0, rank - 1))
    at = data.draw(st.integers(0, stored.shape[dim]))
    parts = []
    for part in np.split(stored, [at], dim):
        parts.append(dense(len(sources), TensorSpec(dtype, part.shape)))
        sources.append(np.ascontiguousarray(part))
    return parts[0].concat(dim, parts[1:]).permute([order.index(dim) for dim in range(rank)])


@pytest.mark.parametrize("name", MOVING)
@quickly
@given(data=st.data())
def test_a_mosaic_of_several_tiles_is_what_apply_gives(name: str, data: st.DataObject) -> None:
    case: Case = data.draw(CASES[name].filter(lambda case: all(a.ndim for a in case.arrays)))
    sources: list[Array] = []
    pairs = zip(case.arrays, case.specs, strict=True)
    mosaics = tuple(scattered(data, array, spec.dtype, sources) for array, spec in pairs)
    try:
        traced = case.op.trace(mosaics, case.specs)
    except NotAMosaic:
        return
    results = zip(
        traced, case.op.infer(case.specs), case.op.apply(case.arrays, case.specs), strict=True
    )
    for mosaic, spec, array in results:
        seen = picture(mosaic, tuple(sources), spec)
        assert seen.tobytes() == np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("at", range(8))
def test_every_part_of_two_tiles(at: int, step: int) -> None:
    array = np.arange(7, dtype="u1")
    sources = array[:at], array[at:]
    one, other = (
        dense(number, TensorSpec("U8", part.shape)) for number, part in enumerate(sources)
    )
    both = one.concat(0, [other])
    for start in range(8):
        for stop in range(start, 8):
            taken = range(start, stop, step)
            spec = TensorSpec("U8", (len(taken),))
            assert picture(both.part(0, taken), sources, spec).tolist() == list(taken)


@pytest.mark.parametrize("shape", [(2, 6), (3, 4), (2, 2, 3)])
def test_a_row_of_three_tiles_is_reshaped_to_what_it_is_or_not_at_all(
    shape: tuple[int, ...],
) -> None:
    array, told = np.arange(12, dtype="u1"), 0
    for at, end in itertools.combinations(range(13), 2):
        sources = array[:at], array[at:end], array[end:]
        specs = [TensorSpec("U8", part.shape) for part in sources]
        first, *others = map(dense, range(3), specs)
        try:
            mosaic = first.concat(0, others).reshape(shape)
        except NotAMosaic:
            continue
        told += 1
        seen = picture(mosaic, sources, TensorSpec("U8", shape))
        assert seen.tolist() == array.reshape(shape).tolist()
    assert told >= 5


def test_rows_whose_axes_are_nested_are_taken_apart() -> None:
    array = np.arange(24, dtype="u1").reshape(3, 2, 4)
    rows = dense(0, TensorSpec("U8", array.shape)).permute((1, 0, 2)).reshape((6, 4))
    wanted = np.tile(array.transpose(1, 0, 2).reshape(6, 4), 2).reshape(-1)
    seen = picture(rows.concat(1, [rows]).reshape((48,)), (array,), TensorSpec("U8", (48,)))
    assert seen.tolist() == wanted.tolist()


@quickly
@given(data=st.data())
def test_moves_one_after_the_other(data: st.DataObject) -> None:
    """A chain of ops traced at once is the chain applied, unless it says that it can't be."""
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 4, 6]), min_size=2, max_size=3)))
    spec = TensorSpec("U16", shape)
    array = np.arange(spec.count, dtype="<u2").reshape(shape)
    mosaic = dense(0, spec)
    result = array
    for _ in range(data.draw(st.integers(1, 4))):
        name = data.draw(st.sampled_from(["reshape", "permute", "concat", "flip", "roll", "part"]))
        try:
            result, mosaic = step(name, result, mosaic, data)
        except NotAMosaic:
            return
    seen = picture(mosaic, (array,), TensorSpec("U16", result.shape))
    assert seen.tobytes() == np.ascontiguousarray(result).tobytes()


@pytest.mark.parametrize(("size", "tiles"), [(0, 0), (3, 1)])
def test_a_billion_repetitions_are_one_tile(size: int, tiles: int) -> None:
    """As `plan` does it: a list of them alone would take gigabytes."""
    spec = TensorSpec("U8", (size,))
    (mosaic,) = build("repeat", {"times": 10**9}).trace((dense("x", spec),), (spec,))
    assert mosaic.shape == (size * 10**9,)
    assert len(mosaic.tiles) == tiles


def test_too_many_repetitions_of_tiles_are_refused_before_they_are_made() -> None:
    spec = TensorSpec("U8", (2,))
    one = dense("x", TensorSpec("U8", (1,)))
    with pytest.raises(NotAMosaic):
        build("repeat", {"times": 10**9}).trace((one.concat(0, [one]),), (spec,))


def test_a_concat_of_too_many_tiles_is_refused_where_they_become_too_many() -> None:
    one = dense("x", TensorSpec("U8", (1,)))
    others = iter([one] * (MAX_TILES + 1))
    with pytest.raises(NotAMosaic):
        one.concat(0, others)
    assert next(others) == one


def test_a_mosaic_of_too_many_tiles_is_refused_before_they_are_made() -> None:
    """Each of 65536 columns is apart from the next row's: a third of a billion tiles."""
    column = dense("x", TensorSpec("U16", (5000, 1)))
    with pytest.raises(NotAMosaic):
        column.concat(1, [column] * (MAX_TILES - 1)).reshape((5000 * MAX_TILES,))


def step(name: str, array: Array, mosaic: Mosaic, data: st.DataObject) -> tuple[Array, Mosaic]:
    """One op on an array and on its mosaic."""
    spec = TensorSpec("U16", array.shape)
    dim = data.draw(st.integers(0, array.ndim - 1))
    if name == "concat":
        op = build("concat", {"dim": dim})
        arrays, mosaics, specs = (array, array), (mosaic, mosaic), (spec, spec)
        return op.apply(arrays, specs)[0], op.trace(mosaics, specs)[0]
    if name == "part":
        stop = data.draw(st.integers(1, array.shape[dim]))
        op = build("slice", {"index": [*[(None, None, None)] * dim, (0, stop, None)]})
    elif name == "reshape":
        half = array.shape[0] // 2 if array.shape[0] % 2 == 0 else array.shape[0]
        op = build("reshape", {"shape": [half, -1] if data.draw(st.booleans()) else [-1, half]})
    elif name == "permute":
        op = build("permute", {"dims": data.draw(st.permutations(range(array.ndim)))})
    else:
        parameters = {"dim": dim} if name == "flip" else {"shift": 1, "dim": dim}
        op = build(name, parameters)
    return op.apply((array,), (spec,))[0], op.trace((mosaic,), (spec,))[0]


@pytest.mark.parametrize(
    ("shape", "tiles"),
    [((3, 4, 8), 2), ((12, 1, 8), 2), ((12, 2, 4), 2), ((12, 4, 2), 2), ((96,), 24), ((6, 16), 24)],
)
def test_a_reshape_takes_apart_only_dims_that_it_changes(
    shape: tuple[int, ...], tiles: int
) -> None:
    """Half of the columns is one source's, half the other's."""
    one, other = (dense(number, TensorSpec("U8", (12, 4))) for number in (0, 1))
    assert len(one.concat(1, [other]).reshape(shape).tiles) == tiles
