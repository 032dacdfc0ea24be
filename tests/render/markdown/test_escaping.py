"""Texts of strangers stand in markdown as they are, as a renderer that is not ours reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_pages import QUIET, READER, read_page
from report.plans import HOSTILE

from ckptsurgeon.render.markdown.escaping import EMPTY, cell, code, prose, tagged
from ckptsurgeon.render.terminal import safe, safe_sentence
from ckptsurgeon.visible import visible

SIGNS = "|`\\<>&*_[]()!@#:/%~$\"'={}+-. \n\r\t\u202e\u200b\x1b\ufe0fab0"
"""What markdown, GitHub, a terminal or a shell would act upon."""

TEXTS = st.one_of(st.text(SIGNS, max_size=30), st.text(max_size=30), st.sampled_from(HOSTILE))

LINKS = (
    "@everyone",
    "#123",
    "GH-26",
    "https://example.org",
    "www.example.org",
    "a@example.org",
    "owner/repository#1",
    "d800bdc",
    "![x](https://example.org)",
    "<img src=x onerror=alert(1)>",
    "$x$",
    ":tada:",
)
"""What GitHub makes links, pictures, formulas or mentions of."""


def shown(markdown: str) -> tuple[list[str], list[str]]:
    """The kinds and the contents of what a line is made of."""
    (token,) = [token for token in READER.parse(markdown) if token.type == "inline"]
    return [one.type for one in token.children or ()], [one.content for one in token.children or ()]


@given(TEXTS)
def test_a_text_is_one_code_span_that_shows_it(text: str) -> None:
    assert shown(f"before {code(text)} after")[0] == ["text", "code_inline", "text"]
    assert shown(f"before {code(text)} after")[1][1] == (visible(text) or EMPTY)


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_a_row_has_its_cells_and_each_shows_its_text(texts: list[str]) -> None:
    row = f"| {' | '.join(cell(safe(text)) for text in texts)} |"
    head = f"|{' x |' * len(texts)}\n|{' --- |' * len(texts)}"
    page = read_page(f"{head}\n{row}\n\nafter")
    assert page.tables == [[["x"] * len(texts), [safe(text) for text in texts]]]
    assert page.inline <= set(QUIET)
    assert page.lines[-1] == "after"


@given(TEXTS)
def test_a_sentence_is_plain_or_a_code_span(text: str) -> None:
    ((kind,), (content,)) = shown(f"{prose(text)}")
    assert kind in ("text", "code_inline")
    assert content == (safe_sentence(text) or EMPTY)


@pytest.mark.parametrize("text", ["1. first", "2) second", "- item", "+ item", "# head", "> quote"])
def test_a_sentence_begins_no_block(text: str) -> None:
    assert prose(text) == f"`{text}`"


@pytest.mark.parametrize("text", LINKS)
def test_nothing_that_github_links_is_plain(text: str) -> None:
    assert prose(f"of {text}, that is") == f"`of {text}, that is`"


@pytest.mark.parametrize(
    "text",
    [
        "clean: 50 tensors, 959.1 KiB would be written",
        "0 of 50 destination keys come from the source; 0% of the root's bytes are used",
        "97 findings: 50 missing, nothing moved; nothing is written until they are settled",
    ],
)
def test_our_sentences_are_plain(text: str) -> None:
    assert prose(text) == text


@given(TEXTS)
def test_a_text_within_a_tag_makes_no_tag(text: str) -> None:
    page = read_page(f"<details><summary>{tagged(text)}</summary>\n\nafter\n\n</details>\n")
    assert page.lines == ["after"]
    assert [tag for tag in page.tags if tag not in ("code", "/code")] == [
        "details",
        "summary",
        "/summary",
        "/details",
    ]
