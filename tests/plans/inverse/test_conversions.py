"""Real conversions turned around: the files that went in come back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import trained_weights
from comparison import assert_same, load
from conversions.test_llama import llama, shards
from conversions.test_mixtral import save_both_layouts

from ckptsurgeon.cli import run

RULES = Path(__file__).parents[2] / "conversions" / "rules"

MINILM = """\
format: 1
rules:
  - within: encoder.layer.<i>. -> layers.<i>.
    rules:
      - attention.self.<p:query|key|value>.<t:weight|bias> -> self_attn.in_proj_<t>: concat
      - attention.output.dense.* -> self_attn.out_proj.*
      - attention.output.LayerNorm.* -> norm1.*
      - intermediate.dense.* -> linear1.*
      - output.dense.* -> linear2.*
      - output.LayerNorm.* -> norm2.*
"""


def command(*words: object) -> None:
    assert run([str(word) for word in words]) == 0


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("output", ["out.safetensors", "out.pt"])
def test_minilm_with_a_fused_qkv_comes_back_as_the_very_file(output: str) -> None:
    Path("rules.yaml").write_text(MINILM)
    source = trained_weights.minilm()
    command("plan", source, "-r", "rules.yaml", "-o", "plan.json")
    command("transplant", source, "-r", "rules.yaml", "-o", output, "-q")
    command("invert", "plan.json", "-o", "inverse.json")
    command("transplant", output, "--plan", "inverse.json", "-o", "back.safetensors", "-q")
    assert Path("back.safetensors").read_bytes() == Path(source).read_bytes()


def test_mixtral_s_experts_come_apart_again(tmp_path: Path) -> None:
    hub, memory = save_both_layouts(tmp_path)
    rules = RULES / "mixtral_to_memory.yaml"
    command("plan", hub, "-r", rules, "--into", memory, "-o", "plan.json")
    command("transplant", hub, "-r", rules, "--into", memory, "-o", "out.safetensors", "-q")
    command("invert", "plan.json", "-o", "inverse.json")
    command("transplant", "out.safetensors", "--plan", "inverse.json", "-o", "back.safetensors")
    assert_same(load(Path("back.safetensors")), load(hub))


def test_each_shard_of_a_llama_with_grouped_queries_comes_back() -> None:
    files = shards(llama().state_dict(), 2)
    for number, file in enumerate(files):
        del file["rope.freqs"]  # dropped: the next test has it
        torch.save(file, f"consolidated.{number:02}.pth")
    named, rules = "s*=consolidated.*.pth", RULES / "llama_shards_to_transformers.yaml"
    command("plan", "--source", named, "-r", rules, "-o", "plan.json")
    command("transplant", "--source", named, "-r", rules, "-o", "out.safetensors", "-q")
    for number, file in enumerate(files):
        command("invert", "plan.json", "--only", f"s{number}", "-o", "inverse.json")
        words = ("--plan", "inverse.json", "-o", f"back.{number}.pth", "-q")
        command("transplant", "out.safetensors", *words)
        assert_same(load(Path(f"back.{number}.pth")), file)


def test_what_llama_s_rules_drop_comes_from_the_shard_itself() -> None:
    files = shards(llama().state_dict(), 2)
    for number, file in enumerate(files):
        torch.save(file, f"consolidated.{number:02}.pth")
    named, rules = "s*=consolidated.*.pth", RULES / "llama_shards_to_transformers.yaml"
    command("plan", "--source", named, "-r", rules, "-o", "plan.json")
    command("transplant", "--source", named, "-r", rules, "-o", "out.safetensors", "-q")
    assert run(["invert", "plan.json", "--only", "s1"]) == 2
    lost = ("--source-of-lost", "consolidated.01.pth")
    command("invert", "plan.json", "--only", "s1", *lost, "-o", "inverse.json")
    command("transplant", "out.safetensors", "--plan", "inverse.json", "-o", "back.pth", "-q")
    assert_same(load(Path("back.pth")), files[1])
