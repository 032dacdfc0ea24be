"""How a `.pt` is nested: as `output` says, else as the destination, else as the source."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import ckptsurgeon as cs


def nesting(value: Any) -> Any:
    """A tree with the first number of each tensor in its place."""
    if isinstance(value, dict):
        return {key: nesting(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [nesting(entry) for entry in value]
    return float(value.flatten()[0]) if isinstance(value, torch.Tensor) else value


def planted(value: Any) -> Any:
    """A tree with a tensor for each float."""
    if isinstance(value, dict):
        return {key: planted(entry) for key, entry in value.items()}
    return torch.full((2,), value) if isinstance(value, float) else value


def saved(path: Path, tree: Any) -> Path:
    torch.save(planted(tree), path)
    return path


def loaded(path: Path) -> Any:
    return nesting(torch.load(path, weights_only=True))


def rules(**output: Any) -> dict[str, Any]:
    return {"format": 1, "output": output}


def written(tmp_path: Path, tree: Any, given: Any, **words: Any) -> Any:
    source = saved(tmp_path / "source.pt", tree)
    cs.transplant(source, tmp_path / "out.pt", given, force=True, **words)
    return loaded(tmp_path / "out.pt")


FLAT = {"a.w": 1.0, "a.b.w": 2.0, "c.w": 3.0}
TRAINED = {"state_dict": FLAT, "epoch": 7}


@pytest.mark.parametrize(
    ("output", "wanted"),
    [
        ({"root": "net"}, {"net": FLAT}),
        ({"root": "net.inner"}, {"net": {"inner": FLAT}}),
        ({"root": ""}, FLAT),
        ({"wrappers": ["a"]}, {"a": {"w": 1.0, "b.w": 2.0}, "c.w": 3.0}),
        ({"wrappers": "c"}, {"c": {"w": 3.0}, "a.w": 1.0, "a.b.w": 2.0}),
        ({"wrappers": ["a", "a.b"]}, {"a": {"b": {"w": 2.0}, "w": 1.0}, "c.w": 3.0}),
        ({"wrappers": ["a.b"]}, {"a": {"b": {"w": 2.0}}, "a.w": 1.0, "c.w": 3.0}),
        ({"root": "m", "wrappers": ["c"]}, {"m": {"c": {"w": 3.0}, "a.w": 1.0, "a.b.w": 2.0}}),
        ({"separator": "/", "wrappers": ["a.b"]}, {"a": {"b": {"w": 2.0}}, "a/w": 1.0, "c/w": 3.0}),
        ({"separator": "::", "root": "m"}, {"m": {"a::w": 1.0, "a::b::w": 2.0, "c::w": 3.0}}),
    ],
    ids=str,
)
@pytest.mark.parametrize("tree", [FLAT, TRAINED], ids=["flat", "nested"])
def test_output_says_the_nesting(
    tree: Any, output: dict[str, Any], wanted: Any, tmp_path: Path
) -> None:
    entries = {"epoch": 7} if tree is TRAINED else {}
    assert written(tmp_path, tree, rules(**output)) == wanted | entries


def test_ip_adapter(tmp_path: Path) -> None:
    tree = {"image_proj_model.proj.weight": 1.0, "unet.to_k_ip.weight": 2.0}
    given = rules(wrappers=["image_proj", "ip_adapter"]) | {
        "rules": ["image_proj_model.** -> image_proj.**", "unet.** -> ip_adapter.1.**"]
    }
    found = written(tmp_path, tree, given)
    assert found == {"image_proj": {"proj.weight": 1.0}, "ip_adapter": {"1.to_k_ip.weight": 2.0}}


def test_the_destination_decides_before_the_source(tmp_path: Path) -> None:
    into = saved(tmp_path / "into.pt", {"model": {"a": {"w": 0.0}, "a.b.w": 0.0}, "lr": 1})
    tree = {"state_dict": {"a.w": 1.0, "a.b.w": 2.0}, "epoch": 7}
    found = written(tmp_path, tree, None, into=into)
    assert found == {"model": {"a": {"w": 1.0}, "a.b.w": 2.0}, "epoch": 7}
    found = written(tmp_path, tree, rules(root="state_dict"), into=into)
    assert found == {"state_dict": {"a.w": 1.0, "a.b.w": 2.0}, "epoch": 7}


def test_a_flat_destination_leaves_it_to_the_source(tmp_path: Path) -> None:
    into = saved(tmp_path / "into.pt", dict.fromkeys(FLAT, 0.0))
    assert written(tmp_path, TRAINED, None, into=into) == TRAINED


def test_a_nested_dict_as_the_destination(tmp_path: Path) -> None:
    into = planted({"model": dict.fromkeys(FLAT, 0.0)})
    assert written(tmp_path, TRAINED, None, into=into) == {"model": FLAT, "epoch": 7}


def test_entries_stay_at_the_top_and_what_stands_with_tensors_goes_with_them(
    tmp_path: Path,
) -> None:
    tree = {"net": {"m": {"a.w": 1.0, "a._extra_state": "x"}, "step": 5}, "epoch": 7}
    given = rules(root="model", wrappers=["a"]) | {"source": {"root": "net.m"}}
    wanted = {"model": {"a": {"w": 1.0, "_extra_state": "x"}}, "net": {"step": 5}, "epoch": 7}
    assert written(tmp_path, tree, given) == wanted
    flat = {"a.w": 1.0, "a._extra_state": "x", "epoch": 7}
    wanted = {"model": {"a.w": 1.0, "a._extra_state": "x"}, "epoch": 7}
    assert written(tmp_path, flat, rules(root="model")) == wanted


def test_metadata_stands_in_the_dicts_of_its_tensors(tmp_path: Path) -> None:
    norm = torch.nn.Sequential(torch.nn.BatchNorm1d(2))
    state = OrderedDict((f"{name}.{k}", v) for name in "ab" for k, v in norm.state_dict().items())
    torch.save({"a": norm.state_dict(), "b": norm.state_dict()}, tmp_path / "two.pt")
    given = rules(root="m", wrappers=["b"]) | {"source": {"root": ""}}
    cs.transplant(tmp_path / "two.pt", tmp_path / "out.pt", given)
    found = torch.load(tmp_path / "out.pt", weights_only=True)["m"]
    assert set(found) == {"b", *(key for key in state if key.startswith("a."))}
    assert found._metadata == {"": {"version": 1}, "a": {"version": 1}, "a.0": {"version": 2}}
    assert found["b"]._metadata == norm.state_dict()._metadata  # type: ignore[attr-defined]


def test_a_name_with_a_dot_is_one_dict_where_it_is_known(tmp_path: Path) -> None:
    assert written(tmp_path, {"model.ema": FLAT}, {"source": {"root": "model.ema"}, "format": 1})
    given = rules(root="model.ema") | {"source": {"root": "model.ema"}}
    assert written(tmp_path, {"model.ema": FLAT}, given) == {"model.ema": FLAT}
    assert written(tmp_path, FLAT, rules(root="model.ema")) == {"model": {"ema": FLAT}}
    given = rules(root="s", wrappers=["m.e"]) | {"source": {"root": ""}}
    given["rules"] = ["s.m.e.** -> m.e.**"]
    assert written(tmp_path, {"s": {"m.e": FLAT}}, given) == {"s": {"m.e": FLAT}}
    plan = cs.plan(saved(tmp_path / "flat.pt", FLAT), rules(root="model.ema"))
    assert [one.text for one in plan.notes if one.kind == "nesting"] == [
        "the root `model.ema` is a dict `ema` in `model`: dots part dicts"
    ]


def test_safetensors_has_no_nesting_and_says_so(tmp_path: Path) -> None:
    source = saved(tmp_path / "source.pt", TRAINED)
    target = tmp_path / "out.safetensors"
    report = cs.transplant(source, target, rules(root="m", wrappers=["a"]))
    assert set(load_file(target)) == set(FLAT)
    assert "safetensors has no dicts in dicts: keys have no `m.` in front" in str(report)
    tensors, report = cs.apply(source, rules(wrappers=["a"]))
    assert set(tensors) == set(FLAT)
    assert "wrappers are fronts of keys" in str(report)


@pytest.mark.parametrize("into", [None, {"model": dict.fromkeys(FLAT, 0.0)}])
@pytest.mark.parametrize("output", [{}, {"root": ""}, {"root": "x.y", "wrappers": ["a"]}])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_plan_and_its_inverse_from_files(
    into: Any, output: dict[str, Any], suffix: str, tmp_path: Path
) -> None:
    tree = {"net": {"deep": {"a": {"w": 1.0}, "a.b.w": 2.0}, "c": {"w": 4.0}}, "epoch": 7}
    source = saved(tmp_path / "source.pt", tree)
    given = rules(**output) if output else {"format": 1}
    given |= {"source": {"root": "net"}, "rules": ["deep.** -> **"]}
    wanted = None if into is None else saved(tmp_path / "into.pt", into)
    plan = cs.plan(source, given, wanted, allow=["missing", "unexpected"] if into else [])
    plan.save(tmp_path / "plan.json")
    out = tmp_path / f"out.{suffix}"
    cs.transplant(None, out, cs.load_plan(tmp_path / "plan.json"))
    if suffix == "pt" and output == {"root": "x.y", "wrappers": ["a"]}:
        assert set(loaded(out)) == {"x", "epoch"}
        assert loaded(out)["x"]["y"]["a"]["w"] == 1.0
    cs.invert(tmp_path / "plan.json").save(tmp_path / "back.json")
    cs.transplant(out, tmp_path / "back.pt", cs.load_plan(tmp_path / "back.json"))
    entries = {"epoch": 7} if suffix == "pt" else {}
    assert loaded(tmp_path / "back.pt") == {"net": tree["net"]} | entries


def test_the_report_tells_what_decided(tmp_path: Path) -> None:
    source = saved(tmp_path / "source.pt", TRAINED)
    into = saved(tmp_path / "into.pt", {"model": dict.fromkeys(FLAT, 0.0)})
    told = {
        "torch, root `state_dict`, as the source": cs.transplant(source, tmp_path / "1.pt"),
        "torch, root `model`, as the destination": cs.transplant(
            source, tmp_path / "2.pt", into=into
        ),
        "torch, flat, by `output`": cs.transplant(source, tmp_path / "3.pt", rules(root="")),
    }
    for text, report in told.items():
        assert text in str(report)
    found = cs.plan(source, rules(root="m", wrappers=["a"])).to_dict()["outputs"]
    assert found == [
        {
            "alias": "",
            "path": "",
            "format": "",
            "root": "m",
            "wrappers": ["a"],
            "decided": "output",
            "into": "",
            "tensors": 3,
            "bytes": 24,
        }
    ]
    report = cs.transplant(source, tmp_path / "4.pt", rules(root="m"))
    (one,) = json.loads(json.dumps(report.to_dict()))["outputs"]
    assert (one["path"], one["format"]) == (str(tmp_path / "4.pt"), "torch")


def test_explain_tells_the_dicts(tmp_path: Path) -> None:
    found = cs.explain("a.b.w", planted(FLAT), rules(root="m", wrappers=["a"]))
    assert found.dicts == ("m", "a")
    assert "stands in `a` of `m` of a .pt" in str(found)


def test_a_stage_that_is_not_the_last_has_no_output(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("format: 1\noutput: {root: m}\n---\nformat: 1\n")
    source = saved(tmp_path / "source.pt", FLAT)
    report = cs.transplant(source, tmp_path / "out.pt", file)
    assert loaded(tmp_path / "out.pt") == FLAT
    assert "only the last stage is written" in str(report)


REFUSED = [
    ({"wrappers": ["x"]}, "no key lies under `x`", "keys lie under `a`, `c`"),
    ({"wrappers": ["aa"]}, "no key lies under `aa`", "did you mean 'a'?"),
    ({"wrappers": ["a.w"]}, "`a.w` would be a tensor and a dict", "rename the tensor"),
    ({"wrappers": ["a.w.x"]}, "`a.w` would be a tensor and a dict", "leave `a.w.x` out"),
    ({"root": "m", "wrappers": ["m.a"]}, "no key lies under `m.a`", "write `a`"),
    ({"root": "m", "wrappers": ["m"]}, "no key lies under `m`", "it is the root"),
    ({"wrappers": ["a", "a"]}, "'a' stands twice", "leave one of them out"),
    ({"wrappers": [""]}, "an empty text where a wrapper is wanted", "the front of keys"),
    ({"wrappers": ["a..b"]}, "'a..b' has an empty name", "write `a.b`"),
    ({"root": "."}, "'.' has an empty name", "`state_dict`"),
    ({"root": "m." * 60 + "m"}, "names 61 dicts", "name fewer"),
    ({"wrappers": ["m" * 500]}, "1 dicts in 500 characters", "name fewer"),
    ({"wrappers": {"a": "b"}}, "no output is called `a`", "the rules give one without a name"),
    ({"root": None}, "text is wanted, found nothing", 'write `root: ""` for the top'),
    ({"root": "epoch"}, "the source has an entry `epoch`", "another name"),
    ({"root": "epoch.x"}, "the source has an entry `epoch`", "another name"),
]


@pytest.mark.parametrize(("output", "message", "help"), REFUSED, ids=str)
def test_what_is_refused(output: Any, message: str, help: str, tmp_path: Path) -> None:
    source = saved(tmp_path / "source.pt", TRAINED)
    for run in (
        lambda: cs.plan(source, rules(**output)),
        lambda: cs.transplant(source, tmp_path / "out.pt", rules(**output)),
    ):
        with pytest.raises(cs.CkptSurgeonError) as caught:
            run()
        assert message in str(caught.value)
        assert help in str(caught.value)
    assert not (tmp_path / "out.pt").exists()


def test_a_problem_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("format: 1\noutput:\n  root: m\n  wrappers: [a, x]\n")
    with pytest.raises(cs.PlanError) as caught:
        cs.plan(saved(tmp_path / "source.pt", TRAINED), file)
    (problem,) = caught.value.problems
    assert problem.place is not None
    assert (problem.place.line, problem.place.column) == (4, 17)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nesting", {"root": ["m"] * 5000}),
        ("nesting", {"root": [], "wrappers": [["m"] * 101]}),
        ("nesting", {"root": "m"}),
        ("decided", "destination"),
    ],
    ids=str,
)
def test_a_saved_plan_that_was_changed(field: str, value: Any, tmp_path: Path) -> None:
    source = saved(tmp_path / "source.pt", TRAINED)
    cs.plan(source, rules(root="m")).save(tmp_path / "plan.json")
    data = json.loads((tmp_path / "plan.json").read_text())
    data["files"][0][field] = value
    (tmp_path / "plan.json").write_text(json.dumps(data, separators=(",", ":")))
    with pytest.raises(cs.CkptSurgeonError, match="saved plan"):
        cs.transplant(source, tmp_path / "out.pt", cs.load_plan(tmp_path / "plan.json"))


def test_the_deepest_nesting_is_read_again(tmp_path: Path) -> None:
    deep = ".".join("m" * 40)
    key = ".".join("w" * 40)
    source = saved(tmp_path / "source.pt", {f"{key}.x": 1.0})
    cs.transplant(source, tmp_path / "out.pt", rules(root=deep, wrappers=[key]))
    (found,) = cs.plan(tmp_path / "out.pt", root=f"{deep}.{key}").outputs
    assert found == "x"


def test_an_entry_in_the_way_of_the_destination_s_dict_is_told(tmp_path: Path) -> None:
    into = saved(tmp_path / "into.pt", {"model": dict.fromkeys(FLAT, 0.0)})
    tree = {"state_dict": FLAT, "model": "resnet18", "epoch": 7}
    found = written(tmp_path, tree, None, into=into)
    assert found == {"model": FLAT, "epoch": 7}
    notes = cs.plan(tmp_path / "source.pt", into=into).notes
    assert ("model", "not written: a dict of the output has its name") in [
        (one.key, one.text) for one in notes
    ]


# --- laws -----------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c.d", "e", "model", "x.y.z", "0"])
ENTRIES = st.one_of(st.integers(0, 9), st.text(max_size=3), st.just([1, 2]))
TREES = st.recursive(
    st.dictionaries(NAMES, st.floats(1, 9, width=32), min_size=1, max_size=3),
    lambda inner: st.dictionaries(NAMES, inner | ENTRIES, min_size=1, max_size=3),
    max_leaves=6,
)


def keys_of(tree: Any, front: str = "") -> list[str]:
    """The dotted keys of a tree's tensors."""
    if isinstance(tree, dict):
        inner = (keys_of(one, f"{front}{key}.") for key, one in tree.items())
        return [key for keys in inner for key in keys]
    return [front[:-1]] if isinstance(tree, float) else []


