"""What Python users give that is no rule file, no word or no name."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import ckptsurgeon as cs

SOURCE = {f"a.{at}": np.full((2, at + 1), at, "f4") for at in range(99)}
TARGET = {key.replace("a.", "b."): np.zeros_like(one) for key, one in SOURCE.items()}


def test_what_is_suggested_is_given_as_it_is() -> None:
    tensors, _ = cs.apply(SOURCE, cs.suggest(SOURCE, TARGET).rules, into=TARGET)
    assert np.array_equal(tensors["b.7"], SOURCE["a.7"])


def test_the_text_of_a_long_file_is_no_path() -> None:
    text = "format: 1\nrules:\n" + "".join(f"  - {key} -> x.{key}\n" for key in SOURCE)
    with pytest.raises(cs.RulesetError, match="the text of a rule file where its path is wanted"):
        cs.apply(SOURCE, text)


def test_rulesets_stand_among_no_rules() -> None:
    rules: Any = [cs.suggest(SOURCE, TARGET).rules, {"drop": "a.0"}]
    with pytest.raises(cs.RulesetError, match="one after the other, in a list of their own"):
        cs.plan(SOURCE, rules)


def test_a_degree_that_is_none_is_named() -> None:
    with pytest.raises(
        cs.CkptSurgeonError, match="least: 'bogus' where 'sure' or 'likely' or 'all'"
    ):
        cs.suggest(SOURCE, TARGET, least="bogus")  # type: ignore[arg-type]


def test_what_a_long_file_only_counts_is_named_by_the_suggestion() -> None:
    names = ["".join(pair) for pair in itertools.product("abcdefghijklmnopq", repeat=2)]
    shapes = {f"h.{name}.w": at + 2 for at, name in enumerate(names)}
    source = {key: np.zeros((size, size), "f4") for key, size in shapes.items()}
    wanted = {key: np.zeros((size + 1, 1, size), "f4") for key, size in shapes.items()}
    found = cs.suggest(source, wanted)
    assert found.open.keys() == wanted.keys()
    assert found.unused.keys() == source.keys()
    told = [line for line in found.text().splitlines() if "# - keep" in line]
    assert len(told) == 200
    assert f"# … and {len(wanted) - 200} more to keep" in found.text()


def layers(form: str, count: int, names: tuple[str, str]) -> dict[str, np.ndarray]:
    shapes = ((16, 8), (8, 16))
    return {
        f"{form}.{at}.{name}.weight": np.zeros(shape, np.float32)
        for at in range(count)
        for name, shape in zip(names, shapes, strict=True)
    }


def test_one_odd_shape_costs_its_own_tensor_alone() -> None:
    source, into = layers("blocks", 4, ("ffn.a", "ffn.b")), layers("enc", 4, ("mlp.a", "mlp.b"))
    into["enc.2.mlp.a.weight"] = np.zeros((24, 8), np.float32)
    found = cs.suggest(source, into)
    assert set(found.open) == {"enc.2.mlp.a.weight"}
    assert set(found.unused) == {"blocks.2.ffn.a.weight"}


def test_the_first_items_of_a_longer_list_are_given_with_a_doubt() -> None:
    found = cs.suggest(layers("blocks", 4, ("fc1", "fc2")), layers("enc", 6, ("fc1", "fc2")))
    assert {key.split(".")[1] for key in found.likely} == {"0", "1", "2", "3"}
    assert {key.split(".")[1] for key in found.open} == {"4", "5"}


def test_it_is_said_where_rules_of_open_tensors_are() -> None:
    source = {"h.0.attention.wq.weight": np.zeros((8, 8)), "norm.weight": np.zeros(8)}
    into = {"h.0.self_attn.q_proj.weight": np.zeros((8, 8)), "norm.weight": np.zeros(8)}
    hint = '# least="all" has rules that may be meant for 1 tensor\n'
    assert hint in cs.suggest(source, into).text()
    assert hint not in cs.suggest(source, into, least="all").text()
