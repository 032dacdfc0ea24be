"""GPT-2's Conv1D layers -> Linear layers: every projection's weight is transposed."""

from __future__ import annotations

from pathlib import Path

import torch
from comparison import load, same_bits
from networks import randomise
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

import ckptsurgeon as cs

RULES = Path(__file__).with_name("rules") / "gpt2_to_linear.yaml"


def gpt2() -> GPT2LMHeadModel:
    config = GPT2Config(vocab_size=17, n_positions=8, n_embd=16, n_layer=2, n_head=2)
    return GPT2LMHeadModel(config).eval()


def with_linear_layers(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """The same model, each Conv1D replaced by a Linear of its sizes."""
    layers = [name for name, module in model.named_modules() if isinstance(module, Conv1D)]
    for name in layers:
        incoming, outgoing = model.get_submodule(name).weight.shape
        model.set_submodule(name, nn.Linear(incoming, outgoing))
    return model.eval()


def test_gpt2_gives_its_logits_with_linear_layers(tmp_path: Path) -> None:
    model, linear = gpt2(), with_linear_layers(gpt2())
    randomise(model)
    randomise(linear, seed=1)
    model.save_pretrained(tmp_path / "model")
    torch.save(linear.state_dict(), tmp_path / "destination.pt")
    cs.transplant(
        tmp_path / "model" / "model.safetensors",
        tmp_path / "output.pt",
        RULES,
        into=tmp_path / "destination.pt",
    )
    output = load(tmp_path / "output.pt")
    linear.load_state_dict(output, strict=True)
    words = torch.tensor([[3, 1, 4, 1, 5, 9]])
    with torch.inference_mode():
        torch.testing.assert_close(linear(words).logits, model(words).logits)
    # c_proj of attention is square: its shape can't tell whether it was transposed.
    square = "transformer.h.1.attn.c_proj.weight"
    assert same_bits(output[square], model.state_dict()[square].T)
