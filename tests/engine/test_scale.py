"""Checkpoints far larger than this machine: plans of terabytes, and of very many keys."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest
from command_line import Ckpt
from endless import ending
from sparse_files import write_sparse_shards

import ckptsurgeon
from benchmarks.header_scripts import EDITS
from benchmarks.headers import first_keys, write_shards
from benchmarks.rulesets import rule_file
from ckptsurgeon.report.report import make_report

RULES = """\
format: 1
rules:
  - model.layers.<i>.attn.<p:q|k|v>.weight -> layers.<i>.attn.w<p>.weight
  - model.layers.<i>.mlp.up.weight -> layers.<i>.mlp.up.weight: transpose
  - model.layers.<i>.mlp.<n:gate|down>.weight -> layers.<i>.mlp.<n>.weight
"""
NAMES = ("attn.q", "attn.k", "attn.v", "mlp.gate", "mlp.up", "mlp.down")
SHAPE = (16384, 53248)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """64 shards of 5.6 TB together, none of which are on the disk."""
    folder = tmp_path / "shards"
    layers = [
        {f"model.layers.{layer}.{name}.weight": SHAPE for name in NAMES} for layer in range(512)
    ]
    parts = [
        {key: shape for layer in layers[at : at + 8] for key, shape in layer.items()}
        for at in range(0, 512, 8)
    ]
    write_sparse_shards(folder, "BF16", parts)
    return folder


def test_terabytes_are_planned_by_their_headers(shards: Path, tmp_path: Path, ckpt: Ckpt) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    with ending():
        ran = ckpt("plan", shards, "-r", tmp_path / "rules.yaml")
    assert ran.code == 0, ran.err
    assert "clean: 3,072 tensors, 4.9 TiB would be written" in ran.out
    assert len(ran.out.splitlines()) < 30


def test_what_no_disk_holds_is_refused_before_a_byte(
    shards: Path, tmp_path: Path, ckpt: Ckpt
) -> None:
    ran = ckpt("transplant", shards, "-o", tmp_path / "out")
    assert ran.code == 2
    assert "free, the output takes 4.9 TiB" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", EDITS)
def test_planning_takes_no_more_lines_a_key_where_there_are_more(kind: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(rule_file(kind))
    for count in (2_500, 10_000):
        specs = first_keys(count)
        write_shards(tmp_path / f"old{count}", specs)
        write_shards(tmp_path / f"new{count}", EDITS[kind](specs))
    _count_lines(tmp_path, rules, 2_500)  # imports and caches are filled once
    few, many = (_count_lines(tmp_path, rules, count) for count in (2_500, 10_000))
    assert many <= 4 * few


def _count_lines(folder: Path, rules: Path, count: int) -> int:
    """Lines of Python that run, each turn of a loop counted, to plan and report so many keys."""
    lines = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> object:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        plan = ckptsurgeon.plan(folder / f"old{count}", rules, folder / f"new{count}")
        make_report(plan)
    finally:
        sys.settrace(before)
    assert plan.findings == ()
    return lines
