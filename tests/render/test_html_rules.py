"""Rule files beside the tensors: every line with what it did, every tensor with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from html_reading import Element, Page, keys_of

import ckptsurgeon as cs
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.render.html.plan_page import render_report
from ckptsurgeon.report.report import make_report

RULES = """\
format: 1
about: "<b>'&amp;"
unmatched: error
rules:
  - a.<i>.w -> layers.<i>.weight   # all of them
  - within: n. -> norm.
    rules: ./inner.yaml
  - {drop: "x.*"}
  - {drop: "y.*", optional: true}
"""

INNER = "format: 1\nrules:\n  - <name:str> -> <name>\n"

SECOND = "format: 1\nrules:\n  - norm.** -> **\n"


def source() -> dict[str, torch.Tensor]:
    names = ("a.0.w", "a.1.w", "n.weight", "n.bias", "x.one", "x.two")
    return {name: torch.zeros(2, 3) for name in names}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    for name, text in {"rules": RULES, "inner": INNER, "second": SECOND}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path / "rules.yaml"


def page_of(plan: Plan) -> Page:
    return Page(render_report(make_report(plan)))


def lines_of(page: Page) -> list[Element]:
    return [one for one in page.all("li") if "data-at" in one.attributes]


def headings(page: Page) -> list[str]:
    return [one.text for one in page.all("h4")]


def rule_of(page: Page, row: Element) -> str:
    """The text of the line that a row's rule leads to."""
    number = f"r{row.attributes['data-rule']}"
    (line,) = (one for one in lines_of(page) if one.attributes.get("id") == number)
    return line.text


def test_the_whole_file_stands_there(rules: Path) -> None:
    page = page_of(cs.plan(source(), rules))
    assert headings(page) == [str(rules), str(rules.with_name("inner.yaml"))]
    shown = [one.text.split("\n")[0].strip() for one in lines_of(page)]
    for line in (*RULES.splitlines(), *INNER.splitlines()):
        assert any(text.startswith(line.strip()) for text in shown), line


def test_lines_lead_to_rows_and_rows_to_lines(rules: Path) -> None:
    page = page_of(cs.plan(source(), rules))
    rows = {row.attributes["id"]: row for row in page.rows}
    told = []
    for link in (one for one in page.all("a") if one.attributes.get("data-filter") == "rule"):
        row = rows[link.attributes["href"].removeprefix("#")]
        assert row.attributes["data-rule"] == link.attributes["data-value"]
        assert rule_of(page, row).strip().endswith(link.text)
        told.append(link.text)
    assert told == ["gives 2 tensors", "drops 2 tensors", "gives 2 tensors"]
    of_layers = next(row for row in page.rows if "layers.0.weight" in keys_of(row))
    assert rule_of(page, of_layers).strip().startswith("- a.<i>.w -> layers.<i>.weight")
    links = [one.text for one in page.all("a", "rule")]
    assert sorted(links) == ["inner.yaml:3", "rules.yaml:5", "rules.yaml:8"]


def test_a_rule_that_does_nothing_says_so(rules: Path) -> None:
    line = next(one for one in lines_of(page_of(cs.plan(source(), rules))) if "y.*" in one.text)
    assert line.text.strip().endswith("gives nothing")


def test_stages_stand_one_after_the_other(rules: Path) -> None:
    second = rules.with_name("second.yaml")
    page = page_of(cs.plan(source(), [cs.load_ruleset(rules), cs.load_ruleset(second)]))
    assert headings(page) == [str(rules), str(rules.with_name("inner.yaml")), str(second)]
    row = next(row for row in page.rows if "bias" in keys_of(row))
    assert rule_of(page, row).strip().startswith("- norm.** -> **")


def test_what_a_rule_of_an_earlier_stage_takes_is_told() -> None:
    rulesets = [
        cs.load_ruleset({"format": 1, "unmatched": "copy", "rules": [rule]})
        for rule in ("a.** -> b.**", "b.** -> c.**")
    ]
    told = " ".join(one.text for one in lines_of(page_of(cs.plan(source(), rulesets))))
    assert "takes 2 tensors" in told
    assert "gives 2 tensors" in told
    assert "gives nothing" not in told


def test_rules_without_a_file_are_told_by_themselves() -> None:
    page = page_of(cs.plan(source(), ["a.<i>.w -> <i>.w", {"drop": "x.*"}]))
    (title,) = headings(page)
    assert "the rules as they were given" in title
    assert [one.text.split()[0] for one in lines_of(page)] == ["a.<i>.w", "drop:"]


def test_a_saved_plan_has_the_texts_of_its_rules_alone(rules: Path, tmp_path: Path) -> None:
    cs.plan(source(), rules).save(tmp_path / "plan.json")
    page = page_of(cs.load_plan(tmp_path / "plan.json"))
    assert "the rules as they were given" in headings(page)[0]
    assert sorted(one.text for one in page.all("a", "rule")) == [
        "inner.yaml:3", "rules.yaml:5", "rules.yaml:8",
    ]  # fmt: skip
    assert all(rule_of(page, row) for row in page.rows)


def test_entries_of_tables_lead_to_the_line_that_names_the_table(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("a.0.w,zero\na.1.w,one\nx.one,\n")
    file = tmp_path / "rules.yaml"
    file.write_text("format: 1\nrules:\n  - table: names.csv\n")
    page = page_of(cs.plan(source(), file))
    named = [row for row in page.rows if row.attributes["data-rule"]]
    assert sorted(key for row in named for key in keys_of(row)) == ["one", "x.one", "zero"]
    assert all("- table: names.csv" in rule_of(page, row) for row in named)


def test_a_long_file_is_cut_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    lines = (f"  - {{drop: k{number}, optional: true}}\n" for number in range(9000))
    file.write_text("format: 1\nrules:\n" + "".join(lines))
    page = page_of(cs.plan(source(), file))
    assert len(lines_of(page)) < 9002
    assert f"{9002 - len(lines_of(page)):,} more lines stand in the file" in page.body
