"""The page of a difference tells what the text tells: figures, strips, and every tensor."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from comparing.cases import CASES, Arrays, decoder
from html_reading import Page, keys_of

import ckptsurgeon as cs
from ckptsurgeon.render.changes import HIGHEST
from ckptsurgeon.render.html.charts import MOST_BINS
from ckptsurgeon.render.html.difference_page import render_compared

MOST_BYTES = 5_000_000


def compare(other: Arrays) -> cs.Difference:
    return cs.diff(decoder(), other)


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_stands_in_the_tree(name: str) -> None:
    found = compare(CASES[name])
    page = Page(render_compared(found))
    rows = page.rows
    assert sum(int(row.attributes["data-count"]) for row in rows) == len(found.rows)
    assert {key for row in rows for key in keys_of(row)} == {row.key for row in found.rows}
    fates = {row.attributes["data-fate"] for row in rows}
    assert fates == {row.status.value for row in found.rows}


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_and_the_figures_stand_there(name: str) -> None:
    found = compare(CASES[name])
    page = Page(render_compared(found))
    text = page.body
    assert found.bottom_line in text
    for told in ("all values together: ", "how far values moved"):
        assert (told in text) is not found.whole.are_equal
    assert (page.all(cls="moved") != []) is (name in ("tuned", "merged", "step", "damaged"))


def test_strips_are_as_high_as_layers_moved_far() -> None:
    page = Page(render_compared(compare(CASES["tuned"])))
    strips = page.all(cls="heat")
    assert strips
    heights = [
        int(one.attributes["class"].removeprefix("heat-"))
        for one in page.all("rect")
        if one.attributes.get("class", "").startswith("heat-")
    ]
    first = heights[:12]
    assert first == sorted(first)
    assert first[-1] == HIGHEST


@pytest.mark.parametrize("name", ["tuned", "step", "merged"])
def test_histograms_have_a_bar_for_each_size(name: str) -> None:
    found = compare(CASES[name])
    page = Page(render_compared(found))
    drawn = [one.tag == "svg" and "histogram" in one.classes for one in page.elements]
    first, *others = [at for at, is_drawn in enumerate(drawn) if is_drawn]
    bars = itertools.takewhile(lambda one: one.tag == "rect", page.elements[first + 1 :])
    lowest = max(found.whole.sizes) + 1 - MOST_BINS
    assert len(list(bars)) == len({max(size, lowest) for size in found.whole.sizes})
    assert others


def test_integers_have_no_histogram() -> None:
    a = {"w": np.ones(5, np.float32), "batches": np.array(0), "bn.batches": np.array(0)}
    b = {key: value + 20 for key, value in a.items()}
    page = Page(render_compared(cs.diff(a, b)))
    assert len(page.all(cls="histogram")) == 2  # of the whole, and of w
    assert not Page(render_compared(cs.diff({"n": np.arange(4)}, {"n": np.ones(4, int)}))).all(
        cls="histogram"
    )


def test_very_many_tensors_that_do_not_fold_have_bounds() -> None:
    random = np.random.default_rng(0)
    names = ["".join(map(chr, 97 + random.integers(0, 26, 12))) for _ in range(6_000)]
    a = {f"{name}.w": np.full(1, at, np.float32) for at, name in enumerate(names)}
    b = {key: value + 1 for key, value in a.items()} | {"added.w": np.arange(5.0)}
    found = cs.diff(a | {"gone.w": np.arange(7.0)}, b)
    text = render_compared(found)
    assert len(text) < MOST_BYTES
    assert "than a page can hold" in text
    fates = {row.attributes["data-fate"] for row in Page(text).rows}
    assert fates == {"other values", "added", "gone"}
