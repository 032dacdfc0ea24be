"""Rule files for DeepSeek-V3's names as people write them, one for each kind of rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.headers import ATTENTION, DENSE, EXPERT, EXPERTS, GATE, LAYER, SHARED, TOP, Spec

SUFFIX = "<t:weight|weight_scale_inv>"
MAP = "    map: {t: {weight: weight, weight_scale_inv: scale}}\n"


def rules(kind: str) -> list[str]:
    """All rules of a kind as text; those for experts, of which most keys are, come last."""
    return [*_rest(GATE if kind != "pick" else {}), *EXPERT_RULES[kind]]


def rule_file(kind: str) -> str:
    """The text of a rule file."""
    unmatched = "drop" if kind == "pick" else "error"
    return "".join((f"format: 1\nunmatched: {unmatched}\nrules:\n", *rules(kind)))


def _rest(gate: Mapping[str, tuple[str, Spec]]) -> Iterator[str]:
    yield from (f"  - {old} -> {new}\n" for old, (new, _) in TOP.items())
    for old, (new, _) in {**LAYER, **gate}.items():
        yield f"  - model.layers.<i>.{old} -> layers.<i>.{new}\n"
    for old, (new, _) in {**ATTENTION, **DENSE, **SHARED}.items():
        yield _mapped(old, f"layers.<i>.{new}")


def _mapped(old: str, new: str, more: str = "") -> str:
    head = f"  - from: model.layers.<i>.{old}.{SUFFIX}\n    to: {new}.<t>\n{MAP}"
    return head + f"    {more}\n" * bool(more)


def _experts(more: str = "", prefix: str = "") -> list[str]:
    return [_mapped(old, f"{prefix}layers.<i>.{new}", more) for old, (new, _) in EXPERT.items()]


def _sliced(arrows: str) -> list[str]:
    """Rules of arrows whose sides begin in a layer: `<old> -> <new>`, one a line."""
    sides = (line.split(" -> ") for line in arrows.split("\n") if line)
    old, new = "model.layers.<i>.mlp.experts.<e>.", "layers.<i>.ffn.experts.<e>."
    return [f'  - "{old}{one} -> {new}{other}"\n' for one, other in sides]


JOINED = """\
gate_proj.weight -> w13.weight[:2048]
gate_proj.weight_scale_inv -> w13.scale[:16]
up_proj.weight -> w13.weight[2048:]
up_proj.weight_scale_inv -> w13.scale[16:]
down_proj.weight -> w2.weight
down_proj.weight_scale_inv -> w2.scale
"""
HALVED = """\
gate_proj.weight[:1024] -> w1.weight
gate_proj.weight_scale_inv[:8] -> w1.scale
up_proj.weight[:1024] -> w3.weight
up_proj.weight_scale_inv[:8] -> w3.scale
down_proj.weight[:, :1024] -> w2.weight
down_proj.weight_scale_inv[:, :8] -> w2.scale
"""
PICKED = [
    "  - model.layers.<i>.mlp.gate.weight[::2] -> layers.<i>.ffn.gate.weight\n",
    "  - model.layers.<i>.mlp.gate.e_score_correction_bias[::2] -> layers.<i>.ffn.gate.bias\n",
    *_experts(f"pick: {{e: {list(range(0, EXPERTS, 2))}}}"),
]
STACKED = [
    _mapped(old, f"layers.<i>.{new.replace('.<e>', '')}", "ops: [stack: {over: e}]")
    for old, (new, _) in EXPERT.items()
]

EXPERT_RULES = {
    "rename": _experts(),
    "where": [*_experts("where: e < 128", "rank0."), *_experts("where: e >= 128", "rank1.")],
    "pick": PICKED,
    "target slices": _sliced(JOINED),
    "source slices": _sliced(HALVED),
    "transpose": _experts("ops: [transpose]"),
    "stack": STACKED,
}
"""By kind: experts under new names, dealt to two ranks, every other one kept, two matrices put into
one, half of each taken, each transposed, and all of a layer stacked."""
