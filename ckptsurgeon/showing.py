"""What people look at shows itself: when it is printed, in a notebook, as a dict.

Results are made far below the code that renders them. What is shown asks for that by name, when it
is looked at: the one way up, and nothing is imported for it before.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import Any

WIDTH = 100
"""Columns of a text unless told."""


class Shown(ABC):
    """A result that people look at. `print` shows it folded, `repr` on one line."""

    __slots__ = ()

    @property
    @abstractmethod
    def summary(self) -> str:
        """What it is and how it ended, on one line."""

    def show(self, *, width: int = WIDTH, color: bool = False, verbose: bool = False) -> str:
        """The text that the command line prints, without a line break at its end.

        `width` and `color` (ANSI's) hold where the text has columns and colours; `verbose` folds
        and cuts nothing.
        """
        text: str = _renderer().render_shown(self, width=width, color=color, verbose=verbose)
        return text.rstrip("\n")

    def to_dict(self) -> dict[str, Any]:
        """What `--format json` prints: complete, with plain Python values alone."""
        found: dict[str, Any] = _renderer().describe_shown(self)
        return found

    def call_renderer(self, name: str) -> str:
        """Another text of the result, by the name of what writes it."""
        text: str = getattr(_renderer(), name)(self)
        return text

    def __str__(self) -> str:
        return self.show()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary}>"

    def __rich__(self) -> Any:
        """The text for rich's consoles, in colours."""
        return _renderer().paint_shown(self)

    def _repr_html_(self) -> str:
        """The text for notebooks."""
        text: str = _renderer().write_html(self)
        return text


class Paged(Shown):
    """A result that is also a page, to be opened in a browser or posted."""

    __slots__ = ()

    def to_html(self) -> str:
        """A page of HTML that loads nothing, as `--format html` prints it."""
        text: str = importlib.import_module("ckptsurgeon.render.html.pages").write(self)
        return text

    def to_markdown(self, *, verbose: bool = False) -> str:
        """A page of at most 65,000 bytes for pull requests, as `--format markdown` prints it."""
        pages = importlib.import_module("ckptsurgeon.render.markdown.pages")
        text: str = pages.write(self, verbose=verbose)
        return text


def _renderer() -> Any:
    return importlib.import_module("ckptsurgeon.render.shown")
