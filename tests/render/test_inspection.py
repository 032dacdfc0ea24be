"""What `inspect` shows of a checkpoint, held against golden files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report.plans import HOSTILE, Inert, Specs, resnet18

from ckptsurgeon.checkpoints.base import Checkpoint, Contents, Opaque
from ckptsurgeon.render.inspection import render_inspection
from ckptsurgeon.render.inspection_json import inspection_json
from ckptsurgeon.render.tree import Branch, grow_tree
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.specs import TensorSpec

GOLDEN = Path(__file__).parent / "golden"


def vit(depth: int = 12) -> Specs:
    specs = {"cls_token": TensorSpec("BF16", (1, 1, 768))}
    for n in range(depth):
        for name in ("norm1", "norm2"):
            specs |= {
                f"blocks.{n}.{name}.{w}": TensorSpec("F32", (768,)) for w in ("weight", "bias")
            }
        specs[f"blocks.{n}.attn.qkv.weight"] = TensorSpec("BF16", (2304, 768))
        specs[f"blocks.{n}.attn.qkv.bias"] = TensorSpec("BF16", (2304,))
    return specs | {"head.weight": TensorSpec("F32", (10, 768))}


CHECKPOINTS = {
    "inspect_vit": Inert(
        Contents(
            vit(),
            aliases=(("head.weight", "cls_token"),),
            metadata={"format": "pt"},
            module_metadata={"": {"version": 1}},
            opaque=tuple(Opaque(f"args.{n}", "int", str(n)) for n in range(9)),
            root="model",
            wrappers=("model", "ema", "optimizer"),
            notes=("2 entries are no tensors",),
        )
    ),
    "inspect_resnet": Inert(Contents(resnet18()), has_values=False),
    "inspect_empty": Inert(Contents({})),
}


def look(checkpoint: Checkpoint) -> Inspection:
    return Inspection(checkpoint, checkpoint.contents.specs)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_golden(name: str) -> None:
    text = render_inspection(look(CHECKPOINTS[name]), width=100, color=False)
    assert text == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_verbose_lists_every_tensor(name: str) -> None:
    checkpoint = CHECKPOINTS[name]
    text = render_inspection(look(checkpoint), width=100, color=False, verbose=True)
    for key, spec in checkpoint.contents.specs.items():
        assert any(line.split()[:1] == [key] and str(spec) in line for line in text.splitlines())


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_json_holds_everything(name: str) -> None:
    contents = CHECKPOINTS[name].contents
    told = json.loads("".join(inspection_json(look(CHECKPOINTS[name]))))
    assert told["version"] == 1
    assert told["count"] == len(contents.specs)
    assert told["opaque"] == [
        {"key": o.key, "kind": o.kind, "text": o.text} for o in contents.opaque
    ]
    assert {key: (one["dtype"], tuple(one["shape"])) for key, one in told["tensors"].items()} == {
        key: (spec.dtype, spec.shape) for key, spec in contents.specs.items()
    }


def expand(branch: Branch, path: tuple[str, ...] = ()) -> Specs:
    """The tensors that a tree tells of."""
    specs: Specs = {}
    for name in branch.names:
        here = (*path, name) if name or path else path
        if branch.spec:
            specs[".".join(here)] = branch.spec
        for child in branch.branches:
            specs |= expand(child, here)
    return specs


@pytest.mark.parametrize(
    "specs", [vit(), resnet18(), vit() | {"blocks.3.extra": TensorSpec("U8", ())}]
)
def test_a_tree_tells_exactly_the_tensors(specs: Specs) -> None:
    tree = grow_tree(specs)
    assert expand(tree) == specs
    assert tree.tensors == len(specs)
    assert tree.nbytes == sum(spec.nbytes for spec in specs.values())


def test_hostile_names_never_reach_the_output() -> None:
    specs = {key: TensorSpec("F32", (1,)) for key in HOSTILE}
    contents = Contents(
        specs,
        aliases=(HOSTILE,),
        metadata=dict.fromkeys(HOSTILE, HOSTILE[0]),
        opaque=tuple(Opaque(key, key, key) for key in HOSTILE),
        root=HOSTILE[0],
        wrappers=HOSTILE,
        notes=HOSTILE,
    )
    for verbose in (False, True):
        text = render_inspection(
            look(Inert(contents, Path("\x1b[2J"))), width=100, color=False, verbose=verbose
        )
        assert all(line.isprintable() for line in text.splitlines())
    assert "".join(inspection_json(look(Inert(contents)))).isascii()


def test_a_deep_key_ends() -> None:
    specs = {".".join("a" * 50_000): TensorSpec("F32", (1,))}
    assert render_inspection(look(Inert(Contents(specs))), width=100, color=False)
