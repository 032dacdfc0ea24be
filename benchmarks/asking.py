"""What it takes to be told the rules: learned from an example, or suggested by headers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import measured, medians
from benchmarks.running import OURS, remove
from benchmarks.starting import Timing

WIDTH, LAYERS = 768, 12
"""Those of ViT-B, which has 86 million parameters."""

MOST_CPU = 15.0
"""CPU seconds that learning from two ViT-B may take."""


SUGGESTED = ((6_000, 3.0), (100_000, 20.0))
"""Keys of checkpoints that rules are suggested for, and the CPU seconds that may take."""


def expert_shapes(keys: int, form: str, parts: tuple[str, str, str]) -> dict[str, list[int]]:
    """The keys and shapes of a mixture of experts: three matrices of each, 40 experts a layer."""
    layers, experts = max(1, keys // 120), 40
    sizes = ([128, 64], [128, 64], [64, 128])
    return {
        f"{form.format(layer)}.experts.{expert}.{part}.weight": size
        for layer in range(layers)
        for expert in range(experts)
        for part, size in zip(parts, sizes, strict=True)
    }


def vit_shapes(width: int, layers: int) -> dict[str, list[int]]:
    """The keys and shapes of timm's vision transformer."""
    shapes = {
        "cls_token": [1, 1, width],
        "pos_embed": [1, 197, width],
        "patch_embed.proj.weight": [width, 3, 16, 16],
        "patch_embed.proj.bias": [width],
    }
    for layer in range(layers):
        prefix = f"blocks.{layer}."
        sizes = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
        for norm in ("norm1", "norm2"):
            shapes |= {f"{prefix}{norm}.{leaf}": [width] for leaf in ("weight", "bias")}
        for name, (rows, columns) in sizes.items():
            shapes[f"{prefix}{name}.weight"] = [rows * width, columns * width]
            shapes[f"{prefix}{name}.bias"] = [rows * width]
    for leaf in ("weight", "bias"):
        shapes[f"norm.{leaf}"] = [width]
    return shapes | {"head.weight": [1000, width], "head.bias": [1000]}


def ask_timings(folder: Path, runs: int, quick: bool) -> Iterator[Timing]:
    """What asking costs, start-up included."""
    spec, old, new = (folder / name for name in ("vit.json", "old.safetensors", "new.safetensors"))
    shapes = vit_shapes(48 if quick else WIDTH, LAYERS)
    spec.write_text(json.dumps({key: ["F32", shape] for key, shape in shapes.items()}))
    rules = folder / "learned.yaml"
    measured([*OURS, "probe", str(spec), "-o", str(old), "--force"])
    convert = ["transplant", str(old), "-r", "timm_vit_to_transformers", "-o", str(new), "--force"]
    measured([*OURS, *convert])
    for name, words in (("learn of two ViT-B", []), ("the same by samples", ["--sample"])):
        command = [*OURS, "learn", str(old), str(new), "-o", str(rules), "--force", *words]
        yield Timing(name, medians([measured(command) for _ in range(runs)]), MOST_CPU)
    for path in (spec, old, new, rules):
        remove(path)
    yield from _suggest_timings(folder, runs, quick)


def _suggest_timings(folder: Path, runs: int, quick: bool) -> Iterator[Timing]:
    one, other, rules = (folder / name for name in ("one.json", "other.json", "suggested.yaml"))
    for keys, most in SUGGESTED[:1] if quick else SUGGESTED:
        sides = (
            (one, "model.layers.{}.mlp", ("gate_proj", "up_proj", "down_proj")),
            (other, "decoder.{}.moe", ("w1", "w3", "w2")),
        )
        for path, form, parts in sides:
            shapes = expert_shapes(keys, form, parts)
            path.write_text(json.dumps({key: ["BF16", shape] for key, shape in shapes.items()}))
        command = [*OURS, "suggest", str(one), str(other), "-o", str(rules), "--force"]
        cost = medians([measured(command, (0, 1)) for _ in range(runs)])
        yield Timing(f"suggest for {keys:,} keys", cost, most)
    for path in (one, other, rules):
        remove(path)
