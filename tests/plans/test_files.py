"""Plans saved as JSON: they give the same bytes later; those tampered with give exit 2."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Ckpt, ckpt, folder
from safetensors.torch import load_file, save_file

__all__ = ["ckpt", "folder"]

STAGES = """\
format: 1
rules:
  - {from: conv.weight, to: turned, ops: {permute: [3, 2, 1, 0]}}
  - bn.weight -> filled[:8]
  - bn.bias -> filled[8:16]
  - {from: fc.weight, to: ["half.<i>"], ops: {split: {over: i, parts: 2}}}
---
format: 1
rules:
  - turned[:, :, :3] -> cut
  - turned[:, :, 3:] -> rest
  - {from: "half.<i>", to: joined, ops: concat}
  - {from: filled, to: filled, ops: {reshape: [4, 4]}}
  - tie: [fc.bias, also]
  - init: {to: fresh, fill: normal, shape: [3, 3], dtype: BF16, seed: 5}
"""


@pytest.fixture
def plan(folder: Path, ckpt: Ckpt) -> Any:
    """The JSON of a saved plan with nodes of every kind."""
    (folder / "stages.yaml").write_text(STAGES)
    ran = ckpt("plan", "src.safetensors", "-r", "stages.yaml", "-o", "plan.json")
    assert ran.code == 0, ran.err
    return json.loads((folder / "plan.json").read_text())


def test_a_saved_plan_gives_the_same_bytes(plan: Any, ckpt: Ckpt, folder: Path) -> None:
    assert {node[0] for node in plan["nodes"]} == {"leaf", "call", "result", "made", "assembly"}
    direct = ckpt("transplant", "src.safetensors", "-r", "stages.yaml", "-o", "a.safetensors")
    later = ckpt("transplant", "--plan", "plan.json", "-o", "b.safetensors")
    assert (direct.code, later.code) == (0, 0), direct.err + later.err
    assert later.out == direct.out
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()
    assert load_file("b.safetensors")["filled"].shape == (4, 4)


def test_the_destination_and_the_wrapper_are_found_again(ckpt: Ckpt, folder: Path) -> None:
    words = ("train.pt", "--into", "dst.pt", "-r", "rules.yaml")
    assert ckpt("plan", *words, "-o", "plan.json").code == 0
    assert ckpt("transplant", *words, "-o", "a.pt").code == 0
    ran = ckpt("transplant", "--plan", "plan.json", "-o", "b.pt")
    assert ran.code == 0, ran.err
    assert Path("a.pt").read_bytes() == Path("b.pt").read_bytes()
    os.rename("dst.pt", "moved.pt")
    assert ckpt("transplant", "--plan", "plan.json", "-o", "c.pt").code == 2
    ran = ckpt("transplant", "train.pt", "--into", "moved.pt", "--plan", "plan.json", "-o", "c.pt")
    assert ran.code == 0, ran.err
    assert Path("c.pt").read_bytes() == Path("a.pt").read_bytes()


def test_another_source_or_destination_is_refused(ckpt: Ckpt, folder: Path) -> None:
    assert ckpt("plan", "src.safetensors", "--into", "src.safetensors", "-o", "plan.json").code == 0
    for words in (("dst.pt",), ("src.safetensors", "--into", "dst.pt")):
        ran = ckpt("transplant", *words, "--plan", "plan.json", "-o", "out.pt")
        assert ran.code == 2
        assert "its keys, dtypes or shapes are not those of" in ran.err
    ran = ckpt("transplant", "--source", "x=dst.pt", "--plan", "plan.json", "-o", "out.pt")
    assert (ran.code, "plan.json: has no source `x`" in ran.err) == (2, True)
    assert not Path("out.pt").exists()


def test_a_plan_with_findings_is_saved_and_refused_when_run(ckpt: Ckpt, folder: Path) -> None:
    assert ckpt("plan", "train.pt", "--into", "dst.pt", "-o", "plan.json").code == 1
    ran = ckpt("transplant", "--plan", "plan.json", "-o", "out.pt")
    assert (ran.code, "11 findings" in ran.out) == (1, True)


def test_a_plan_with_other_dtypes_than_the_destination_s_is_run(ckpt: Ckpt, folder: Path) -> None:
    save_file({"a": torch.ones(2, dtype=torch.float16)}, "half.safetensors")
    save_file({"a": torch.zeros(2)}, "full.safetensors")
    words = ("half.safetensors", "--into", "full.safetensors")
    assert ckpt("plan", *words, "-o", "plan.json").code == 0
    ran = ckpt("transplant", "half.safetensors", "--plan", "plan.json", "-o", "out.safetensors")
    assert (ran.code, "F16 where the destination has F32" in ran.out) == (0, True), ran.err
    assert load_file("out.safetensors")["a"].tolist() == [1, 1]
    ran = ckpt("transplant", "--plan", "plan.json", "-o", "out.safetensors", "--force")
    assert ran.code == 0, ran.err
    assert ckpt("invert", "plan.json", "-o", "back.json").code == 0


def test_an_output_of_another_shape_than_the_destination_s_is_refused(
    ckpt: Ckpt, folder: Path
) -> None:
    save_file({"a": torch.ones(2), "b": torch.ones(3)}, "two.safetensors")
    words = ("two.safetensors", "--into", "two.safetensors")
    assert ckpt("plan", *words, "-o", "plan.json").code == 0
    plan = json.loads(Path("plan.json").read_bytes())
    plan["outputs"][0][1], plan["outputs"][1][1] = plan["outputs"][1][1], plan["outputs"][0][1]
    Path("bad.json").write_text(json.dumps(plan, separators=(",", ":")))
    ran = ckpt("transplant", "--plan", "bad.json", "-o", "out.safetensors")
    assert (ran.code, "the destination has" in ran.err) == (2, True)
    assert not Path("out.safetensors").exists()


def test_an_output_of_another_shape_is_told_as_the_finding_that_it_is(
    ckpt: Ckpt, folder: Path
) -> None:
    save_file({"a": torch.ones(2)}, "two.safetensors")
    save_file({"a": torch.ones(3)}, "three.safetensors")
    words = ("two.safetensors", "--into", "three.safetensors")
    planned = ckpt("plan", *words, "-o", "plan.json")
    ran = ckpt("transplant", "--plan", "plan.json", "-o", "out.safetensors")
    assert (planned.code, ran.code, ran.out) == (1, 1, planned.out)
    plan = json.loads(Path("plan.json").read_bytes())
    (*told, allowed), nothing = plan["findings"]
    assert (told[0], nothing[0], allowed) == ("mismatched", "nothing", False)
    for findings in ([], [[*told, True]], [["unused", *told[1:], False]]):
        plan["findings"] = findings
        Path("bad.json").write_text(json.dumps(plan, separators=(",", ":")))
        ran = ckpt("transplant", "--plan", "bad.json", "-o", "out.safetensors")
        assert (ran.code, "`a` is F32[2]; the destination has F32[3]" in ran.err) == (2, True)
    assert not Path("out.safetensors").exists()


@pytest.mark.parametrize("other", [torch.ones(4).half(), torch.ones(5)])
def test_a_rest_of_another_spec_is_refused(other: torch.Tensor, ckpt: Ckpt, folder: Path) -> None:
    save_file({"a": torch.ones(2)}, "two.safetensors")
    torch.save({"other": other, "x": torch.zeros(4)}, "into.pt")
    rules = "format: 1\nrules:\n  - keep: other\n  - a -> x[:2]\n"
    Path("rest.yaml").write_text(rules)
    words = ("two.safetensors", "--into", "into.pt", "-r", "rest.yaml")
    assert ckpt("plan", *words, "-o", "plan.json").code == 0
    plan = json.loads(Path("plan.json").read_bytes())
    at(plan, "assembly")[3] = next(
        number for number, one in enumerate(plan["nodes"]) if one[2] == "other"
    )
    Path("bad.json").write_text(json.dumps(plan, separators=(",", ":")))
    ran = ckpt("transplant", "--plan", "bad.json", "-o", "out.pt")
    assert (ran.code, "can't fill up F32[4]" in ran.err) == (2, True), ran.err


def test_rules_that_a_within_repeats_keep_their_texts(ckpt: Ckpt, folder: Path) -> None:
    save_file({f"{key}.w": torch.ones(2) for key in "ab"}, "two.safetensors")
    rules = "format: 1\nrules:\n  - within: [a. -> x., b. -> y.]\n    rules:\n    - w -> v\n"
    Path("within.yaml").write_text(rules)
    ran = ckpt("plan", "two.safetensors", "-r", "within.yaml", "-o", "plan.json")
    assert ran.code == 0, ran.err
    plan = json.loads(Path("plan.json").read_bytes())
    assert [rule["text"] for rule in plan["rules"] + plan["repeated"]] == ["w -> x.v", "w -> y.v"]
    assert ckpt("invert", "plan.json", "-o", "back.json").code == 0
    back = json.loads(Path("back.json").read_bytes())
    texts = [rule["text"] for rule in back["rules"] + back["repeated"]]
    assert texts == ["undo: w -> x.v", "undo: w -> y.v"]


def test_only_a_plan_is_replaced_by_a_plan(plan: Any, ckpt: Ckpt, folder: Path) -> None:
    assert ckpt("plan", "train.pt", "-o", "plan.json").code == 0
    (folder / "link.json").symlink_to("src.safetensors")
    before = Path("src.safetensors").read_bytes()
    for name in ("src.safetensors", "link.json", "rules.yaml"):
        assert ckpt("plan", "train.pt", "-o", name).code == 2
    assert Path("src.safetensors").read_bytes() == before
    (folder / "dir.json").mkdir()
    assert ckpt("plan", "train.pt", "-o", "dir.json").code == 2


def put(*path: Any) -> Callable[[Any], None]:
    """A change that puts the last argument at the place that the others lead to."""

    def change(plan: Any) -> None:
        *way, last, value = path
        for step in way:
            plan = plan[step]
        plan[last] = value

    return change


def at(plan: Any, kind: str) -> Any:
    """The first node of a kind."""
    return next(node for node in plan["nodes"] if node[0] == kind)


def number_of_a_call(plan: Any) -> int:
    return int(plan["nodes"].index(at(plan, "call")))


def put_none(part: list[Any]) -> None:
    part[1] = None


def overlap(parts: list[Any]) -> None:
    parts[1] = parts[0]


SEVEN = {"dtype": "F32", "shape": [7]}


def node(kind: str, field: int | slice, value: Any) -> Callable[[Any], None]:
    def change(plan: Any) -> None:
        at(plan, kind)[field] = value

    return change


TAMPERED: dict[str, Callable[[Any], None]] = {
    "another version": put("ckptsurgeon_plan", 1),
    "a version of text": put("ckptsurgeon_plan", "1"),
    "no nodes": put("nodes", []),
    "nodes of another type": put("nodes", {}),
    "a node that is a number": put("nodes", 0, 7),
    "a node without a kind": put("nodes", 0, []),
    "a node of no kind": put("nodes", 0, ["exec", "rm", "-rf"]),
    "an output of a later node": put("outputs", 0, 1, 10**6),
    "an output of a negative node": put("outputs", 0, 1, -1),
    "an output of a call": lambda plan: put("outputs", 0, 1, number_of_a_call(plan))(plan),
    "an output by a rule that is not there": put("outputs", 0, 2, 99),
    "an output by a negative rule": put("outputs", 0, 2, -1),
    "two outputs of one key": lambda plan: plan["outputs"].append(plan["outputs"][0]),
    "an op that is none": node("call", 1, ["system", {}]),
    "an op with a parameter that it lacks": node("call", 1, ["transpose", {"command": "id"}]),
    "an op that is no pair": node("call", 1, "transpose"),
    "an op by a rule that is not there": node("call", 4, 99),
    "an op that needs itself": lambda plan: node("call", 2, [number_of_a_call(plan)])(plan),
    "an op that needs a later node": node("call", 2, [10**6]),
    "an op that needs a negative node": node("call", 2, [-1]),
    "an op that needs text": node("call", 2, ["0"]),
    "a call without its specs": lambda plan: at(plan, "call").pop(),
    "a result of a negative call": node("result", 1, -1),
    "a result that the op doesn't give": node("result", 2, 99),
    "a negative result": node("result", 2, -1),
    "a leaf of another source": node("leaf", 1, "other"),
    "a leaf of another key": node("leaf", 2, "nope"),
    "a made tensor of no dtype": node("made", 1, {"dtype": "F99", "shape": [1]}),
    "a made tensor of a negative size": node("made", 1, {"dtype": "F32", "shape": [-1]}),
    "a made tensor of exabytes": node("made", 1, {"dtype": "F32", "shape": [2**40, 2**20]}),
    "a made tensor of too many bytes": node("made", 1, {"dtype": "F32", "shape": [2**62, 2**62]}),
    "a made tensor of a made-up fill": node("made", 3, "__import__"),
    "a made tensor of a list": node("made", 3, [1]),
    "a made tensor of a number beyond all": node("made", 3, 10**300),
    "an identity of one dim": node("made", slice(1, 4), [SEVEN, "k", "eye"]),
    "an assembly of another shape": node("assembly", 1, SEVEN),
    "an assembly of another dtype": node("assembly", 1, {"dtype": "F16", "shape": [16]}),
    "an assembly of a part that is none": lambda plan: put_none(at(plan, "assembly")[2][0]),
    "an assembly with holes": lambda plan: at(plan, "assembly")[2].pop(),
    "an assembly of overlapping parts": lambda plan: overlap(at(plan, "assembly")[2]),
    "an assembly filled up by another shape": node("assembly", 3, 0),
    "a tie of no output": put("ties", {"no": "cut"}),
    "a tie to itself": put("ties", {"cut": "cut"}),
    "ties in a circle": put("ties", {"cut": "joined", "joined": "cut"}),
    "ties of different shapes": put("ties", {"cut": "joined"}),
    "a compared tie of no output": put("checked_ties", [["cut", "no", None]]),
    "a row without a rule": put("steps", [[]]),
    "a repeated rule that is none": put("repeated", [["w -> v"]]),
    "steps of no rule": put("steps", 0, 0, None),
    "steps with a key too few": put("steps", 0, 2, []),
    "steps that give too few": put("steps", 0, 4, []),
    "steps that read a negative number": put("steps", 0, 6, 0, -1),
    "steps that give more than there is": put("steps", 0, 7, 0, 99),
    "steps with a slice of no key": put("steps", 0, 3, {"99": []}),
    "a row that is none": put("notes", [[3, None, "", None]]),
    "a fate of a claim that is not there": put("fates", 0, "which", 0, 99),
    "a fate of a negative claim": put("fates", 0, "which", 0, -1),
    "a share of more than all": lambda plan: plan["fates"][0]["claims"][0].__setitem__(4, 1e308),
    "fates of fewer keys": lambda plan: plan["fates"][0]["which"].pop(),
    "fates of no source": put("fates", 0, "source", "other"),
    "a digest of something else": put("sources", 0, "digest", "0" * 64),
    "a path that is none": put("sources", 0, "path", "no\0where"),
    "no sources": put("sources", []),
    "a destination that is none": put("destination", {"alias": "dst"}),
    "an alias of another kind": put("sources", 0, "alias", "../x"),
    "an empty separator": put("sources", 0, "options", "separator", ""),
}  # fmt: skip


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_plan_is_2_in_words_and_writes_nothing(
    change: Callable[[Any], None], plan: Any, ckpt: Ckpt, folder: Path
) -> None:
    change(plan)
    (folder / "bad.json").write_text(json.dumps(plan, separators=(",", ":")))
    before = sorted(os.listdir())
    ran = ckpt("transplant", "--plan", "bad.json", "-o", "out.pt")
    assert ran.code == 2, ran.out + ran.err
    assert "Traceback" not in ran.err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("cut", [1, 25, 1000, -2])
def test_a_cut_plan_is_2(cut: int, plan: Any, ckpt: Ckpt, folder: Path) -> None:
    data = Path("plan.json").read_bytes()
    Path("bad.json").write_bytes(data[:cut])
    ran = ckpt("transplant", "--plan", "bad.json", "-o", "out.pt")
    assert (ran.code, ran.out) == (2, "")
    Path("bad.json").write_bytes(data[:22] + b"[" * 10**6)
    assert ckpt("transplant", "--plan", "bad.json", "-o", "out.pt").code == 2


def test_a_plan_of_thousands_of_ops_is_saved_and_run(ckpt: Ckpt, folder: Path) -> None:
    ops = ", ".join(["transpose"] * 3001)
    (folder / "deep.yaml").write_text(f"format: 1\nrules:\n  - fc.weight -> t: [{ops}]\n")
    assert ckpt("plan", "src.safetensors", "-r", "deep.yaml", "-o", "plan.json").code == 0
    ran = ckpt("transplant", "--plan", "plan.json", "-o", "out.safetensors", "-q")
    assert ran.code == 0, ran.err
    source = load_file("src.safetensors")["fc.weight"]
    assert torch.equal(load_file("out.safetensors")["t"], source.T)
