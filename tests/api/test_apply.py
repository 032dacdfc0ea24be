"""`apply` over dicts of torch tensors and NumPy arrays, which it never alters."""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from comparison import same_bits
from torch import nn

import ckptsurgeon as cs
from ckptsurgeon.specs import TensorSpec

DTYPES = (
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.int64,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)


def bits(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor of random bits, NaN and all; booleans are 0 and 1."""
    if dtype is torch.bool:
        return torch.rand(shape) < 0.5
    count = torch.Size(shape).numel() * torch.empty((), dtype=dtype).element_size()
    return torch.randint(0, 256, (count,), dtype=torch.uint8).view(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_moves_keep_every_bit_of_every_dtype(dtype: torch.dtype) -> None:
    given = {"w": bits(4, 6, dtype=dtype), "s": bits(dtype=dtype)}
    rules = [{"w -> w": ["transpose", {"slice": "1:3"}]}, {"s -> s": {"reshape": [1]}}]
    tensors, _ = cs.apply(given, rules)
    assert same_bits(tensors["w"], given["w"].T[1:3])
    assert same_bits(tensors["s"], given["s"].reshape(1))


NUMPY_DTYPES = ("bool", "u1", "<i2", ">i2", "<f2", "<f4", ">f4", "<f8", ">f8", "<c16", ">c8")


@pytest.mark.parametrize("dtype", [*NUMPY_DTYPES, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_numpy_arrays_come_back_as_numpy_arrays_of_their_dtype(dtype: Any) -> None:
    given = {"w": np.arange(12).reshape(3, 4).astype(dtype)[:, ::-1], "same": np.ones(2, dtype)}
    tensors, _ = cs.apply(given, [{"w -> moved": "transpose"}])
    assert type(tensors["moved"]) is np.ndarray
    assert tensors["moved"].dtype == given["w"].dtype.newbyteorder("<")
    assert np.array_equal(tensors["moved"], given["w"].T)
    assert tensors["same"] is given["same"]
    assert list(tensors) == ["moved", "same"]


def test_what_no_op_touches_is_the_very_object() -> None:
    weight = nn.Parameter(torch.rand(3, 4))
    given = {"a": weight, "b": torch.rand(8)[::2]}
    tensors, report = cs.apply(given, ["a -> x"])
    assert tensors["x"] is weight
    assert tensors["b"] is given["b"]
    assert report.clean


def test_tensors_that_are_all_on_the_meta_device_are_moved_as_they_are() -> None:
    given = {"a": torch.rand(2, device="meta"), "b": torch.rand(3, device="meta")}
    tensors, report = cs.apply(given, ["a -> x"])
    assert tensors["x"] is given["a"]
    assert report.clean


def test_nothing_that_is_given_is_altered_and_new_tensors_share_no_memory() -> None:
    given = {"a": torch.rand(4, 4), "b": torch.rand(4, 4).T}
    into = {"a": torch.rand(4, 6), "b": torch.rand(4, 4)}
    rules: dict[str, Any] = {
        "format": 1,
        "rules": ["a -> a[:, :4]", {"b -> b": {"reshape": [4, 4]}}],
    }
    before = copy.deepcopy((given, into, rules))
    tensors, _ = cs.apply(given, rules, into=into)
    for tensor in tensors.values():
        tensor.zero_()
    assert rules == before[2]
    for old, new in zip(before[:2], (given, into), strict=True):
        assert all(torch.equal(old[key], new[key]) for key in old)


def test_parameters_lend_their_values_without_a_graph() -> None:
    tensors, _ = cs.apply({"w": nn.Parameter(torch.rand(2, 3))}, [{"w -> w": "transpose"}])
    assert not tensors["w"].requires_grad
    assert tensors["w"].grad_fn is None


def test_odd_tensors_are_read_as_they_look() -> None:
    number = torch.tensor([[1 + 2j, 3 - 1j]])
    given = {"conj": number.conj(), "neg": number.conj().imag, "expanded": torch.rand(1).expand(3)}
    rules = [{f"{key} -> {key}": {"flip": 0}} for key in given]
    tensors, _ = cs.apply(given, rules)
    for key, value in given.items():
        assert torch.equal(tensors[key], value.flip(0).resolve_conj().resolve_neg())


def test_ties_stay_ties() -> None:
    shared = torch.rand(3, 2)
    given = OrderedDict(embed=shared, head=shared.detach(), other=torch.rand(3, 2))
    tensors, _ = cs.apply(given, ["embed -> wte", "head -> lm_head"])
    assert tensors["wte"] is given["embed"]
    assert tensors["lm_head"] is given["head"]
    rules = [{"<k:embed|head> -> <k>": "transpose"}, {"tie": ["embed", "head"]}]
    turned, _ = cs.apply(given, rules)
    assert turned["embed"] is turned["head"]
    with pytest.raises(cs.PlanError, match="`tie`: `other` and `embed` hold different values"):
        cs.apply(given, [{"tie": ["embed", "other"]}])


def test_metadata_moves_with_renamed_modules() -> None:
    source = nn.Sequential(OrderedDict(stem=nn.Conv2d(1, 2, 1), bn=nn.BatchNorm2d(2)))
    target = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 1), norm=nn.BatchNorm2d(2)))
    tensors, _ = cs.apply(source.state_dict(), ["stem.* -> conv.*", {"batchnorm": "bn -> norm"}])
    assert tensors._metadata["norm"] == {"version": 2}  # type: ignore[attr-defined]
    target.load_state_dict(tensors, strict=True)
    image = torch.ones(2, 1, 3, 3)
    torch.testing.assert_close(target.eval()(image), source.eval()(image))


def test_the_kind_of_the_source_decides_the_kind_of_the_result() -> None:
    torch_into = {"w": torch.rand(2, 2), "head": torch.rand(3)}
    tensors, _ = cs.apply({"w": np.eye(2, dtype="f4")}, [{"keep": "head"}], into=torch_into)
    assert [type(value) for value in tensors.values()] == [np.ndarray, np.ndarray]
    numpy_into = {key: value.numpy() for key, value in torch_into.items()}
    back, _ = cs.apply({"w": torch.eye(2)}, [{"keep": "head"}], into=numpy_into)
    assert torch.equal(back["head"], torch_into["head"])
    mixed, _ = cs.apply({"a": torch.eye(2), "b": np.eye(2)}, None)
    assert torch.equal(mixed["b"], torch.eye(2, dtype=torch.float64))


def test_made_tensors_and_further_sources() -> None:
    extra = {"v": torch.rand(3)}
    rules = ["extra::v -> v", {"init": {"to": "z", "fill": "ones", "shape": [2], "dtype": "BF16"}}]
    tensors, _ = cs.apply({"w": torch.rand(1)}, rules, sources={"extra": extra})
    assert tensors["v"] is extra["v"]
    assert torch.equal(tensors["z"], torch.ones(2, dtype=torch.bfloat16))


def test_an_op_gives_a_tensor_of_its_own_kind_for_empty_and_scalar_ones() -> None:
    given = {"empty": torch.empty(0, 3), "scalar": torch.tensor(7), "flag": torch.tensor(True)}
    rules = [{"empty -> empty": "transpose"}, {"<k:scalar|flag> -> <k>": {"reshape": [1, 1]}}]
    tensors, _ = cs.apply(given, rules)
    assert tensors["empty"].shape == (3, 0)
    assert tensors["scalar"].tolist() == [[7]]
    assert tensors["flag"].tolist() == [[True]]


def test_values_that_are_no_tensors_are_refused() -> None:
    told = "no tensor in the dict: 'w' is list; wanted torch tensors or NumPy arrays by key"
    with pytest.raises(cs.CheckpointError, match=told):
        cs.apply({"w": [1.0]}, None)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (torch.eye(2).to_sparse(), "a tensor of the layout sparse_coo"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "a tensor of torch.qint8"),
        (torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), "a nested tensor"),
        (np.array([None]), "an array of Python objects"),
    ],
    ids=["sparse", "quantized", "nested", "objects"],
)
def test_tensors_that_cannot_be_read_are_findings(value: Any, told: str) -> None:
    given = {"w": value, "b": torch.ones(1)}
    with pytest.raises(cs.FindingsError, match=rf"1 unreadable (.|\n)* w  {told}"):
        cs.apply(given, None)
    tensors, report = cs.apply(given, None, allow="unreadable")
    assert list(tensors) == ["b"]
    assert report.bottom_line == "allowed: 1 unreadable; 1 tensor, 4 B made"
    assert list(cs.apply(given, [{"drop": "w"}])[0]) == ["b"]


def test_rules_are_a_path_a_shipped_name_a_dict_a_list_or_a_ruleset(tmp_path: Path) -> None:
    given = {"a": torch.rand(1)}
    path = tmp_path / "rules.yaml"
    path.write_text("format: 1\nrules:\n  - a -> b\n")
    forms = (
        path,
        str(path),
        {"format": 1, "rules": ["a -> b"]},
        ["a -> b"],
        cs.load_ruleset(path),
        [cs.load_ruleset(path)],
    )
    for rules in forms:
        assert list(cs.apply(given, rules)[0]) == ["b"]
    assert list(cs.apply(given, None)[0]) == list(cs.apply(given, [])[0]) == ["a"]
    with pytest.raises(cs.PlanError):
        cs.apply(given, "torchvision_resnet_to_transformers")


def test_errors_hold_their_problems_with_their_places() -> None:
    given = {"a": torch.rand(2, 3), "b": torch.rand(2)}
    with pytest.raises(cs.PlanError) as caught:
        cs.apply(given, [{"a -> x": {"reshape": [5]}}, {"b -> y": {"permute": [0, 1]}}])
    assert len(caught.value.problems) == 2
    assert [problem.place is not None for problem in caught.value.problems] == [True, True]
    with pytest.raises(cs.RulesetError) as wrong:
        cs.apply(given, [{"form": "a"}, "a b"])
    assert len(wrong.value.problems) == 2


def test_findings_raise_what_the_command_line_would_refuse() -> None:
    given, into = {"a": torch.rand(2), "x": torch.rand(1)}, {"a": torch.rand(3), "b": torch.rand(1)}
    with pytest.raises(cs.FindingsError) as caught:
        cs.apply(given, None, into=into)
    told = [problem.message for problem in caught.value.problems]
    assert sorted(told) == [
        "mismatched: `a` (found F32[2], wanted F32[3])",
        "missing: `b` (wanted F32[1])",
        "nothing: nothing of the source ends in the output",
        "unused: `x` (found F32[1])",
    ]
    kinds = ("missing", "unused", "mismatched", "unexpected", "nothing")
    tensors, report = cs.apply(given, None, into=into, allow=kinds)
    assert tensors["b"] is into["b"]
    assert tensors["a"] is into["a"]
    assert all(finding.allowed for finding in report.findings)
    with pytest.raises(cs.PlanError, match="allow=\\['everything'\\]: unknown"):
        cs.apply(given, None, into=into, allow="everything")


def test_a_model_on_the_meta_device_gives_shapes_alone() -> None:
    with torch.device("meta"):
        into = nn.Linear(3, 2).state_dict()
    tensors, _ = cs.apply(
        {"w": torch.rand(2, 3), "b": torch.rand(2)}, ["w -> weight", "b -> bias"], into
    )
    assert not tensors["weight"].is_meta
    with pytest.raises(cs.PlanError, match="can't be kept: the destination has shapes alone"):
        cs.apply({"w": torch.rand(2, 3)}, ["w -> weight", {"keep": "bias"}], into)


def test_a_cast_that_overflows_names_its_rule() -> None:
    with pytest.raises(cs.FindingsError) as caught:
        cs.apply({"w": torch.tensor([1e6, 1.0])}, [{"w -> w": {"cast": "F16"}}])
    (problem,) = caught.value.problems
    assert problem.message == "`w`: 1 finite values overflow in F16"
    assert problem.place is not None


def test_ops_in_a_chain_of_thousands_need_no_stack() -> None:
    given = {"w": torch.rand(2, 3)}
    tensors, _ = cs.apply(given, [{"w -> w": ["transpose"] * 3001}])
    assert torch.equal(tensors["w"], given["w"].T)


@pytest.mark.parametrize("given", [3, ["a.pt"], torch.zeros(2)])
def test_what_is_no_checkpoint_is_told(given: object) -> None:
    with pytest.raises(cs.CheckpointError, match="is no checkpoint; give a path"):
        cs.plan(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("limits", [{"memory": -5}, {"max_shard_size": 0}, {"jobs": 0}])
def test_limits_below_one_are_refused(limits: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wanted at least 1"):
        cs.transplant({"w": torch.zeros(2)}, tmp_path / "out.pt", **limits)
    assert not list(tmp_path.iterdir())


def test_a_module_stands_for_its_state_dict() -> None:
    net, into = nn.Linear(2, 3), nn.Linear(2, 4)
    tensors, report = cs.apply(
        net, ["weight -> weight[:3]", {"drop": "bias"}, {"keep": "bias"}], into
    )
    assert report.clean
    assert tensors["weight"].equal(torch.cat([net.weight, into.weight[3:]]))
    assert tensors["bias"] is into.bias
    assert cs.plan(nn.DataParallel(net)).summary == "2 tensors of <Linear>"
    with pytest.raises(cs.CheckpointError, match="a model, or an open one"):
        cs.apply(3, [])  # type: ignore[arg-type]


def test_one_rule_as_text_is_told_to_be_a_list() -> None:
    with pytest.raises(cs.RulesetError, match="give a list of rules"):
        cs.apply({"a.w": torch.zeros(2)}, "a.* -> b.*")


def test_an_op_in_the_text_of_a_rule_is_told_as_a_dict() -> None:
    with pytest.raises(cs.RulesetError, match=r"write `\{'a -> b': 'transpose'\}`"):
        cs.apply({"a": torch.zeros(2, 3)}, ["a -> b: transpose"])


def test_keys_that_the_destination_ties_are_tied_in_the_result(tmp_path: Path) -> None:
    shared = torch.rand(4, 3)
    into = {"embed": shared, "head": shared}
    source = {"embed": torch.rand(4, 3)}
    cs.transplant(source, tmp_path / "o.pt", [{"from": "embed", "to": ["embed", "head"]}], into)
    loaded = torch.load(tmp_path / "o.pt")
    assert loaded["embed"].data_ptr() == loaded["head"].data_ptr()
    _, report = cs.apply(source, [{"keep": "head"}], into)
    assert [(note.kind, note.key) for note in report.notes if note.kind == "untied"] == [
        ("untied", "head")
    ]


def test_a_split_into_thousands_is_planned_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of its results are added up once, not once for each of them."""
    asked = 0
    nbytes = TensorSpec.nbytes.fget

    def counted(spec: TensorSpec) -> int:
        nonlocal asked
        asked += 1
        return nbytes(spec)

    monkeypatch.setattr(TensorSpec, "nbytes", property(counted))
    rule = {"from": "w", "to": "x.<i>", "ops": [{"unstack": {"over": "i"}}]}
    cs.plan({"w": np.zeros((1000, 2), "u1")}, [rule])
    assert asked < 20_000


def test_extra_state_and_arrays_of_texts_are_entries() -> None:
    """As in files: no tensors, and no reason to refuse the others."""
    given = {"w": torch.ones(2), "m._extra_state": {"a": 1}, "names": np.array(["x"])}
    tensors, report = cs.apply(given, None)
    assert list(tensors) == ["w"]
    assert report.clean


SMALL = (("g", 2), ("w", 1), ("v", 10), ("x", 100), ("y", 1000))


def test_blocks_of_equal_ops_are_several() -> None:
    """In rules of Python all that a rule has stands at one place."""
    state = {name: np.array([value], "f4") for name, value in SMALL}
    product, other = ({"from": list(pair), "ops": "multiply"} for pair in ("wv", "xy"))
    total = {"from": ["g", product, other], "to": "sum", "ops": "add"}
    assert cs.apply(state, [total])[0]["sum"] == 2 + 1 * 10 + 100 * 1000
    doubled = [{"from": name, "ops": {"scale": 2}} for name in "wv"]
    pair = {"from": doubled, "to": "pair", "ops": "concat"}
    assert cs.apply(state, [pair])[0]["pair"].tolist() == [2, 20]


@pytest.mark.parametrize(
    ("shapes", "rule", "shape"),
    [
        ({"w_orig": (0, 3), "w_u": (0,), "w_v": (3,)}, "fuse_spectral_norm", (0, 3)),
        ({"w_p": (1, 17, 0)}, {"resize_pos_embed": [2, 2]}, (1, 5, 0)),
        ({"w_p": (0, 3, 4, 4)}, {"resample_patch_embed": 2}, (0, 3, 2, 2)),
        ({"w_p": (2, 0, 4, 4)}, {"resample_patch_embed": 2}, (2, 0, 2, 2)),
        ({"w_p": (25, 0)}, {"resize_rel_pos_bias": 9}, (9, 0)),
    ],
    ids=str,
)
def test_nothing_is_computed_of_no_elements(
    shapes: dict[str, tuple[int, ...]], rule: Any, shape: tuple[int, ...]
) -> None:
    state = {key: np.zeros(sizes, "f4") for key, sizes in shapes.items()}
    result, _ = cs.apply(state, [{"from": list(shapes), "to": "w", "ops": rule}])
    assert result["w"].shape == shape


def test_a_config_names_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"names": {"a": "x", "a": "b"}}')
    with pytest.raises(cs.CkptSurgeonError, match="'a'"):
        cs.plan({"a": np.zeros(1)}, [{"table": "config.names"}], config=tmp_path / "config.json")
