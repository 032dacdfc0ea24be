"""Shapes as blocks, shares as bars, folded keys as pieces and for the search."""

from __future__ import annotations

import json

import pytest
from html_reading import expand

from ckptsurgeon.keys import Box, fold_keys, read_key
from ckptsurgeon.plans.graph import full_key
from ckptsurgeon.render.html.bars import LENGTH, draw_bar
from ckptsurgeon.render.html.blocks import LARGEST, MOST_DRAWINGS, Drawings, Part
from ckptsurgeon.render.html.keys import (
    MOST_RUNS,
    pieces_of,
    searched_keys,
    searched_names,
    write_searched,
)
from ckptsurgeon.render.lines import Folded
from ckptsurgeon.render.words import Words
from ckptsurgeon.report.sides import Tally
from ckptsurgeon.specs import TensorSpec, unreadable_spec

ALL, FIRST_THREE = (None, None, None), (None, 3, None)


def fold(*keys: str) -> Folded:
    boxes = fold_keys(keys)
    return boxes[0] if len(boxes) == 1 else Words(tuple(boxes))


# --- blocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "result", "label"),
    [
        ((), (), "a scalar"),
        ((), (64, 3), "64 x 3"),
        (((Part((64, 4, 7, 7), (ALL, FIRST_THREE))),), (64, 3, 7, 7),
         "64 x 4 x 7 x 7, of which [:, :3], becomes 64 x 3 x 7 x 7"),
        ((Part((8, 4)), Part((8, 4))), (16, 4), "8 x 4 and 8 x 4 become 16 x 4"),
        ((Part((2,)),) * 5, (10,), "2 and 2 and 2 and 2 more become 10"),
    ],
)  # fmt: skip
def test_a_drawing_says_what_it_shows(
    sources: tuple[Part, ...], result: tuple[int, ...], label: str
) -> None:
    (drawing,) = Drawings().draw(sources, result)
    assert drawing.label == label
    assert (drawing.arrow is None) == (not sources)


def test_what_is_taken_is_shaded_where_it_lies() -> None:
    (drawing,) = Drawings().draw([Part((8, 4), (ALL, (1, 3, None)))], (8, 2))
    face, taken, _ = drawing.rectangles
    assert (face.kind, taken.kind) == ("face", "taken")
    assert taken.x == pytest.approx(face.x + face.width / 4)
    assert taken.width == pytest.approx(face.width / 2)
    assert (taken.y, taken.height) == (face.y, face.height)


@pytest.mark.parametrize("shape", [(), (0,), (1, 0, 2), (2**62, 2), (3,) * 1000, (2**40, 2, 2**20)])
def test_any_shape_can_be_drawn(shape: tuple[int, ...]) -> None:
    (drawing,) = Drawings().draw((), shape)
    assert 0 < drawing.width < 3 * LARGEST
    assert all(one.width > 0 and one.height > 0 for one in drawing.rectangles)
    assert len(drawing.label) < 200


def test_larger_is_drawn_larger_and_deeper_with_sheets() -> None:
    drawings = Drawings()
    (small,), (large,), (deep,) = (drawings.draw((), s) for s in ((4, 4), (64, 64), (4, 4, 3, 3)))
    assert small.width < large.width
    assert len(deep.rectangles) > len(small.rectangles) == 1


def test_sources_that_are_not_drawn_are_dots() -> None:
    kinds = [
        [one.kind for one in drawing.rectangles]
        for number in (1, 3, 4, 99)
        for drawing in Drawings().draw([Part((4,))] * number, (4 * number,))
    ]
    assert [one.count("dot") for one in kinds] == [0, 0, 1, 3]
    assert [one.count("face") for one in kinds] == [2, 4, 4, 4]


def test_what_looks_alike_is_drawn_once_and_not_without_end() -> None:
    drawings = Drawings()
    specs = [TensorSpec("F32", (2, 3)), TensorSpec("BF16", (2, 3)), TensorSpec("F32", (3,))]
    assert len(drawings.draw_all(specs)) == len(drawings.all) == 2
    assert drawings.draw_all([unreadable_spec("odd")]) == ()
    for size in range(MOST_DRAWINGS + 5):
        drawings.draw((), (size, 7))
    assert len(drawings.all) == MOST_DRAWINGS


# --- bars -----------------------------------------------------------------------------------------


def test_shares_fill_the_bar_and_none_is_too_thin_to_see() -> None:
    bar = draw_bar("a", [("big", Tally(1, 10**12)), ("none", Tally()), ("small", Tally(2, 1))])
    assert bar is not None
    assert [share.word for share in bar.shares] == ["big", "small"]
    assert sum(share.width for share in bar.shares) == pytest.approx(LENGTH, abs=0.5)
    assert bar.shares[1].x == bar.shares[0].width
    assert bar.shares[1].width >= 3
    assert [share.percent for share in bar.shares] == ["99.9%", "0.1%"]


def test_shares_of_any_size_can_be_drawn() -> None:
    bar = draw_bar("a", [("endless", Tally(1, 2**4000)), ("small", Tally(1, 1))])
    assert bar is not None
    assert [share.percent for share in bar.shares] == ["99.9%", "0.1%"]


def test_without_bytes_tensors_are_counted() -> None:
    bar = draw_bar("a", [("one", Tally(1, 0)), ("three", Tally(3, 0))])
    assert bar is not None
    assert [share.percent for share in bar.shares] == ["25.0%", "75.0%"]
    assert draw_bar("a", [("one", Tally())]) is None


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "pieces"),
    [
        (["a.0.w", "a.1.w"], ("a", "<0..1>", "w")),
        (["layer1.w", "layer2.w", "layer5.w"], ("layer<1..2,5>", "w")),
        (["a..b"], ("a", "", "b")),
        (["h.0.q", "h.0.k"], ("h", "0", "<q|k>")),
        (["w"], ("w",)),
        (["x.000.y", "x.001.y"], ("x", "<000..001>", "y")),
    ],
)
def test_keys_are_cut_at_their_dots(keys: list[str], pieces: tuple[str, ...]) -> None:
    assert pieces_of(fold(*keys)) == pieces


def test_an_alias_is_a_piece_where_there_are_aliases() -> None:
    key = fold(full_key("v", "a.w"))
    assert pieces_of(key, alias_apart=True) == ("v", "a", "w")
    assert pieces_of(key) == ("v::a", "w")


@pytest.mark.parametrize(
    "keys",
    [
        ["a.0.w", "a.1.w"],
        ["layer1.w", "layer2.w", "layer5.w"],
        ["x.008.y", "x.009.y", "x.010.y"],
        ["h.0.q", "h.1.q", "h.0.k", "h.1.k"],
        ['"quoted".\\', "é.<0..3>"],
    ],
)
def test_the_search_knows_just_the_keys(keys: list[str]) -> None:
    searched = json.loads(write_searched(searched_keys(fold(*keys))))
    assert sorted(expand(searched)) == sorted(keys)


def test_the_search_of_names_and_of_very_many_integers_stays_short() -> None:
    assert sorted(expand(searched_names(["b", "w", "l.1", "l.2"]))) == ["b", "l.1", "l.2", "w"]
    scattered = Box(read_key("k.0")[0], (tuple(range(0, 9 * MOST_RUNS, 3)),))
    assert searched_keys(scattered) == ["k.", [0, 0, 9 * MOST_RUNS - 3]]
