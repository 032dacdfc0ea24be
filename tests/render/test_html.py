"""Pages: they load nothing, escape everything, and tell all that the text tells."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from comparing.cases import CASES, decoder
from html_reading import Page, keys_of
from report.plans import (
    HOSTILE,
    PLANS,
    RESNET,
    Inert,
    Specs,
    compared,
    view,
)

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.base import Contents
from ckptsurgeon.plans.account import Finding, FindingKind, Note
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.proof.results import Comparison, Delta, Kind, Verification
from ckptsurgeon.proof.results import Finding as Proved
from ckptsurgeon.render.html.difference_page import render_compared
from ckptsurgeon.render.html.inspection_page import render_inspected
from ckptsurgeon.render.html.layout import digest_of
from ckptsurgeon.render.html.plan_page import render_report
from ckptsurgeon.render.html.verification_page import render_verified
from ckptsurgeon.render.inspection import render_inspection
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.text import render_text
from ckptsurgeon.render.verification import render_verification
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.report.report import make_report
from ckptsurgeon.specs import TensorSpec, unreadable_spec

MOST_BYTES = 5_000_000


def page_of(plan: Plan) -> str:
    return render_report(make_report(plan))


def looked_at(specs: Specs, **contents: object) -> Inspection:
    found = Contents(specs, **contents)  # type: ignore[arg-type]
    return Inspection(Inert(found), specs)


INSPECTED = looked_at(RESNET, metadata={"format": "pt"}, root="model", wrappers=("model", "ema"))


def verified(texts: Sequence[str]) -> Verification:
    """A verification that says these texts wherever it can."""
    deltas = tuple(Delta(text, (2, 3), 0.5, 0.04, 0.9, None, within=False) for text in texts)
    compared = Comparison(
        texts[0], texts[-1], (1, 3), (1, 4), 0, 1e-5, "float32", deltas, tuple(texts)
    )
    findings = tuple(Proved(kind, text, text) for kind in Kind for text in texts)
    return Verification(texts[0], texts[-1], 9, 1200, findings, tuple(texts), compared)


PAGES: dict[str, Callable[[], str]] = {
    **{name: lambda plan=plan: page_of(plan) for name, plan in PLANS.items()},
    "inspect": lambda: render_inspected(INSPECTED),
    "verify": lambda: render_verified(verified(["logits", "hidden"])),
    **{
        f"diff_{name}": lambda other=other: render_compared(cs.diff(decoder(), other))
        for name, other in CASES.items()
    },
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_nothing(name: str) -> None:
    text = PAGES[name]()
    page = Page(text)
    assert text.isascii()
    attributes = [one for element in page.elements for one in element.attributes.items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("style", "src")]
    links = {value for name, value in attributes if name in ("href", "action", "xlink:href")}
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert {link[1:] for link in links if len(link) > 1 and link[0] == "#"} <= {
        one.attributes["id"] for one in page.elements if "id" in one.attributes
    }
    styles = "".join(one.text for one in page.all("style"))
    assert not re.search(r"url\(|@import|https?:", styles)


@pytest.mark.parametrize("name", PAGES)
def test_the_policy_allows_just_what_stands_there(name: str) -> None:
    page = Page(PAGES[name]())
    (policy,) = [
        one.attributes["content"]
        for one in page.all("meta")
        if one.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    (style,), (script,) = page.all("style"), page.all("script")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == f"'{digest_of(style.text)}'"
    assert rules["script-src"] == f"'{digest_of(script.text)}'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", PAGES)
def test_each_id_stands_once_and_headings_go_down_by_one(name: str) -> None:
    page = Page(PAGES[name]())
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    levels = [int(one.tag[1]) for one in page.elements if re.fullmatch("h[1-6]", one.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


# --- what is told ---------------------------------------------------------------------------------

LAID_OUT = {"<-", "->", "="}
"""Words of a terminal's columns, for which a page has arrows of its own."""

DOT = re.compile(r"(?<!\.)\.(?!\.)")
"""What stands between modules; a range has two of them."""


def words_of(text: str) -> set[str]:
    """The words that a text tells, without commas behind them."""
    return {word.rstrip(",;:") for word in text.split()} - LAID_OUT


@pytest.mark.parametrize("name", PLANS)
def test_a_page_says_all_that_the_text_says(name: str) -> None:
    report = make_report(PLANS[name])
    lines = render_text(report, width=10_000, color=False).splitlines()
    told = "\n".join(line for line in lines if "(show(verbose=True)" not in line)
    page = Page(render_report(report))
    assert {word for word in words_of(told) if not stands_in(word, page.body)} == set()
    assert report.bottom_line in page.body


