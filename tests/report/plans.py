"""Plans and checkpoints made by hand, for tests of what is said of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ckptsurgeon import plan
from ckptsurgeon.checkpoints.base import Contents
from ckptsurgeon.checkpoints.transfer import Extent
from ckptsurgeon.errors import Place
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.ops import build
from ckptsurgeon.plans.account import Finding, FindingKind, Note
from ckptsurgeon.plans.fates import Claim, Fate, Fates, KeyFates
from ckptsurgeon.plans.graph import Leaf, Made, Node, Operand, RuleInfo, call
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.plans.steps import Steps
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import TensorSpec

Specs = dict[str, TensorSpec]

BATCHNORM = ("weight", "bias", "running_mean", "running_var")


def resnet18(channels: int = 3, classes: int = 1000, width: int = 64) -> Specs:
    """The 122 keys of torchvision's ResNet-18."""
    specs = {"conv1.weight": TensorSpec("F32", (width, channels, 7, 7)), **batchnorm("bn1", width)}
    incoming = width
    for layer in range(1, 5):
        planes = width * 2 ** (layer - 1)
        for block in range(2):
            specs |= _block(f"layer{layer}.{block}", incoming, planes, block == 0 and layer > 1)
            incoming = planes
    specs["fc.weight"] = TensorSpec("F32", (classes, incoming))
    return {**specs, "fc.bias": TensorSpec("F32", (classes,))}


def batchnorm(module: str, size: int) -> Specs:
    specs = {f"{module}.{name}": TensorSpec("F32", (size,)) for name in BATCHNORM}
    return {**specs, f"{module}.num_batches_tracked": TensorSpec("I64", ())}


def _block(name: str, incoming: int, planes: int, shortcut: bool) -> Specs:
    specs: Specs = {}
    for number, size in ((1, incoming), (2, planes)):
        specs[f"{name}.conv{number}.weight"] = TensorSpec("F32", (planes, size, 3, 3))
        specs |= batchnorm(f"{name}.bn{number}", planes)
    if shortcut:
        specs[f"{name}.downsample.0.weight"] = TensorSpec("F32", (planes, incoming, 1, 1))
        specs |= batchnorm(f"{name}.downsample.1", planes)
    return specs


def renamed(specs: Specs, pattern: str, new: str | Callable[[re.Match[str]], str]) -> Specs:
    return {re.sub(pattern, new, key): spec for key, spec in specs.items()}


def view(
    path: str, specs: Specs, alias: str = "", has_values: bool = True, **contents: Any
) -> SourceView:
    return SourceView(
        alias=alias,
        path=path,
        format="torch",
        options=SourceOptions(),
        names={key: key for key in specs},
        specs=specs,
        contents=Contents(specs, **contents),
        has_values=has_values,
    )


def rule(text: str, line: int, steps: int = 1) -> RuleInfo:
    kind = text.partition(":")[0] if text.startswith(("keep:", "init:", "drop:")) else "move"
    return RuleInfo(0, line - 3, kind, text, Place("rules.yaml", line, 5, f"  - {text}"), steps)


Given = dict[str, tuple[Node, RuleInfo | None]]
"""What a plan made by hand gives: each key with its tensor and the rule behind it."""


def outputs(given: Given, wanted: Mapping[str, TensorSpec]) -> Outputs:
    nodes = {key: node for key, (node, _) in given.items()}
    return Outputs(nodes, {key: by for key, (_, by) in given.items()}, lambda k: k, wanted, {})


def fates(specs: Specs, claim: Callable[[str], Claim], alias: str = "") -> KeyFates:
    return KeyFates(0, alias, specs, {key: claim(key) for key in specs})


def leaf(key: str, spec: TensorSpec, source: str = "") -> Leaf:
    return Leaf(source, key, spec, key)


