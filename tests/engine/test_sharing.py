"""What several tensors share is computed once, for one output or many, as far as memory allows."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import ckptsurgeon
from ckptsurgeon.checkpoints.memory import checkpoint_of
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.writing import target as target_module
from ckptsurgeon.checkpoints.writing.open_files import MOST_OPEN
from ckptsurgeon.engine import evaluation
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.engine.mover import Job, Mover
from ckptsurgeon.engine.needs import whole_bytes
from ckptsurgeon.engine.sharing import group_sharing, order_by_sharing
from ckptsurgeon.errors import FindingsError, OutputError
from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.elementwise import Add, Scale
from ckptsurgeon.ops.joining import Concat, Split
from ckptsurgeon.plans.graph import Leaf, Node, call, nbytes_of
from ckptsurgeon.specs import TensorSpec

Array = np.ndarray[Any, Any]

LAYERS, RANKS = 5, 40
"""More outputs than files may be open."""

SHAPE = (2 * RANKS, 60)

NBYTES = 4 * 2 * RANKS * 60

TO = "l.<i>.w -> rank<r>::l.<i>.w"

SPLIT = {"split": {"parts": RANKS}}

OF_TWO = {
    "from": ["l.<i>.w", "l.<i>.v"],
    "to": "rank<r>_<c>::l.<i>.w",
    "ops": [
        "add",
        {"split": {"dim": 1, "parts": 10, "over": "r"}},
        {"scale": 0.3},
        {"copies": {"times": 4, "over": "c"}},
    ],
}

RULES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "scaled, then split": (
        {TO: [{"scale": 1.7}, SPLIT]},
        {"Scale": LAYERS, "Split": LAYERS},
    ),
    "split, then scaled": (
        {TO: [SPLIT, {"scale": 1.7}]},
        {"Split": LAYERS, "Scale": LAYERS * RANKS},
    ),
    "of two, each piece for four": (
        OF_TWO,
        {"Add": LAYERS, "Split": LAYERS, "Scale": LAYERS * 10},
    ),
    "for all alike": ({TO: [{"sum": 0}, {"copies": RANKS}]}, {"Sum": LAYERS}),
}
"""A rule that gives each output a part of every layer, and how often its ops run."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    drawn = np.random.default_rng(0)
    keys = [f"l.{layer}.{name}" for layer in range(LAYERS) for name in "wv"]
    path = tmp_path / "source.safetensors"
    save_file({key: drawn.standard_normal(SHAPE, np.float32) for key in keys}, path)
    return path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each kind of op runs."""
    real, counted = evaluation.run_op, Counter[str]()

    def run(op: Op, *more: Any) -> Any:
        counted[type(op).__name__] += 1
        return real(op, *more)

    monkeypatch.setattr(evaluation, "run_op", run)
    return counted


def write(source: Path, rule: dict[str, Any], suffix: str, **options: Any) -> dict[str, Path]:
    """The files of all outputs by alias."""
    plan = ckptsurgeon.plan(source, [rule], allow=["unused"])
    paths = {one.alias: source.parent / "out" / f"{one.alias}{suffix}" for one in plan.files}
    ckptsurgeon.transplant(source, dict(paths), [rule], allow=["unused"], **options)
    return paths


@pytest.mark.parametrize("memory", [None, 3 * NBYTES])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", "/"])
@pytest.mark.parametrize("name", RULES)
def test_an_op_runs_once_for_all_outputs(
    name: str, suffix: str, memory: int | None, source: Path, ran: Counter[str]
) -> None:
    """With room for all, or for what one tensor takes while it is made."""
    rule, wanted = RULES[name]
    tensors, _ = ckptsurgeon.apply(load_file(source), [rule], allow=["unused"])
    ran.clear()
    paths = write(source, rule, suffix, memory=memory)
    assert ran == wanted
    assert len(paths) == RANKS
    for alias, path in paths.items():
        written = open_checkpoint(path, one_shard=suffix != "/")
        assert len(written.contents.specs) == LAYERS
        for key in written.contents.specs:
            tensor = np.ascontiguousarray(tensors[f"{alias}::{key}"])
            assert written.read(key).tobytes() == tensor.tobytes(), (alias, key)


def test_many_outputs_take_few_descriptors(source: Path) -> None:
    count = len(os.listdir("/proc/self/fd"))
    seen: list[int] = []

    def progress(done: int, total: int, key: str) -> None:
        seen.append(len(os.listdir("/proc/self/fd")) - count)

    write(source, RULES["scaled, then split"][0], ".pt", progress=progress)
    assert len(seen) == LAYERS * RANKS
    assert max(seen) <= MOST_OPEN + 4


def test_a_full_disk_is_told_of_the_output_that_it_met(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = target_module.write_bytes
    piece = (load_file(source)["l.0.w"][:2] * np.float32(1.7)).tobytes()

    def write_bytes(descriptor: int, offset: int, data: Any) -> None:
        if bytes(data) == piece:
            raise OSError(errno.ENOSPC, "told by the disk")
        real(descriptor, offset, data)

    monkeypatch.setattr(target_module, "write_bytes", write_bytes)
    with pytest.raises(OutputError, match=r"/out/rank0\.pt: the disk is full; nothing was left"):
        write(source, RULES["scaled, then split"][0], ".pt")
    assert [path.name for path in source.parent.iterdir()] == [source.name]


def test_what_is_stopped_computes_no_more(source: Path, ran: Counter[str]) -> None:
    def stop(done: int, total: int, key: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(source, RULES["scaled, then split"][0], ".safetensors", progress=stop)
    assert ran == {"Scale": 1, "Split": 1}
    assert [path.name for path in source.parent.iterdir()] == [source.name]


def test_what_fails_in_one_thread_stops_the_others(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, seen = threading.Event(), list[str]()
    real = Mover._make

    def make(mover: Mover, job: Job, evaluator: Evaluator) -> None:
        try:
            real(mover, job, evaluator)
        except FindingsError:
            failed.set()
            raise

    def progress(done: int, total: int, key: str) -> None:
        if "bad" not in key:
            assert failed.wait(60)
            time.sleep(0.05)  # until it is known
            seen.append(key)

    monkeypatch.setattr(Mover, "_make", make)
    tensors = load_file(source) | {"bad": np.full(SHAPE, 1e30, np.float32)}
    save_file(tensors, source)
    rules = [
        RULES["scaled, then split"][0],
        {"from": "bad", "to": "rank0::bad", "ops": [{"cast": "F16"}]},
    ]
    paths = {f"rank{rank}": source.parent / f"{rank}.pt" for rank in range(RANKS)}
    with pytest.raises(FindingsError, match="rank0::bad"):
        ckptsurgeon.transplant(source, paths, rules, allow=["unused"], progress=progress, jobs=2)
    assert len(seen) < 10


OVERFLOWING: dict[str, tuple[list[Any], int | None]] = {
    "in blocks": ([SPLIT, {"cast": "F16"}], None),
    "computed": ([{"scale": 1.5}, SPLIT, {"cast": "F16"}], None),
    "in boxes": ([{"scale": 1.5}, SPLIT, {"cast": "F16"}], NBYTES),
}


@pytest.mark.parametrize("how", OVERFLOWING)
def test_what_overflows_is_told_with_its_output(how: str, tmp_path: Path) -> None:
    ops, memory = OVERFLOWING[how]
    tensor = np.ones(SHAPE, np.float32)
    tensor[7] = 1e30  # in the fourth of forty pieces
    save_file({"l.2.w": tensor}, tmp_path / "s.safetensors")
    with pytest.raises(FindingsError, match=r"`rank3::l\.2\.w`: .* overflow"):
        write(tmp_path / "s.safetensors", {TO: ops}, ".pt", memory=memory)


# --- graphs ---------------------------------------------------------------------------------------

SPEC = TensorSpec("F32", (32, 1024))

ROOM = 6 * SPEC.nbytes

BESIDE = 3 * SPEC.nbytes
"""What an op takes while it computes."""


def leaves(count: int) -> list[Leaf]:
    return [Leaf("", str(number), SPEC, str(number)) for number in range(count)]


def pieces(node: Node, parts: int = 4) -> tuple[Node, ...]:
    return call(Split(dim=0, parts=parts), node)


def scaled(node: Node) -> Node:
    (made,) = call(Scale(number=3), node)
    return made


def test_outputs_that_share_work_are_one_group() -> None:
    first, second, third = (scaled(leaf) for leaf in leaves(3))
    computed: dict[str, list[Node]] = {
        "a": [pieces(first)[0]],
        "b": [],
        "c": [pieces(second)[0]],
        "d": [scaled(third)],
        "e": [second, first],
    }
    assert group_sharing(computed) == [["a", "c", "e"], ["b"], ["d"]]


def test_pieces_come_together_and_so_does_what_is_made_of_one_tensor() -> None:
    """Rank by rank, of each of two tensors a piece of two things made of it."""
    made = [[pieces(scaled(whole)) for _ in "ab"] for whole in map(scaled, leaves(2))]
    by_rank = [(each, of, rank) for rank in range(4) for each in range(2) for of in range(2)]
    ordered = order_by_sharing([made[each][of][rank] for each, of, rank in by_rank])
    assert [by_rank[number] for number in ordered] == sorted(by_rank)


def peak_of(evaluator: Evaluator, nodes: list[Node]) -> int:
    """The most bytes that were held while the nodes were made."""
    tracemalloc.start()
    try:
        for node in nodes:
            evaluator.array(node)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def drawn_nodes(seed: int) -> list[Node]:
    """Results that need each other's work in many ways, in no order."""
    draw = random.Random(seed)
    nodes: list[Node] = list(leaves(6))
    for _ in range(30):
        one, other = draw.sample(nodes, 2)
        made = scaled(one), *call(Add(), one, other), *call(Concat(dim=0), *pieces(one)[::-1])
        nodes.append(draw.choice(made))
    wanted = [node for node in nodes if not isinstance(node, Leaf)] * 2
    draw.shuffle(wanted)
    return wanted


