"""What holds for every page: nothing runs or loads that isn't ours, all can use it, it fits."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_pages import HOSTILE_TEXTS, PAGES, hostile_page, random_page
from chromium import NARROW, WIDE, Opener
from playwright.sync_api import Browser

SCHEMES = ("light", "dark")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(name: str, width: int, scheme: str, open_page: Opener) -> None:
    page = open_page(PAGES[name](), width, color_scheme=scheme)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_window(name: str, width: int, open_page: Opener) -> None:
    page = open_page(PAGES[name](), width)
    for button in page.locator("[data-do=open]").all():
        button.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_as_much_without_its_script(name: str, open_page: Opener) -> None:
    with_script, without = (
        open_page(PAGES[name](), java_script_enabled=enabled) for enabled in (True, False)
    )
    assert without.locator(".row").count() == with_script.locator(".row").count()
    assert not without.locator(".controls:visible, button:visible").count()
    assert without.locator("h1").inner_text() == with_script.locator("h1").inner_text()


def test_hostile_texts_are_texts(open_page: Opener) -> None:
    page = open_page(hostile_page())
    assert (
        page.locator("img, iframe, object, embed, base, .row script, .row svg[onload]").count() == 0
    )
    assert page.locator("script").count() == page.locator("style").count() == 1
    shown = page.locator("body").inner_text()
    assert "<script>alert(1)</script>" in shown
    assert "{{ 7 * 7 }}" in shown
    assert not any(char in shown for char in "\x00\x1b\u202e\u2028\u200b")


@pytest.mark.parametrize("text", [one for one in HOSTILE_TEXTS if one.isprintable()])
def test_hostile_keys_are_found(text: str, open_page: Opener) -> None:
    page = open_page(hostile_page())
    page.locator("input[name=text]").fill(text[:200])
    assert page.locator(".row:not([hidden])").count() >= 1


def test_a_script_that_is_not_ours_does_not_run(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content(hostile_page().replace("<script>", "<script>document.title = 'run';", 1))
    assert "ckptsurgeon" in page.title()
    assert page.locator(".controls").is_hidden()
    page.close()


def test_very_many_lines_have_bounds(open_page: Opener) -> None:
    text = random_page()
    assert len(text) < 5_000_000
    page = open_page(text)
    assert page.locator(".row").count() > 1000
    assert "more" in page.locator(".left-out").inner_text()


def test_printed_pages_are_dark_on_light(open_page: Opener) -> None:
    page = open_page(PAGES["tour"](), color_scheme="dark")
    color = "getComputedStyle(document.querySelector('h1')).color"
    assert page.evaluate(color) == "rgb(228, 231, 235)"
    page.emulate_media(media="print")
    assert page.evaluate(color) == "rgb(28, 33, 40)"


def test_printed_pages_show_all(open_page: Opener) -> None:
    page = open_page(PAGES["tour"]())
    page.locator("[data-do=close]").click()
    page.emulate_media(media="print")
    assert page.locator(".row:visible").count() == page.locator(".row").count()
    assert page.locator(".controls:visible, button:visible").count() == 0