def compared(source: Specs, destination: Specs, has_values: bool = True) -> Plan:
    """The plan without rules: what has a name on both sides is copied, all else is a finding."""
    findings = []
    for key, spec in source.items():
        wanted = destination.get(key)
        if wanted is None:
            findings.append(Finding(FindingKind.UNUSED, key, found=spec))
        elif wanted.shape != spec.shape:
            took = (Operand("", key),)
            findings.append(Finding(FindingKind.MISMATCHED, key, spec, wanted, sources=took))
    findings += (
        Finding(FindingKind.MISSING, key, wanted=spec)
        for key, spec in destination.items()
        if key not in source
    )
    copied = {key: (leaf(key, spec), None) for key, spec in source.items() if key in destination}
    known = fates(source, lambda key: Claim(Fate.COPIED if key in destination else Fate.UNUSED))
    return Plan(
        (view("source.pt", source, root="state_dict", wrappers=("state_dict", "ema")),),
        view("template.safetensors", destination, has_values=has_values),
        outputs(copied, destination),
        Steps(()),
        Fates((known,)),
        (),
        tuple(findings),
    )


def surgery() -> Plan:
    """A clean plan with all that can become of a key: renamed, changed, kept, made, dropped."""
    source = renamed(resnet18(channels=4), "^", "module.")
    source |= {f"optimizer.state.{n}.step": TensorSpec("F32", ()) for n in range(60)}
    destination = {**resnet18(classes=10), "scale": TensorSpec("F16", (64,))}
    stem = rule("module.conv1.weight[:, :3] -> conv1.weight", 5)
    moved = rule("module.** -> **", 6, 119)
    head, made = rule("keep: fc.*", 7), rule("init: {to: scale, fill: ones}", 8)
    dropped = rule("drop: optimizer.**", 9)
    given: Given = {}
    for key, spec in destination.items():
        old = f"module.{key}"
        if key == "conv1.weight":
            cut = build("slice", {"index": [[None, None, None], [None, 3, None]]})
            given[key] = (call(cut, leaf(old, source[old]), rule=stem)[0], stem)
        elif key.startswith("fc."):
            given[key] = (leaf(key, spec, "dst"), head)
        elif key == "scale":
            given[key] = (Made(spec, key, "normal", 0.02, 0), made)
        else:
            given[key] = (leaf(old, spec), moved)

    def claim(key: str) -> Claim:
        if key == "module.conv1.weight":
            return Claim(Fate.TAKEN, stem, untaken=0.25)
        if key.startswith(("optimizer.", "module.fc.")):
            return Claim(Fate.DROPPED, dropped if key.startswith("optimizer.") else head)
        return Claim(Fate.TAKEN, moved)

    return Plan(
        (view("source.pt", source, root="state_dict"),),
        view("template.safetensors", destination),
        outputs(given, destination),
        Steps(()),
        Fates((fates(source, claim),)),
        (stem, moved, head, made, dropped),
        notes=(
            Note("wrapper", "source: tensors are read from `state_dict`"),
            Note("untaken", "25.0% of F32[64, 4, 7, 7] is taken by no rule", "conv1.weight", stem),
            *(
                Note("dtype", "F32 where the destination has F16", k)
                for k in list(destination)[1:9]
            ),
        ),
        ties={"fc.bias": "fc.weight"},
    )