@pytest.mark.parametrize("seed", range(20))
def test_what_was_let_go_is_made_again_the_same(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    tensors = {leaf.key: numbers.standard_normal(SPEC.shape, np.float32) for leaf in leaves(6)}
    checkpoints = {"": checkpoint_of(tensors)}
    nodes = drawn_nodes(seed)
    free, bound = (Evaluator(checkpoints, nodes, room) for room in (None, ROOM))
    for node in nodes:
        assert bound.array(node).tobytes() == free.array(node).tobytes()


@pytest.mark.parametrize("seed", range(20))
def test_what_waits_takes_no_room_from_what_is_made(seed: int) -> None:
    tensors = {leaf.key: np.ones(SPEC.shape, np.float32) for leaf in leaves(6)}
    nodes = drawn_nodes(seed)
    evaluator = Evaluator({"": checkpoint_of(tensors)}, nodes, ROOM)
    alone = max(whole_bytes(node, nbytes_of) for node in nodes)
    assert peak_of(evaluator, nodes) <= max(ROOM, alone) + BESIDE


def test_results_that_wait_take_no_more_memory_than_there_is(tmp_path: Path) -> None:
    """A piece of each tensor for the first output, then of each for the second, and so on."""
    count = 40
    path = tmp_path / "a.safetensors"
    save_file({leaf.key: np.ones(SPEC.shape, np.float32) for leaf in leaves(count)}, path)
    made = [pieces(scaled(leaf)) for leaf in leaves(count)]
    nodes = [parts[rank] for rank in range(4) for parts in made]

    ordered = [nodes[number] for number in order_by_sharing(nodes)]

    def peak(order: list[Node], memory: int | None) -> int:
        return peak_of(Evaluator({"": open_checkpoint(path)}, nodes, memory), order)

    assert peak(nodes, None) > count * SPEC.nbytes
    assert peak(nodes, ROOM) <= ROOM + BESIDE
    assert peak(ordered, None) <= 2 * SPEC.nbytes + BESIDE
