"""What comes from files reaches a terminal as plain text alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.plans import HOSTILE

from ckptsurgeon.render.terminal import LONGEST, pad, safe, width_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\r\tc", r"a\x0ab\x0d\x09c"),
        ("\u202eevil", r"\u202eevil"),
        ("\u200bzero", r"\u200bzero"),
        ("nbsp\u00a0", r"nbsp\xa0"),
        ("back\\slash", r"back\\slash"),
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
        ("größe.層", "größe.層"),
        ("x" * 200, "x" * 70 + "[...80 more...]" + "x" * 50),
    ],
)
def test_shown(text: str, shown: str) -> None:
    assert safe(text) == shown


@given(st.one_of(st.text(), st.sampled_from(HOSTILE)))
def test_nothing_is_acted_upon(text: str) -> None:
    shown = safe(text)
    assert shown.isprintable()
    assert len(shown) <= 10 * LONGEST + 40


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_two_texts_look_the_same(one: str, other: str) -> None:
    assert (safe(one) == safe(other)) == (one == other)


def test_wide_characters_take_two_columns() -> None:
    assert (width_of("層1"), width_of("e\u0301"), pad("層", 4)) == (3, 1, "層  ")
