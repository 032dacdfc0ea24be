"""What an example can't tell: it is told, and nothing is proved that another size would refute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import ckptsurgeon as cs
from ckptsurgeon.drafting.steps import Degree

RNG = np.random.default_rng(0)

Tensors = dict[str, Any]


def random(*shape: int) -> np.ndarray:
    return RNG.random(shape)


def layers(*names: str, count: int = 6) -> Tensors:
    return {f"layers.{at}.{name}": random(4, 4) for at in range(count) for name in names}


# --- equal tensors --------------------------------------------------------------------------------


def test_a_crop_is_of_the_tensor_with_the_likest_name() -> None:
    table = random(12, 8)
    source = {"embed.weight": table, "lm_head.weight": table.copy(), "w": random(3, 3)}
    found = cs.learn(source, {"lm_head.weight": table[:10], "w": source["w"]})
    assert (
        "# CHECK: its values are also those of embed.weight\n  - lm_head.weight[:10]"
        in found.text()
    )
    assert found.likely == ("lm_head.weight",)


def test_what_is_fused_is_of_the_raw_weights() -> None:
    parts = {part: random(4, 4) for part in "qkv"}
    source = {
        f"{tower}.{part}": one.copy() for tower in ("ema", "model") for part, one in parts.items()
    }
    found = cs.learn(source, {"qkv": np.concatenate([*parts.values()])})
    assert "model.<p:q|k|v> -> qkv: concat" in found.text()
    assert found.likely == ("qkv",)


def test_equal_experts_go_each_to_their_own() -> None:
    one = random(4, 3)
    source = {f"e.{at}.w": one.copy() for at in range(4)} | {"z": random(3, 3)}
    found = cs.learn(source, {f"x.{at}.kernel": one.T for at in range(4)} | {"z": source["z"]})
    assert "- e.<i>.w -> x.<i>.kernel: transpose" in found.text()
    assert len(found.likely) == 4


def test_tied_tensors_are_told_apart_by_names() -> None:
    tied = torch.rand(12, 8)
    source = {"embed.weight": tied, "lm_head.weight": tied, "w": torch.rand(3, 3)}
    made = {"emb.table": tied.clone(), "head.kernel": tied.T.contiguous(), "w": source["w"]}
    text = cs.learn(source, made).text()
    assert "- embed.weight -> emb.table\n  - lm_head.weight -> head.kernel: transpose\n" in text


def test_fresh_norms_of_all_layers_go_the_same_way() -> None:
    """The number of a layer is no word of a norm's name."""
    source: Tensors = {}
    for at in range(12):
        source[f"layer.{at}.q.weight"] = random(4, 4)
        for name in ("attention", "output"):
            source[f"layer.{at}.{name}.LayerNorm.weight"] = np.ones(4)
    made = {
        key.replace("layer.", "blocks.")
        .replace("attention.LayerNorm", "norm1")
        .replace("output.LayerNorm", "norm2"): one
        for key, one in source.items()
    }
    found = cs.learn(source, made)
    other = {key: random(*one.shape) for key, one in source.items()}
    tensors, _ = cs.apply(other, found.rules)
    for key, new in zip(source, made, strict=True):
        assert np.array_equal(other[key], tensors[new]), found.text()


# --- computed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ([1000.0, 0.001, 0.002, 0.003], [2000.0, 0.005, -0.001, 0.009]),
        ([1.0, 2.0, 3.0, 4.0], [np.inf, 1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0, 4.0], [np.nan, 4.0, 6.0, 8.0]),
    ],
)
def test_what_is_not_near_is_not_explained(source: list[float], made: list[float]) -> None:
    w = random(4, 4).astype("f4")
    found = cs.learn({"w": w, "y": np.array(source, "f4")}, {"w": w, "y": np.array(made, "f4")})
    assert found.unexplained == ("y",)


def test_what_is_nearly_a_copy_is_not_explained_by_what_changes_little() -> None:
    source: Tensors = {
        "w": random(4, 4),
        "q.weight": random(8, 8),
        "q.lora_A.weight": random(2, 8),
        "q.lora_B.weight": random(8, 2),
        "norm.weight": random(8),
        "norm.bias": random(8),
    }
    near = {
        key: source[key] * (1 + 1e-7 * random(*source[key].shape))
        for key in ("q.weight", "norm.bias")
    }
    found = cs.learn(source, {**source, **near})
    assert set(found.unexplained) == near.keys()


def test_a_small_sum_is_found_where_it_is_exact() -> None:
    source = {f"l.{at}.running_var": random(8).astype("f4") + 1 for at in range(3)}
    source |= {"w": random(4, 4).astype("f4")}
    made = {key: one - np.float32(1e-5) if "var" in key else one for key, one in source.items()}
    assert "running_var: {shift: -1e-05}" in cs.learn(source, made).text()


