"""Keys that nobody would write: each costs itself alone, and none is more than a comment."""

from __future__ import annotations

import numpy as np
import pytest

import ckptsurgeon as cs

Shapes = dict[str, tuple[int, ...]]

DEEP = ".".join("p" * 1500)
PLAIN: Shapes = {"a.w": (2, 3), "a.b": (2,)}


def filled(shapes: Shapes) -> dict[str, np.ndarray]:
    return {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}


def suggest(source: Shapes, target: Shapes, least: str = "likely") -> cs.Suggestion:
    return cs.suggest(filled(source), filled(target), least=least)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key", ["b\n- drop: '**'", "b\r- drop: '**'", "b\u2028- drop: a", "b\x1b[2J"]
)
def test_what_is_quoted_stays_a_comment(key: str) -> None:
    text = suggest({**PLAIN, key: (5,)}, {**PLAIN, "c": (9,)}).text()
    lines = text.splitlines()
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if not line.lstrip().startswith("#")] == [
        "format: 1",
        "rules:",
    ]


@pytest.mark.parametrize(
    "key", ["x\nrules", "a#.w", "l.0.w#", DEEP, "", ".", "..a", "a::b", "*", "<n>"]
)
def test_a_strange_key_that_both_have_is_copied(key: str) -> None:
    shapes = {**PLAIN, key: (3,)}
    found = suggest(shapes, shapes)
    assert not found.open
    source = {name: np.random.default_rng(1).random(shape) for name, shape in shapes.items()}
    given, _ = cs.apply(source, found.rules)
    assert all(np.array_equal(given[name], tensor) for name, tensor in source.items())


@pytest.mark.parametrize("key", ["#.w", "a#1.w", DEEP, "x\ny.w"])
def test_a_strange_key_is_no_layer_that_a_batchnorm_was_folded_into(key: str) -> None:
    found = suggest({key: (2,), "bn.running_mean": (2,)}, {key: (2,)})
    assert set(found.sure) == {key}


@pytest.mark.parametrize("key", ["l.0.w#", DEEP + ".q", "x\ny"])
def test_a_strange_key_that_one_has_is_open(key: str) -> None:
    found = suggest({**PLAIN, key: (3,)}, {**PLAIN, "other": (3, 3)})
    assert set(found.open) == {"other"}
    assert set(found.sure) == set(PLAIN)


def test_many_dims_are_no_trouble() -> None:
    wide = tuple(range(2, 11))
    found = suggest({**PLAIN, "w": (*wide, 1)}, {**PLAIN, "w": (1, *wide)})
    assert set(found.open) <= {"w"}


LORA: Shapes = {"q.weight": (8, 8), "q.lora_A.weight": (2, 8), "q.lora_B.weight": (8, 2)}


def test_what_waits_for_a_word_is_written_as_a_comment_where_all_is_asked_for() -> None:
    found = suggest(LORA, {"q.weight": (8, 8)}, least="all")
    more = set(found.text().splitlines()) - set(
        suggest(LORA, {"q.weight": (8, 8)}).text().splitlines()
    )
    assert all(line.startswith("  # - ") for line in more)


def test_what_is_likely_is_named_where_only_sure_ones_are_wanted() -> None:
    source, target = {"conv.weight": (4, 4, 3, 3)}, {"conv.weight": (4, 3, 3, 3)}
    assert "CHECK" in suggest(source, target).text()
    found = suggest(source, target, least="sure")
    assert found.open["conv.weight"].startswith("likely: 4 channels there, 3 here")
    assert "  # - drop: conv.weight  # likely: 4 channels" in found.text()


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 30, "²³", "٣٤"])
def test_numbers_that_no_pattern_counts(number: str) -> None:
    rest = {"c.1.w": np.ones(3), "c.2.w": np.ones(3), "b": np.arange(9.0).reshape(3, 3)}
    source = {f"a.{number}.w": np.arange(3.0), **rest}
    target = {key.replace("c.", "d.").replace("a.", "e."): one for key, one in source.items()}
    assert {"b", "d.1.w"} <= cs.suggest(source, target).degrees.keys()
    assert {"b", "d.1.w"} <= cs.learn(source, target).degrees.keys()


def test_why_a_file_holds_no_rule_is_told() -> None:
    """Parts of two dtypes, which no op joins as they are; a name that none can write."""
    parts = {f"h.0.attn.{part}.weight": np.zeros((4, 4), np.float32) for part in "qkv"}
    parts["h.0.attn.k.weight"] = parts["h.0.attn.k.weight"].astype(np.float16)
    found = cs.suggest(parts, {"h.0.attn.qkv.weight": np.zeros((12, 4), np.float32)})
    told = "concat: the dtypes must be equal; number 2 is F16[4, 4], not F32[4, 4]"
    assert found.open == {"h.0.attn.qkv.weight": told}
    assert set(found.unused.values()) == {told}
    found = suggest({**PLAIN, "x\ny.w": (3, 4)}, {**PLAIN, "z.y.w": (3, 4)})
    assert found.open == {"z.y.w": "no rule can name x\ny.w"}
    assert found.unused == {"x\ny.w": "nothing takes it"}
