"""The part of docs/rules.md that the op types generate: each op's parameters, and an example run.

`PYTHONPATH=tests python tests/op_reference.py` puts today's text into the page.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

import ckptsurgeon
from ckptsurgeon.checkpoints.base import Contents
from ckptsurgeon.checkpoints.memory import MemoryCheckpoint
from ckptsurgeon.language.rulesets import parse_ruleset
from ckptsurgeon.ops import OPS, Op
from ckptsurgeon.specs import TensorSpec

PAGE = Path(__file__).parents[1] / "docs" / "rules.md"
BEGIN = (
    "<!-- Written by tests/op_reference.py; edit the docstrings and fields of the ops instead. -->"
)
END = "<!-- The end of what tests/op_reference.py writes. -->"

Shape = tuple[int, ...]

EXAMPLES: Mapping[str, tuple[str, Mapping[str, Shape | str]]] = {
    "slice": ("w -> w: {slice: '[2:8, ::2]'}", {"w": (10, 6)}),
    "take": ("w -> w: {take: [3, 0, 0]}", {"w": (4, 6)}),
    "pad": ("w -> w: {pad: {to: 8, value: 1}}", {"w": (5, 6)}),
    "split": ("qk -> <p:q|k>: split", {"qk": (8, 6)}),
    "concat": ("<p:q|k> -> qk: {concat: 0}", {"q": (4, 6), "k": (2, 6)}),
    "stack": ("experts.<e> -> experts: stack", {"experts.0": (4, 6), "experts.1": (4, 6)}),
    "unstack": ("experts -> experts.<e>: unstack", {"experts": (2, 4, 6)}),
    "copies": ("w -> w.<i>: {copies: 2}", {"w": (4, 6)}),
    "same": ("rank<r>.norm -> norm: same", {"rank0.norm": (8,), "rank1.norm": (8,)}),
    "transpose": ("w -> w: transpose", {"w": (4, 6)}),
    "permute": ("w -> w: {permute: [2, 0, 1]}", {"w": (4, 6, 3)}),
    "reshape": ("w -> w: {reshape: [2, -1]}", {"w": (4, 6)}),
    "flip": ("w -> w: {flip: 1}", {"w": (4, 6)}),
    "roll": ("w -> w: {roll: 1}", {"w": (4, 6)}),
    "rearrange": (
        "w -> w: {rearrange: {pattern: '(h two d) i -> (h d two) i', two: 2, d: 3}}",
        {"w": (12, 6)},
    ),
    "repeat": ("w -> w: {repeat: {times: 2, each: true}}", {"w": (4, 6)}),
    "permute_rope": ("q -> q: {permute_rope: {head_dim: 4, to: half}}", {"q": (8, 6)}),
    "split_qkv": (
        "qkv -> <p:q|k|v>: {split_qkv: {layout: per_group, heads: 4, kv_heads: 2}}",
        {"qkv": (16, 6)},
    ),
    "fuse_qkv": (
        "<p:q|k|v> -> qkv: {fuse_qkv: {layout: per_group, heads: 4, kv_heads: 2}}",
        {"q": (8, 6), "k": (4, 6), "v": (4, 6)},
    ),
    "cast": ("w -> w: {cast: BF16}", {"w": (4, 6)}),
    "scale": ("w -> w: {scale: 1 / 8}", {"w": (4, 6)}),
    "shift": ("w -> w: {shift: 1}", {"w": (4, 6)}),
    "sum": ("w -> w: {sum: 0}", {"w": (4, 6)}),
    "mean": ("w -> w: {mean: {dim: 1, keepdim: true}}", {"w": (4, 6)}),
    "add": ("<p:w|delta> -> w: add", {"w": (4, 6), "delta": (6,)}),
    "multiply": ("<p:w|gain> -> w: multiply", {"w": (4, 6), "gain": (4, 1)}),
    "divide": ("<p:w|gain> -> w: divide", {"w": (4, 6), "gain": (4, 1)}),
    "average": ("run<r>.w -> w: {average: [3, 1]}", {"run0.w": (4, 6), "run1.w": (4, 6)}),
    "noise": ("w -> w: {noise: {std: 1e-3, seed: 1}}", {"w": (4, 6)}),
    "adapt_input_channels": ("w -> w: {adapt_input_channels: 4}", {"w": (8, 3, 7, 7)}),
    "resize_pos_embed": ("p -> p: {resize_pos_embed: [8, 8]}", {"p": (1, 197, 8)}),
    "resample_patch_embed": ("w -> w: {resample_patch_embed: 14}", {"w": (8, 3, 16, 16)}),
    "resize_rel_pos_bias": ("b -> b: {resize_rel_pos_bias: [12, 12]}", {"b": (169, 4)}),
    "fuse_weight_norm": ("w_<p:g|v> -> w: fuse_weight_norm", {"w_g": (8, 1), "w_v": (8, 4)}),
    "fuse_spectral_norm": (
        "w_<p:orig|u|v> -> w: fuse_spectral_norm",
        {"w_orig": (8, 4, 3, 3), "w_u": (8,), "w_v": (36,)},
    ),
    "merge_lora": (
        "<p:w|A|B> -> w: {merge_lora: {alpha: 16}}",
        {"w": (8, 6), "A": (2, 6), "B": (8, 2)},
    ),
    "dequantize_blocks": (
        "{from: [w, w_scale_inv], to: w, ops: dequantize_blocks}",
        {"w": "F8_E4M3[300, 200]", "w_scale_inv": "F32[3, 2]"},
    ),
    "quantize_blocks": ("{from: w, to: [w, w_scale_inv], ops: quantize_blocks}", {"w": (300, 200)}),
}
"""For each op a rule, and the shapes of F32 tensors to run it on, or specs of others."""


def reference() -> str:
    """The generated text: a part for each op, in the order of the table of ops."""
    return "\n".join([BEGIN, "", *(line for op in OPS.values() for line in _part(op)), END])


def _part(op: type[Op]) -> Iterator[str]:
    yield f"#### `{op.name}`"
    yield ""
    yield (op.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", "\n").replace("|", "\\|")
    yield ""
    parameters = [_parameter(op, field) for field in msgspec.structs.fields(op)]
    if op.arity.value != "each":
        parameters.append("`over`: a capture")
    yield f"Parameters: {'; '.join(parameters) or 'none'}."
    yield ""
    yield "```text"
    yield from _run(*EXAMPLES[op.name])
    yield "```"
    yield ""


def _parameter(op: type[Op], field: msgspec.structs.FieldInfo) -> str:
    stands_alone = ", may stand alone" if field.name == op.first else ""
    default = "" if field.required or field.default is None else f" ({_text(field.default)})"
    return f"`{field.name}`: {_kind(field.type)}{default}{stands_alone}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(kind: Any) -> str:
    """A type in the words of a rule file."""
    plain = {int: "integer", float: "number", bool: "true or false", str: "text", type(None): ""}
    if kind in plain:
        return plain[kind]
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{word}`" for word in arguments)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        words = list(dict.fromkeys(filter(None, map(_kind, arguments))))
        return "number" if words == ["integer", "number"] else " or ".join(words)
    return "list"


def _spec(text: str) -> TensorSpec:
    """The spec that is written `F32[3, 4]`."""
    dtype, _, sizes = text.rstrip("]").partition("[")
    return TensorSpec(dtype, tuple(map(int, sizes.split(", "))))


def _run(rule: str, shapes: Mapping[str, Shape | str]) -> Iterator[str]:
    """The rule, and each key with its spec before and after."""
    specs = {
        key: _spec(shape) if isinstance(shape, str) else TensorSpec("F32", shape)
        for key, shape in shapes.items()
    }
    rules = parse_ruleset(f"format: 1\nrules:\n  - {rule}\n", "example.yaml")
    source = MemoryCheckpoint(contents=Contents(specs), has_values=False)
    plan = ckptsurgeon.plan(source, rules)
    before = [f"{key}  {spec}" for key, spec in specs.items()]
    after = [f"{key}  {output.spec}" for key, output in plan.outputs.items()]
    width = max(map(len, before))
    yield f"- {rule}"
    for number in range(max(len(before), len(after))):
        left = before[number] if number < len(before) else ""
        right = after[number] if number < len(after) else ""
        yield f"{left:{width}}  {'->' if right else '  '}  {right}".rstrip()


def page_with(text: str) -> str:
    """The page with the generated part replaced."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    return before + text + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page_with(reference()), encoding="utf-8")
