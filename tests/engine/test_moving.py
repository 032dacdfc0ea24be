"""The engine gives the bytes that ops applied to whole tensors give, whatever way it takes.

Ops that compute are here as far as they compute item by item: those have one right answer each.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import ckptsurgeon
from ckptsurgeon.checkpoints.base import Layout
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.output import open_writer
from ckptsurgeon.engine.mover import Filling, Mover
from ckptsurgeon.engine.reading import NodeReader
from ckptsurgeon.plans.lowering import Lowering

Array = np.ndarray[Any, Any]


def moved(source: Path, target: Path, rules: Any, **options: Any) -> dict[str, Array]:
    """The tensors that the engine writes, checked against `apply` of the same rules."""
    plan = ckptsurgeon.plan(str(source), rules)
    layout = Layout({key: output.spec for key, output in plan.outputs.items()}, plan.ties)
    mover = Mover({"": open_checkpoint(source)}, **options)
    with open_writer(target, layout, force=True) as writer:
        mover.move(Filling(plan, writer))
    written = open_checkpoint(target)
    tensors, _ = ckptsurgeon.apply(load_file(source), rules)
    assert list(tensors) == list(plan.outputs)
    for key, tensor in tensors.items():
        assert written.contents.specs[key].shape == tensor.shape, key
        assert written.read(key).tobytes() == np.ascontiguousarray(tensor).tobytes(), key
    return tensors


@pytest.fixture
def source(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    tensors: dict[str, Array] = {
        "wide": random.standard_normal((300, 1400)).astype("float32"),
        "cube": random.standard_normal((6, 130, 310)).astype("float32"),
        "kernels": random.standard_normal((90, 70, 3, 3)).astype("float32"),
        "qkv": random.standard_normal((3 * 8 * 16, 200)).astype("float32"),
        "half": random.standard_normal((100, 90)).astype("float16"),
        "bytes": random.integers(0, 255, (70, 3), "uint8"),
        "scalar": np.array(3.5, "float32"),
        "empty": np.zeros((0, 4), "float32"),
    }
    for expert in range(4):
        for name in ("w1", "w3"):
            shape = (160, 130)
            values = random.standard_normal(shape).astype("float32")
            tensors[f"experts.{expert}.{name}.weight"] = values
    path = tmp_path / "source.safetensors"
    save_file(tensors, path)
    return path


RULES: dict[str, list[Any]] = {
    "nothing": [],
    "rename": ["wide -> narrow"],
    "rows": ["wide[20:200] -> rows"],
    "columns": ["wide[:, 100:1100] -> columns"],
    "steps": ["wide[::3, 5::7] -> steps"],
    "transpose": [{"wide -> turned": "transpose"}],
    "permute": [{"cube -> turned": {"permute": [2, 0, 1]}}],
    "kernels": [{"kernels -> turned": {"permute": [2, 3, 1, 0]}}],
    "flip": [{"cube -> turned": [{"flip": 2}, {"roll": {"shift": 5, "dim": 1}}]}],
    "cast": [{"wide -> low": {"cast": "BF16"}}, {"half -> high": {"cast": "F32"}}],
    "transpose and cast": [{"wide -> low": ["transpose", {"cast": "F16"}]}],
    "experts": [
        {
            "experts.<e>.w<n:1|3>.weight -> gate_up": [
                {"stack": {"over": "e"}},
                {"concat": {"over": "n", "dim": 1}},
            ]
        }
    ],
    "experts by columns": [
        {
            "experts.<e>.w<n:1|3>.weight -> gate_up": [
                {"stack": {"over": "e"}},
                {"concat": {"over": "n", "dim": 2}},
            ]
        }
    ],
    "experts turned": [
        {"experts.<e>.w<n:1|3>.weight -> t.<n>": ["transpose", {"stack": {"over": "e"}}]}
    ],
    "qkv": [{"qkv -> a.<p:q|k|v>": {"split_qkv": {"layout": "per_head", "heads": 8}}}],
    "qkv, megatron": [{"qkv -> a.<p:q|k|v>": {"split_qkv": {"layout": "megatron_v1", "heads": 8}}}],
    "layout": [
        {
            "qkv -> qkv": [
                {"split_qkv": {"layout": "per_head", "heads": 8, "over": "p"}},
                {"concat": {"over": "p"}},
            ]
        }
    ],
    "rope": [{"qkv -> qkv": {"permute_rope": {"head_dim": 16, "to": "half"}}}],
    "pad": [{"wide -> wide": [{"pad": {"by": 100, "dim": 1, "value": 1.5}}, {"cast": "F16"}]}],
    "take": [{"wide -> wide": {"take": [5, 6, 7, 2, 299]}}],
    "repeat": [
        {"bytes -> bytes": [{"repeat": 3}, {"repeat": {"times": 2, "dim": 1, "each": True}}]}
    ],
    "rearrange": [{"cube -> c": {"rearrange": {"pattern": "a (b c) d -> (a c) d b", "c": 13}}}],
    "parts": ["wide[:100] -> whole[200:300]", "wide[100:] -> whole[:200]"],
    "item by item": [
        {"cube -> cube": [{"scale": "1 / 3"}, {"transpose": [0, 2]}]},
        {"from": ["experts.0.w1.weight", "experts.1.w1.weight"], "to": "a", "ops": ["average"]},
    ],
    "same": [{"from": ["wide", "wide"], "to": "one", "ops": ["same"]}],
    "init": [
        {"init": {"to": "z", "fill": "zeros", "shape": [3, 4]}},
        {"init": {"to": "n", "fill": "normal", "shape": [300]}},
        {"init": {"to": "o", "fill": 0.1, "shape": [70, 90], "dtype": "BF16"}},
    ],
}


@pytest.mark.parametrize("name", list(RULES))
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_what_is_written_is_what_apply_gives(
    source: Path, tmp_path: Path, name: str, suffix: str
) -> None:
    moved(source, tmp_path / f"out.{suffix}", RULES[name])


@pytest.mark.parametrize("name", list(RULES))
def test_small_blocks_and_no_room_to_hold_tensors(
    source: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptsurgeon.engine.blocks.BLOCK", 5000)
    moved(source, tmp_path / "out.safetensors", RULES[name], memory=20_000, jobs=3)
    monkeypatch.setattr("ckptsurgeon.engine.runs.LEAST_RUN", 100)
    moved(source, tmp_path / "out.safetensors", RULES[name], memory=20_000, jobs=1)


def test_digests_are_taken_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items of less than a byte are moved as they lie, and never held whole."""
    monkeypatch.setattr("ckptsurgeon.engine.blocks.BLOCK", 100)
    path, data = tmp_path / "a.safetensors", bytes(range(256)) * 2
    parts = {"a": data, "b": data, "c": data[1:] + b"\0"}
    header = {
        key: {"dtype": "F4", "shape": [1024], "data_offsets": [512 * at, 512 * at + 512]}
        for at, key in enumerate(parts)
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts.values()))
    checkpoint = open_checkpoint(path)
    nodes = ckptsurgeon.plan(str(path), []).outputs.nodes
    with NodeReader({"": checkpoint}) as reader:
        digests = {key: reader.digest(nodes[key]) for key in parts}
    assert digests["a"] == digests["b"] == hashlib.blake2b(data).digest() != digests["c"]


