"""Weights that are told in parts: weight norm's g and v, spectral norm's, LoRA beside a layer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step, given_by, taken_by
from ckptsurgeon.suggesting.folds import modules_of
from ckptsurgeon.suggesting.units import Specs

LORA = re.compile(r"(?P<module>.+)\.lora_(?P<part>A|B|down|up)(?P<rest>\..+)?")
"""Keys of low-rank matrices beside a layer, as PEFT and kohya call them."""

BASE = ".base_layer"
"""What PEFT calls the layer that they are added to."""

SPECTRAL = "spectral norm: the weight is weight_orig / sigma; save it from the module itself"

PRUNED = "pruned: the weight is weight_orig * weight_mask; save it from the module itself"

QUANTIZED = ("F8", "F4", "F6", "I8", "U8", "I32")
"""The dtypes of values that a scale may go with."""

SCALES = ("_scale_inv", "_scale", "_scales", ".absmax")
"""What stands behind a weight's key in that of its scale: DeepSeek, vLLM, bitsandbytes."""

SCALES_OF_ALL = ("SCB", "scales")
"""Scales that have names of their own in a module: LLM.int8(), GPTQ and AWQ."""


def lora_modules(source: Specs) -> dict[str, dict[str, str]]:
    """The layers that have low-rank matrices beside them, with these by part."""
    found: dict[str, dict[str, str]] = {}
    for key in source:
        match = LORA.fullmatch(key)
        if match is not None:
            part = {"down": "A", "up": "B"}.get(match["part"], match["part"])
            found.setdefault(match["module"], {})[part] = key
    return found


def doubt_parts(steps: Sequence[Step], source: Specs) -> Iterator[Step]:
    """The steps, those open that give a weight without what LoRA adds to it, or its scale."""
    matrices = lora_modules(source)
    used = taken_by(steps)
    for step in steps:
        own = step.takes[0] if step.takes and step.gives else ""
        told = _beside_lora(own, matrices, used) or _beside_scale(own, source, used)
        yield replace(step, degree=Degree.OPEN, remark=told) if told else step


def _beside_lora(own: str, matrices: Mapping[str, Mapping[str, str]], used: Collection[str]) -> str:
    module, _, leaf = own.rpartition(".")
    parts = matrices.get(module.removesuffix(BASE), {})
    if leaf != "weight" or len(parts) != 2 or any(part in used for part in parts.values()):
        return ""
    return "LoRA beside it: merge_lora of weight, lora_A, lora_B with its alpha"


def _beside_scale(own: str, source: Specs, used: Collection[str]) -> str:
    if own not in source or not source[own].dtype.startswith(QUANTIZED):
        return ""
    module = own.rpartition(".")[0]
    beside = (*(f"{own}{end}" for end in SCALES), *(f"{module}.{name}" for name in SCALES_OF_ALL))
    scale = next((one for one in beside if one in source and one not in used), "")
    return f"quantized: {scale.rpartition('.')[2]} goes with its values" if scale else ""


def fuse_weight_norms(steps: Sequence[Step], source: Specs, target: Specs) -> Iterator[Step]:
    """A step for each weight of the target that the source has as g and v, by its module."""
    given = given_by(steps)
    used = taken_by(steps)
    wanted = modules_of({key: spec for key, spec in target.items() if key not in given})
    ways = _module_ways(steps)
    for name, module in modules_of(source).items():
        parts = module.get("g", ""), module.get("v", "")
        if not all(parts) or "orig" in module or not used.isdisjoint(parts):
            continue
        to = wanted.get(ways.get(name, name), {}).get("weight")
        if to is None or source[parts[1]].shape != target[to].shape:
            continue
        dims = [at for at, size in enumerate(source[parts[0]].shape) if size != 1]
        dim = (("dim", dims[0]),) if dims and dims[0] else ()
        degree = Degree.SURE if len(dims) == 1 else Degree.LIKELY
        call = Call("fuse_weight_norm", dim, 0)
        yield Step(
            Grid(parts, (2,)),
            Grid((to,)),
            (call,),
            degree=degree,
            remark="" if dims else "g has no dims",
        )


def _module_ways(steps: Sequence[Step]) -> Mapping[str, str]:
    """Where modules go, as steps for their biases say."""
    return {
        step.takes[0].rpartition(".")[0]: step.gives[0].rpartition(".")[0]
        for step in steps
        if step.is_move
    }


def ask_parametrized(source: Specs, target: Specs) -> dict[str, str]:
    """The target's weights that the source has under spectral norm, or pruned: what is to be done.

    torch calls both `weight_orig`; a mask stands beside what is pruned.
    """
    return {
        key: PRUNED if f"{key}_mask" in source else SPECTRAL
        for key in target
        if key.endswith("weight") and f"{key}_orig" in source
    }
