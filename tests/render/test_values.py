"""What `inspect --stats` shows, held against a golden file; and what holds for every checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from markdown_pages import assert_ours
from report.plans import HOSTILE
from torch import Tensor

import ckptsurgeon as cs
from ckptsurgeon.measuring.histograms import Histogram
from ckptsurgeon.render.markdown.inspection import render_inspection as render_markdown
from ckptsurgeon.render.values import BARS, draw

GOLDEN = Path(__file__).parent / "golden"


def network() -> dict[str, Tensor]:
    """Equal blocks with a dead channel each, an outlier, integers, and what has no values."""
    drawn = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {"embed.weight": torch.arange(4000.0).reshape(40, 100) / 1e5}
    state["embed.weight"][3, 4] = 9.0
    for number in range(3):
        weight = torch.randint(-9, 10, (8, 4, 3, 3), generator=drawn) / 64
        weight[number] = 0
        state[f"blocks.{number}.conv.weight"] = weight
        state[f"blocks.{number}.bn.weight"] = torch.linspace(0.5, 1.5, 8) + number
        state[f"blocks.{number}.bn.running_mean"] = torch.linspace(-1, 1.5, 8)
        state[f"blocks.{number}.bn.running_var"] = torch.tensor([1e-7, 0.0, *[2.0] * 6])
        state[f"blocks.{number}.bn.num_batches_tracked"] = torch.tensor(123_456_789 + number)
    state["head.weight"] = torch.full((2, 4), float("nan"))
    state["head.mask"] = torch.tensor([[True, False], [False, False]])
    state["head.sparse"] = torch.eye(3).to_sparse()
    return state


def test_golden() -> None:
    shown = cs.inspect(network(), stats=True)
    assert shown.show() + "\n" == (GOLDEN / "inspect_stats.txt").read_text()
    assert max(map(len, shown.show().splitlines())) <= 100


def test_a_folded_line_tells_of_all_its_tensors() -> None:
    parts = [torch.randn(50, 3), torch.randn(50, 3) + 5, torch.randn(50, 3) * 9]
    state = {f"layers.{number}.w": part for number, part in enumerate(parts)}
    (line,) = (
        line for line in cs.inspect(state, stats=True).show().splitlines() if "<0..2>" in line
    )
    every = np.concatenate([part.double().numpy() for part in parts])
    numbers = [every.min(), every.max(), every.mean(), every.std()]
    assert line.split()[1:5] == [f"{number:.3g}" for number in numbers]


def test_verbose_lists_every_tensor() -> None:
    lines = cs.inspect(network(), stats=True).show(verbose=True).splitlines()
    for key, tensor in network().items():
        if not tensor.is_sparse:
            sizes = ", ".join(map(str, tensor.shape))
            assert any(line.split()[:1] == [key] and line.endswith(f"[{sizes}]") for line in lines)
    assert any(line.split()[:1] == ["blocks.2.conv.weight"] and "1 of 8" in line for line in lines)


def test_json_holds_everything() -> None:
    told = cs.inspect(network(), stats=True).to_dict()
    json.dumps(told, allow_nan=False)
    conv = network()["blocks.1.conv.weight"].double()
    found = told["tensors"]["blocks.1.conv.weight"]["statistics"]
    assert (found["count"], found["min"], found["max"]) == (288, conv.min(), conv.max())
    assert (found["zeros"], found["zero_channels"]) == (int((conv == 0).sum()), 1)
    counts = np.histogram(conv.numpy(), [*found["histogram"]["edges"], np.inf])[0]
    assert [*found["histogram"]["counts"], 0] == counts.tolist()
    head = told["tensors"]["head.weight"]["statistics"]
    assert (head["nan"], head["min"], head["mean"], head["std"]) == (8, None, None, None)
    assert "sparse" in told["tensors"]["head.sparse"]["left_out"]
    assert {one["kind"] for one in told["remarks"]} == {"nan", "zero channels", "small variance"}


def test_json_without_values_says_nothing_of_them() -> None:
    told = cs.inspect(network()).to_dict()
    assert "remarks" not in told
    assert told["tensors"]["embed.weight"] == {
        "dtype": "F32",
        "shape": [40, 100],
        "bytes": 16_000,
    }


def test_markdown_has_the_same_sections() -> None:
    page = assert_ours(render_markdown(cs.inspect(network(), stats=True)))
    _, values, without, remarks = page.tables
    (row,) = (row for row in values if row[0] == "embed.weight")
    assert [cell.strip() for cell in row[3:6]] == ["0.0222", "0.142", "0.1%"]
    assert without[1:] == [["a tensor of the layout sparse_coo", "head.sparse"]]
    assert ["8 of 8 values are NaN", "head.weight"] in remarks


def test_hostile_names_never_reach_the_output() -> None:
    state = {key: torch.zeros(2, 2) for key in HOSTILE}
    shown = cs.inspect(state, stats=True)
    for verbose in (False, True):
        assert all(line.isprintable() for line in shown.show(verbose=verbose).splitlines())
    assert json.dumps(shown.to_dict()).isascii()


def test_a_bar_stands_for_each_bin() -> None:
    assert draw(Histogram(0, 0, (1, 0, 80, 40))) == f"{BARS[0]} {BARS[7]}{BARS[3]}"
    assert draw(Histogram(0, 0, (1,) * 64)) == BARS[7] * 8
    assert draw(Histogram()) == ""


if __name__ == "__main__":
    text = cs.inspect(network(), stats=True).show() + "\n"
    (GOLDEN / "inspect_stats.txt").write_text(text, encoding="utf-8")