def stands_in(word: str, body: str) -> bool:
    """Whether a word is told, keys by their modules."""
    return word in body or all(piece in body for piece in DOT.split(word))


def test_pages_of_other_results_say_all_that_their_texts_say() -> None:
    found = verified(["logits", "hidden"])
    texts = {
        render_inspected(INSPECTED): render_inspection(INSPECTED, width=10_000, color=False),
        render_verified(found): render_verification(found, width=10_000, color=False),
    }
    for page, text in texts.items():
        body = Page(page).body.replace(", ", " ").replace("; ", " ")
        assert {word for word in words_of(text) if word not in body} - {"tensors"} == set()


@pytest.mark.parametrize("name", PLANS)
def test_every_key_is_accounted_for(name: str) -> None:
    report = make_report(PLANS[name])
    shown = [key for row in Page(render_report(report)).rows for key in keys_of(row)]
    assert len(shown) == len(set(shown))
    open_keys = {one.key for one in report.findings if one.kind is not FindingKind.NOTHING}
    dropped = {
        fate.key for fate in report.fates if fate.fate.value == "dropped" or fate.claim.dropped
    }
    outputs = {row.key for row in report.rows}
    assert outputs | open_keys | dropped == set(shown)


def test_every_key_of_an_inspection_is_accounted_for() -> None:
    rows = Page(render_inspected(INSPECTED)).rows
    assert sorted(key for row in rows for key in keys_of(row)) == sorted(RESNET)
    assert sum(int(row.attributes["data-count"]) for row in rows) == len(RESNET)


def test_aliases_stand_before_their_keys_as_rules_write_them() -> None:
    addresses = [f"rank{number}::{key}" for number in (0, 7) for key in ("a.b", "c")]
    specs = dict.fromkeys(addresses, TensorSpec("F32", (3,)))
    plan = replace(compared(specs, specs), is_named=True, files=())
    labels = [one.text for one in Page(page_of(plan)).all("span", "key")]
    assert labels == ["rank<0,7>", "a.b", "c"]
    alone = {"rank7::a.b": plan.outputs.nodes["rank7::a.b"]}
    plan = replace(plan, outputs=Outputs(alone, dict.fromkeys(alone), str, {}, {}))
    assert [one.text for one in Page(page_of(plan)).all("span", "key")] == ["rank7::a.b"]


def test_what_is_open_is_told_before_the_tensors_and_allowed_findings_are_no_alarm() -> None:
    open_page, allowed_page = (
        Page(page_of(PLANS[n])) for n in ("stem_and_head", "stem_and_head_allowed")
    )
    assert [one.classes for one in open_page.all("p", "verdict")] == [["verdict", "bad"]]
    assert [one.classes for one in allowed_page.all("p", "verdict")] == [["verdict", "allowed"]]
    tags = [one.attributes.get("id") for one in open_page.elements]
    assert tags.index("findings") < tags.index("advice") < tags.index("tensors")


def test_what_the_destination_lacks_is_marked_until_it_is_allowed() -> None:
    given = {"a.w": np.zeros(2), "a.v": np.zeros(2), "b.w": np.zeros(3)}
    into = {"x.w": np.zeros(2)}
    for allow, fate in (((), "unexpected"), (("unexpected",), "renamed")):
        plan = cs.plan(
            given,
            ["a.* -> x.*", {"from": "b.w", "to": "c.w", "ops": [{"scale": 2}]}],
            into,
            allow=allow,
        )
        rows = Page(render_report(make_report(plan))).rows
        fates = {key: row.attributes["data-fate"] for row in rows for key in keys_of(row)}
        changed = "changed" if allow else "unexpected"
        assert fates == {"x.w": "renamed", "x.v": fate, "c.w": changed}
        assert all(row.attributes["data-rule"] for row in rows)


def test_remedies_of_what_can_not_be_read_are_told() -> None:
    spec = unreadable_spec("a sparse tensor", "call .to_dense()")
    plan = compared(RESNET, RESNET)
    finding = Finding(FindingKind.UNREADABLE, "odd", found=spec)
    body = Page(page_of(replace(plan, findings=(finding,)))).body
    assert "to read them, call .to_dense()" in body
    assert "a sparse tensor" in body


# --- what is hostile ------------------------------------------------------------------------------

