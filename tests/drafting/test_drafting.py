"""Concrete steps as the rule file that a careful person would have written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ckptsurgeon.checkpoints.memory import open_dict
from ckptsurgeon.drafting.arrows import arrows_of
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.drafting import Task, draft, draft_most
from ckptsurgeon.drafting.files import Head, write_file
from ckptsurgeon.drafting.leaving import leave_keys
from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step, drop, move
from ckptsurgeon.plans.fates import Fate


def ground_of(keys: list[str]) -> Ground:
    return Ground({"": open_dict({key: np.zeros((4, 4), "f4") for key in keys})})


def rules_of(renames: dict[str, str | None]) -> list[str]:
    """The rules that make some renames; None drops."""
    steps = [
        Step(Grid((old,)), Grid(() if new is None else (new,))) for old, new in renames.items()
    ]
    found = draft(steps, Task(Head(), ground_of(list(renames))))
    assert found is not None
    return [line.removeprefix("  - ") for line in found.text.splitlines()[2:]]


def layers(*names: str, count: int = 3) -> list[str]:
    return [f"layers.{layer}.{name}" for layer in range(count) for name in names]


CASES: list[tuple[dict[str, str | None], list[str]]] = [
    ({key: f"m.{key}" for key in ("a.w", "b.w", "c.d.w")}, ["'** -> m.**'"]),
    ({f"a.{at}.w": f"b.{at}.w" for at in range(4)}, ["a.<i>.w -> b.<i>.w"]),
    ({f"a{at}.w": f"b.{at - 1}.w" for at in range(1, 4)}, ["a<i>.w -> b.<i-1>.w"]),
    (
        {f"a.{x}.{y}": f"b.{x * 3 + y}" for x in range(2) for y in range(3)},
        ["a.<i>.<j> -> b.<i*3+j>"],
    ),
    (
        {f"a.{at}.w": f"b.{to}.w" for to, at in enumerate((0, 2, 4, 7))}
        | {f"a.{at}.w": None for at in (1, 3, 5, 6)},
        ["a.<i>.w -> b.<i>.w: {pick: {i: [0, 2, 4, 7]}}", "drop: a.<n:1|3|5|6>.w"],
    ),
    (
        {"n.gamma": "n.weight", "n.beta": "n.bias"},
        ["n.<t:gamma=weight|beta=bias> -> n.<t>"],
    ),
    (
        {f"m{at}.gamma": f"m{at}.weight" for at in "abc"} | {"x.weight": "x.weight"},
        ["'**.gamma -> **.weight'"],
    ),
    (
        {"b.norm1.weight": "c.before.weight", "b.norm2.weight": "c.after.weight"},
        ["b.norm<n:1=before|2=after>.weight -> c.<n>.weight"],
    ),
    ({"head.w": None, "head.b": None, "a": "a"}, ["drop: head.*"]),
    ({"a.b\\*c": "x.y:z"}, [r"a.b\\\*c -> x.y:z"]),
]


@pytest.mark.parametrize(("renames", "rules"), CASES, ids=[rules[0] for _, rules in CASES])
def test_renames_are_few_rules(renames: dict[str, str | None], rules: list[str]) -> None:
    assert rules_of(renames) == rules


def test_exceptions_stand_before_what_they_are_exceptions_of() -> None:
    renames = {f"enc.{key}": f"e.{key}" for key in layers("fc.w", "norm.w")}
    renames["enc.layers.0.norm.w"] = "e.first"
    found = rules_of(renames)  # type: ignore[arg-type]  # a dict of str
    assert found[0] == "enc.layers.0.norm.w -> e.first"
    assert found[1:] == ["enc.layers.<i>.** -> e.layers.<i>.**"]


def test_rules_under_one_prefix_stand_in_a_block() -> None:
    names = {
        "attention.q.w": "attn.query.w",
        "attention.k.w": "attn.key.w",
        "ffn.up.w": "mlp.fc1.w",
    }
    renames = {
        f"model.encoder.layers.{at}.{old}": f"backbone.blocks.{at}.{new}"
        for at in range(3)
        for old, new in names.items()
    }
    found = rules_of(renames)  # type: ignore[arg-type]  # a dict of str
    assert found[0] == "within: model.encoder.layers.<i>. -> backbone.blocks.<i>."
    assert len(found) == 2 + 2


def test_joins_and_splits_gather_and_spread() -> None:
    names = "qkv"
    fused = [
        Step(
            Grid(tuple(f"a.{at}.{name}" for name in names), (3,)),
            Grid((f"b.{at}.qkv",)),
            (Call("concat", (), 0),),
        )
        for at in range(2)
    ]
    keys = [key for step in fused for key in step.sources.keys]
    found = draft(fused, Task(Head(), ground_of(keys)))
    assert found is not None
    assert "a.<i>.<p:q|k|v> -> b.<i>.qkv: concat" in found.text


def test_doubtful_rules_say_so_and_open_ones_are_left() -> None:
    likely = move("a", "x", Degree.LIKELY, "b fits as well")
    unsure = drop("b", Degree.OPEN, "trained?")
    found, left = draft_most([likely, unsure], Head(), ground_of(["a", "b"]), copies=False)
    rules = ["# CHECK: b fits as well", "- a -> x", "- drop: b"]
    assert found.text == "".join(("format: 1\nrules:\n", *(f"  {rule}\n" for rule in rules)))
    assert left == [unsure]


def test_open_rules_are_comments() -> None:
    arrows = arrows_of([drop("b", Degree.OPEN, "trained?")])
    assert arrows is not None
    assert write_file(Head(), arrows) == "format: 1\n# - drop: b  # trained?\nrules: []\n"


def test_what_one_file_can_t_hold_is_left() -> None:
    steps = [move("a", "x"), move("b", "x"), move("c", "y")]
    found, left = draft_most(steps, Head(), ground_of(["a", "b", "c"]), copies=False)
    assert [step.targets.keys for step in left] == [("x",)]
    assert "c -> y" in found.text


def test_few_patterns_leave_keys_and_no_others() -> None:
    told = dict.fromkeys(["h.w", "h.b"], "why")
    assert leave_keys("drop", told, ["a.w"]) == ["- drop: h.*  # why"]
    assert leave_keys("keep", told, ["h.c"]) == ["- keep: h.<w:w|b>  # why"]
    layers = dict.fromkeys((f"l.{i}.w" for i in range(9)), "why")
    assert leave_keys("keep", layers, ["l.0.b"]) == ["- keep: l.<i>.w  # why"]


def test_very_many_comments_are_told_by_their_number() -> None:
    remarks = {f"h.{'x' * at}.w": f"reason {at}" for at in range(1, 261)}
    lines = leave_keys("keep", remarks, ["a.w"])
    assert lines[0] == "- keep: h.x.w  # reason 1"
    assert len(lines) == 201
    assert lines[-1] == "… and 60 more to keep"


def test_one_pattern_is_one_comment_whatever_is_said_of_its_keys() -> None:
    remarks = {f"l.{at}.w": "one" if at < 3 else "other" for at in range(6)}
    assert leave_keys("drop", remarks, ["a.w"]) == ["- drop: l.<i>.w  # one; other"]


WORDS = st.sampled_from(["a", "b", "conv", "norm_1", "0", "1", "2", "11", "weight", "x-y"])
KEYS = st.lists(WORDS, min_size=1, max_size=4).map(".".join)


@given(st.dictionaries(KEYS, st.one_of(KEYS, st.none()), min_size=1, max_size=8))
def test_what_is_drafted_makes_just_the_renames(renames: dict[str, str | None]) -> None:
    targets = [new for new in renames.values() if new is not None]
    if len(set(targets)) < len(targets):
        return
    steps = [
        Step(Grid((old,)), Grid(() if new is None else (new,))) for old, new in renames.items()
    ]
    ground = ground_of(list(renames))
    found = draft(steps, Task(Head(), ground))
    assert found is not None
    yaml.safe_load(found.text)
    outputs = ground.plan(found.text).outputs
    assert {key: one.sources[0].key for key, one in outputs.items()} == {
        new: old for old, new in renames.items() if new is not None
    }


@given(st.sets(KEYS, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_what_is_left_is_just_what_is_said(keys: set[str], random: Any) -> None:
    known = sorted(keys)
    chosen = {key: random.choice(["one", "other"]) for key in known if random.random() < 0.6}
    others = [key for key in known if key not in chosen]
    lines = leave_keys("drop", chosen, others)
    text = "".join(f"  {line}\n" for line in lines)
    plan = ground_of(known).plan(f"format: 1\nrules:\n{text}")
    assert {one.key for one in plan.fates if one.fate is Fate.DROPPED} == chosen.keys()