def is_plain(tree: Any) -> bool:
    """Whether it has tensors, and names that are one key once."""
    keys = keys_of(tree)
    fronts = {key[:at] for key in keys for at, mark in enumerate(key) if mark == "."}
    return bool(keys) and len(set(keys)) == len(keys) and not fronts & set(keys)


@settings(max_examples=60)
@given(tree=TREES.filter(is_plain))
def test_without_rules_the_nesting_stays(tree: Any, tmp_path_factory: Any) -> None:
    tmp_path = tmp_path_factory.mktemp("laws")
    assert written(tmp_path, tree, None, root="") == tree


@settings(max_examples=60)
@given(tree=TREES.filter(is_plain))
def test_a_destination_gives_its_nesting(tree: Any, tmp_path_factory: Any) -> None:
    tmp_path = tmp_path_factory.mktemp("laws")
    into = saved(tmp_path / "into.pt", tree)
    flat = dict.fromkeys(keys_of(tree), 1.0)
    found = written(tmp_path, flat, None, into=into, root={"dst": ""})
    assert found == only_tensors(tree)


@settings(max_examples=60)
@given(tree=TREES.filter(is_plain), root=st.sampled_from(["", "m", "m.n"]))
def test_an_inverse_gives_the_nesting_back(tree: Any, root: str, tmp_path_factory: Any) -> None:
    tmp_path = tmp_path_factory.mktemp("laws")
    source = saved(tmp_path / "source.pt", tree)
    plan = cs.plan(source, rules(root=root), root="")
    cs.transplant(None, tmp_path / "out.pt", plan)
    cs.transplant(tmp_path / "out.pt", tmp_path / "back.pt", cs.invert(plan))
    assert only_tensors(loaded(tmp_path / "back.pt"), False) == only_tensors(tree, False)