TEXTS = (*HOSTILE, "<script>alert(1)</script>", "</style><b>", "' onload='x", "{{ 7*7 }}", "&lt;")


def hostile_pages() -> list[str]:
    """Pages with hostile texts wherever a text of a file can stand."""
    specs = {key: TensorSpec("F32", (1,)) for key in TEXTS}
    side = view(TEXTS[0], specs, TEXTS[-5], root=TEXTS[-4], wrappers=TEXTS)
    notes = tuple(Note(key, key, key) for key in TEXTS)
    ties = dict.fromkeys(TEXTS[1:], TEXTS[0])
    plans = [compared(specs, RESNET), compared(RESNET, specs), compared(specs, specs)]
    contents = {"metadata": dict(zip(TEXTS, TEXTS, strict=True)), "notes": TEXTS, "root": TEXTS[-5]}
    return [
        *(page_of(replace(one, notes=notes, ties=ties, sources=(side,))) for one in plans),
        render_inspected(looked_at(specs, **contents)),
        render_verified(verified(TEXTS)),
        render_compared(cs.diff(*hostile_tensors())),
    ]


def hostile_tensors() -> list[dict[str, np.ndarray[Any, Any]]]:
    """Checkpoints whose keys are hostile, and of which some moved under other such names."""
    a = {text: np.arange(8.0) + at for at, text in enumerate(TEXTS)}
    return [a, {f"{text}.new" if at % 2 else text: a[text] + at // 2 for at, text in enumerate(a)}]


def test_hostile_texts_stay_texts() -> None:
    known = {one.tag for build in PAGES.values() for one in Page(build()).elements}
    names = {
        name for build in PAGES.values() for e in Page(build()).elements for name in e.attributes
    }
    for text in hostile_pages():
        page = Page(text)
        assert {one.tag for one in page.elements} <= known
        assert {name for one in page.elements for name in one.attributes} <= names
        assert len(page.all("script")) == len(page.all("style")) == 1
        assert all(char.isprintable() for char in page.body)


def test_hostile_keys_are_shown_as_a_terminal_shows_them() -> None:
    body = Page(hostile_pages()[0]).body
    for key in (
        "<script>alert(1)</script>",
        "{{ 7*7 }}",
        "&lt;",
        "\x1b[2J\x1b[31mred\x1b[0m.weight",
    ):
        assert all(safe(piece) in body for piece in key.split("."))


# --- what is large --------------------------------------------------------------------------------


def unlike(number: int, text: str) -> str:
    """A key that folds with no other."""
    letters = "".join(
        chr(ord("a") + int(digit, 16)) for digit in f"{number * 2654435761 % 2**32:08x}"
    )
    return f"{letters}.{text}.w"


@pytest.mark.parametrize("text", ["plain", "<" * 300, "&'\"" * 99, "\u202e" * 200])
def test_what_does_not_fold_is_cut_and_counted(text: str) -> None:
    specs = {unlike(n, text): TensorSpec("F32", (n % 97 + 1, n % 89)) for n in range(5_000)}
    notes = tuple(Note(f"kind {n}", key, key) for n, key in enumerate(specs))
    missing = compared({}, {f"d{key}": spec for key, spec in specs.items()})
    plan = compared(specs, specs)
    plan = replace(plan, notes=notes, findings=missing.findings, ties=dict.fromkeys(specs, "x.y"))
    written = page_of(plan)
    assert len(written) < MOST_BYTES
    page = Page(written)
    shown = sum(int(row.attributes["data-count"]) for row in page.rows)
    (left,) = page.all("p", "left-out")
    assert f"({10_000 - shown:,} tensors" in left.text
    fates = {row.attributes["data-fate"] for row in page.rows}
    assert fates == {"missing", "copied"}


def test_an_inspection_is_cut_and_counted() -> None:
    specs = {unlike(n, "x"): TensorSpec("F32", (n,)) for n in range(5_000)}
    written = render_inspected(looked_at(specs))
    assert len(written) < MOST_BYTES
    page = Page(written)
    (left,) = page.all("p", "left-out")
    assert f"{5_000 - len(page.rows):,} lines more" in left.text


def test_many_layers_are_a_small_page() -> None:
    layer = {f"attn.{name}.weight": TensorSpec("BF16", (64, 64)) for name in "qkvo"}
    specs = {f"layers.{n}.{key}": spec for n in range(2000) for key, spec in layer.items()}
    for written in (page_of(compared(specs, specs)), render_inspected(looked_at(specs))):
        assert len(written) < 60_000
        assert len(Page(written).rows) <= 4
