"""Copies between arrays of other orders give what NumPy's assignment gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ckptsurgeon.engine import strided

SHAPES = [(700, 301), (3, 3, 64, 130), (128, 65, 3, 3), (5, 1, 7, 9, 30), (1, 1), (0, 4), (6,)]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("near", [strided.NEAR, 0])
def test_every_order_of_axes(
    dtype: str, shape: tuple[int, ...], near: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strided, "NEAR", near)
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    for order in itertools.permutations(range(len(shape))):
        turned = values.transpose(order)
        repeated = np.broadcast_to(turned[..., None, :], (*turned.shape[:-1], 3, turned.shape[-1]))
        for view in (turned, turned[::-1], turned[..., ::2], repeated, repeated.swapaxes(-1, -2)):
            out = np.empty(view.shape, dtype)
            strided.assign(out, view)
            assert np.array_equal(out, view), (order, view.strides)


def test_a_part_of_a_larger_array_is_filled() -> None:
    values = np.arange(300 * 400, dtype="u4").reshape(300, 400)
    whole = np.zeros((500, 500), "u4")
    strided.assign(whole[10:410, 20:320], values.T)
    assert np.array_equal(whole[10:410, 20:320], values.T)
    assert whole.sum() == values.sum()