def only_tensors(tree: Any, ones: bool = True) -> Any:
    """A tree without its entries and without dicts that are empty then."""
    if not isinstance(tree, dict):
        return 1.0 if ones else tree
    kept = {key: one for key, one in tree.items() if keys_of(one, "x.")}
    return {key: only_tensors(one, ones) for key, one in kept.items()}


# --- optimizers -----------------------------------------------------------------------------------

STATES = [f"optimizer.state.{number}" for number in range(4)]


def trained(path: Path) -> tuple[Path, torch.nn.Module]:
    """A training checkpoint of four parameters, with AdamW's state, which numbers them."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    torch.save(state, path)
    return path, net


def assert_resumes(path: Path, source: Path, net: torch.nn.Module) -> None:
    """AdamW takes its state, that of every parameter with the values that it had."""
    optimizer = torch.optim.AdamW(net.parameters())
    optimizer.load_state_dict(torch.load(path, weights_only=True)["optimizer"])
    wanted = torch.load(source, weights_only=True)["optimizer"]
    found = optimizer.state_dict()
    assert found["param_groups"] == wanted["param_groups"]
    assert found["state"].keys() == wanted["state"].keys() == {0, 1, 2, 3}
    for number, state in wanted["state"].items():
        assert all(torch.equal(found["state"][number][name], one) for name, one in state.items())


@pytest.mark.parametrize(
    "wrappers", [["model", *STATES], ["model", "optimizer", *STATES], ["model.lin", *STATES]]
)
def test_optimizers_resume_from_named_dicts(wrappers: list[str], tmp_path: Path) -> None:
    """Numbers stay numbers, and what stands beside the state goes beside it."""
    source, net = trained(tmp_path / "source.pt")
    rules = {
        "format": 1,
        "source": {"root": ""},
        "output": {"root": "", "wrappers": wrappers},
        "rules": ["model.0.** -> model.lin.**"],
    }
    cs.transplant(source, tmp_path / "out.pt", rules)
    assert_resumes(tmp_path / "out.pt", source, net)


def test_optimizers_resume_from_what_an_inverse_gives_back(tmp_path: Path) -> None:
    source, net = trained(tmp_path / "source.pt")
    rules = {"format": 1, "source": {"root": ""}, "rules": ["model.0.** -> model.lin.**"]}
    plan = cs.plan(source, rules)
    plan.save(tmp_path / "plan.json")
    cs.invert(cs.load_plan(tmp_path / "plan.json")).save(tmp_path / "inverse.json")
    cs.transplant(source, tmp_path / "out.pt", rules)
    inverse = cs.load_plan(tmp_path / "inverse.json")
    cs.transplant(tmp_path / "out.pt", tmp_path / "back.pt", inverse)
    assert_resumes(tmp_path / "back.pt", source, net)
    net.load_state_dict(torch.load(tmp_path / "back.pt", weights_only=True)["model"])
