"""The page's script: search, filters, folding, links between rules and tensors, copying."""

from __future__ import annotations

import numpy as np
import pytest
from browser_pages import inspected_page, tour_page
from chromium import Opener
from playwright.sync_api import Page, expect

import ckptsurgeon as cs

ROWS = ".row:not([hidden])"


def keys_of(page: Page) -> list[str]:
    """The keys of the lines that are shown, with their modules."""
    return page.eval_on_selector_all(
        ROWS,
        """rows => rows.map(row => {
            const pieces = [row.querySelector('.key').textContent];
            let at = row;
            while ((at = at.parentElement.closest('details')))
                pieces.unshift(at.querySelector('.key').textContent);
            return pieces.join('.');
        })""",
    )


def search(page: Page, text: str) -> list[str]:
    page.locator("input[name=text]").fill(text)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(page.locator(".matches")).to_contain_text("line")
    return keys_of(page)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("stem", ["stem.conv.weight", "stem.norm"]),
        ("STEM.N", ["stem.norm"]),
        ("blocks.5.conv", ["blocks.<0..5>.conv.weight"]),
        ("blocks.5.conv.weight", ["blocks.<0..5>.conv.weight"]),
        ("blocks.6", []),
        ("attention.k.bias", ["attention.<q|k|v>.bias"]),
        ("attention.x", []),
        ("norm.running_var", ["stem.norm", "blocks.<0..5>.norm"]),
        ("norm.nothing", []),
        ("3.norm.bias", ["blocks.<0..5>.norm"]),
        ("layer6.bn.running_var", ["blocks.<0..5>.norm"]),  # where it comes from
        ("layer7.bn", []),
        ("blocks.<0..5>.norm", ["blocks.<0..5>.norm"]),  # as it is printed
        ("layer<1..6>.bn", ["blocks.<0..5>.norm"]),
        ("weight, bias, running_mean", ["stem.norm", "blocks.<0..5>.norm"]),
    ],
)
def test_search_finds_keys_in_folded_lines(text: str, found: list[str], open_page: Opener) -> None:
    assert search(open_page(tour_page()), text) == found


def test_letters_of_any_alphabet_are_found(open_page: Opener) -> None:
    shapes = {
        f"\u00c4rger.{name}.w": np.ones(at) for at, name in enumerate(("STRASSE", "\u0416"), 1)
    }
    page = open_page(cs.inspect(shapes).to_html())
    assert len(search(page, "\u00e4rger")) == 2
    assert len(search(page, "\u0436.W")) == len(search(page, "\u00c4rger.strasse")) == 1


def test_matches_are_counted_aloud(open_page: Opener) -> None:
    page = open_page(tour_page())
    search(page, "blocks.5")
    told = page.locator(".matches")
    expect(told).to_have_text("2 of 8 lines, 36 tensors")
    assert told.get_attribute("aria-live") == "polite"
    page.locator("button[type=reset]").click()
    expect(told).to_have_text("")
    assert len(keys_of(page)) == 8


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("fate", "kept", ["head"]),
        ("fate", "dropped", ["fc"]),
        ("rule", "tour.yaml:11", ["attention.<q|k|v>.weight", "attention.<q|k|v>.bias"]),
        ("dtype", "I64", ["stem.norm", "blocks.<0..5>.norm"]),
    ],
)
def test_filters(name: str, value: str, found: list[str], open_page: Opener) -> None:
    page = open_page(tour_page())
    page.locator(f"select[name={name}]").select_option(label=value)
    expect(page.locator(".matches")).to_contain_text("of 8")
    assert keys_of(page) == found


def test_filters_and_search_hold_together(open_page: Opener) -> None:
    page = open_page(tour_page())
    page.locator("select[name=fate]").select_option("renamed")
    assert search(page, "stem") == ["stem.norm"]


def test_a_share_of_the_bar_filters(open_page: Opener) -> None:
    page = open_page(tour_page())
    page.locator(".shares a", has_text="changed").click()
    assert keys_of(page) == [
        "stem.conv.weight",
        "attention.<q|k|v>.weight",
        "attention.<q|k|v>.bias",
    ]
    assert page.locator("select[name=fate]").input_value() == "changed"


def test_a_rule_leads_to_what_it_did_and_back(open_page: Opener) -> None:
    page = open_page(tour_page())
    line = page.locator(".code li", has_text="batchnorm: bn -> norm")
    line.get_by_role("link").click()
    assert keys_of(page) == ["blocks.<0..5>.norm"]
    expect(line).to_have_class("has-rule chosen")
    page.locator(ROWS).get_by_role("link", name="tour.yaml:10").click()
    assert page.url.endswith("#" + str(line.get_attribute("id")))
    expect(line).to_be_in_viewport()


def test_rules_lead_there_without_a_script(open_page: Opener) -> None:
    page = open_page(tour_page(), java_script_enabled=False)
    page.get_by_role("link", name="drops 2 tensors").click()
    expect(page.locator(".row:target .key")).to_have_text("fc")
    page.locator(".row:target .rule").click()
    expect(page.locator(".code li:target")).to_contain_text("drop: fc.*")


def test_all_is_folded_and_unfolded(open_page: Opener) -> None:
    page = open_page(inspected_page())
    page.locator("[data-do=close]").click()
    assert page.locator("details[open]").count() == 0
    page.locator("[data-do=open]").click()
    assert page.locator("details:not([open])").count() == 0
    page.locator("summary").first.press("Enter")
    assert page.locator("details:not([open])").count() == 1


def test_what_is_found_is_unfolded_and_folded_again(open_page: Opener) -> None:
    page = open_page(inspected_page())
    page.locator("summary").first.press("Enter")
    before = page.locator("details[open]").count()
    search(page, "layer1.0.conv1")
    expect(page.locator(ROWS).first).to_be_visible()
    page.locator("button[type=reset]").click()
    expect(page.locator(".matches")).to_have_text("")
    assert page.locator("details[open]").count() == before


def test_a_slash_goes_to_the_search_and_escape_clears_it(open_page: Opener) -> None:
    page = open_page(tour_page())
    page.keyboard.press("/")
    page.keyboard.type("head/")
    text = page.locator("input[name=text]")
    expect(text).to_be_focused()
    expect(text).to_have_value("head/")
    page.keyboard.press("Escape")
    expect(text).to_have_value("")
    expect(page.locator(".matches")).to_have_text("")


def test_suggestions_are_copied(open_page: Opener) -> None:
    page = open_page(tour_page(with_rules=False), permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="copy").click()
    expect(page.locator("[data-copy]")).to_have_text("copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#advice-text").text_content()
    assert "- layer<i>.conv.weight -> blocks.<i-1>.conv.weight\n" in copied


def test_what_may_not_be_copied_is_marked(open_page: Opener) -> None:
    page = open_page(tour_page(with_rules=False))
    page.evaluate(
        "navigator.clipboard.writeText = () => Promise.reject(); document.execCommand = () => false"
    )
    page.get_by_role("button", name="copy").click()
    expect(page.locator("[data-copy]")).to_have_text("marked: copy it by hand")
    assert "- bn1.* -> stem.norm.*" in page.evaluate("getSelection().toString()")
