"""Meta's Llama in several tensor-parallel files -> transformers' in one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from comparison import assert_same, load
from networks import randomise
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

import ckptsurgeon as cs
from ckptsurgeon.cli import run

RULES = Path(__file__).with_name("rules") / "llama_shards_to_transformers.yaml"

HEADS, KEY_VALUE_HEADS, WIDTH = 8, 4, 64

NAMES = {
    "model.embed_tokens": ("tok_embeddings", 1),
    "model.norm": ("norm", None),
    "lm_head": ("output", 0),
}

LAYER_NAMES = {
    "self_attn.q_proj": ("attention.wq", 0),
    "self_attn.k_proj": ("attention.wk", 0),
    "self_attn.v_proj": ("attention.wv", 0),
    "self_attn.o_proj": ("attention.wo", 1),
    "mlp.gate_proj": ("feed_forward.w1", 0),
    "mlp.up_proj": ("feed_forward.w3", 0),
    "mlp.down_proj": ("feed_forward.w2", 1),
    "input_layernorm": ("attention_norm", None),
    "post_attention_layernorm": ("ffn_norm", None),
}


def llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
    )
    model = LlamaForCausalLM(config)
    randomise(model)
    return model


def original_name(key: str) -> tuple[str, int | None]:
    """Meta's key, and the dim that its files cut (None where each holds the whole)."""
    module = key.removesuffix(".weight")
    if module in NAMES:
        name, dim = NAMES[module]
        return f"{name}.weight", dim
    _, _, number, layer_module = module.split(".", 3)
    name, dim = LAYER_NAMES[layer_module]
    return f"layers.{number}.{name}.weight", dim


def interleaved(rows: Tensor) -> Tensor:
    """Each head's rows from transformers' order (halves) to Meta's (pairs)."""
    head = WIDTH // HEADS
    halves = rows.reshape(-1, 2, head // 2, rows.shape[1])
    return halves.transpose(1, 2).reshape(rows.shape)


def shards(state: dict[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """The model as Meta's files hold it."""
    files: list[dict[str, Tensor]] = [{} for _ in range(count)]
    for key, tensor in state.items():
        name, dim = original_name(key)
        if name.endswith(("wq.weight", "wk.weight")):
            tensor = interleaved(tensor)
        parts = [tensor] * count if dim is None else tensor.chunk(count, dim)
        for file, part in zip(files, parts, strict=True):
            file[name] = part.clone()
    for file in files:
        file["rope.freqs"] = torch.ones(WIDTH // HEADS // 2)
    return files


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shards_become_the_model_that_they_were_cut_from(count: int, tmp_path: Path) -> None:
    state = llama().state_dict()
    for number, file in enumerate(shards(state, count)):
        torch.save(file, tmp_path / f"consolidated.{number:02}.pth")
    save_file(state, tmp_path / "destination.safetensors")
    output = tmp_path / "output.safetensors"
    cs.transplant(
        None,
        output,
        RULES,
        into=tmp_path / "destination.safetensors",
        sources={"s*": tmp_path / "consolidated.*.pth"},
    )
    assert_same(load(output), state)


def test_the_command_line_numbers_the_files_in_natural_order(tmp_path: Path) -> None:
    state = llama().state_dict()
    for number, file in enumerate(shards(state, 2)):
        torch.save(file, tmp_path / f"consolidated.{number + 9}.pth")
    named = f"s*={tmp_path / 'consolidated.*.pth'}"
    output = tmp_path / "output.safetensors"
    words = ["transplant", "--source", named, "-r", RULES, "--set", "n_heads=8", "-o", output]
    assert run([str(word) for word in words]) == 0
    assert_same(load(output), state)


def test_a_norm_that_differs_between_shards_is_refused(tmp_path: Path) -> None:
    files = shards(llama().state_dict(), 2)
    files[1]["norm.weight"][3] += 1
    for number, file in enumerate(files):
        torch.save(file, tmp_path / f"consolidated.{number:02}.pth")
    output = tmp_path / "output.safetensors"
    sources = {"s*": tmp_path / "consolidated.*.pth"}
    with pytest.raises(cs.CkptSurgeonError, match="same"):
        cs.transplant(None, output, RULES, sources=sources)
    assert not output.exists()
