"""The table of findings in docs/rules.md: every kind stands there, and its example gives it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import ckptsurgeon as cs
from ckptsurgeon.plans.account import FindingKind

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
TENSOR = re.compile(r"`(\w+) (\[\d+\]|sparse)`")


class Example(NamedTuple):
    kind: str
    source: dict[str, Any]
    rules: list[Any]
    destination: dict[str, Any] | None


def read_rows() -> list[Example]:
    text = PAGE.read_text(encoding="utf-8")
    (table,) = re.findall(r"\| finding \|.*?\n\n", text, re.DOTALL)
    lines = [line.strip("|") for line in table.splitlines()[2:] if line]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [
        Example(
            row[0],
            tensors(row[2]),
            [eval_rule(row[3])] if row[3] else [],
            tensors(row[4]) or None,
        )
        for row in rows
    ]


def tensors(cell: str) -> dict[str, Any]:
    return {key: tensor(text) for key, text in TENSOR.findall(cell)}


def tensor(text: str) -> torch.Tensor:
    return torch.eye(2).to_sparse() if text == "sparse" else torch.ones(int(text[1:-1]))


def eval_rule(cell: str) -> Any:
    import yaml

    return yaml.safe_load(cell.strip("`"))


EXAMPLES = read_rows()


def test_every_kind_of_finding_has_an_example() -> None:
    assert [example.kind for example in EXAMPLES] == [kind.value for kind in FindingKind]


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.kind for example in EXAMPLES])
def test_the_example_gives_the_finding_alone_and_is_allowed_by_its_name(example: Example) -> None:
    _, source, rules, destination = example
    plan = cs.plan(source, rules, destination)
    assert [finding.kind.value for finding in plan.findings] == [example.kind]
    with pytest.raises(cs.FindingsError, match=example.kind):
        cs.apply(source, rules, destination)
    _, report = cs.apply(source, rules, destination, allow=example.kind)
    assert not report.open_findings
    assert not report.clean
    told = "nothing moved" if example.kind == "nothing" else f"1 {example.kind}"
    assert report.bottom_line.startswith(f"allowed: {told}; ")
