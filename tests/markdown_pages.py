"""Pages of markdown read by a renderer that is not ours: tables, tags, fences, and the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from markdown_it.token import Token

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])

OWN_TAGS = ("details", "summary", "b", "code")
"""The only tags that a page of ours has."""

QUIET = ("text", "code_inline", "strong_open", "strong_close", "softbreak")
"""What a line of a page of ours is made of."""

Table = list[list[str]]


@dataclass(frozen=True)
class Page:
    """What a renderer makes of a page."""

    tables: list[Table]
    fences: list[str]
    lines: list[str]
    inline: set[str]
    tags: list[str]

    @property
    def cells(self) -> set[str]:
        return {cell for table in self.tables for row in table for cell in row}


class Tags(HTMLParser):
    """The tags of a text, with their attributes; closing ones with a slash."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(" ".join((tag, *(name for name, _ in attrs))))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"/{tag}")


def read_page(text: str) -> Page:
    tokens = READER.parse(text)
    tags = Tags()
    inline = [child for token in tokens for child in token.children or ()]
    for token in (*tokens, *inline):
        if token.type.startswith("html"):
            tags.feed(token.content)
    return Page(
        tables=list(_tables(tokens)),
        fences=[token.content for token in tokens if token.type == "fence"],
        lines=[_shown(token) for token in tokens if token.type == "inline"],
        inline={child.type for child in inline},
        tags=tags.found,
    )


def _tables(tokens: list[Token]) -> Iterator[Table]:
    table: Table = []
    for number, token in enumerate(tokens):
        if token.type == "tr_open":
            table.append([])
        elif token.type in ("th_open", "td_open"):
            table[-1].append(_shown(tokens[number + 1]))
        elif token.type == "table_close":
            yield table
            table = []


def _shown(token: Token) -> str:
    """The text that a reader sees of a line."""
    return "".join(child.content for child in token.children or ())


def assert_ours(text: str) -> Page:
    """The page, in which nothing but our own words makes markdown or HTML."""
    page = read_page(text)
    assert page.inline <= set(QUIET)
    assert {tag.split()[0].lstrip("/") for tag in page.tags} <= set(OWN_TAGS)
    assert [tag for tag in page.tags if " " in tag and tag != "details open"] == []
    for tag in OWN_TAGS:
        opened = sum(one.split()[0] == tag for one in page.tags)
        assert opened == page.tags.count(f"/{tag}"), tag
    for table in page.tables:
        assert {len(row) for row in table} == {len(table[0])}
    assert len(text.encode()) <= 65_000
    assert text.endswith("\n")
    return page