@pytest.mark.parametrize(("most", "in_blocks"), [(10_000, True), (1, False)])
def test_what_parts_leave_of_the_destination_is_moved_in_blocks(
    source: Path, tmp_path: Path, most: int, in_blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is cut into too many pieces."""
    monkeypatch.setattr("ckptsurgeon.ops.regions.MOST_PIECES", most)
    own = np.random.default_rng(1).standard_normal((300, 1400)).astype("float32")
    into = tmp_path / "into.safetensors"
    save_file({"wide": own}, into)
    rules = ["wide[5:20, 7:9] -> wide[1:16, :2]", "wide[200, 1000:] -> wide[-1, 100:500]"]
    plan = ckptsurgeon.plan(str(source), rules, into=str(into))
    assert (Lowering().mosaic(plan.outputs["wide"].node) is not None) == in_blocks
    reader = NodeReader({"": open_checkpoint(source), "dst": open_checkpoint(into)})
    wide = load_file(source)["wide"]
    own[1:16, :2], own[-1, 100:500] = wide[5:20, 7:9], wide[200, 1000:]
    assert reader.digest(plan.outputs.nodes["wide"]) == hashlib.blake2b(own.tobytes()).digest()


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize(
    "names", [("columns", "permute", "experts by columns", "qkv"), ("item by item",)]
)
def test_the_bytes_are_the_same_for_any_number_of_jobs(
    source: Path, tmp_path: Path, names: tuple[str, ...], suffix: str
) -> None:
    rules = [rule for name in names for rule in RULES[name]]
    written = set()
    for jobs in (1, 2, 8):
        target = tmp_path / f"out{jobs}.{suffix}"
        moved(source, target, rules, jobs=jobs)
        written.add(target.read_bytes())
    assert len(written) == 1
