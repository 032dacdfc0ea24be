"""Equal norms of one block: what their names seem to say is not always what they are."""

from __future__ import annotations

import numpy as np
import pytest

import ckptsurgeon as cs
from ckptsurgeon.drafting.steps import Degree

BLOCKS = {
    "OLMo 2, both norms behind what they normalise": {
        "post_attention_layernorm": "attn_norm",
        "post_feedforward_layernorm": "ff_norm",
    },
    "Gemma 2, norms on both sides": {
        "input_layernorm": "pre_attention_norm",
        "post_attention_layernorm": "post_attention_norm",
        "pre_feedforward_layernorm": "pre_ffw_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    },
    "Llama, where the one after attention is the MLP's": {
        "input_layernorm": "attention_norm",
        "post_attention_layernorm": "ffn_norm",
    },
}


@pytest.mark.parametrize("norms", BLOCKS.values(), ids=BLOCKS)
def test_no_norm_is_surely_another(norms: dict[str, str]) -> None:
    matrix, vector = np.zeros((12, 8), "f4"), np.zeros(8, "f4")
    source, target, right = {}, {}, {}
    for layer in range(3):
        source[f"model.layers.{layer}.mlp.up_proj.weight"] = matrix
        target[f"blocks.{layer}.ff.up.weight"] = matrix
        for old, new in norms.items():
            source[f"model.layers.{layer}.{old}.weight"] = vector
            target[f"blocks.{layer}.{new}.weight"] = vector
            right[f"blocks.{layer}.{new}.weight"] = f"model.layers.{layer}.{old}.weight"
    found = cs.suggest(source, target)
    plan = cs.plan(source, found.rules, allow=("nothing",))
    for key, wanted in right.items():
        if found.degrees.get(key) is Degree.SURE:
            assert [one.key for one in plan.outputs[key].sources] == [wanted]
