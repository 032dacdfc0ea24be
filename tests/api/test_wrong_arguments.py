"""What is given in the place of something else in Python: each is told in words."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

import ckptsurgeon as cs
from ckptsurgeon import batchnorm, modules

T = torch.ones(2)
STATE: Any = {"w": T}
NET: Any = nn.Linear(2, 2)
CLASS: Any = nn.Linear
NORMS: Any = nn.BatchNorm1d(2)
ODD: Any = [3]

WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a class as source": (lambda: cs.plan(CLASS), "the class Linear is no checkpoint"),
    "a class as destination": (lambda: cs.plan(STATE, into=CLASS), "the class Linear is no"),
    "a class inspected": (lambda: cs.inspect(CLASS), "the class Linear is no checkpoint"),
    "a class loaded": (lambda: modules.load(CLASS, STATE), "the class Linear where a model is"),
    "load, turned round": (lambda: modules.load(STATE, NET), "dict where a model is wanted"),
    "transplant, turned round": (lambda: modules.transplant(NET, STATE), "dict where a model is"),
    "a hook on a dict": (lambda: modules.convert_on_load(STATE, []), "dict where a model is"),
    "a mirror of dicts": (lambda: batchnorm.mirror(STATE, STATE), "dict where a model is"),
    "a dict frozen": (lambda: batchnorm.freeze(STATE), "dict where a model is wanted"),
    "a dict recalibrated": (lambda: batchnorm.recalibrate(STATE, [T]), "dict where a model is"),
    "a model verified": (lambda: cs.verify(STATE, NET), "Linear is built already; give what"),
    "a number built": (lambda: cs.verify(STATE, lambda: ODD), "list where a model is wanted"),
    "a root that is a list": (
        lambda: cs.plan(STATE, root=ODD),
        "root: a list where a name, or a dict",
    ),
    "a root by alias": (lambda: cs.plan(STATE, root={"": 3}), "root of '': an int where a name"),  # type: ignore[dict-item]
    "sources in a list": (lambda: cs.plan(None, sources=ODD), "sources: a list where a dict of"),
    "a root of A, by its name": (
        lambda: cs.diff(STATE, STATE, root={"a": "x"}),
        "'a' is without a name here: write root='x'",
    ),
    "a root of B, by its name": (
        lambda: cs.diff(STATE, STATE, root={"b": "x"}),
        "'b' is `dst` here: write root={'dst': 'x'}",
    ),
    "roots of both, by their names": (
        lambda: cs.diff(STATE, STATE, root={"A": "x", "B": "y"}),
        "'A' is without a name here: write root={'': 'x', 'dst': 'y'}",
    ),
    "a root of a model that is B": (
        lambda: cs.diff(STATE, NET, root={"dst": "x"}),
        "`b` is no file to open at a root",
    ),
    "nothing to compare with": (lambda: cs.diff(None, STATE), "no source: give `a`, or name"),
    "a checkpoint for rules of diff": (
        lambda: cs.diff(STATE, STATE, rules=STATE),
        "a dict of tensors where rules are wanted",
    ),
    "a root of what is open": (lambda: cs.inspect(NET, root="x"), "is no file to open at a root"),
    "a root of every source": (
        lambda: cs.plan(None, ["a::** -> **"], sources={"a": NET}, root="net"),
        "is no file to open at a root",
    ),
    "kinds that are none": (lambda: cs.plan(STATE, allow=3), "allow=[3]: unknown"),  # type: ignore[arg-type]
    "no rules": (lambda: cs.plan(STATE, ""), "an empty text where rules are wanted"),
    "nested tensors as rules": (
        lambda: cs.plan(STATE, {"model": STATE}),
        "a dict of tensors where",
    ),
    "a ruleset as output": (
        lambda: cs.transplant(STATE, "timm_vit_to_transformers"),
        "timm_vit_to_transformers: rules where the output is wanted",
    ),
    "a rule as output": (lambda: cs.transplant(STATE, "w -> v"), "rules where the output"),
    "layers as a flag": (lambda: batchnorm.freeze(NET, ["layer1"]), "affine=['layer1']: wanted"),  # type: ignore[arg-type]
    "a layer as a flag": (lambda: batchnorm.unfreeze(NET, stats="bn1"), "give the part, such as"),  # type: ignore[arg-type]
    "a number of channels": (
        lambda: batchnorm.copy(nn.BatchNorm1d(2), nn.BatchNorm1d(2), 2),  # type: ignore[arg-type]
        "channels=2: wanted a slice or a list",
    ),
    "explain's key second": (lambda: cs.explain(STATE, "w"), "a dict where the key is wanted"),  # type: ignore[arg-type]
    "kinds in one text": (
        lambda: cs.plan(STATE, allow="missing, unused"),  # type: ignore[arg-type]
        "write allow=['missing', 'unused']",
    ),
    "an image as pairs": (lambda: batchnorm.fold(NET, T), "an input is `example=image`"),  # type: ignore[arg-type]
    "pairs in a list": (lambda: batchnorm.fold(NET, ODD), "a list where a dict of names"),
    "layers as pairs": (lambda: batchnorm.fold(NET, {NET: NET}), "a Linear where a name"),
    "a dict folded": (lambda: batchnorm.fold(STATE), "a dict where a model is wanted"),  # type: ignore[arg-type]
    "a shape that is a number": (lambda: cs.verify(STATE, CLASS, shape=16), "an int where a tuple"),  # type: ignore[arg-type]
    "a shape in a text": (lambda: cs.verify(STATE, CLASS, shape="1,3"), "a str where a tuple of"),  # type: ignore[arg-type]
    "a tolerance in a text": (
        lambda: cs.verify(STATE, CLASS, tolerance="1e-3"),  # type: ignore[arg-type]
        "tolerance: a str where a number is wanted",
    ),
    "a seed in a text": (lambda: cs.verify(STATE, CLASS, seed="a"), "seed: a str where a whole"),  # type: ignore[arg-type]
    "no model": (lambda: cs.verify(STATE, None), "verify: model: None where what makes one"),  # type: ignore[arg-type]
    "arguments in a list": (lambda: cs.verify(STATE, CLASS, arguments=ODD), "a list where a dict"),
    "arguments that a class lacks": (
        lambda: cs.verify(STATE, CLASS, arguments={"channels": 3}),
        "verify: Linear: missing a required argument",
    ),
    "an alias that is a number": (lambda: cs.plan(None, sources={1: STATE}), "an int where a text"),  # type: ignore[dict-item]
    "a config that is a number": (lambda: cs.plan(STATE, config=42), "config: an int where a path"),  # type: ignore[arg-type]
    "variables in a list": (
        lambda: cs.plan(STATE, variables=ODD),
        "variables: a list where a dict",
    ),
    "a root of an inspection": (lambda: cs.inspect(STATE, root={"a": "b"}), "root: a dict where"),  # type: ignore[arg-type]
    "jobs in a text": (lambda: cs.transplant(STATE, "o.pt", jobs="4"), "jobs: a str where a whole"),  # type: ignore[arg-type]
    "jobs that are true": (lambda: cs.transplant(STATE, "o.pt", jobs=True), "jobs: a bool where"),
    "a fraction of memory": (lambda: cs.transplant(STATE, "o.pt", memory=1.5), "memory: a float"),  # type: ignore[arg-type]
    "progress that is true": (
        lambda: cs.transplant(STATE, "o.pt", progress=True),  # type: ignore[arg-type]
        "progress: a bool where a function of (done, total, key) is wanted",
    ),
    "a dict as a plan": (lambda: cs.load_plan({}), "a dict where the path of a saved plan"),  # type: ignore[arg-type]
    "a file to save to": (lambda: cs.plan(STATE).save(io.StringIO()), "a StringIO where a path"),  # type: ignore[arg-type]
    "a model as rules": (lambda: cs.plan(STATE, NET), "a destination is given by `into=…`"),
    "a file as rules": (lambda: cs.plan(STATE, io.StringIO()), "give the path of the file"),  # type: ignore[arg-type]
    "a function as rules": (lambda: cs.plan(STATE, len), "a rule is a text, such as 'OLD -> NEW'"),  # type: ignore[arg-type]
    "a set of rules": (lambda: cs.plan(STATE, {"w -> v"}), "give a list, `list(…)`"),  # type: ignore[arg-type]
    "bytes as rules": (lambda: cs.plan(STATE, b"w -> v"), "a bytes where rules are wanted"),  # type: ignore[arg-type]
    "a dtype among the rules": (
        lambda: cs.plan(STATE, [{"w -> v": {"cast": torch.float16}}]),
        "a dtype is a text: `'F16'`",
    ),
    "an array among the rules": (
        lambda: cs.plan(STATE, [{"w -> v": {"permute": np.arange(2)}}]),
        "write plain Python: `.tolist()` gives it",
    ),
    "a function among the rules": (
        lambda: cs.plan(STATE, [{"w -> v": len}]),
        "ops are named, such as 'transpose'",
    ),
    "a model as the output": (lambda: cs.transplant(NET, NET), "`modules.transplant(source, mod"),  # type: ignore[arg-type]
    "a hook without rules": (lambda: modules.convert_on_load(NET, None), "rules: None where"),  # type: ignore[arg-type]
    "a hook, turned round": (
        lambda: modules.convert_on_load(ODD, NET),
        "a list where a model is wanted",
    ),
    "batches of keywords": (
        lambda: batchnorm.recalibrate(NORMS, [{"image": T}]),
        "say how it goes through: `forward=lambda batch: model(batch['image'])`",
    ),
    "batches of arrays": (
        lambda: batchnorm.recalibrate(NORMS, [np.ones((2, 2))]),
        "a batch is a nd",
    ),
    "an inverse of nothing": (lambda: cs.invert(None), "invert: None where a plan, or the path"),  # type: ignore[arg-type]
    "a root of a verification": (
        lambda: cs.verify(STATE, CLASS, root=ODD),
        "root: a list where a name",
    ),
    "statistics of some keys": (lambda: cs.inspect(STATE, stats=["w"]), "stats: a list where true"),  # type: ignore[arg-type]
    "progress of no kind": (
        lambda: cs.inspect(STATE, stats=True, progress=3),  # type: ignore[arg-type]
        "progress: an int where a function of",
    ),
    "a number of patterns": (lambda: cs.inspect(STATE, only=3), "only: an int where a pattern"),  # type: ignore[arg-type]
    "numbers for patterns": (lambda: cs.inspect(STATE, only=ODD), "only: an int where a pattern"),
    "a variable without a name": (lambda: cs.plan(STATE, variables={1: 2}), "an int where a text"),  # type: ignore[dict-item]
    "sources of a plan": (
        lambda: cs.apply(STATE, cs.plan(STATE), sources=ODD),
        "sources: a list where a dict",
    ),
    "a dict thawed": (lambda: batchnorm.convert_from_frozen(STATE), "a dict where a model is"),  # type: ignore[arg-type]
    "a size of 0": (lambda: cs.verify(STATE, CLASS, shape=(0, 3)), "shape=0: wanted at least 1"),
    "a forward in a text": (
        lambda: batchnorm.recalibrate(NORMS, [T], forward="model(x)"),  # type: ignore[arg-type]
        "forward: a str where a function of a batch is wanted",
    ),
    "one batch": (lambda: batchnorm.recalibrate(NET, T), "a tensor of [2] where batches are"),
    "one array": (lambda: batchnorm.recalibrate(NET, np.ones((2, 2))), "a tensor of [2, 2] where"),
    "a loader's batch": (lambda: batchnorm.recalibrate(NET, (T, T)), "a tuple of tensors, as a"),
    "a loader's list": (
        lambda: batchnorm.recalibrate(NET, [torch.ones(2, 3), torch.tensor([1, 2])]),
        "a list of unlike tensors",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_given_for_something_else_is_told(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, told = WRONG[what]
    with pytest.raises(cs.CkptSurgeonError, match=re.escape(told)):
        call()
    assert not list(tmp_path.iterdir())


def test_rules_without_a_source_are_no_old_order() -> None:
    tensors, _ = cs.apply(None, ["a::w -> v", {"drop": "a::x"}], sources={"a": {"w": T, "x": T}})
    assert list(tensors) == ["v"]
    with pytest.raises(cs.RulesetError, match="a rule where rules are wanted"):
        cs.apply(None, {"drop": "x"}, sources={"a": STATE})


def test_what_is_in_another_module_is_told_where() -> None:
    with pytest.raises(
        AttributeError, match=r"no attribute 'load': it is in `ckptsurgeon\.modules`"
    ):
        _ = cs.load
    with pytest.raises(AttributeError, match=r"it is in `ckptsurgeon\.batchnorm`"):
        _ = cs.freeze
    with pytest.raises(ValueError, match="memory: '2G' is no size"):
        cs.transplant(STATE, "o.pt", memory="2G")


def test_a_destination_in_the_place_of_the_output_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "dst.safetensors"
    save_file({"v": np.ones(2, "f4")}, path)
    with pytest.raises(
        cs.OutputError, match=r"if it is the destination, name a new output and say into="
    ):
        cs.transplant({"w": np.ones(2, "f4")}, path, ["w -> v"])
    cs.transplant({"w": np.ones(2, "f4")}, tmp_path / "new.safetensors", ["w -> v"], into=path)


def test_the_root_of_the_first_source_beside_others(tmp_path: Path) -> None:
    held = {"model": {"w": torch.ones(2)}, "ema": {"w": torch.zeros(2)}}
    for name in ("a", "b"):
        torch.save(held, tmp_path / f"{name}.pt")
    root = {"source": "ema", "dst": "ema"}
    with pytest.raises(
        cs.CheckpointError, match=r"is without a name here: write root=\{'': 'ema', 'dst': 'ema'\}"
    ):
        cs.plan(tmp_path / "a.pt", into=tmp_path / "b.pt", root=root)
    made = cs.plan(tmp_path / "a.pt", into=tmp_path / "b.pt", root={"": "ema", "dst": "ema"})
    assert list(made.outputs) == ["w"]


def test_numbers_of_other_libraries_are_numbers(tmp_path: Path) -> None:
    source, rules = {"w": np.ones(2, "f4")}, ["w -> v"]
    for number, (jobs, memory) in enumerate([(np.int64(1), 4e9), (2.0, np.uint32(2**20))]):
        path = tmp_path / f"{number}.safetensors"
        cs.transplant(source, path, rules, jobs=jobs, memory=memory)  # type: ignore[arg-type]
        assert path.exists()
    one = torch.tensor(1)
    cs.transplant(source, tmp_path / "t.safetensors", rules, jobs=one)  # type: ignore[arg-type]


def test_a_factory_that_a_decorator_gives_its_arguments() -> None:
    def needs(inputs: int) -> nn.Module:
        return nn.Linear(inputs, 2)

    @functools.wraps(needs)
    def build(**words: int) -> nn.Module:
        return needs(2, **words)

    assert not cs.verify(nn.Linear(2, 2).state_dict(), build).findings


def test_a_model_takes_the_batches_that_it_takes() -> None:
    class Takes(nn.BatchNorm1d):
        def forward(self, input: Any) -> Any:
            return super().forward(torch.as_tensor(input))

    assert batchnorm.recalibrate(Takes(2), [np.random.rand(4, 2).astype("f4")]).batches == 1


def test_names_that_no_file_can_have() -> None:
    for name in ("x\0y/a.pt", "\udc00/a.pt"):
        with pytest.raises(cs.CkptSurgeonError):
            cs.plan(name)


@pytest.mark.parametrize("text", ["format: 1\nrules:\n- a -> b\n", "- a -> b\n- c -> d"])
def test_the_text_of_a_rule_file_is_told(text: str) -> None:
    with pytest.raises(
        cs.RulesetError, match=r"its path is wanted(.|\n)*`yaml\.safe_load\(text\)`"
    ):
        cs.plan(STATE, text)


def test_what_stands_beside_rules_is_told_in_a_list() -> None:
    told = r"write a dict(.|\n)*`\{'format': 1, 'source': …, 'rules': \[…\]\}`"
    for rule in ({"source": {"strip": "module."}}, "source: {strip: module.}"):
        with pytest.raises(cs.RulesetError, match=told):
            cs.plan(STATE, ["a -> b", rule])


def test_several_rule_files_are_told() -> None:
    told = r"`\[load_ruleset\(one\) for one in files\]`"
    file = {"format": 1, "rules": ["w -> v"]}
    for rules in (["a.yaml", "b.yaml"], [file, file]):
        with pytest.raises(cs.RulesetError, match=told):
            cs.plan(STATE, rules)
    plan = cs.plan(STATE, [cs.load_ruleset(file), cs.load_ruleset(["v -> u"])])
    assert list(plan.outputs) == ["u"]
    with pytest.raises(cs.RulesetError, match="write it to a file"):
        cs.plan(STATE, "rules:\n- w -> v\n---\nrules:\n- v -> u")
