"""Ties of the source, of the destination and of rules come to one storage, either way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import ckptsurgeon as cs
from ckptsurgeon.errors import PlanError

STAGES = """\
format: 1
rules:
  - tie: [a, b]
---
format: 1
rules:
  - <k:a|b> -> deep.<k>
"""


def shared(path: Path, one: str, other: str) -> bool:
    loaded = torch.load(path)
    return bool(loaded[one].data_ptr() == loaded[other].data_ptr())


def test_a_tie_whose_second_key_alone_is_given(tmp_path: Path) -> None:
    tensor = torch.rand(4, 3)
    into = {"embed": tensor, "head": tensor}
    rules: list[Any] = [{"tie": ["embed", "head"]}]
    cs.transplant({"head": torch.rand(4, 3)}, tmp_path / "o.pt", rules, into)
    assert shared(tmp_path / "o.pt", "embed", "head")
    torch.save(cs.apply({"head": torch.rand(4, 3)}, rules, into)[0], tmp_path / "a.pt")
    assert shared(tmp_path / "a.pt", "embed", "head")


@pytest.mark.parametrize("op", ["transpose", {"cast": "BF16"}])
def test_ties_of_the_source_outlive_ops(tmp_path: Path, op: object) -> None:
    tensor = torch.rand(4, 3)
    source = {"embed": tensor, "head": tensor, "other": torch.rand(4, 3)}
    rule = {"<k:embed|head|other> -> <k>": op}
    cs.transplant(source, tmp_path / "o.pt", [rule])
    assert shared(tmp_path / "o.pt", "embed", "head")
    assert not shared(tmp_path / "o.pt", "embed", "other")


def test_results_of_one_op_are_tied_one_by_one() -> None:
    tensor = torch.rand(4, 3)
    rule = {"<k:embed|head> -> <k>.<p:x|y>": "split"}
    plan = cs.plan({"embed": tensor, "head": tensor}, [rule])
    assert plan.ties == {"head.x": "embed.x", "head.y": "embed.y"}


def test_a_cast_of_everything_keeps_ties(tmp_path: Path) -> None:
    tensor = torch.rand(4, 3)
    rules = {"format": 1, "output": {"dtype": "BF16"}}
    cs.transplant({"embed": tensor, "head": tensor}, tmp_path / "o.pt", rules)
    assert shared(tmp_path / "o.pt", "embed", "head")


def test_a_tie_of_an_earlier_stage_holds(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(STAGES)
    tensor = torch.rand(3)
    cs.transplant({"a": tensor, "b": tensor.clone()}, tmp_path / "o.pt", rules)
    assert shared(tmp_path / "o.pt", "deep.a", "deep.b")
    with pytest.raises(PlanError, match="hold different values"):
        cs.transplant({"a": tensor, "b": tensor + 1}, tmp_path / "p.pt", rules)


def test_a_computed_tensor_is_noted() -> None:
    plan = cs.plan({"w": torch.rand(3)}, [{"w -> w": {"scale": 2}}])
    (note,) = [note for note in plan.notes if note.kind == "computed"]
    assert note.text.startswith("`scale` computes: in float32")


TIED: list[tuple[str, list[Any], dict[str, str], dict[str, str]]] = [
    # keys of the source, rules, the ties that come of them, and what gives each key: a kind of rule
    ("ab", [{"tie": ["a", "b"]}], {"b": "a"}, {"a": "", "b": ""}),
    ("a", [{"tie": ["a", "b"]}], {"b": "a"}, {"a": "", "b": "tie"}),
    ("b", [{"tie": ["a", "b"]}], {"a": "b"}, {"b": "", "a": "tie"}),
    ("c", ["c -> b", {"tie": ["a", "b"]}], {"a": "b"}, {"b": "move", "a": "tie"}),
    ("b", [{"tie": ["a", "b", "c"]}], {"a": "b", "c": "b"}, {"b": "", "a": "tie", "c": "tie"}),
    (
        "abc",
        [{"tie": ["c", "b"]}, {"tie": ["b", "a"]}],
        {"b": "a", "c": "a"},
        dict.fromkeys("abc", ""),
    ),
    ("ab", [{"a -> a": "transpose"}, {"b -> b": "transpose"}], {}, {"a": "move", "b": "move"}),
]


@pytest.mark.parametrize(("keys", "rules", "ties", "kinds"), TIED)
def test_ties_of_rules(
    keys: str, rules: list[Any], ties: dict[str, str], kinds: dict[str, str]
) -> None:
    plan = cs.plan({key: torch.rand(2, 2) for key in keys}, rules)
    assert plan.ties == ties
    given = plan.outputs.values()
    assert {one.key: one.rule.kind if one.rule else "" for one in given} == kinds


@pytest.mark.parametrize("given", "ab")
def test_a_tie_leads_to_the_destination_s_first_key(given: str) -> None:
    into = {key: torch.rand(2, 2) for key in "ab"}
    plan = cs.plan({given: torch.rand(2, 2)}, [{"tie": ["a", "b"]}], into)
    assert (list(plan.outputs), plan.ties, plan.checked_ties) == (["a", "b"], {"b": "a"}, ())


ALL = ["embed", "head", "last"]

UNTIED: list[tuple[list[str], list[Any], dict[str, int]]] = [
    # keys of the source, rules, and the keys that are tied to `embed` no more, each with the number
    # of the rule that gives it, -1 where none does
    (ALL, [], {"head": -1, "last": -1}),
    (ALL, [{"tie": ["last", "head", "embed"]}], {}),
    (ALL, [{"tie": ["last", "head"]}], {"head": -1, "last": -1}),
    (["embed"], [{"keep": ["head", "last"]}], {"head": 0, "last": 0}),
    (["embed"], [{"from": "embed", "to": ALL}], {}),
    (["embed", "last"], [{"from": "embed", "to": ["embed", "head"]}], {"last": -1}),
    (["a"], [{"from": "a", "to": ["head", "last"]}, {"keep": "embed"}], {"head": 0, "last": 0}),
]


@pytest.mark.parametrize(("keys", "rules", "untied"), UNTIED)
def test_ties_of_the_destination_that_break_are_told(
    keys: list[str], rules: list[Any], untied: dict[str, int]
) -> None:
    source = {key: torch.rand(4, 3) for key in keys}
    plan = cs.plan(source, rules, dict.fromkeys(ALL, torch.rand(4, 3)))
    notes = {note.key: note for note in plan.notes if note.kind == "untied"}
    assert {key: note.rule.number if note.rule else -1 for key, note in notes.items()} == untied
    assert {key for key in ALL[1:] if plan.ties.get(key) != "embed"} == untied.keys()
    assert all("tied to `embed` in the destination" in note.text for note in notes.values())


PARTED: list[tuple[list[Any], list[str] | None, dict[str, str]]] = [
    # rules for a source that ties `embed`, `head` and `last`, the keys that a destination has, and
    # the outputs that part from the tied source key that is named
    ([], None, {}),
    ([{"head -> head": {"take": [0, 1]}}], None, {"head": "embed"}),
    ([{"embed -> embed": {"take": [0, 1]}}], None, {"embed": "head"}),
    ([{"<k:embed|head> -> <k>": {"take": [0, 1]}}], None, {"last": "embed"}),
    ([{"<k:embed|head|last> -> <k>": {"take": [0, 1]}}], None, {}),
    ([{"<k:embed|head|last> -> <k>.<p:x|y>": "split"}], None, {}),
    ([{"drop": "head"}], None, {}),
    ([{"drop": ["head", "last"]}, {"embed -> embed": {"take": [0, 1]}}], None, {}),
    ([{"drop": "head"}, "last -> head"], None, {}),
    ([{"embed -> wte": {"scale": 2}}], None, {"wte": "head"}),
    (["head[:2] -> up", "head[2:] -> down"], None, {"up": "embed"}),
    ([{"from": ["head", "other"], "to": "both", "ops": "concat"}], None, {"both": "embed"}),
    ([{"from": ["head", "embed"], "to": "both", "ops": "concat"}], None, {"last": "embed"}),
    ([{"init": {"to": "head", "fill": 0, "shape": [4, 3]}}], None, {"head": "embed"}),
    ([{"keep": "head"}], [*ALL, "other"], {"head": "embed"}),
    ([{"keep": ALL}], [*ALL, "other"], {}),
    ([{"drop": "head"}], ["embed", "last", "other"], {}),
    ([{"head -> head": {"flip": 0}}, {"tie": ["embed", "head"]}], None, {}),
]


@pytest.mark.parametrize(("rules", "into", "parted"), PARTED)
def test_ties_of_the_source_that_rules_break_are_told(
    rules: list[Any], into: list[str] | None, parted: dict[str, str]
) -> None:
    source = {**dict.fromkeys(ALL, torch.rand(4, 3)), "other": torch.rand(4, 3)}
    kept = None if into is None else {key: torch.rand(4, 3) for key in into}
    plan = cs.plan(source, rules, kept)
    notes = {note.key: note.text for note in plan.notes if note.kind == "untied"}
    text = "tied to `{}` in the source, and made in another way here"
    assert notes == {key: text.format(other) for key, other in parted.items()}


def test_a_tie_of_both_sides_that_breaks_is_told_once() -> None:
    source, into = (dict.fromkeys(ALL, torch.rand(4, 3)) for _ in range(2))
    plan = cs.plan(source, [{"keep": "head"}], into)
    (note,) = (note for note in plan.notes if note.kind == "untied")
    assert (note.key, note.text.partition(",")[0]) == ("head", "tied to `embed` in the destination")
