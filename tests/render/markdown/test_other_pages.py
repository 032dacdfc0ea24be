"""What `inspect` and `verify` show, and errors, as markdown, held against golden files.

Run this file as a program to write the golden files anew (`PYTHONPATH=tests`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_pages import assert_ours
from render.markdown.test_escaping import TEXTS
from render.test_inspection import CHECKPOINTS, look
from report.plans import Inert

from ckptsurgeon.checkpoints.base import Contents, Opaque
from ckptsurgeon.errors import CheckpointError, Place, Problem, RulesetError
from ckptsurgeon.proof.results import Comparison, Delta, Finding, Kind, Verification
from ckptsurgeon.render.markdown.inspection import render_inspection
from ckptsurgeon.render.markdown.problems import render_problems
from ckptsurgeon.render.markdown.verification import render_verification
from ckptsurgeon.specs import TensorSpec

GOLDEN = Path(__file__).parent / "golden"

CLEAN = Verification(
    checkpoint="out.pt",
    model="pkg.models:build",
    tensors=50,
    nbytes=982_118,
    findings=(),
    notes=("opened `state_dict`",),
    comparison=Comparison(
        reference="old.pt",
        reference_model="pkg.models:old",
        input_shape=(1, 3, 32, 32),
        reference_input_shape=(1, 4, 32, 32),
        seed=0,
        tolerance=1e-5,
        dtype="F32",
        deltas=(Delta("output", (1, 10), 1e-7, 2e-7, 0.999999, 1.0, True),),
        notes=("channel 3 of the source is zeros",),
    ),
)
WRONG = replace(
    CLEAN,
    comparison=None,
    findings=(
        *(Finding(Kind.MISSING, f"layers.{n}.bias", "") for n in range(3)),
        Finding(Kind.NAN, "head.weight", "4 of 640 values are not a number"),
        Finding(Kind.UNEXPECTED, "fc.weight", "", allowed=True),
    ),
)
PROBLEMS = RulesetError(
    [
        Problem("unknown op 'trnspose'", Place("r.yaml", 3, 15, "  - a -> b: {trnspose: 0}")),
        Problem("no `->` in '```'", Place("r.yaml", 4, 5, "  - '```'")),
    ]
)

PAGES: dict[str, Callable[[], str]] = {
    **{name: lambda one=one: render_inspection(look(one)) for name, one in CHECKPOINTS.items()},
    "verify_clean": lambda: render_verification(CLEAN),
    "verify_wrong": lambda: render_verification(WRONG),
    "problems": lambda: render_problems(PROBLEMS),
    "trouble": lambda: render_problems(CheckpointError("a.pt: there is no such file")),
}


@pytest.mark.parametrize("name", PAGES)
def test_golden(name: str) -> None:
    text = PAGES[name]()
    assert_ours(text)
    assert text == (GOLDEN / f"{name}.md").read_text(encoding="utf-8")


def test_what_is_wrong_comes_before_what_was_allowed() -> None:
    page = assert_ours(render_verification(WRONG))
    assert page.lines[0] == WRONG.bottom_line
    assert page.tables[0] == [["key"], ["layers.<0..2>.bias"]]
    text = render_verification(WRONG)
    assert text.index("3 missing") < text.index("1 nan") < text.index("allowed")


def test_a_problem_is_shown_with_its_line_and_caret() -> None:
    page = assert_ours(render_problems(PROBLEMS))
    (shown,) = page.fences
    assert "r.yaml:3:15: unknown op 'trnspose'\n      - a -> b: {trnspose: 0}\n" in shown
    assert "  - '```'\n        ^\n" in shown


@settings(max_examples=50)
@given(st.lists(TEXTS, min_size=3, max_size=5, unique=True), st.booleans())
def test_hostile_texts_make_neither_markdown_nor_tags(texts: list[str], verbose: bool) -> None:
    contents = Contents(
        dict.fromkeys(texts, TensorSpec("F32", (2,))),
        aliases=(tuple(texts),),
        metadata=dict.fromkeys(texts, texts[0]),
        opaque=tuple(Opaque(text, text, text) for text in texts),
        root=texts[0],
        wrappers=tuple(texts),
        notes=tuple(texts),
    )
    found = look(Inert(contents, path=Path("`a|b`</summary><img src=x>\n# c")))
    assert_ours(render_inspection(found, verbose=verbose))
    findings = tuple(Finding(kind, text, text) for kind in Kind for text in texts)
    named = replace(CLEAN, checkpoint=texts[0], model=texts[1], notes=tuple(texts))
    assert_ours(render_verification(replace(named, findings=findings), verbose=verbose))
    problems = [Problem(text, Place(text, 1, 2, text), text) for text in texts]
    assert_ours(render_problems(RulesetError(problems)))


if __name__ == "__main__":
    for name, render in PAGES.items():
        (GOLDEN / f"{name}.md").write_text(render(), encoding="utf-8")
