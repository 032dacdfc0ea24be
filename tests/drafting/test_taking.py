"""Which patterns take a key: the tree says what each pattern's own expression says."""

import re

import pytest

from ckptsurgeon.drafting.taking import Takers
from ckptsurgeon.drafting.units import (
    LIST,
    Capture,
    Choice,
    Number,
    Open,
    Star,
    Units,
    cut_key,
    regex_of_units,
)

PATTERNS: tuple[Units, ...] = (
    cut_key("layers.0.attn.weight"),
    ("layers", ".", Capture(0), ".", "attn", ".", "weight"),
    ("layers", ".", Capture(0, 2), ".", "attn", ".", "weight"),
    ("layers", ".", Number(1), ".", Star(True)),
    ("layers", ".", Star(False), ".", Star(False), ".", "weight"),
    (Star(True), ".", "weight"),
    ("layers", ".", Capture(0), ".", Choice((("attn.weight", "a"), ("bias", "b")))),
    ("layers", ".", Open(0), ".", "attn", ".", Open(1, ("weight", "bias"))),
    (*cut_key("a.b"), LIST, *cut_key("layers.1.bias")),
    ("main", "::", Star(True)),
)


@pytest.mark.parametrize(
    "key",
    [
        *("layers.0.attn.weight", "layers.00.attn.weight", "layers.12.attn.weight", "layers.1."),
        *("layers.1.bias", "layers.1", "layers.1.mlp.up.weight", "a.b", "weight", "", ".weight"),
        *("main::a.b", "main::", "layers..attn.weight", "layers.x.attn.weight"),
    ],
)
def test_a_key_is_taken_by_the_patterns_that_match_it(key: str) -> None:
    expected = {
        number
        for number, pattern in enumerate(PATTERNS)
        if re.fullmatch(regex_of_units(pattern), key)
    }
    assert Takers(PATTERNS).of(key) == expected
