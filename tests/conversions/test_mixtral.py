"""Mixtral's experts: one tensor each on disk, stacked and concatenated in memory, and back."""

from __future__ import annotations

from pathlib import Path

from comparison import assert_same, load
from networks import randomise
from safetensors.torch import save_file
from transformers import MixtralConfig, MixtralForCausalLM

import ckptsurgeon as cs

RULES = Path(__file__).with_name("rules")
EXPERTS = 12
"""More than ten, so that an order by text would show."""


def mixtral() -> MixtralForCausalLM:
    config = MixtralConfig(
        vocab_size=17,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=EXPERTS,
    )
    model = MixtralForCausalLM(config)
    randomise(model)
    return model


def save_both_layouts(folder: Path) -> tuple[Path, Path]:
    """The files of transformers' own two layouts: on disk, and as `state_dict()` has it."""
    model = mixtral()
    model.save_pretrained(folder / "hub")
    save_file(model.state_dict(), folder / "memory.safetensors")
    return folder / "hub" / "model.safetensors", folder / "memory.safetensors"


def test_experts_are_stacked_and_concatenated_as_transformers_does(tmp_path: Path) -> None:
    hub, memory = save_both_layouts(tmp_path)
    output = tmp_path / "output.safetensors"
    cs.transplant(hub, output, RULES / "mixtral_to_memory.yaml", into=memory)
    assert_same(load(output), load(memory))


def test_the_reverse_written_as_rules_is_exact(tmp_path: Path) -> None:
    hub, memory = save_both_layouts(tmp_path)
    output = tmp_path / "output.safetensors"
    cs.transplant(memory, output, RULES / "mixtral_to_hub.yaml", into=hub)
    assert_same(load(output), load(hub))


def test_the_experts_need_no_destination_to_be_counted(tmp_path: Path) -> None:
    hub, memory = save_both_layouts(tmp_path)
    output = tmp_path / "output.safetensors"
    cs.transplant(memory, output, RULES / "mixtral_to_hub.yaml")
    assert_same(load(output), load(hub))
