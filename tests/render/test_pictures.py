"""Bars on a terminal: as wide as they should be, and only where there is colour.

Run this file as a program to write the golden files anew (`PYTHONPATH=tests`).
"""

from __future__ import annotations

import io
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from command_line import Ckpt, ckpt, folder
from hypothesis import example, given
from hypothesis import strategies as st
from render.test_inspection import CHECKPOINTS, look
from report.plans import PLANS, resnet18

from ckptsurgeon.cli.printing import Style
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.render.inspection import render_inspection
from ckptsurgeon.render.pictures import MOST_DTYPES, OF_DTYPES, OF_STATUS, divide, share_dtypes
from ckptsurgeon.render.terminal import width_of
from ckptsurgeon.render.text import render_body
from ckptsurgeon.report.report import make_report
from ckptsurgeon.specs import TensorSpec

__all__ = ["ckpt", "folder"]

GOLDEN = Path(__file__).parent / "golden"
PAINT = re.compile(r"\x1b\[[\d;]*m")
DRAWN = ("surgery", "stem_and_head", "module_prefix")


def draw(name: str, width: int = 100) -> str:
    report = make_report(PLANS[name])
    return render_body(report, width=width, color=True, pictures=True)


def lines_of(text: str) -> list[str]:
    return PAINT.sub("", text).splitlines()


@pytest.mark.parametrize("name", DRAWN)
def test_golden(name: str) -> None:
    assert draw(name) == (GOLDEN / f"{name}.ansi").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PLANS)
def test_a_picture_is_all_that_is_added(name: str) -> None:
    plain = render_body(make_report(PLANS[name]), width=100, color=False).splitlines()
    drawn = [line for line in lines_of(draw(name)) if "█" not in line and "■" not in line]
    assert [line for line in drawn if line] == [line for line in plain if line]


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("name", DRAWN)
def test_a_bar_is_as_wide_as_there_is_room(name: str, width: int) -> None:
    drawn = [line for line in lines_of(draw(name, width)) if "█" in line or "■" in line]
    assert max(map(width_of, drawn)) <= width
    assert {line.count("█") for line in drawn if "█" in line} == {min(72, width - 8)}


@pytest.mark.parametrize("options", [{"color": False}, {"color": True, "verbose": True}])
def test_there_is_no_picture_without_colour_or_of_every_key(options: dict[str, bool]) -> None:
    text = render_body(make_report(PLANS["surgery"]), width=100, pictures=True, **options)
    assert not {"█", "■"} & set(text)


def test_a_picture_is_drawn_when_it_is_asked_for() -> None:
    text = render_body(make_report(PLANS["surgery"]), width=100, color=True)
    assert not {"█", "■"} & set(text)


PARTS = st.lists(st.integers(1, 10**15), min_size=1, max_size=12)


@given(PARTS, st.integers(12, 100))
def test_the_parts_of_a_bar_are_as_wide_as_the_bar(parts: list[int], width: int) -> None:
    sizes = divide(parts, width)
    assert sum(sizes) == width
    assert min(sizes) >= 1


@given(PARTS, st.integers(12, 100))
def test_a_larger_part_is_no_shorter(parts: list[int], width: int) -> None:
    sizes = divide(parts, width)
    pairs = sorted(zip(parts, sizes, strict=True))
    for (part, size), (other, larger) in pairwise(pairs):
        assert size <= larger or part == other or size - larger <= 1


@given(PARTS, st.integers(12, 100))
@example(parts=[22, 23, 220], width=12)
def test_a_part_of_columns_has_about_as_many(parts: list[int], width: int) -> None:
    sizes = divide(parts, width)
    for part, size in zip(parts, sizes, strict=True):
        exact = part * width / sum(parts)
        assert exact - len(parts) - 1 < size < max(exact, 1) + 1


def test_every_status_has_a_colour_of_its_own() -> None:
    assert OF_STATUS.keys() == set(Status)
    assert len(set(OF_STATUS.values())) == len(Status)
    assert len(OF_DTYPES) == MOST_DTYPES + 1


def test_many_dtypes_are_told_as_more() -> None:
    names = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8")
    specs = [(TensorSpec(name, (100 - at,)), 1) for at, name in enumerate(names)]
    shares = share_dtypes(specs)
    assert len(shares) == MOST_DTYPES + 1
    assert shares[-1].name == "3 more"
    assert sum(share.nbytes for share in shares) == sum(spec.nbytes for spec, _ in specs)
    assert [share.nbytes for share in shares[:-1]] == sorted(
        (share.nbytes for share in shares[:-1]), reverse=True
    )


def test_one_share_is_no_picture() -> None:
    assert len(share_dtypes((spec, 1) for spec in resnet18().values())) == 2
    text = "\n".join(lines_of(draw("module_prefix")))
    assert "missing" in text
    assert "dtypes  " not in text


def test_an_inspection_draws_its_dtypes() -> None:
    found = look(CHECKPOINTS["inspect_vit"])
    told = lines_of(render_inspection(found, width=100, color=True, pictures=True))
    (bar,) = [line for line in told if "█" in line]
    (legend,) = [line for line in told if "■" in line]
    assert bar.strip() == "█" * 72
    assert legend.split()[1] == "BF16"
    assert "■" not in render_inspection(found, width=100, color=False, pictures=True)


@pytest.mark.parametrize(
    ("encoding", "draws"), [("utf-8", True), ("latin-1", False), ("ascii", False), ("cp437", True)]
)
def test_a_terminal_that_cannot_write_a_picture_has_none(
    encoding: str, draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert Style(color="always").draws is draws
    assert not Style(color="never").draws


def test_the_command_line_draws_where_it_paints(ckpt: Ckpt, folder: Path) -> None:
    words = ("plan", "train.pt", "--into", "dst.pt", "-r", "rules.yaml")
    assert "█" in ckpt(*words, "--color", "always").out
    assert "█" not in ckpt(*words).out
    assert "█" not in ckpt(*words, "--color", "always", "-v").out


if __name__ == "__main__":
    for name in DRAWN:
        (GOLDEN / f"{name}.ansi").write_text(draw(name), encoding="utf-8")
