"""What `diff` finds as markdown, held against golden files, and read by a renderer not ours.

Run this file as a program to write the golden files anew (`PYTHONPATH=tests`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import Ckpt, ckpt, folder
from comparing.cases import CASES, decoder
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_pages import assert_ours
from render.markdown.test_escaping import TEXTS

import ckptsurgeon as cs
from ckptsurgeon.comparing.difference import SAME, Difference
from ckptsurgeon.render.markdown.difference import render_difference
from ckptsurgeon.render.terminal import safe

__all__ = ["ckpt", "folder"]

GOLDEN = Path(__file__).parent / "golden"


def compare(name: str) -> Difference:
    return cs.diff(decoder(), CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text = render_difference(compare(name))
    assert_ours(text)
    assert text == (GOLDEN / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_comes_first_and_each_status_is_told(name: str) -> None:
    found = compare(name)
    text = render_difference(found)
    page = assert_ours(text)
    assert page.lines[0] == found.bottom_line
    assert page.lines[1].startswith(f"exit code {found.exit_code}: ")
    for status, rows in found.by_status.items():
        titles = (f"<b>{status.value}</b>: ", f"**{status.value}**: ")
        assert any(title in text for title in titles) == bool(rows)


@pytest.mark.parametrize("name", CASES)
def test_verbose_names_every_tensor_that_differs(name: str) -> None:
    found = compare(name)
    cells = {cell.split()[0] for cell in read_cells(render_difference(found, verbose=True)) if cell}
    assert cells >= {row.key for row in found.rows if row.status not in SAME}


def read_cells(text: str) -> set[str]:
    return assert_ours(text).cells


@settings(max_examples=40)
@given(st.lists(TEXTS, min_size=3, max_size=6, unique=True), st.booleans())
def test_hostile_keys_make_neither_markdown_nor_tags(keys: list[str], verbose: bool) -> None:
    keys = [key.encode("utf-8", "replace").decode() for key in keys]
    a = {key: np.full(2, at, np.float32) for at, key in enumerate(keys)}
    b = {key: value + 1 for key, value in list(a.items())[1:]} | {"new": np.ones(3, np.float32)}
    cells = read_cells(render_difference(cs.diff(a, b), verbose=verbose))
    assert not verbose or any(safe(key) in cell for key in a for cell in cells)


def test_the_command_prints_it(ckpt: Ckpt, folder: Path) -> None:
    ran = ckpt("diff", "src.safetensors", "dst.pt", "--format", "markdown")
    page = assert_ours(ran.out)
    assert (ran.code, ran.err) == (1, "")
    assert page.lines[0] == ckpt("diff", "src.safetensors", "dst.pt").out.splitlines()[-1]


if __name__ == "__main__":
    for name in CASES:
        (GOLDEN / f"{name}.md").write_text(render_difference(compare(name)), encoding="utf-8")
