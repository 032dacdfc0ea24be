"""What is true of every suggestion, over random pairs of which some things no header tells."""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from known_conversions.judge import ALL, compare
from suggesting.random_pairs import Pair, make_pair

import ckptsurgeon as cs
from ckptsurgeon.drafting.steps import Degree

PAIRS = int(os.environ.get("CKPTSURGEON_SUGGEST_PAIRS", "100"))
"""How many random pairs are tried; 5,000 before a release."""

many = settings(max_examples=PAIRS, derandomize="CI" in os.environ)
seeds = st.integers(0, 2**48)


def suggest(pair: Pair) -> cs.Suggestion:
    named = {alias: arrays for alias, arrays in pair.sources.items() if alias}
    return cs.suggest(pair.sources.get(""), pair.own, sources=named or None)


def follow(pair: Pair, found: cs.Suggestion) -> dict[str, object]:
    """What the suggested rules make; nothing where values of ranks refuse to be the same."""
    named = {alias: arrays for alias, arrays in pair.sources.items() if alias}
    try:
        tensors, _ = cs.apply(
            pair.sources.get(""), found.rules, into=pair.own, sources=named or None, allow=ALL
        )
    except cs.CkptSurgeonError as error:
        if "all must be equal bit for bit" not in str(error):
            raise
        return {}
    return tensors


@many
@given(seed=seeds)
def test_what_is_sure_is_right_and_what_is_open_stays_as_it_is(seed: int) -> None:
    pair = make_pair(seed)
    found = suggest(pair)
    verdict = compare(follow(pair, found), pair.expected, pair.own)
    wrong = [key for key in verdict.wrong if found.degrees.get(key) is not Degree.LIKELY]
    assert not wrong, (wrong[:4], pair.told, found.text())


@many
@given(seed=seeds)
def test_a_file_is_never_clean_by_loss(seed: int) -> None:
    pair = make_pair(seed)
    found = suggest(pair)
    named = {alias: arrays for alias, arrays in pair.sources.items() if alias}
    plan = cs.plan(pair.sources.get(""), found.rules, pair.own, sources=named or None)
    assert bool(plan.open_findings) == bool(found.open or found.unused), plan.findings[:3]


def test_many_pairs_are_explained() -> None:
    counts: Counter[str] = Counter()
    for seed in range(100):
        pair = make_pair(seed)
        found = suggest(pair)
        verdict = compare(follow(pair, found), pair.expected, pair.own)
        counts.update(right=len(verdict.right), wrong=len(verdict.wrong), left=len(verdict.left))
    assert counts["right"] > 5 * counts["wrong"], counts
