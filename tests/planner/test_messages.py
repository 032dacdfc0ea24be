"""What the planner says where rules don't fit a source: the exact text, from golden files.

`REGENERATE=1 pytest tests/planner/test_messages.py` writes them anew; look at the difference.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ckptsurgeon.checkpoints.base import Contents
from ckptsurgeon.checkpoints.memory import MemoryCheckpoint
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.language.rulesets import parse_ruleset
from ckptsurgeon.planner.planning import Inputs, make_plan
from ckptsurgeon.specs import TensorSpec

GOLDEN = Path(__file__).parent / "golden"

SOURCE = {
    "conv1.weight": (64, 4, 7, 7),
    **{f"layers.{i}.attn.qkv.weight": (12, 4) for i in range(4)},
    **{f"layers.{i}.norm.weight": (4,) for i in range(3)},
    **{f"experts.{e}.w.weight": (4, 4) for e in (0, 1, 3)},
    "bn1.weight": (4,),
    "bn1.running_mean": (4,),
    "fc.weight": (10, 4),
}

DESTINATION = {"stem.weight": (64, 3, 7, 7), "head.weight": (5, 4), "fc.weight": (10, 4)}

SCENES: Mapping[str, str] = {
    "no_key_matches": """
  - layer.<i>.attn.qkv.weight -> blocks.<i>.qkv.weight
  - conv.weight -> stem.weight
  - batchnorm: bn2 -> norm2
  - drop: [fc.weight, fc.bias]
""",
    "taken_before": """
  - layers.** -> blocks.**
  - layers.<i>.norm.weight -> norms.<i>.weight
  - conv1.weight[:, :3] -> stem.weight
  - conv1.* -> stem.*
""",
    "two_producers": """
  - layers.<i>.norm.weight -> fc.weight: stack
  - layers.<i>.attn.qkv.weight -> blocks.<i//2>.weight
  - conv1.weight -> stem.weight
  - bn1.weight -> stem.weight
""",
    "a_hole": """
  - experts.<e>.w.weight -> experts.weight: stack
""",
    "no_partner": """
  - from: [layers.<i>.attn.qkv.weight, layers.<i>.norm.weight]
    to: blocks.<i>.weight
    ops: concat
""",
    "uneven_split": """
  - layers.<i>.attn.qkv.weight -> blocks.<i>.<p:a|b|c|d|e>.weight: split
""",
    "overlap": """
  - conv1.weight[:, :3] -> stem.weight
  - conv1.weight[:, 2:] -> rest.weight
""",
    "out_of_bounds": """
  - conv1.weight[:, 4] -> stem.weight
  - fc.weight -> head.weight[4:6]
""",
    "names": """
  - layers.<i>.norm.weight -> norms.<j>.weight
  - layers.<i>.attn.* -> attn.<i>.weight
  - conv1.weight -> stem.weight: {where: x > 1}
  - fc.weight -> head.<lft>.weight: {reshape: [left, 4]}
  - layers.<name:str>.norm.weight -> norms.weight: stack
""",
    "conditions": """
  - layers.<i>.norm.weight -> norms.<i>.weight: {where: i and i > 1}
  - layers.<i>.attn.<n:str>.weight -> blocks.<i>.<n>.weight: {where: n > 1}
  - experts.<e>.w.weight -> kept.<e>: {where: e > 5}
""",
    "steps": """
  - from: [conv1.weight, fc.weight]
    to: both
  - experts.<e>.w.weight -> experts.weight
  - layers.<i>.norm.weight -> norms.weight: {concat: {over: k}}
  - fc.weight -> a.<n:x|y>.<m>: split
""",
    "counts_and_requirements": """
  - layers.<i>.norm.weight -> norms.<i>.weight: {count: 4}
  - require: {key: layers.<i>.attn.qkv.weight, shape: [12, 8], dtype: F16}
  - require: {key: embed.weight}
  - {from: experts.<e>.w.weight, to: kept.<e>, pick: {e: [0, 2, 5..7]}}
""",
    "keep_and_init": """
  - keep: [fc.*, head.bias]
  - init: {to: pos_embed, fill: zeros}
  - init: {to: head.weight, fill: eye, shape: [4]}
  - tie: [embed.weight, lm_head.weight]
""",
    "fills": """
  - init: {to: mask, fill: 300, shape: [4], dtype: U8}
  - init: {to: steps, fill: 0.5, shape: [], dtype: I64}
  - init: {to: scale, fill: 100000, shape: [4], dtype: F16}
  - init: {to: scales, fill: zeros, shape: [4], dtype: F8_E8M0}
  - init: {to: counts, fill: normal, shape: [4], dtype: I32}
  - init: {to: noise, fill: normal, std: 10000, shape: [4], dtype: F16}
  - init: {to: packed, fill: ones, shape: [4], dtype: F4}
""",
    "fails_in_many_layers": """
  - layers.<i>.attn.qkv.weight -> blocks.<i>.weight: [transpose, {reshape: [5, -1]}]
  - layers.<i>.norm.weight -> norms.<i-1>.weight
""",
}


def checkpoint(shapes: Mapping[str, tuple[int, ...]]) -> MemoryCheckpoint:
    specs = {key: TensorSpec("F32", shape) for key, shape in shapes.items()}
    return MemoryCheckpoint(contents=Contents(specs), has_values=False)


@pytest.mark.parametrize("name", SCENES)
def test_message(name: str) -> None:
    rules = parse_ruleset(f"format: 1\nvars: {{left: 2}}\nrules:{SCENES[name]}", "rules.yaml")
    inputs = Inputs({"": checkpoint(SOURCE)}, checkpoint(DESTINATION))
    with pytest.raises(CkptSurgeonError) as caught:
        make_plan([rules], inputs)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("REGENERATE"):
        path.write_text(f"{caught.value}\n")
    assert f"{caught.value}\n" == path.read_text()
