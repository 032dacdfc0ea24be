"""Weights that are told in parts: weight norm's g and v, spectral norm's, LoRA beside a layer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step, given_by, taken_by
from ckptsurgeon.keys import prefixes_of
from ckptsurgeon.plans.scales import is_quantized
from ckptsurgeon.suggesting.folds import modules_of
from ckptsurgeon.suggesting.leftovers import is_buffer
from ckptsurgeon.suggesting.names import LEAVES
from ckptsurgeon.suggesting.quantized import without_scale
from ckptsurgeon.suggesting.units import Specs

LORA = re.compile(r"(?P<module>.+)\.lora_(?P<part>A|B|down|up)(?P<rest>\..+)?")
"""Keys of low-rank matrices beside a layer, as PEFT and kohya call them."""

BASE = ".base_layer"
"""What PEFT calls the layer that they are added to."""

SPECTRAL = "spectral norm: fuse_spectral_norm of weight_orig, weight_u, weight_v"

PRUNED = "pruned: the weight is weight_orig * weight_mask; save it from the module itself"


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
    """The steps, those doubted that give a weight without what stands beside it in its module.

    Open where that is LoRA, or goes with quantized values.
    """
    matrices = lora_modules(source)
    used = taken_by(steps)
    strangers = _Strangers(source, used)
    for step in steps:
        own = step.takes[0] if step.takes and step.gives and step.unit is None else ""
        if told := _beside_lora(own, matrices, used):
            yield replace(step, degree=Degree.OPEN, remark=told)
        elif own and _is_raw(step, source) and (beside := strangers.behind(own)):
            yield without_scale(step, f"{beside} goes with its values")
        elif step.degree >= Degree.OPEN:
            yield step
        else:
            beside = strangers.beside(own)
            told = f"{beside} stands beside it, and nothing takes it"
            yield step.doubted(told if beside else "")


def _is_raw(step: Step, source: Specs) -> bool:
    """Whether a step gives quantized values as they are."""
    is_read = any(call.op == "dequantize_blocks" for call in step.calls)
    return is_quantized(source[step.takes[0]]) and not is_read


class _Strangers:
    """The tensors that nothing takes, by the modules and the tensors that they are below.

    What is usual in a module is none of these for the module itself.
    """

    def __init__(self, source: Specs, used: Collection[str]) -> None:
        self._below: dict[str, str] = {}
        self._behind: dict[str, str] = {}
        for key in source:
            if key in used or is_buffer(key, source[key]):
                continue
            module, _, leaf = key.rpartition(".")
            is_usual = leaf in LEAVES and leaf != "scale"
            for one in prefixes_of(key):
                if not (is_usual and one == module):
                    self._below.setdefault(one, key)
            for cut in re.finditer("_", leaf):
                self._behind.setdefault(f"{module}.{leaf[: cut.start()]}".lstrip("."), leaf)

    def beside(self, own: str) -> str:
        """What is in the module of a weight beside it, or below a tensor; else empty."""
        module, _, leaf = own.rpartition(".")
        if own in self._below:
            return self._below[own][len(module) + 1 :]
        is_weight = LEAVES.get(leaf) == "weight" and module
        return self._below.get(module, "")[len(module) + 1 :] if is_weight else ""

    def behind(self, own: str) -> str:
        """What is beside a weight, or has its name in front of another word; else empty."""
        return self.beside(own) or self._behind.get(own, "")


def _beside_lora(own: str, matrices: Mapping[str, Mapping[str, str]], used: Collection[str]) -> str:
    module, _, leaf = own.rpartition(".")
    parts = matrices.get(module.removesuffix(BASE), {})
    if leaf != "weight" or len(parts) != 2 or any(part in used for part in parts.values()):
        return ""
    return "LoRA beside it: merge_lora of weight, lora_A, lora_B with its alpha"


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
