"""What is measured: for each job a source, the rules, and the edit of the script beside it."""

from __future__ import annotations

from dataclasses import dataclass

RENAMES = """\
  - model.embed_tokens.* -> tok_embeddings.*
  - model.layers.<i>.self_attn.<p:q|k|v|o>_proj.* -> layers.<i>.attention.w<p>.*
  - model.layers.<i>.mlp.<p:gate_proj=w1|down_proj=w2|up_proj=w3>.* -> layers.<i>.feed_forward.<p>.*
  - model.layers.<i>.input_layernorm.* -> layers.<i>.attention_norm.*
  - model.layers.<i>.post_attention_layernorm.* -> layers.<i>.ffn_norm.*
"""

ROWS = """\
  - model.embed_tokens.weight[:-256] -> model.embed_tokens.weight
  - <name:path>_proj.weight[:-256] -> <name>_proj.weight
"""

COLUMNS = """\
  - model.embed_tokens.weight[:, :1536] -> model.embed_tokens.weight
  - <name:path>_proj.weight[:, :1536] -> <name>_proj.weight
"""

QKV = """\
  - h.<i>.attn.qkv.* -> h.<i>.attn.<p:q|k|v>_proj.*: split
"""

EXPERTS = """\
  - layers.<i>.experts.<e>.w<n:1|3>.weight -> layers.<i>.experts.gate_up_proj:
      [stack: {over: e}, concat: {over: n, dim: 1}]
  - layers.<i>.experts.<e>.w2.weight -> layers.<i>.experts.down_proj: [stack: {over: e}]
"""

TRANSPOSES = """\
  - model.embed_tokens.weight -> model.embed_tokens.weight: transpose
  - <name:path>_proj.weight -> <name>_proj.weight: transpose
"""

ROPE = """\
  - <name:path>_proj.weight -> <name>_proj.weight: {permute_rope: {head_dim: 128, to: half}}
"""

RESNET = """\
  - conv1.weight[:, :3] -> backbone.conv1.weight
  - drop: fc.*
  - "** -> backbone.**"
"""


@dataclass(frozen=True, slots=True)
class Job:
    """One row: `kind` and `suffix` name the source, `edit` what the script does.

    `most` is the wall time that we allow ourselves, in times of the copy's.
    """

    name: str
    kind: str
    edit: str
    rules: str
    most: float
    suffix: str = ".safetensors"
    out: str = ".safetensors"
    head: str = ""

    @property
    def source(self) -> str:
        return self.kind + self.suffix

    @property
    def rule_file(self) -> str:
        """The text of the job's rule file."""
        return f"format: 1\n{self.head}rules:\n{self.rules}" if self.rules else self.head


JOBS = (
    Job("rename, safetensors", "llama", "rename", RENAMES, 1.10),
    Job("rename, 5 shards", "llama", "rename", RENAMES, 1.10, "", ""),
    Job("rename, .pt", "llama", "rename", RENAMES, 1.15, ".pt", ".pt"),
    Job("rename, .pt to safetensors", "llama", "rename", RENAMES, 1.30, ".pt"),
    Job("slice of dim 0", "llama", "slice-rows", ROWS, 1.20),
    Job("slice of dim 1", "llama", "slice-columns", COLUMNS, 1.60),
    Job("transpose of every matrix", "llama", "transpose", TRANSPOSES, 1.60),
    Job("rope permute of every projection", "llama", "permute-rope", ROPE, 1.60),
    Job("F32 to BF16", "llama", "bfloat16", "", 1.60, head="format: 1\noutput: {dtype: BF16}\n"),
    Job("qkv split", "fused", "split-qkv", QKV, 1.20),
    Job("expert stacking", "experts", "stack-experts", EXPERTS, 1.20),
    Job(
        "ResNet-18 (45 MB), 3-channel stem",
        "resnet18",
        "resnet18",
        RESNET,
        0.0,
        ".pt",
        ".pt",
        "source: {strip: [module.]}\n",
    ),
)
"""Jobs of one source stand together, so that it need not be made twice."""
