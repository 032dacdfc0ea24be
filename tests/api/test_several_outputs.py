"""Several outputs by their aliases: written together, held against destinations, turned around."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Ckpt, ckpt
from safetensors.torch import load_file, save_file

import ckptsurgeon as cs

__all__ = ["ckpt"]

Tensors = dict[str, torch.Tensor]

TP = """\
format: 1
vars: {tp: 4}
output: {root: model}
rules:
  - layers.<i>.q.weight -> rank<r>::layers.<i>.q.weight: {split: {parts: tp}}
  - layers.<i>.o.weight -> rank<r>::layers.<i>.o.weight: {split: {dim: 1, parts: tp}}
  - "** -> rank<r>::**": {copies: tp}
"""


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape) * 7 + len(shape)))


def network() -> Tensors:
    found: Tensors = {}
    for i in range(2):
        found[f"layers.{i}.q.weight"] = random(8, 4) + i
        found[f"layers.{i}.o.weight"] = random(4, 8) + i
        found[f"layers.{i}.norm.weight"] = random(4) + i
    return found


def ranks_of(whole: Tensors, tp: int) -> list[Tensors]:
    """What each rank holds, worked out by torch."""
    dims = {"q.weight": 0, "o.weight": 1}
    ranks: list[Tensors] = [{} for _ in range(tp)]
    for key, tensor in whole.items():
        dim = dims.get(key.split(".", 2)[2])
        parts = [tensor] * tp if dim is None else tensor.chunk(tp, dim)
        for rank, part in zip(ranks, parts, strict=True):
            rank[key] = part
    return ranks


def assert_equal(found: Mapping[str, Any], wanted: Tensors) -> None:
    assert sorted(found) == sorted(wanted)
    for key, tensor in wanted.items():
        assert torch.equal(torch.as_tensor(found[key]), tensor), key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file(network(), tmp_path / "hf.safetensors")
    (tmp_path / "tp.yaml").write_text(TP)
    return tmp_path


def test_a_file_for_each_rank(folder: Path) -> None:
    report = cs.transplant(
        folder / "hf.safetensors",
        {"rank<r>": folder / "tp4" / "mp_rank_<r:02>.pt"},
        folder / "tp.yaml",
    )
    for rank, wanted in enumerate(ranks_of(network(), 4)):
        found = torch.load(folder / "tp4" / f"mp_rank_{rank:02}.pt", weights_only=True)
        assert list(found) == ["model"]
        assert_equal(found["model"], wanted)
    outputs = json.loads(json.dumps(report.to_dict()))["outputs"]
    assert [one["alias"] for one in outputs] == ["rank0", "rank1", "rank2", "rank3"]
    assert {one["tensors"] for one in outputs} == {6}
    assert {(one["root"], one["format"]) for one in outputs} == {("model", "torch")}
    assert outputs[3]["path"].endswith("tp4/mp_rank_03.pt")
    assert report.bottom_line == "clean: 24 tensors, 640 B in 4 outputs written"


def test_apply_gives_addresses() -> None:
    tensors, report = cs.apply(network(), ["layers.<i>.** -> part<i>::**"])
    assert sorted(tensors)[:2] == ["part0::norm.weight", "part0::o.weight"]
    assert torch.equal(tensors["part1::q.weight"], network()["layers.1.q.weight"])
    assert report.clean


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", "/"])
def test_formats_follow_paths(suffix: str, folder: Path) -> None:
    outputs = {"a": folder / "one.safetensors", "b": f"{folder / 'two'}{suffix}"}
    rules = ["layers.0.** -> a::**", "layers.1.** -> b::**"]
    cs.transplant(folder / "hf.safetensors", outputs, rules)
    assert sorted(load_file(folder / "one.safetensors")) == ["norm.weight", "o.weight", "q.weight"]
    again, _ = cs.apply(f"{folder / 'two'}{suffix}")
    assert_equal(again, {k[9:]: v for k, v in network().items() if k.startswith("layers.1.")})


def test_an_output_beside_the_one_without_a_name(folder: Path, ckpt: Ckpt) -> None:
    source = {"w": random(2, 3), "ema.w": random(3, 2), "ema.v": random(4)}
    save_file(source, folder / "both.safetensors")
    ran = ckpt(
        *("transplant", folder / "both.safetensors", "-e", "ema.** -> ema::**"),
        *("-o", folder / "out.safetensors", "-o", f"ema={folder / 'ema.safetensors'}"),
    )
    assert ran.code == 0, ran.err
    assert_equal(load_file(folder / "out.safetensors"), {"w": source["w"]})
    wanted = {"w": source["ema.w"], "v": source["ema.v"]}
    assert_equal(load_file(folder / "ema.safetensors"), wanted)


def test_two_ranks_become_four_and_come_back(folder: Path, ckpt: Ckpt) -> None:
    two = ranks_of(network(), 2)
    for rank, tensors in enumerate(two):
        save_file(
            {k: v.contiguous() for k, v in tensors.items()}, folder / f"in_{rank}.safetensors"
        )
    rules = folder / "rules.yaml"
    rules.write_text("""\