@pytest.mark.parametrize(
    ("source", "made"),
    [
        (np.zeros((2, 3, 0)), np.zeros((2, 3, 0))),
        (np.zeros((2, 0)), np.zeros((5, 0))),
        (np.float32(-1e9).reshape(()), np.float16(-np.inf).reshape(())),
        (np.array([-100, 1]), np.array([156, 1], np.uint8)),
    ],
)
def test_odd_tensors_hold_nothing_else_back(source: np.ndarray, made: np.ndarray) -> None:
    w = random(4, 4)
    with np.errstate(all="ignore"):
        found = cs.learn({"w": w, "odd": source}, {"w": w, "odd": made})
    assert found.degrees["w"] is Degree.PROVED


def test_single_elements_that_repeat() -> None:
    source = {f"l.{at}.alpha": np.array([1.0 + (at == 2)]) for at in range(3)} | {"w": random(4, 4)}
    made = {"w": source["w"], "alpha": np.array([1.0, 1.0, 2.0])}
    assert cs.learn(source, made).degrees["w"] is Degree.PROVED


# --- numbers --------------------------------------------------------------------------------------


def first_dense(key: str, one: Any) -> tuple[str, Any]:
    return key, one.T if "mlp" in key and ".0." not in key else one


def alternate(key: str, one: Any) -> tuple[str, Any]:
    return key.replace("mlp", "moe" if int(key.split(".")[1]) % 2 else "ffn"), one


def stages(key: str, one: Any) -> tuple[str, Any]:
    _, number, name = key.split(".")
    return f"stages.{int(number) // 3}.{int(number) % 3}.{name}", one


@pytest.mark.parametrize(
    ("convert", "told"),
    [
        (first_dense, "layers.<n:1|2|3|4|5>.mlp"),
        (alternate, "layers.<n:0|2|4>.mlp"),
        (stages, "layers.<n:3=0|4=1|5=2>.*"),
    ],
)
def test_items_that_are_named_are_told(
    convert: Callable[[str, Any], tuple[str, Any]], told: str
) -> None:
    source = layers("mlp", "att")
    found = cs.learn(source, dict(convert(key, one) for key, one in source.items()))
    assert told in found.once
    assert f"# {told}: seen once: constant, or a size?\n" in found.text()


def test_numbers_within_names_are_no_items() -> None:
    source = {f"layers.{at}.w{n}": random(4, 4) for at in range(3) for n in (1, 2, 3)}
    assert not cs.learn(
        source, {key.replace("layers", "l"): one for key, one in source.items()}
    ).once


def test_copies_are_counted() -> None:
    source = {"mlp": random(4, 4), "w": random(3, 3)}
    made = {"w": source["w"]} | {f"e.{at}": source["mlp"] for at in range(4)}
    assert "copies 4" in cs.learn(source, made).once


def test_one_head_of_k_and_v_leaves_the_layout_open() -> None:
    source = {"q": random(8, 6), "k": random(2, 6), "v": random(2, 6)}
    made = {"qkv": np.concatenate([*source.values()])}
    config = {"num_attention_heads": 4, "num_key_value_heads": 1}
    for one, other in ((source, made), (made, source)):
        assert any("one head" in told for told in cs.learn(one, other, config=config).once)
    config = {"num_attention_heads": 4, "num_key_value_heads": 2}
    assert not cs.learn(source, made, config=config).once


# --- samples --------------------------------------------------------------------------------------


def test_samples_that_are_not_true_of_all_are_not_believed() -> None:
    source = layers("w", count=12)
    made = {
        f"layers.{int(key.split('.')[1]) // 2}.w": one
        for key, one in source.items()
        if int(key.split(".")[1]) % 2 == 0
    }
    assert set(cs.learn(source, made, sample=True).counts) == {Degree.SAMPLED}


def test_what_no_sample_told_is_as_sure_as_its_rule() -> None:
    source: Tensors = {}
    for at in range(12):
        source |= {f"layers.{at}.w": random(4, 4), f"layers.{at}.ln": np.ones(4)}
    made = {key.replace("ln", "norm"): one for key, one in source.items()}
    found = cs.learn(source, made, sample=True)
    assert found.counts == {Degree.SAMPLED: 12, Degree.SURE: 12}


def test_a_config_of_another_kind_is_refused() -> None:
    with pytest.raises(
        cs.CkptSurgeonError, match="config: an int where a path, or a dict is wanted"
    ):
        cs.learn({"w": random(3, 3)}, {"w": random(3, 3)}, config=5)  # type: ignore[arg-type]
