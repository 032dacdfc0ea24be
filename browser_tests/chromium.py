"""Which browser is started and how, and how wide its windows are."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome")

ARGUMENTS = (
    "--no-sandbox",  # in a container there is none to be had, and the pages are our own
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

MILLISECONDS = 10_000
"""How long a page may take over what it is asked."""

WIDE, NARROW = 1400, 400

Opener = Callable[..., Page]
"""Opens the text of a page, in a window of a width, in a context with these words."""
