"""Results that people look at: printed, in a notebook, as a dict; and errors that carry them."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import ckptsurgeon as cs
from ckptsurgeon import batchnorm, modules
from ckptsurgeon.cli import run
from ckptsurgeon.showing import Paged, Shown

LAYERS = {f"layers.{i}.{part}.weight": torch.rand(4) for i in range(40) for part in "ab"}
HOSTILE = "<script>alert(1)</script>\x1b[31m"


def looks(folder: Path) -> dict[str, Shown]:
    """A result of each kind."""
    net, other = nn.Sequential(nn.BatchNorm1d(3)), nn.Sequential(nn.BatchNorm1d(3))
    plan = cs.plan(LAYERS, ["layers.<i>.** -> blocks.<i>.**"])
    return {
        "plan": plan,
        "report": cs.make_report(plan),
        "inspection": cs.inspect(LAYERS),
        "difference": cs.diff(LAYERS, {**LAYERS, "new": torch.ones(2)}),
        "explanation": cs.explain("layers.0.a.weight", LAYERS, ["layers.** -> x.**"]),
        "verification": cs.verify(net.state_dict(), lambda: nn.Sequential(nn.BatchNorm1d(3))),
        "probe": cs.probe(LAYERS, folder / "probe.pt"),
        "copied": batchnorm.copy_all(net, other),
        "mirror": batchnorm.mirror(net, other),
        "frozen": batchnorm.freeze(nn.Sequential(nn.BatchNorm1d(3))),
        "folds": batchnorm.fold(nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)).eval()),
        "recalibrated": batchnorm.recalibrate(nn.BatchNorm1d(3), [torch.rand(4, 3)]),
    }


def test_every_result_shows_itself(tmp_path: Path) -> None:
    for name, shown in looks(tmp_path).items():
        assert isinstance(shown, Shown), name
        text, line = str(shown), repr(shown)
        assert 0 < len(text) < 3000, name
        assert not text.endswith("\n"), name
        assert "\x1b" not in text, name
        assert (line.count("\n"), len(line) < 300, line[0], line[-1]) == (0, True, "<", ">"), name
        assert shown.summary in line, name
        html = shown._repr_html_()
        assert html.startswith("<pre"), name
        assert html.count("<pre") == html.count("</pre>") == 1, name
        assert json.loads(json.dumps(shown.to_dict())) == shown.to_dict(), name
        console = Console(
            file=io.StringIO(), width=200, force_terminal=True, color_system="truecolor"
        )
        console.print(shown)
        assert console.file.getvalue().count("\n") >= text.count("\n"), name  # type: ignore[attr-defined]


def test_what_is_printed_is_what_the_command_line_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(LAYERS, tmp_path / "a.pt")
    rule = "layers.<i>.** -> blocks.<i>.**"
    printed = str(cs.plan(tmp_path / "a.pt", [rule])).replace("<rules>:1", "-e:1")
    assert run(["plan", str(tmp_path / "a.pt"), "-e", rule]) == 0
    assert capsys.readouterr().out.split() == printed.split()
    assert run(["plan", str(tmp_path / "a.pt"), "-e", rule, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    from ckptsurgeon.language.rulesets import rules_from_arrows

    assert told == cs.plan(tmp_path / "a.pt", rules_from_arrows([rule])).to_dict()
    assert told["exit_code"] == 0


def test_keys_are_text_in_html_and_nothing_else() -> None:
    html = cs.plan({HOSTILE: torch.rand(1), "[bold]x[/bold]": torch.rand(1)})._repr_html_()
    assert "<script" not in html
    assert "\x1b" not in html
    assert "[bold]x[/bold]" in html


def test_the_error_carries_the_report_and_is_short() -> None:
    source = {f"module.{key}": value for key, value in LAYERS.items()}
    with pytest.raises(cs.FindingsError) as caught:
        cs.apply(source, [], LAYERS)
    error = caught.value
    assert len(str(error)) < 1500
    assert error.report.open_findings
    assert "allow=[" in str(error)
    assert "source: {strip: ['module.']}" in str(error)
    assert len(error.problems) == len(error.report.open_findings)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problems, again.report) == (str(error), error.problems, None)
    model = nn.Linear(2, 3)
    with pytest.raises(cs.FindingsError, match=r"1 missing (.|\n)* bias ") as loading:
        modules.load(model, {"weight": torch.rand(3, 2)})
    assert loading.value.report.counts


def test_the_old_order_of_apply_warns_and_works(tmp_path: Path) -> None:
    state, into = {"a": torch.rand(2)}, {"b": torch.rand(2)}
    (tmp_path / "r.yaml").write_text("format: 1\nrules:\n  - a -> b\n")
    old = (["a -> b"], {"format": 1, "rules": ["a -> b"]}, tmp_path / "r.yaml")
    for rules in (*old, cs.load_ruleset(["a -> b"])):
        with pytest.warns(DeprecationWarning, match=r"apply\(state_dict, rules\)"):
            tensors, _ = cs.apply(rules, state, into)  # type: ignore[arg-type]
        assert tensors["b"] is state["a"]
    with pytest.warns(DeprecationWarning, match="as in plan"):
        assert cs.apply(None, state)[0] == state  # type: ignore[arg-type]
    assert cs.apply(state, ["a -> b"])[0]["b"] is state["a"]


def test_wrong_guesses_are_told(tmp_path: Path) -> None:
    state = {"a": torch.rand(2)}
    with pytest.raises(cs.CkptSurgeonError, match=r"dict of tensors where rules are wanted"):
        cs.plan(state, state)  # type: ignore[arg-type]
    with pytest.raises(cs.OutputError, match="rules where the output is wanted"):
        cs.transplant(state, tmp_path / "rules.yaml", tmp_path / "out.pt")
    with pytest.raises(cs.OutputError, match="a list where the output is wanted"):
        cs.transplant(state, ["a -> b"], tmp_path / "out.pt")  # type: ignore[arg-type]
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(cs.RulesetError, match="a checkpoint where rules are wanted"):
        cs.plan(state, tmp_path / "a.pt")
    with pytest.raises(cs.PlanError, match=r"(?s)allow=\['mismatch'\].*did you mean 'mismatched'"):
        cs.plan(state, allow=["mismatch"])  # type: ignore[list-item]
    with pytest.raises(cs.CheckpointError, match="int is no checkpoint"):
        cs.plan(3)  # type: ignore[arg-type]


def test_a_nested_dict_is_opened_like_the_file_of_its_content(tmp_path: Path) -> None:
    held = {
        "model": {"w": torch.rand(2), "b": torch.rand(1)},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}},
        "epoch": 3,
        "log": [1, 2],
    }
    torch.save(held, tmp_path / "a.pt")
    for root in (None, "model", ""):
        ours, files = (cs.inspect(one, root=root) for one in (held, tmp_path / "a.pt"))
        assert ours.specs == files.specs
        one, other = ours.checkpoint.contents, files.checkpoint.contents
        assert (one.root, one.wrappers, one.outside) == (other.root, other.wrappers, other.outside)
        assert [entry.key for entry in one.opaque] == [entry.key for entry in other.opaque]
    tensors, report = cs.apply(held, ["w -> x"])
    assert tensors["x"] is held["model"]["w"]  # type: ignore[index]
    assert report.sources[0].root == "model"
    rivals = {"model": {"w": torch.rand(2)}, "ema": {"w": torch.rand(2)}}
    with pytest.raises(cs.CheckpointError, match="same weights 2 times"):
        cs.apply(rivals)
    assert cs.apply(rivals, root="ema")[0]["w"] is rivals["ema"]["w"]
    assert cs.apply({"epoch": 3, "w": np.ones(2, "f4")})[1].total.tensors == 1


def test_plans_are_saved_and_loaded(tmp_path: Path) -> None:
    made = cs.plan(LAYERS, ["layers.<i>.** -> blocks.<i>.**"])
    made.save(tmp_path / "plan.json")
    again = cs.load_plan(tmp_path / "plan.json")
    assert again.summary == made.summary
    assert list(again.outputs) == list(made.outputs)
    with pytest.raises(cs.OutputError, match="a plan is saved as JSON"):
        made.save(tmp_path / "plan.pt")


def test_inspect_by_pattern() -> None:
    found = cs.inspect(LAYERS, only=["layers.<i>.a.*", "layers.0.*.weight"])
    assert found.summary == "<memory>, memory, 41 tensors, 656 B"
    assert "only" in str(found)
    assert found.to_dict()["only"] == ["layers.<i>.a.*", "layers.0.*.weight"]
    with pytest.raises(cs.CheckpointError, match="no key matches `layers`"):
        cs.inspect(LAYERS, only="layers")
    with pytest.raises(cs.CheckpointError, match="`<`"):
        cs.inspect(LAYERS, only="<")


def test_mirror_tells_layers_without_a_partner() -> None:
    one = nn.ModuleDict({"a": nn.BatchNorm1d(3), "b": nn.BatchNorm1d(3)})
    other = nn.ModuleDict({"a": nn.BatchNorm1d(3), "c": nn.BatchNorm1d(3)})
    with pytest.warns(
        UserWarning, match="no partner of the same name for c of the destination and b"
    ):
        batchnorm.mirror(one, other)
    with pytest.raises(cs.CkptSurgeonError, match=r"\{'batchnorm': 'b -> c'\}") as caught:
        batchnorm.mirror(nn.ModuleDict({"b": one["b"]}), nn.ModuleDict({"c": other["c"]}))
    rules = [{"batchnorm": "b -> c"}]
    assert str(rules) in str(caught.value)
    assert batchnorm.mirror(one, other, [*rules, {"batchnorm": "a -> a"}]).pairs.pairs


@pytest.mark.parametrize("batches", [torch.rand(4, 3), {"x": torch.rand(4, 3)}, 3])
def test_recalibrate_wants_batches(batches: object) -> None:
    layer = nn.BatchNorm1d(3)
    with pytest.raises(cs.CkptSurgeonError, match="where batches are wanted: an iterable of them"):
        batchnorm.recalibrate(layer, batches)  # type: ignore[arg-type]
    assert layer.running_mean is not None
    assert layer.running_mean.equal(torch.zeros(3))


def test_what_has_pages_writes_them(tmp_path: Path) -> None:
    paged = {name: one for name, one in looks(tmp_path).items() if isinstance(one, Paged)}
    assert set(paged) == {"plan", "report", "inspection", "verification", "difference"}
    for name, one in paged.items():
        page, posted = one.to_html(), one.to_markdown()
        assert page.startswith("<!doctype html>"), name
        assert page.isascii(), name
        assert 0 < len(posted.encode()) <= 65_000, name
        assert posted == one.to_markdown(verbose=False), name
