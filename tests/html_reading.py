"""A page of HTML taken apart by the standard library: elements, text, the keys of lines."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = frozenset({"meta", "link", "input", "br", "rect", "path", "use"})


@dataclass
class Element:
    """An element with its attributes, and all text in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()


@dataclass
class Page(HTMLParser):
    """All elements of a page in order; raises AssertionError for tags that don't match."""

    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str = "", cls: str = "") -> list[Element]:
        """The elements with a tag, and with a class."""
        return [
            one for one in self.elements if tag in ("", one.tag) and (not cls or cls in one.classes)
        ]

    @property
    def body(self) -> str:
        """What is to be read, with single spaces."""
        (body,) = self.all("body")
        scripts = "".join(one.text for one in self.all("script"))
        return " ".join(body.text.replace(scripts, "").split())

    @property
    def rows(self) -> list[Element]:
        return self.all("li", "row")


def keys_of(row: Element) -> list[str]:
    """All keys that a line tells of, as the page's script reads them."""
    return list(expand(json.loads(row.attributes["data-key"])))


def expand(parts: list[Any]) -> Iterator[str]:
    return map("".join, itertools.product(*(list(_choices(part)) for part in parts)))


def _choices(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for one in part["any"]:
            yield from expand(one)
    else:
        width, *runs = part
        for first, last in zip(runs[::2], runs[1::2], strict=True):
            yield from (f"{value:0{width}d}" for value in range(first, last + 1))
