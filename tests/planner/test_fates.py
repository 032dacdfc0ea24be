"""What becomes of every key that a stage reads: by which rule, and what share of it is left."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

import ckptsurgeon as cs
from ckptsurgeon.plans.fates import SourceFate


class Row(NamedTuple):
    """Rules, by their numbers from 0, and what is told of the keys `a` and `b` of four items."""

    rules: list[Any]
    told: Mapping[str, str]
    into: Mapping[str, int] | None = None
    sources: Mapping[str, list[str]] = {}
    unmatched: str = "copy"


def reuse(source: str, target: str) -> dict[str, Any]:
    return {"from": source, "to": target, "reuse": True}


def fallback(source: str, target: str) -> dict[str, Any]:
    return {"from": source, "to": target, "fallback": True}


ROWS = {
    "whole": Row(["a -> x", {"drop": "b"}], {"a": "taken by 0", "b": "dropped by 1"}),
    "nobody": Row([], {"a": "copied", "b": "copied"}),
    "nobody, and that drops": Row(
        ["a -> x"], {"a": "taken by 0", "b": "dropped by `unmatched: drop`"}, unmatched="drop"
    ),
    "nobody, and that is an error": Row(
        ["a -> x"], {"a": "taken by 0", "b": "unused"}, unmatched="error"
    ),
    "nobody, and the destination lacks it": Row([], {"a": "copied", "b": "unused"}, into={"a": 4}),
    "kept and made keys": Row(
        [{"keep": "a"}, {"init": {"to": "b", "fill": 1}}],
        {"a": "dropped by 0", "b": "dropped by 1"},
        into={"a": 4, "b": 4},
    ),
    "kept keys of another source": Row(
        [{"keep": "a"}],
        {"a": "dropped by 0", "b": "copied", "s::a": "unused", "s::b": "unused"},
        into={"a": 4, "b": 4},
        sources={"s": ["a", "b"]},
    ),
    "another source": Row(
        ["s::a -> x"],
        {"a": "copied", "b": "copied", "s::a": "taken by 0", "s::b": "unused"},
        sources={"s": ["a", "b"]},
        unmatched="copy",
    ),
    "two keys of one slice": Row(
        ["<k:a|b>[:1] -> p.<k>"],
        {"a": "taken by 0, 75% by nobody", "b": "taken by 0, 75% by nobody"},
    ),
    "a slice of which nothing else is taken": Row(
        ["a[:1] -> x"], {"a": "taken by 0, 75% by nobody", "b": "copied"}
    ),
    "slices that share nothing": Row(
        ["a[:1] -> x", "a[2:] -> y"], {"a": "taken by 0, 25% by nobody", "b": "copied"}
    ),
    "slices that share some": Row(
        [reuse("a[:3]", "x"), reuse("a[1:]", "y"), reuse("b[::2]", "z"), reuse("b[::3]", "w")],
        {"a": "taken by 0", "b": "taken by 2, 25% by nobody"},
    ),
    "a slice and a drop": Row(
        ["a[:1] -> x", {"drop": "a[1:3]"}],
        {"a": "taken by 0, 25% by nobody, 50% dropped by 1", "b": "copied"},
    ),
    "a drop and a slice": Row(
        [{"drop": "a[1:]"}, "a[:1] -> x"],
        {"a": "taken by 1, 75% dropped by 0", "b": "copied"},
    ),
    "a dropped slice": Row(
        [{"drop": "a[:1]"}], {"a": "dropped by 0, 75% by nobody", "b": "copied"}
    ),
    "a slice that is dropped in part": Row(
        [reuse("a[:3]", "x"), {"drop": "a[1:]"}],
        {"a": "taken by 0, 25% dropped by 1", "b": "copied"},
    ),
    "read by two": Row(
        [reuse("a", "x"), reuse("a", "y"), reuse("b", "z"), "b -> b"],
        {"a": "taken by 1", "b": "taken by 3"},
    ),
    "a slice beside the whole": Row(
        [reuse("a[:1]", "x"), "a -> a"], {"a": "taken by 1", "b": "copied"}
    ),
    "a fallback that gives way": Row(
        ["a -> x", fallback("b", "x")], {"a": "taken by 0", "b": "taken by 1 gave way to 0"}
    ),
    "a fallback that gives": Row([fallback("a", "x")], {"a": "taken by 0", "b": "copied"}),
    "a fallback for keys that are read by others": Row(
        [
            reuse("b", "y"),
            reuse("b[:1]", "z"),
            "a -> x",
            fallback("b", "x"),
        ],
        {"a": "taken by 2", "b": "taken by 3 gave way to 2"},
    ),
}


def name(fate: SourceFate) -> str:
    return f"{fate.source}::{fate.key}".removeprefix("::")


def tell(fate: SourceFate) -> str:
    claim = fate.claim
    told = fate.fate.value + (f" by {claim.rule.number}" if claim.rule else "")
    told += f" {claim.why.value.strip()}" if claim.why else ""
    told += f" {claim.winner.number}" if claim.winner else ""
    told += f", {claim.untaken:.0%} by nobody" if claim.untaken else ""
    by = claim.dropper.number if claim.dropper else None
    return told + (f", {claim.dropped:.0%} dropped by {by}" if claim.dropped else "")


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_fates(row: Row) -> None:
    rules = {"format": 1, "unmatched": row.unmatched, "rules": row.rules}
    into = row.into and {key: np.zeros(size, "f4") for key, size in row.into.items()}
    sources = {alias: dict.fromkeys(keys, np.ones(4, "f4")) for alias, keys in row.sources.items()}
    given = dict.fromkeys("ab", np.ones(4, "f4"))
    plan = cs.plan(given, rules, into, sources=sources)
    fates = {name(one): tell(one) for one in plan.fates}
    assert fates == row.told
    plain = re.compile(r"taken by \d")
    remarkable = [key for key, one in fates.items() if not plain.fullmatch(one)]
    assert [name(one) for one in plan.fates.remarkable] == remarkable


@pytest.mark.parametrize("rules", [["a[:, :1] -> x"], ["a[:, :1] -> x", {"drop": "a[:, 1:]"}]])
def test_of_an_empty_tensor_no_share_is_left(rules: list[Any]) -> None:
    plan = cs.plan({"a": np.zeros((0, 2), "f4")}, rules)
    assert [tell(fate) for fate in plan.fates] == ["taken by 0"]


def test_shares_are_of_the_stage_that_takes_them(tmp_path: Any) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "format: 1\nrules: ['a -> c', 'b[:2] -> b']\n---\nformat: 1\nrules: ['c[:1] -> c']\n"
    )
    plan = cs.plan(dict.fromkeys("ab", np.ones(4, "f4")), path)
    assert [(one.stage, one.key, tell(one)) for one in plan.fates] == [
        (0, "a", "taken by 0"),
        (0, "b", "taken by 1, 50% by nobody"),
        (1, "c", "taken by 0, 75% by nobody"),
        (1, "b", "copied"),
    ]
    assert [note.key for note in plan.notes if note.kind == "untaken"] == ["b", "c"]


def test_a_tensor_in_parts_is_of_the_rule_of_its_first_part() -> None:
    rules = ["b -> x[4:]", "a -> x[:4]"]
    (output,) = cs.plan(dict.fromkeys("ab", np.ones(4, "f4")), rules).outputs.values()
    assert output.rule is not None
    assert output.rule.number == 0