def experts() -> Plan:
    """Experts stacked in every layer, with a destination that is shapes alone and two sources."""
    source = {
        f"layers.{i}.experts.{e}.w{n}.weight": TensorSpec("BF16", (8, 4))
        for i in range(6)
        for e in range(8)
        for n in (1, 3)
    }
    extra = {f"vision.{i}.weight": TensorSpec("F32", (4, 4)) for i in range(3)}
    stacked = rule("layers.<i>.experts.<e>.w<n:1|3>.weight -> …", 4, 6)
    looked = rule("v::vision.<i>.weight -> tower.<i+1>.weight: cast", 5, 3)
    given: Given = {}
    for i in range(6):
        lines = [
            [
                leaf(key, spec)
                for key, spec in source.items()
                if key.startswith(f"layers.{i}.") and f"w{n}." in key
            ]
            for n in (1, 3)
        ]
        stacks = [call(build("stack", {}), *line)[0] for line in lines]
        joined = call(build("concat", {"dim": 1}), *stacks)[0]
        given[f"layers.{i}.experts.gate_up_proj"] = (joined, stacked)
    for i, (key, spec) in enumerate(extra.items()):
        narrowed = call(build("cast", {"dtype": "BF16"}), leaf(key, spec, "v"))[0]
        given[f"tower.{i + 1}.weight"] = (narrowed, looked)
    wanted = {key: node.spec for key, (node, _) in given.items()}
    return Plan(
        (view("moe", source), view("clip.pt", extra, "v")),
        view("spec.json", wanted, has_values=False),
        outputs(given, wanted),
        Steps(()),
        Fates(
            (
                fates(source, lambda _: Claim(Fate.TAKEN, stacked)),
                fates(extra, lambda _: Claim(Fate.TAKEN, looked), "v"),
            )
        ),
        (stacked, looked),
    )


def parts_and_folds() -> Plan:
    """What the planner makes of layers of which slices are dropped, and BatchNorms folded."""
    source: dict[str, Any] = {}
    for layer in range(3):
        source[f"l.{layer}.qkv"] = np.zeros((6, 2), np.float32)
        source[f"l.{layer}.conv.weight"] = np.zeros((2, 2, 1, 1), np.float32)
        source |= {f"l.{layer}.bn.{name}": np.zeros(2, np.float32) for name in BATCHNORM}
        source[f"l.{layer}.scale"] = np.zeros(2, np.float32)
    rules: list[Any] = [
        "l.<i>.qkv[:2] -> l.<i>.q",
        {"drop": "l.<i>.qkv[2:]"},
        {"fold_batchnorm": {"conv": "l.<i>.conv", "batchnorm": "l.<i>.bn"}},
        {"l.<i>.scale -> l.<i>.scale": [{"scale": {"number": 2}}, {"scale": {"number": 3}}]},
    ]
    return plan(source, rules)


HOSTILE = (
    "\x1b[2J\x1b[31mred\x1b[0m.weight",
    "new\nline\r.weight",
    "\u202egnp.evil\u202c.weight",
    "[red]markup[/red].[link=http://x]w",
    "null\x00byte\x9b31m",
    "zero\u200bwidth\u2028sep\u00a0.w",
    "\ud800lone",
    "back\\slash.w",
    "a..b",
    "* #: {x}, 'q' \"d\"",
    "x -> y",
    "long" * 5000,
    "8" * 400 + ".weight",
    ".".join("0123456789" * 30),
)
"""Keys that a terminal, rich, YAML or a pattern would act upon."""


@dataclass(frozen=True)
class Inert:
    """A checkpoint that was read already."""

    contents: Contents
    path: Path = Path("no-such-file.pt")
    format: str = "torch"
    has_values: bool = True
    extents: Mapping[str, Extent] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def extent(self, key: str) -> Extent | None:
        return self.extents.get(key)

    def read(self, key: str) -> Any:
        raise KeyError(key)


def allowed(plan: Plan) -> Plan:
    """The plan with all of its findings allowed."""
    findings = (msgspec.structs.replace(one, allowed=True) for one in plan.findings)
    return replace(plan, findings=tuple(findings))


RESNET = resnet18()
STEM = compared(resnet18(channels=4, classes=10), RESNET)

PLANS = {
    "surgery": surgery(),
    "module_prefix": compared(renamed(RESNET, "^", "module."), RESNET),
    "stem_and_head": STEM,
    "stem_and_head_allowed": allowed(STEM),
    "no_destination": replace(compared(RESNET, RESNET), destination=None),
    "experts": experts(),
    "parts_and_folds": parts_and_folds(),
}
"""Plans of every kind, by name."""
