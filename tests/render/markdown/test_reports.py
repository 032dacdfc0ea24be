"""Reports as markdown, held against golden files; and what holds for every page.

Run this file as a program to write the golden files anew (`PYTHONPATH=tests`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_pages import Page, Table, assert_ours, read_page
from render.markdown.test_escaping import TEXTS
from report.plans import PLANS, compared, resnet18, view

from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.plans.outputs import Status
from ckptsurgeon.render.accounting import tell_coverage
from ckptsurgeon.render.markdown.blocks import Block, Rank, write_page
from ckptsurgeon.render.markdown.report import render_report
from ckptsurgeon.render.markdown.tables import fence
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.report.advice import Advice
from ckptsurgeon.report.report import Report, make_report
from ckptsurgeon.specs import TensorSpec

GOLDEN = Path(__file__).parent / "golden"
SPEC = TensorSpec("F32", (1,))
RESNET = resnet18()


@pytest.mark.parametrize("name", PLANS)
def test_golden(name: str) -> None:
    assert render_report(make_report(PLANS[name])) == (GOLDEN / f"{name}.md").read_text()


@pytest.mark.parametrize("name", PLANS)
def test_a_page_is_made_of_our_own_words(name: str) -> None:
    assert_ours(render_report(make_report(PLANS[name])))


@pytest.mark.parametrize("name", PLANS)
def test_the_verdict_comes_first_and_nothing_that_is_counted_is_left_out(name: str) -> None:
    report = make_report(PLANS[name])
    page = read_page(render_report(report))
    assert page.lines[:2][0] == report.bottom_line
    assert page.lines[1].startswith(f"exit code {report.exit_code}: ")
    assert tell_coverage(report) in page.lines
    counts = next(table for table in page.tables if table[0][1:] == ["tensors", "size"])
    told = {row[0].split(",")[0]: row[1] for row in counts[1:]}
    assert told["in all"] == f"{report.total.tensors:,}"
    numbers = [report.counts[status].tensors for status in Status]
    numbers += [report.fate_counts[fate].tensors for fate in (Fate.DROPPED, Fate.UNUSED)]
    assert {f"{number:,}" for number in numbers if number} <= set(told.values())


@pytest.mark.parametrize("name", PLANS)
def test_verbose_names_every_key(name: str) -> None:
    report = make_report(PLANS[name])
    cells = read_page(render_report(report, verbose=True)).cells
    assert cells >= {row.key for row in report.rows} | {one.key for one in report.findings}


def test_what_is_wrong_is_open_and_before_what_is_clean() -> None:
    text = render_report(make_report(PLANS["stem_and_head"]))
    wrong, clean = text.index("mismatched</b>"), text.index("copied by no rule</b>")
    assert "<details open>" in text[:wrong]
    assert "<details open>" not in text[wrong:]
    assert wrong < text.index("```yaml") < clean


def hostile_report(keys: tuple[str, ...], *, on_both_sides: bool = False) -> Report:
    """A report in which strangers have written all that they can."""
    specs = dict.fromkeys(keys, SPEC)
    plan = compared(specs, specs if on_both_sides else RESNET)
    side = view(keys[0], specs, keys[-1], root=keys[0], wrappers=keys)
    notes = tuple(Note("read", key, key) for key in keys)
    ties = dict.fromkeys(keys[1:], keys[0])
    return make_report(replace(plan, notes=notes, ties=ties, sources=(side,)))


@settings(max_examples=40)
@given(st.lists(TEXTS, min_size=2, max_size=6, unique=True), st.booleans())
def test_hostile_keys_make_neither_markdown_nor_tags(keys: list[str], on_both: bool) -> None:
    report = hostile_report(tuple(keys), on_both_sides=on_both)
    page = assert_ours(render_report(report, verbose=True))
    assert page.cells >= {safe(key) for key in keys if key}
    assert_ours(render_report(report))


@pytest.mark.parametrize(
    "line", ["```", "  ````````", "~~~", "</details>", "<script>", "# ```yaml"]
)
def test_a_line_of_a_stranger_does_not_end_a_fence(line: str) -> None:
    block = fence(Rank.ADVICE, "title", "yaml", ["before", line, "after"])
    page = assert_ours(write_page([block, Block(Rank.CLEAN, "last")]))
    assert page.fences == [f"before\n{line}\nafter\n"]
    assert page.lines == ["title", "last"]


KEYS = {"short": "k{}.{}", "wide": "\u5c64" * 100 + "{}.{}", "hidden": "\U000e0001" * 60 + "{}.{}"}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("verbose", [False, True])
def test_a_page_is_short_and_says_what_is_left_out(key: str, verbose: bool) -> None:
    names = [key.format(n * 2654435761 % 2**32, n) for n in range(3000)]
    source = {name: TensorSpec("F32", (n % 7,)) for n, name in enumerate(names)}
    plan = compared(source, dict.fromkeys(names[::2], SPEC) | RESNET)
    page = assert_ours(render_report(make_report(plan), verbose=verbose))
    assert any("more lines: to_dict() has all" in line for line in page.lines)


def test_rows_of_what_is_wrong_have_room_before_those_of_what_is_clean() -> None:
    names = [f"{'wide' * 28}{n * 2654435761 % 2**32:08x}" for n in range(600)]
    copied = dict.fromkeys(names[:300], SPEC)
    plan = compared(copied, copied | dict.fromkeys(names[300:], SPEC))
    report = replace(make_report(plan), advice=Advice())
    page = assert_ours(render_report(report, verbose=True))
    missing, given = (_table_with(key, page) for key in (names[300], names[0]))
    assert len(missing) == 301
    assert 0 < len(given) < 300


def _table_with(key: str, page: Page) -> Table:
    """The table that tells a key; an empty one where there is none."""
    return next((one for one in page.tables if any(key in row for row in one)), [])


if __name__ == "__main__":
    for name, plan in PLANS.items():
        (GOLDEN / f"{name}.md").write_text(render_report(make_report(plan)))