format: 1
vars: {tp: 4}
rules:
  - within: r<r>::layers.<i>. -> rank<n>::layers.<i>.
    rules:
      - q.weight -> q.weight: [concat: {over: r}, split: {parts: tp, over: n}]
      - o.weight -> o.weight: [concat: {dim: 1, over: r}, split: {dim: 1, parts: tp, over: n}]
      - norm.weight -> norm.weight: [same: {over: r}, copies: {times: tp, over: n}]
""")
    plan = folder / "plan.json"
    given = ["--source", f"r<r>={folder}/in_<r>.safetensors"]
    made = ckpt("plan", *given, "-r", rules, "-o", plan)
    assert made.code == 0, made.out + made.err
    output = f"rank<n>={folder}/out/mp_rank_<n:02>.safetensors"
    ran = ckpt("transplant", *given, "-r", rules, "-o", output)
    assert ran.code == 0, ran.err
    for rank, wanted in enumerate(ranks_of(network(), 4)):
        assert_equal(load_file(folder / "out" / f"mp_rank_{rank:02}.safetensors"), wanted)

    back = folder / "back.json"
    assert ckpt("invert", plan, "-o", back).code == 0
    ran = ckpt(
        *("transplant", "--plan", back, "--source", output),
        *("-o", f"r<r>={folder}/back_<r>.safetensors"),
    )
    assert ran.code == 0, ran.err
    for rank, wanted in enumerate(two):
        assert_equal(load_file(folder / f"back_{rank}.safetensors"), wanted)


def test_layer_files_with_numbers_of_their_own(folder: Path, ckpt: Ckpt) -> None:
    """As NeoX has them: the layers begin at 2, each in a file for every rank."""
    whole = {i: random(8, 4) + i for i in range(2)}
    for i, tensor in whole.items():
        for rank, part in enumerate(tensor.chunk(2)):
            path = folder / f"layer_{i + 2:02}-model_{rank:02}-model_states.pt"
            torch.save({"mlp.weight": part.clone()}, path)
    given = f"L<n>_r<r>={folder}/layer_<n:02>-model_<r:02>-model_states.pt"
    out = folder / "joined.safetensors"
    rule = "L<n>_r<r>::mlp.weight -> layers.<n-2>.mlp.weight: concat"
    (folder / "neox.yaml").write_text(f'format: 1\nrules:\n  - "{rule.split(": ")[0]}": concat\n')
    ran = ckpt("transplant", "--source", given, "-r", folder / "neox.yaml", "-o", out)
    assert ran.code == 0, ran.err
    assert_equal(load_file(out), {f"layers.{i}.mlp.weight": tensor for i, tensor in whole.items()})


# --- destinations ---------------------------------------------------------------------------------


def saved_ranks(folder: Path, tp: int = 4) -> str:
    for rank, tensors in enumerate(ranks_of(network(), tp)):
        model = {"model": {key: tensor.clone() for key, tensor in tensors.items()}}
        torch.save(model, folder / f"mp_rank_{rank:02}.pt")
    return f"rank<r>={folder}/mp_rank_<r:02>.pt"


def test_each_output_is_held_against_its_own(folder: Path, ckpt: Ckpt) -> None:
    into = saved_ranks(folder)
    rules = TP.replace("output: {root: model}\n", "").replace("{parts: tp}", "{dim: 0}")
    (folder / "tp.yaml").write_text(
        rules.replace("dim: 1, parts: tp", "dim: 1").replace("{copies: tp}", "copies")
    )
    plan = ckpt("plan", folder / "hf.safetensors", "-r", folder / "tp.yaml", "--into", into)
    assert plan.code == 0, plan.out
    assert "24 of 24 destination keys come from the source" in plan.out
    facts = "as .pt, root `model`, as the destination, 6 tensors, 160 B each, 640 B in all"
    assert f"{facts}, held against {folder}/mp_rank_<00..03>.pt\n" in plan.out
    named = f"rank<r>={folder}/new_<r>.pt"
    ran = ckpt(
        *("transplant", folder / "hf.safetensors", "-r", folder / "tp.yaml", "--into", into),
        *("-o", named),
    )
    assert ran.code == 0, ran.err
    found = torch.load(folder / "new_2.pt", weights_only=True)
    assert_equal(found["model"], ranks_of(network(), 4)[2])


def test_findings_name_the_output(folder: Path, ckpt: Ckpt) -> None:
    into = saved_ranks(folder)
    torch.save({"model": {"extra": random(2)}}, folder / "mp_rank_04.pt")
    ran = ckpt(
        *("plan", folder / "hf.safetensors", "-r", folder / "tp.yaml", "--into", into),
        *("--format", "json"),
    )
    assert ran.code == 1
    findings = json.loads(ran.out)["findings"]
    told = {(one["kind"], one["output"], one["key"]) for one in findings}
    assert ("missing", "rank4", "extra") in told
    assert ("nothing", "rank4", "") in told


def test_a_saved_plan_runs_against_the_same_destinations(folder: Path, ckpt: Ckpt) -> None:
    into, plan = saved_ranks(folder), folder / "plan.json"
    words = (folder / "hf.safetensors", "-r", folder / "tp.yaml", "--into", into)
    assert ckpt("plan", *words, "-o", plan).code == 0
    ran = ckpt(
        *("transplant", folder / "hf.safetensors", "--plan", plan, "--into", into),
        *("-o", f"rank<r>={folder}/saved_<r>.pt"),
    )
    assert ran.code == 0, ran.err
    found = torch.load(folder / "saved_1.pt", weights_only=True)
    assert_equal(found["model"], ranks_of(network(), 4)[1])
    again = ckpt("transplant", "--plan", plan, "-o", f"rank<r>={folder}/again_<r>.pt")
    assert again.code == 0, again.err
    assert (folder / "again_1.pt").read_bytes() == (folder / "saved_1.pt").read_bytes()


class Rank(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(2, 3))


SPLIT: Any = [{"from": "w", "to": "rank<r>::w", "ops": "split"}]


@pytest.mark.parametrize(
    "second", [{"w": torch.zeros(2, 3)}, {"model": {"w": torch.zeros(2, 3)}}, Rank()]
)
@pytest.mark.parametrize("first", [{"w": torch.zeros(2, 3)}, Rank()])
def test_destinations_in_memory_by_alias(first: Any, second: Any) -> None:
    whole = random(4, 3)
    tensors, report = cs.apply({"w": whole}, SPLIT, {"rank0": first, "rank1": second})
    assert_equal(tensors, {"rank0::w": whole[:2], "rank1::w": whole[2:]})
    assert report.clean


def test_dicts_in_a_dict_are_wrappers_where_no_rule_names_an_output() -> None:
    made = cs.plan({"w": random(2, 3)}, None, {"rank0": {"w": torch.zeros(2, 3)}})
    assert not made.is_named
    assert made.destination is not None
    assert list(made.destination.specs) == ["rank0.w"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"rank<r>": {"w": torch.zeros(2, 3)}}, "a dict where names of files are wanted"),
    ({"rank0": Rank(), "rank1": 3}, "an int is no checkpoint"),
    ({"rank0": {"w": torch.zeros(2, 3)}, "rank1": "nope.pt"}, "there is no such file"),
]


@pytest.mark.parametrize(("into", "message"), WRONG)
def test_destinations_that_are_none(into: Any, message: str) -> None:
    with pytest.raises(cs.CkptSurgeonError, match=message):
        cs.plan({"w": random(4, 3)}, SPLIT, into)


def test_a_key_that_reads_as_one_of_another_destination() -> None:
    into = {"": {"rank0::w": torch.zeros(2, 3)}, "rank0": {"w": torch.zeros(2, 3)}}
    with pytest.raises(cs.CheckpointError, match="has `rank0::w`: `::` stands behind the name"):
        cs.plan({"w": random(4, 3)}, SPLIT, into)


def test_a_plan_for_destinations_in_memory_wants_them_again(folder: Path) -> None:
    into = {f"rank{r}": {"w": torch.zeros(2, 3)} for r in range(2)}
    outputs = {"rank<r>": folder / "r<r>.pt"}
    made = cs.plan({"w": random(4, 3)}, SPLIT, into)
    with pytest.raises(cs.CkptSurgeonError, match="give it as into="):
        cs.transplant({"w": random(4, 3)}, outputs, made)
    assert cs.transplant({"w": random(4, 3)}, outputs, made, into).clean


def test_wrappers_of_the_source_are_those_of_the_keys(folder: Path) -> None:
    source = {"model": {"w": random(2)}, "ema": {"w": random(2)}, "epoch": 3}
    torch.save(source, folder / "train.pt")
    rules = {
        "format": 1,
        "source": {"root": ""},
        "rules": ["model.w -> a::w", "ema.w -> b::model.w"],
    }
    made = cs.plan(folder / "train.pt", rules)
    assert [(file.alias, file.wrappers) for file in made.files] == [("a", ()), ("b", ("model",))]


def test_wrappers_of_the_source_whose_names_begin_alike(folder: Path) -> None:
    state = {n: {"m": random(2) + n} for n in range(12)}
    torch.save({"opt": {"state": state}, "opt.x": {"w": random(2)}}, folder / "train.pt")
    rules = [
        {"drop": "opt.state.1.**"},
        {"drop": "opt.x.**"},
        "opt.** -> opt.**",
    ]
    made = cs.plan(folder / "train.pt", {"format": 1, "source": {"root": ""}, "rules": rules})
    (file,) = made.files
    states = [f"opt.state.{n}" for n in range(12) if n != 1]
    assert file.wrappers == tuple(states)


# --- what is refused ------------------------------------------------------------------------------

REFUSED: list[tuple[list[str], str]] = [
    (["-o", "rank<r>=out.pt"], "rank0 and rank1 are both written to"),
    (["-o", "out.pt"], "goes to an output that no -o names; add `-o 'rank<n>=PATH_<n>'`"),
    (["-o", "rnk<r>=a_<r>.pt"], "no -o names, and no rule gives `rnk<r>`; add `-o 'rank<n>=PATH"),
    (["-o", "rnk<r>=a_<r:02>.pt"], "no -o names, and no rule gives `rnk<r>`; add `-o 'rank<n>=P"),
    (["-o", "rank0=a.pt"], "`rank1::layers.0.norm.weight` goes to an output that no -o names"),
    (["-o", "rank<r>=a_<r>.pt", "-o", "ema=e.pt"], "write `./ema=e.pt`"),
    (["-o", "rank<r>=a_<r>.pt", "-o", "o.pt"], "no rule gives an output without a name"),
    (["-o", "rank<r>=a_<r>.pt", "-o", "rank<r>=b_<r>.pt"], "given twice"),
    (["-o", "a.pt", "-o", "b.pt"], "-o stands twice"),
    (["-o", "rank<q>=a_<r>.pt"], "r"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=str)
def test_what_is_refused(
    words: list[str], message: str, folder: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    ran = ckpt("transplant", "hf.safetensors", "-r", "tp.yaml", *words)
    assert ran.code == 2
    assert message in ran.err
    assert sorted(folder.iterdir()) == before


def test_a_file_called_as_an_output_would_be(
    folder: Path, ckpt: Ckpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert ckpt("transplant", "hf.safetensors", "-o", "./a=b.pt").code == 0
    assert (folder / "a=b.pt").is_file()
    ran = ckpt("transplant", "hf.safetensors", "-o", "a=b.safetensors")
    assert (ran.code, "no rule gives the output a" in ran.err) == (2, True)


def test_a_text_of_a_key_does_not_leave_the_folder(folder: Path, ckpt: Ckpt) -> None:
    save_file({"x/y.w": random(2), "z.w": random(3)}, folder / "odd.safetensors")
    ran = ckpt(
        *("transplant", folder / "odd.safetensors", "-e", "<m:str>.w -> <m>::w"),
        *("-o", f"<m:str>={folder}/out/<m>.pt"),
    )
    assert (ran.code, "'x/y' can't name an output" in ran.err) == (2, True)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("name", ["..", ".", ".hidden"])
def test_texts_that_no_file_may_have(name: str, folder: Path, ckpt: Ckpt) -> None:
    save_file({f"a{name}": random(2)}, folder / "odd.safetensors")
    ran = ckpt(
        *("transplant", folder / "odd.safetensors"),
        *("-e", "{from: 're:a(?P<m>.*)', to: '<m>::w'}"),
        *("-o", f"<m:str>={folder}/out/<m>.pt"),
    )
    assert ran.code == 2
    assert not (folder / "out").exists()


def test_one_that_exists_leaves_all_as_they_were(folder: Path) -> None:
    (folder / "x_2.pt").write_bytes(b"mine")
    before = sorted(folder.iterdir())
    with pytest.raises(cs.OutputError, match="exists already"):
        cs.transplant(
            folder / "hf.safetensors", {"rank<r>": folder / "x_<r>.pt"}, folder / "tp.yaml"
        )
    assert sorted(folder.iterdir()) == before
    assert (folder / "x_2.pt").read_bytes() == b"mine"


def test_an_input_is_no_output(folder: Path) -> None:
    with pytest.raises(cs.OutputError, match="overwrite its own input"):
        cs.transplant(
            folder / "hf.safetensors",
            {"a": folder / "b.safetensors", "c": folder / "hf.safetensors"},
            ["layers.0.** -> a::**", "layers.1.** -> c::**"],
            force=True,
        )


# --- what is said ---------------------------------------------------------------------------------


def test_a_line_for_outputs_that_are_alike(folder: Path, ckpt: Ckpt) -> None:
    ran = ckpt("plan", folder / "hf.safetensors", "-r", folder / "tp.yaml")
    (line,) = (line for line in ran.out.splitlines() if line.startswith("output"))
    assert line.startswith("output rank<0..3>")
    assert line.endswith("6 tensors, 160 B each, 640 B in all")
    assert "rank<0..3>::layers.<0..1>.norm.weight" in ran.out


def test_outputs_held_against_nothing_are_told(folder: Path) -> None:
    plan = cs.plan(
        {"w": np.zeros(2, "f"), "v": np.ones(3, "f")},
        ["w -> a::w", "v -> ema::v"],
        into={"a": {"w": np.zeros(2, "f")}},
    )
    assert cs.make_report(plan).bottom_line.endswith("; ema is held against nothing")


def test_a_destination_without_a_name_is_that_of_the_unnamed_output_alone(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    source, into = network.state_dict(), tmp_path / "dst.pt"
    torch.save(network.state_dict(), into)
    paths = {"": tmp_path / "whole.pt", "ema": tmp_path / "ema.pt"}
    cs.transplant(source, paths, [{"from": "0.weight", "to": ["0.weight", "ema::w"]}], into)
    wanted, written = (torch.load(path)._metadata for path in (into, paths[""]))
    assert written == wanted


@pytest.mark.parametrize("nested", [False, True])
def test_no_key_of_a_destination_without_a_name_names_an_output(
    nested: bool, tmp_path: Path
) -> None:
    keys = {"rank0::w": torch.zeros(2), "v": torch.zeros(3)}
    torch.save({"state_dict": keys} if nested else keys, tmp_path / "dst.pt")
    source = {"w": random(2), "v": random(3)}
    with pytest.raises(cs.PlanError, match="the destination has no name, and nothing goes to an"):
        cs.plan(source, ["w -> rank0::w"], tmp_path / "dst.pt", allow=["unused"])
    plan = cs.plan(source, ["w -> rank0::w", "v -> v"], tmp_path / "dst.pt")
    assert [(file.alias, bool(file.into)) for file in plan.files] == [("rank0", False), ("", True)]
    paths = {alias: tmp_path / f"{alias}.pt" for alias in ("", "rank0")}
    cs.transplant(source, paths, plan)
    assert_equal(torch.load(paths["rank0"]), {"w": source["w"]})


def test_explain_answers_for_every_output(folder: Path, ckpt: Ckpt) -> None:
    words = (folder / "hf.safetensors", "-r", folder / "tp.yaml")
    ran = ckpt("explain", "layers.1.q.weight", *words)
    assert "rank0::layers.1.q.weight  F32[2, 4]  (key of the output)" in ran.out
    assert "3 more outputs have the key" in ran.out
    ran = ckpt("explain", "rank2::layers.1.q.weight", *words)
    assert "rank2::layers.1.q.weight  F32[2, 4]  (key of the output)" in ran.out
    assert "stands in `model` of a .pt" in ran.out


def test_options_of_outputs_by_their_aliases(folder: Path) -> None:
    rules = {
        "format": 1,
        "output": {
            "root": {"rank<r>": "model", "ema": ""},
            "separator": {"ema": "/"},
            "wrappers": {"rank1": ["norm"]},
        },
        "rules": ["layers.<i>.** -> rank<i>::**", {"from": "x.**", "to": "ema::**"}],
    }
    source: Any = {**network(), "x.a.b": random(2)}
    cs.transplant(source, {"rank<r>": folder / "r<r>.pt", "ema": folder / "ema.pt"}, rules)
    zero, one, ema = (
        torch.load(folder / name, weights_only=True) for name in ("r0.pt", "r1.pt", "ema.pt")
    )
    assert sorted(zero["model"]) == ["norm.weight", "o.weight", "q.weight"]
    assert sorted(one["model"]) == ["norm", "o.weight", "q.weight"]
    assert list(ema) == ["a/b"]


def test_an_output_that_is_there_is_told_before_ties_are_compared(folder: Path) -> None:
    source = {"a": random(4), "b": random(4) + 1}
    rules = ["a -> x::a", "b -> x::b", {"tie": ["x::a", "x::b"]}]
    target = folder / "x.safetensors"
    with pytest.raises(cs.PlanError, match="`x::b` and `x::a` hold different values"):
        cs.transplant(source, {"x": target}, rules)
    save_file(source, target)
    with pytest.raises(cs.OutputError, match=r"x\.safetensors: exists already"):
        cs.transplant(source, {"x": target}, rules)


def test_tied_tensors_that_go_to_two_files_part(folder: Path) -> None:
    embedding = random(4, 2)
    torch.save({"embed": embedding, "head": embedding}, folder / "tied.pt")
    plan = cs.plan(folder / "tied.pt", ["embed -> first::embed", "head -> last::head"])
    assert [note.key for note in plan.notes if note.kind == "untied"] == ["last::head"]
    assert not plan.ties
    both = cs.plan(folder / "tied.pt", [{"from": "*", "to": "r<r>::*", "ops": {"copies": 2}}])
    assert both.ties == {"r0::head": "r0::embed", "r1::head": "r1::embed"}
