"""Files that a star numbers by order: what is said where their own numbers are others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import Ckpt

import ckptsurgeon as cs
from ckptsurgeon.numbering import number_notes

FROM_1 = "`s0` is {}: the files count from 1"

NAMES: list[tuple[str, list[str], list[str]]] = [
    # the path with a star, the files that it matches in natural order, and what is said of them
    ("layer_*.pt", ["layer_00.pt", "layer_01.pt", "layer_02.pt"], []),
    (
        "layer_*.pt",
        ["layer_00.pt", "layer_01.pt", "layer_03.pt"],
        ["`s2` is layer_03.pt: layer_02.pt is not there"],
    ),
    (
        "run/layer_*.pt",
        ["run/layer_0.pt", "run/layer_2.pt", "run/layer_9.pt", "run/layer_10.pt"],
        [
            "`s1` is layer_2.pt: layer_1.pt, layer_3.pt, layer_4.pt, layer_5.pt and 3 more are not"
            " there"
        ],
    ),
    ("l*.pt", ["l1.pt", "l2.pt"], [FROM_1.format("l1.pt")]),
    ("l*.pt", ["l1.pt", "l3.pt"], ["`s1` is l3.pt: l2.pt is not there", FROM_1.format("l1.pt")]),
    ("l*.pt", ["l09.pt", "l10.pt"], ["`s0` is l09.pt: the files count from 9"]),
    ("l*.pt", ["l08.pt", "l10.pt"], [
        "`s1` is l10.pt: l09.pt is not there", "`s0` is l08.pt: the files count from 8"
    ]),
    (
        "*states.pt",
        [f"layer_0{n}-model_00-model_states.pt" for n in (0, 3)],
        [
            "`s1` is layer_03-model_00-model_states.pt: layer_01-model_00-model_states.pt and 1"
            " more are not there"
        ],
    ),
    # of how many
    ("m-*", [f"m-0000{n}-of-00002.bin" for n in (1, 2)], [FROM_1.format("m-00001-of-00002.bin")]),
    ("m-*", [f"m-0000{n}-of-00003.bin" for n in (1, 2)], [
        "m-00003-of-00003.bin is not there", FROM_1.format("m-00001-of-00003.bin")
    ]),
    ("m-*", [f"m-0000{n}-of-00003.bin" for n in (2, 3)], [
        "`s0` is m-00002-of-00003.bin: m-00001-of-00003.bin is not there",
        "`s0` is m-00002-of-00003.bin: the files count from 2",
    ]),
    ("m_*", ["m_0_of_2.pt", "m_1_of_2.pt"], []),
    # one file, steps, and numbers that stand still
    ("layer_*.pt", ["layer_03.pt"], ["`s0` is layer_03.pt: the files count from 3"]),
    ("layer_*.pt", ["layer_00.pt"], []),
    ("fp16_*.pt", ["fp16_model.pt"], []),
    ("*.pt", ["model.pt", "other.pt"], []),
    ("v2_r*_fp16.pt", ["v2_r0_fp16.pt", "v2_r1_fp16.pt"], []),
    ("run1/*/m.pt", ["run1/r0/m.pt", "run1/r2/m.pt"], ["`s1` is r2/m.pt: r1/m.pt is not there"]),
    ("step-*", ["step-500", "step-1000", "step-1500"], [
        "`s1` is step-1000: the files count by 500", "`s0` is step-500: the files count from 500"
    ]),
    # several numbers that vary: the one that tells files apart, or a grid
    ("*.ckpt", ["epoch=0-step=500.ckpt", "epoch=1-step=1000.ckpt"], []),
    ("*.ckpt", ["epoch=0-step=5.ckpt", "epoch=2-step=15.ckpt"], [
        "`s1` is epoch=2-step=15.ckpt: number 1 is not there"
    ]),
    ("l*", ["l0-m0", "l0-m1", "l1-m0", "l1-m1"], []),
    ("l*", ["l0-m0", "l0-m1", "l1-m1", "l2-m0", "l2-m1"], ["`s2` is l1-m1: l1-m0 is not there"]),
    ("d*", ["d2024-01-05", "d2024-01-28", "d2024-11-05"], []),
    ("*", ["a0", "a1", "a3", "b0", "b1"], ["`s2` is a3: a2 is not there"]),
    ("n*", ["n0", "n" + "9" * 18], [
        f"`s1` is n{'9' * 18}: n1, n2, n3, n4 and {10**18 - 6:,} more are not there"
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "names", "texts"), NAMES)
def test_numbers_in_names_of_files(pattern: str, names: list[str], texts: list[str]) -> None:
    numbered = [(f"s{number}", name) for number, name in enumerate(names)]
    assert [note.text for note in number_notes(pattern, numbered)] == texts


TOLD = "`s2` is layer_03.pt: layer_02.pt is not there"
RULE = "s<n>::w -> layers.<n>.w"


@pytest.fixture
def star(tmp_path: Path) -> str:
    for number in (0, 1, 3):
        torch.save({"w": torch.rand(2)}, tmp_path / f"layer_{number:02}.pt")
    return f"{tmp_path}/layer_*.pt"


def test_a_hole_is_told_by_every_command(ckpt: Ckpt, tmp_path: Path, star: str) -> None:
    words = ("--source", f"s*={star}", "-e", RULE)
    saved, output = str(tmp_path / "plan.json"), str(tmp_path / "out.pt")
    assert TOLD in ckpt("plan", *words, "-o", saved).out
    assert TOLD in ckpt("plan", *words, "--format", "json").out
    assert TOLD in ckpt("explain", "layers.2.w", *words).out
    assert TOLD in ckpt("transplant", *words, "-o", output).out
    assert TOLD in ckpt("transplant", "--plan", saved, "-o", output, "--force").out


def test_a_saved_plan_tells_of_the_files_that_it_is_run_on(
    ckpt: Ckpt, tmp_path: Path, star: str
) -> None:
    saved, words = str(tmp_path / "plan.json"), ("--source", f"s*={star}")
    ckpt("plan", *words, "-e", RULE, "-o", saved)
    (tmp_path / "layer_03.pt").rename(tmp_path / "layer_02.pt")
    ran = ckpt("transplant", "--plan", saved, *words, "-o", str(tmp_path / "out.pt"))
    assert (ran.code, "not there" in ran.out) == (0, False)


def test_a_hole_is_told_by_the_functions(tmp_path: Path, star: str) -> None:
    sources = {"s*": star}
    assert [n.text for n in cs.plan(None, [RULE], sources=sources).notes] == [TOLD]
    report = cs.transplant(None, tmp_path / "out.pt", [RULE], sources=sources)
    assert TOLD in [note.text for note in report.notes]
    assert TOLD in [note.text for note in cs.apply(None, [RULE], sources=sources)[1].notes]
