"""Pages are no longer than they may be, and no line of theirs is cut."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ckptsurgeon.render.markdown.blocks import FIRST_ROWS, Block, Rank, size_of, write_page

LINES = st.text("ab|`<\u5c64\U0001f600", max_size=40)
BLOCKS = st.builds(
    Block,
    rank=st.sampled_from(Rank),
    before=st.sampled_from(["", "before", "<details>\n"]),
    rows=st.lists(LINES, max_size=12),
    after=st.sampled_from(["", "</details>"]),
    left_out=st.integers(0, 3),
    lead=st.sampled_from(["", "\n", "# "]),
)
PAGES = st.lists(BLOCKS, min_size=1, max_size=6)


@given(PAGES, st.integers(600, 2000))
def test_a_page_has_room_for_what_it_holds(blocks: list[Block], longest: int) -> None:
    assert size_of(write_page(blocks, longest)) <= longest


@given(st.lists(BLOCKS, min_size=1, max_size=3), st.integers(300, 700))
def test_a_page_is_blocks_with_their_first_rows_and_no_line_is_cut(
    blocks: list[Block], longest: int
) -> None:
    short = [replace(block, rows=block.rows[:4]) for block in blocks]
    written = ([block.write(number) for number in range(len(block.rows) + 1)] for block in short)
    pages = {"\n\n".join(one) + "\n" for one in itertools.product(*written)}
    assert write_page(short, longest) in pages


@given(PAGES)
def test_a_page_with_room_for_all_leaves_out_nothing(blocks: list[Block]) -> None:
    page = write_page(blocks)
    assert page == "\n\n".join(block.write(len(block.rows)) for block in blocks) + "\n"


@given(st.integers(1, 20), st.integers(1, 20), st.integers(100, 500), st.booleans())
def test_what_is_wrong_has_room_first(wrong: int, clean: int, longest: int, swapped: bool) -> None:
    blocks = [Block(Rank.WRONG, rows=["w" * 9] * wrong), Block(Rank.CLEAN, rows=["c" * 9] * clean)]
    page = write_page(blocks[::-1] if swapped else blocks, longest)
    assert page.count("c" * 9) == 0 or page.count("w" * 9) == wrong


def test_the_number_that_is_left_out_is_told() -> None:
    block = Block(Rank.CLEAN, "before", ["x" * 50] * 10, "after", left_out=1000, lead="# ")
    page = write_page([block], 230)
    told = "# ... 1,007 more lines: `to_dict()` has all"
    assert page.split("\n")[-4:] == ["x" * 50, told, "after", ""]


def test_each_block_has_its_first_rows_before_one_has_more() -> None:
    wrong = Block(Rank.WRONG, "wrong", [f"w{number}" for number in range(9000)])
    advice = Block(Rank.ADVICE, "advice", [f"a{number}" for number in range(40)])
    lines = write_page([wrong, advice], 2000).split("\n")
    shown = [f"a{number}" in lines for number in range(40)]
    assert all(shown[:FIRST_ROWS])
    assert not all(shown)
    assert sum(line.startswith("w") for line in lines) > 100
