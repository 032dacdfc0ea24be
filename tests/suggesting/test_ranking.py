"""Ranks are joined in the order of their numbers, whatever order they are given in."""

from __future__ import annotations

import numpy as np
import pytest

import ckptsurgeon as cs

NUMBERED = (
    ("rank0", "rank1"),
    ("tp9", "tp10", "tp11"),
    ("rank01", "rank02", "rank10"),
    ("mp_rank_00_model_000", "mp_rank_01_model_000"),
)

DOUBTED = (
    (("first", "last"), "in the order in which the sources are given"),
    (("a", "b1"), "in the order in which the sources are given"),
    (("tp0_ep0", "tp0_ep1", "tp1_ep0", "tp1_ep1"), "several numbers of the sources"),
)


def suggest(aliases: tuple[str, ...], given: tuple[str, ...]) -> tuple[cs.Suggestion, bool]:
    """What is suggested for ranks that are given so, and whether it joins them right."""
    whole = np.arange(len(aliases) * 24, dtype=np.float32).reshape(-1, 6)
    norm = np.ones(6, np.float32)
    parts = dict(zip(aliases, np.split(whole, len(aliases)), strict=True))
    sources = {alias: {"h.0.norm": norm, "h.0.q_proj.weight": parts[alias]} for alias in given}
    blank = {"h.0.norm": norm, "h.0.q_proj.weight": np.zeros_like(whole)}
    found = cs.suggest(None, blank, sources=sources)
    made, _ = cs.apply(None, found.rules, blank, sources=sources)
    return found, np.array_equal(made["h.0.q_proj.weight"], whole)


@pytest.mark.parametrize("aliases", NUMBERED, ids="-".join)
def test_numbers_tell_the_order(aliases: tuple[str, ...]) -> None:
    for given in (aliases, aliases[::-1], tuple(sorted(aliases))):
        found, is_right = suggest(aliases, given)
        assert is_right, found.text()
        assert set(found.sure) == {"h.0.norm", "h.0.q_proj.weight"}
    assert "::h.<i>.q_proj.weight -> h.<i>.q_proj.weight: concat\n" in found.text()


@pytest.mark.parametrize(("aliases", "told"), DOUBTED)
def test_an_order_that_nothing_tells_is_to_be_checked(aliases: tuple[str, ...], told: str) -> None:
    found, is_right = suggest(aliases, aliases)
    assert is_right
    assert found.likely == ("h.0.q_proj.weight",)
    assert found.sure == ("h.0.norm",), "what all have has no order"
    assert told in found.text()
