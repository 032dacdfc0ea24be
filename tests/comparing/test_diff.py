"""`diff`: what becomes of tensors that are equal, changed, moved, copied, cast, cut or gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.memory import open_dict
from ckptsurgeon.comparing.difference import Status

Arrays = dict[str, np.ndarray[Any, Any]]


def network(layers: int = 3) -> Arrays:
    """Layers with two matrices, a norm and its zero bias."""
    random = np.random.default_rng(0)
    made: Arrays = {"embed.weight": random.normal(size=(20, 8))}
    for i in range(layers):
        made[f"layers.{i}.q.weight"] = random.normal(size=(8, 8))
        made[f"layers.{i}.v.weight"] = random.normal(size=(8, 8))
        made[f"layers.{i}.norm.weight"] = np.ones(8)
        made[f"layers.{i}.norm.bias"] = np.zeros(8)
    return {key: value.astype(np.float32) for key, value in made.items()}


def statuses(found: cs.Difference) -> dict[str, str]:
    """Status by key of what differs, with the origin of what moved."""
    told = {}
    for row in found.rows:
        if row.differs:
            moved = f" <- {row.origin}" if row.origin not in ("", row.key) else ""
            told[row.key] = f"{row.status.value}{moved}"
    return told


def test_a_checkpoint_equals_itself() -> None:
    a = network()
    found = cs.diff(a, {key: value.copy() for key, value in a.items()})
    assert found.equal
    assert found.exit_code == 0
    assert found.whole.share_equal == 1
    assert found.bottom_line == "equal in every value: 13 tensors, 2.3 KiB"


def test_what_differs_has_a_row_of_its_kind() -> None:
    a = network()
    b = dict(a)
    b["layers.0.q.weight"] = a["layers.0.q.weight"] + np.float32(0.5)
    b["layers.1.q.weight"] = a["layers.1.q.weight"].astype(ml_dtypes.bfloat16)
    b["embed.weight"] = np.vstack([a["embed.weight"], np.full((2, 8), 9, np.float32)])
    b["head.weight"] = np.full((2, 8), 7, np.float32)
    del b["layers.2.v.weight"]
    found = cs.diff(a, b)
    assert statuses(found) == {
        "layers.0.q.weight": "other values",
        "layers.1.q.weight": "other dtype",
        "embed.weight": "other shape",
        "head.weight": "added",
        "layers.2.v.weight": "gone",
    }
    rows = {row.key: row for row in found.rows}
    assert rows["embed.weight"].rows == 20
    assert rows["embed.weight"].change.are_equal  # type: ignore[union-attr]
    assert rows["layers.0.q.weight"].change.largest == pytest.approx(0.5)  # type: ignore[union-attr]
    assert rows["layers.1.q.weight"].change.is_rounded  # type: ignore[union-attr]
    assert found.exit_code == 1
    assert len(found.rows) == 14


def test_renamed_tensors_moved_and_constants_follow_them() -> None:
    a = network()
    b = {key.replace("layers.", "model.blocks."): value for key, value in a.items()}
    found = cs.diff(a, b)
    kinds = {row.key: row.status for row in found.rows}
    assert kinds == {key: Status.EQUAL if key == "embed.weight" else Status.MOVED for key in b}
    assert all(row.origin == row.key.replace("model.blocks.", "layers.") for row in found.rows)


def test_a_constant_alone_tells_nothing() -> None:
    a = {"x.bias": np.zeros(4, np.float32), "w": np.arange(4, dtype=np.float32)}
    b = {"y.bias": np.zeros(4, np.float32), "w": np.arange(4, dtype=np.float32)}
    assert statuses(cs.diff(a, b)) == {"y.bias": "added", "x.bias": "gone"}


def test_exchanged_tensors_moved() -> None:
    a = network()
    b = dict(a)
    b["layers.0.q.weight"], b["layers.1.q.weight"] = a["layers.1.q.weight"], a["layers.0.q.weight"]
    assert statuses(cs.diff(a, b)) == {
        "layers.0.q.weight": "moved <- layers.1.q.weight",
        "layers.1.q.weight": "moved <- layers.0.q.weight",
    }


def test_a_lost_layer_is_gone_and_the_others_moved() -> None:
    a = network()
    b = {
        key.replace(f"layers.{i}.", f"layers.{i - 1}."): value
        for key, value in a.items()
        for i in [int(key.split(".")[1]) if key.startswith("layers") else -1]
        if i != 0
    }
    found = cs.diff(a, b)
    matrices = [row for row in found.rows if row.key.endswith(("q.weight", "v.weight"))]
    assert {(row.key, row.status.value, row.origin) for row in matrices} == {
        (f"layers.{i}.{n}.weight", "moved", f"layers.{i + 1}.{n}.weight")
        for i in range(2)
        for n in "qv"
    } | {(f"layers.0.{n}.weight", "gone", f"layers.0.{n}.weight") for n in "qv"}


def test_every_tensor_of_a_has_a_place_or_is_gone() -> None:
    a = network()
    names = [(i, name) for i in range(2) for name in ("q.weight", "v.weight")]
    b = {f"layers.{i}.{name}": a[f"layers.{i + 1}.{name}"] for i, name in names}
    found = cs.diff(a, b)
    placed = [row.origin for row in found.rows if row.origin]
    assert sorted(placed) == sorted(a)


def test_copies_are_told_from_moves() -> None:
    a = network(2)
    b = a | {key.replace("layers.1.", "layers.2."): a[key] for key in a if "layers.1." in key}
    found = cs.diff(a, b)
    copied = {row.key: row.origin for row in found.by_status[Status.COPIED]}
    assert copied == {f"layers.2.{n}.weight": f"layers.1.{n}.weight" for n in ("q", "v")}


def test_a_renamed_and_rounded_tensor_moved() -> None:
    a = network()
    b = {f"m.{key}": value.astype(ml_dtypes.bfloat16) for key, value in a.items()}
    found = cs.diff(a, b)
    assert {row.status for row in found.rows} == {Status.MOVED}
    assert {row.after.dtype for row in found.rows if row.after} == {"BF16"}


def test_values_of_another_dtype_moved_by_rounding_alone() -> None:
    values = np.random.default_rng(4).normal(size=2000) * 1e4

    def status(a: np.ndarray[Any, Any], dtype: type, **words: bool) -> list[Status]:
        with np.errstate(over="ignore"):
            found = cs.diff({"a": a}, {"b": a.astype(dtype)}, **words)
        return [row.status for row in found.rows]

    apart = [Status.ADDED, Status.GONE]
    assert status(values, np.float32) == [Status.MOVED]
    assert status(values, np.float32, exact=True) == apart
    assert status(values, np.float64, exact=True) == [Status.MOVED]
    assert status(values * 100, np.float16) == apart  # some became infinite
    assert status(values.astype(np.int64), np.int32) == apart
    assert status(values.astype(np.int64), np.float64) == apart


def test_a_reshaped_tensor_is_its_own() -> None:
    a = {"one": np.random.default_rng(5).normal(size=(4, 600)), "two": np.zeros(3)}
    b = {"one": a["one"].reshape(600, 4), "two": a["two"]}
    a["three"] = a["one"].copy()
    rows = cs.diff(a, b).rows
    assert [row.status for row in rows] == [Status.RESHAPED, Status.EQUAL, Status.GONE]


def test_tolerance_and_dtype() -> None:
    a = network()
    b = {key: value.astype(np.float16) for key, value in a.items()}
    assert {row.status for row in cs.diff(a, b).rows} == {Status.RETYPED}
    loose = cs.diff(a, b, any_dtype=True, rtol=1e-2)
    assert loose.exit_code == 0
    assert loose.bottom_line.startswith("equal within atol 0, rtol 0.01: 13 tensors")
    assert cs.diff(a, b, any_dtype=True, rtol=1e-5).exit_code == 1
    assert cs.diff(a, b, rtol=1e-2).exit_code == 1
    tight = cs.diff(a, b, any_dtype=True, rtol=3e-4, atol=1e-8)
    for row in tight.rows:
        both = torch.from_numpy(a[row.key]), torch.from_numpy(b[row.key]).float()
        assert row.differs is not torch.allclose(*both, rtol=3e-4, atol=1e-8)


def test_headers_alone() -> None:
    a = network()
    b = {key: value + 1 for key, value in a.items()}
    found = cs.diff(a, b, headers=True)
    assert found.exit_code == 0
    assert found.bottom_line.startswith("alike: 13 tensors")
    b["embed.weight"] = b["embed.weight"][:, :4]
    assert statuses(cs.diff(a, b, headers=True)) == {"embed.weight": "other shape"}


def test_a_spec_has_headers_alone(tmp_path: Path) -> None:
    a = network()
    spec = {key: ["F32", list(value.shape)] for key, value in a.items()}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    found = cs.diff(a, tmp_path / "spec.json")
    assert {row.status for row in found.rows} == {Status.ALIKE}
    assert found.conditions.headers


def test_modules_have_the_figures_of_their_tensors() -> None:
    a = network()
    b = {key: value + np.float32(0.25 * ("layers.1." in key)) for key, value in a.items()}
    found = cs.diff(a, b)
    layer = [key for key in a if key.startswith("layers.1.")]
    base, moved = (np.concatenate([x[key].ravel() for key in layer]) for x in (a, b))
    delta = moved.astype(np.float64) - base.astype(np.float64)
    change = found.modules["layers.1"]
    assert change.relative == pytest.approx(
        np.linalg.norm(delta) / np.linalg.norm(base.astype("f8")), rel=1e-12
    )
    assert found.modules["layers.0"].are_equal
    assert found.modules[""] == found.whole
    assert found.modules["layers"].count == sum(a[key].size for key in a if "layers" in key)


@pytest.mark.parametrize("kind", ["safetensors", "pt", "npz", "shards", "views"])
def test_formats_are_compared_across(kind: str, tmp_path: Path) -> None:
    a = network()
    save_file(a, tmp_path / "a.safetensors")
    tensors = {key: torch.from_numpy(value) for key, value in a.items()}
    path = tmp_path / f"b.{kind}"
    if kind == "safetensors":
        save_file(a, path)
    elif kind == "npz":
        np.savez(path, **a)
    elif kind == "pt":
        torch.save({"state_dict": tensors, "epoch": 3}, path)
    elif kind == "views":
        turned = {key: t.t().contiguous().t() if t.dim() == 2 else t for key, t in tensors.items()}
        torch.save(turned, path)
    else:
        path = tmp_path / "shards"
        cs.transplant(tmp_path / "a.safetensors", f"{path}/", max_shard_size=600)
    found = cs.diff(tmp_path / "a.safetensors", path, exact=True)
    assert found.bottom_line == "equal bit for bit: 13 tensors, 2.3 KiB"


@pytest.mark.parametrize("kind", ["pt", "npz"])
def test_a_damaged_tensor_is_no_change(kind: str, tmp_path: Path) -> None:
    values = np.random.default_rng(6).normal(size=3000)
    path = tmp_path / f"a.{kind}"
    if kind == "pt":
        torch.save({"w": torch.tensor(values)}, path)
    else:
        np.savez(path, w=values)
    data = bytearray(path.read_bytes())
    data[data.index(values[2000].tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(cs.CheckpointError, match="'w': its bytes don't have the CRC-32"):
        cs.diff({"w": values}, path)


@pytest.mark.parametrize("memory", ["1MiB", "64MiB"])
@pytest.mark.parametrize("jobs", [1, 5])
def test_memory_and_threads_change_nothing(memory: str, jobs: int) -> None:
    random = np.random.default_rng(5)
    a = {f"w{i}": random.normal(size=(700, 300)).astype(np.float32) for i in range(6)}
    b = {key: value + random.normal(size=value.shape).astype("f4") for key, value in a.items()}
    assert cs.diff(a, b, memory=memory, jobs=jobs).rows == cs.diff(a, b).rows


def test_kept_tensors_are_not_compared() -> None:
    a = network()
    b = a | {"head": np.full(3, 5, np.float32)}
    found = cs.diff(a, b, rules=["** -> **", {"keep": "head"}])
    assert found.exit_code == 0
    assert found.counts[Status.KEPT].tensors == 1
    assert "1 is B's own by `keep`" in found.bottom_line


def test_where_all_is_kept_nothing_was_compared() -> None:
    a = {"w": np.zeros(4, np.float32)}
    for b in (a, {"w": np.ones(4, np.float32)}):
        found = cs.diff(a, b, rules=[{"keep": "w"}])
        assert (found.equal, found.exit_code) == (False, 2)
        assert found.bottom_line.startswith("can't be told: 1 tensor, B's own by `keep`")


def test_a_kept_tensor_is_no_origin() -> None:
    a = {"w": np.arange(6, dtype=np.float32)}
    b = {"head": np.ones((2, 2)), "w": a["w"], "other": np.ones((2, 2))}
    found = cs.diff(a, b, rules=["w -> w", {"keep": "head"}])
    assert statuses(found) == {"other": "added"}


def test_only_some_are_left_and_noted() -> None:
    a, b = network(2), network(1)
    rules = {"format": 1, "unmatched": "error", "rules": ["layers.0.** -> layers.0.**"]}
    assert cs.diff(a, b, rules=rules).counts[Status.GONE].tensors == 5
    some = cs.diff(a, b, rules=rules, only="layers.1.q.*")
    assert [(row.key, row.status) for row in some.rows] == [("layers.1.q.weight", Status.GONE)]


def test_integers_are_counted_beside_weights() -> None:
    a = {"bn.weight": np.ones(4), "bn.steps": np.array(10)}
    found = cs.diff(a, {"bn.weight": np.full(4, 1.5), "bn.steps": np.array(10**6)})
    assert found.farthest is not None
    assert found.farthest.key == "bn.weight"
    for change in (found.whole, found.modules["bn"]):
        assert (change.count, change.equal, change.largest, change.relative) == (5, 0, 0.5, 0.5)
    assert found.rows[1].change is not None
    assert found.rows[1].change.largest == 10**6 - 10


def test_a_tensor_and_a_module_of_one_name() -> None:
    a = {"x": np.ones(4), "x.w": np.ones(4)}
    found = cs.diff(a, {"x": np.full(4, 2.0), "x.w": np.full(4, 1.25)})
    lines = [line.split()[:2] for line in str(found).splitlines()]
    assert ["x", "100%"] in lines
    assert ["x.w", "25%"] in lines


def test_what_rules_leave_is_gone() -> None:
    a = network()
    b = {"embed.weight": a["embed.weight"]}
    rules = {"format": 1, "unmatched": "error", "rules": ["embed.* -> embed.*"]}
    found = cs.diff(a, b, rules=rules)
    assert found.counts[Status.GONE].tensors == 12


def test_several_outputs_are_compared_by_alias() -> None:
    a = {"x": np.arange(6, dtype=np.float32)}
    b = {"r0": {"x": a["x"][:3]}, "r1": {"x": a["x"][3:] + 1}}
    rules = [{"x -> r<r>::x": "split"}]
    assert statuses(cs.diff(a, b, rules=rules)) == {"r1::x": "other values"}


def test_values_that_went_elsewhere_leave_a_name_that_b_uses_otherwise() -> None:
    one, two, three = (np.arange(4, dtype=np.float32) + at for at in (0, 10, 20))
    found = cs.diff({"a": one, "b": two}, {"a": three, "b": one})
    assert statuses(found) == {"a": "other values", "b": "gone"}  # of two rows the last
    assert [(row.key, row.status.value, row.is_replaced) for row in found.rows] == [
        ("a", "other values", False),
        ("b", "moved", False),
        ("b", "gone", True),
    ]
    assert "B has another tensor of that name" in str(found)
    assert [row["replaced"] for row in found.to_dict()["rows"]] == [False, False, True]


def test_a_cast_is_no_difference_where_dtypes_are_none() -> None:
    """Tied tensors, too: each has its own values, and those of the other one."""
    a = network() | {"tied": network()["embed.weight"]}
    b = {key: value.astype(np.float16) for key, value in a.items()}
    found = cs.diff(a, b, any_dtype=True)
    assert {row.status.value for row in found.rows} <= {"rounded", "equal"}
    assert found.exit_code == 0
    assert found.bottom_line.startswith("equal but for dtypes' rounding: 14 tensors, max")
    other = cs.diff(a, b | {"tied": b["tied"] * 2}, any_dtype=True)
    assert other.exit_code == 1


def test_of_other_dtypes_those_that_changed_are_told_apart() -> None:
    a = network()
    b = {key: value.astype(np.float16) for key, value in a.items()}
    b["embed.weight"] = b["embed.weight"] * 2
    told = str(cs.diff(a, b))
    assert "F32 -> F16; 12 of them each value rounded, no more" in told
    (line,) = [one for one in told.splitlines() if "F32[" in one]
    assert "embed.weight" in line


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_what_came_to_be_nan_or_infinite_moved_as_far_as_can_be(strange: float) -> None:
    a = network() | {"head": np.arange(1, 5, dtype=np.float32)}
    b = a | {"head": a["head"].copy(), "embed.weight": a["embed.weight"] * np.float32(1.5)}
    b["head"][1] = strange
    found = cs.diff(a, b)
    (change,) = [row.change for row in found.rows if row.key == "head"]
    assert change is not None
    assert not np.isfinite(change.relative)
    assert np.isnan(change.cosine)
    assert (change.lost, found.whole.lost) == (1, 1)
    assert found.farthest is not None
    assert found.farthest.key == "head"
    assert found.bottom_line.endswith("; NaN or infinity against other values in 1")
    assert cs.diff(b, b).whole.lost == 0


def test_what_was_zero_is_not_called_the_farthest() -> None:
    a = network() | {"bias": np.zeros(3, np.float32), "head": np.ones(4, np.float32)}
    b = a | {"bias": np.full(3, 1e-8, np.float32), "head": a["head"] * np.float32(1.5)}
    found = cs.diff(a, b)
    assert found.farthest is not None
    assert found.farthest.key == "head"


@pytest.mark.parametrize("turn", [1, -1])
def test_the_order_of_keys_says_nothing_of_distances(turn: int) -> None:
    """Values that float64 has no squares of are beside those that it has."""
    a = {"plain": np.ones(4, np.float32), "huge": np.full(4, 1e200), "near": np.ones(4)}
    b = {"plain": a["plain"] * 3, "huge": a["huge"] * 1.01, "near": a["near"] * 2}
    one, other = ({key: some[key] for key in list(some)[::turn]} for some in (a, b))
    farthest = cs.diff(one, other).farthest
    assert farthest is not None
    assert farthest.key == "plain"
    b["near"] = np.array([1, 1, 1, np.nan])
    farthest = cs.diff(a, b).farthest
    assert farthest is not None
    assert farthest.key == "near"


def test_headers_have_no_figures_in_json() -> None:
    told = cs.diff(network(), network(), headers=True).to_dict()
    assert (told["whole"], told["modules"]) == (None, [])


def test_whole_tensors_are_chosen() -> None:
    with pytest.raises(cs.CheckpointError, match=r"only='head\[:2\]': takes whole tensors"):
        cs.diff(network(), network(), only="head[:2]")


def test_a_tensor_of_the_name_of_an_entry_is_told(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "i": torch.ones(1)}, tmp_path / "a.pt")
    torch.save({"w": torch.ones(2), "i": 3}, tmp_path / "b.pt")
    found = cs.diff(tmp_path / "a.pt", tmp_path / "b.pt")
    assert ("entry", "i: a tensor in A, int 3 in B") in found.notes


def test_a_difference_is_neither_true_nor_false() -> None:
    with pytest.raises(TypeError, match="ask for its `equal`"):
        assert cs.diff(network(), network())


def test_what_was_asked_is_told() -> None:
    a = network() | {"head": np.ones(4, np.float32)}
    found = cs.diff(a, a, only=["head", "embed.*"], rules=["** -> **"])
    for text in (str(found), found.to_markdown(), found.to_html()):
        assert "head, embed.*" in text.replace("\\", "")
    with pytest.raises(cs.CkptSurgeonError, match=r"no key matches `zz\.\*`"):
        cs.diff(a, a, only=["head", "zz.*"])


def test_other_names_and_values_have_a_next_step() -> None:
    a = {"a.w": np.arange(4, dtype=np.float32)}
    notes = cs.diff(a, {"b.w": np.arange(4, dtype=np.float32) + 1}).notes
    assert [kind for kind, _ in notes] == ["names"]
    assert cs.diff(a, a).notes == ()


def test_an_empty_namesake_is_no_origin() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = cs.diff({"x": np.zeros((0, 4), np.float32), "y": rows}, {"x": rows})
    assert {row.key: row.status.value for row in found.rows if row.after} == {"x": "moved"}


def test_headers_of_kept_tensors_say_nothing_of_values() -> None:
    a = {"w": np.ones(3, np.float32), "v": np.ones(2, np.float32)}
    found = cs.diff(a, a, rules=["w -> w", {"keep": "v"}], headers=True)
    told = "alike: 2 tensors of the same names, dtypes and shapes, of which 1 is B's own by `keep`"
    assert found.bottom_line == f"{told}; values were not compared"


def test_bits_that_differ_are_not_called_rounded() -> None:
    a, b = np.zeros(4, np.float32), np.array([[0, 0], [0, -0.0]], np.float32)
    told = str(cs.diff({"n": a}, {"n": b}, exact=True))
    assert "in order, the values differ in bits alone" in told
    assert "in order, the values are equal" in str(cs.diff({"n": a}, {"n": b}))


def test_headers_that_may_have_other_dtypes_say_nothing_of_dtypes() -> None:
    a, b = {"n": np.zeros(4, np.float32)}, {"n": np.zeros(4)}
    told = cs.diff(a, b, headers=True, any_dtype=True).bottom_line
    assert told == "alike: 1 tensor of the same names and shapes; values were not compared"


def test_a_module_without_a_name_is_not_the_whole() -> None:
    a = {".a": np.ones(2, np.float32), "b": np.ones(3, np.float32)}
    found = cs.diff(a, {key: value * 3 for key, value in a.items()})
    assert found.modules[""] == found.whole
    assert found.whole.count == 5


def test_what_readers_say_is_told(tmp_path: Path) -> None:
    a = network()
    (tmp_path / "both").mkdir()
    save_file(a, tmp_path / "both" / "model.safetensors")
    torch.save({"other": torch.ones(3)}, tmp_path / "both" / "pytorch_model.bin")
    (kind, text), *others = cs.diff(a, tmp_path / "both").notes
    assert (kind, others) == ("read", [])
    assert text.startswith("B: took model.safetensors")
    ruled = cs.diff(tmp_path / "both", a, rules=["** -> **"]).notes
    assert [text[:10] for _, text in ruled] == ["A: took mo"]


def test_other_versions_of_modules_are_told(tmp_path: Path) -> None:
    for version in (1, 2):
        state = torch.nn.BatchNorm1d(2).state_dict()
        state._metadata[""]["version"] = version  # type: ignore[attr-defined]
        torch.save(state, tmp_path / f"{version}.pt")
    found = cs.diff(tmp_path / "1.pt", tmp_path / "2.pt")
    told = "other `_metadata` of 1 module, as the whole: {'version': 1} in A, {'version': 2} in B"
    assert found.notes == (("metadata", told),)


def test_what_is_for_rules_wants_rules() -> None:
    a = network()
    for words in ({"variables": {"n": 4}}, {"config": {"n": 4}}):
        with pytest.raises(cs.CkptSurgeonError, match="is for rules, and there are none"):
            cs.diff(a, a, **words)  # type: ignore[arg-type]


def test_arguments_have_the_names_that_diff_has_for_them(tmp_path: Path) -> None:
    torch.save({"model": {"w": torch.ones(3)}, "w": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.raises(cs.CkptSurgeonError, match=r"there are: `a`"):
        cs.diff(tmp_path / "a.pt", network(), root={"q": "model"})


def test_several_checkpoints_are_nothing_without_rules() -> None:
    a = {"x": np.ones(3, np.float32)}
    with pytest.raises(cs.CkptSurgeonError, match="b: several are what rules give alone"):
        cs.diff(a, {"one": open_dict(a), "two": open_dict(a)})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"exact": True, "atol": 1.0}, "bits are equal or not"),
        ({"exact": True, "any_dtype": True}, "and any dtype"),
        ({"headers": True, "rtol": 0.1}, "no values are compared"),
        ({"atol": -1.0}, "atol=-1.0: wanted a number from 0 on"),
        ({"rtol": float("nan")}, "rtol=nan: wanted"),
        ({"atol": "much"}, "atol: a str where a number is wanted"),
        ({"only": "nothing.*"}, "no key matches"),
        ({"exact": "no"}, "exact: a str where true or false is wanted"),
        ({"sizes": 1}, "sizes: an int where true or false is wanted"),
        ({"progress": 5}, "progress: an int where a function"),
    ],
)
def test_words_that_do_not_go_together(words: dict[str, Any], told: str) -> None:
    a = network()
    with pytest.raises(cs.CkptSurgeonError, match=told):
        cs.diff(a, a, **words)


def test_ties_and_entries_are_told(tmp_path: Path) -> None:
    one, other = torch.ones(4), torch.ones(4)
    torch.save({"state_dict": {"a": one, "b": one}, "epoch": 3}, tmp_path / "tied.pt")
    torch.save({"state_dict": {"a": one, "b": other}, "epoch": 4}, tmp_path / "apart.pt")
    found = cs.diff(tmp_path / "tied.pt", tmp_path / "apart.pt")
    assert found.equal
    assert found.notes == (
        ("ties", "tied in A, apart in B: a = b"),
        ("entry", "epoch: int 3 in A, int 4 in B"),
    )


def test_values_that_are_not_there_are_no_gate(tmp_path: Path) -> None:
    a, shapes = network(), tmp_path / "shapes.json"
    shapes.write_text(json.dumps({"head": ["F32", [3]]}))
    told = "shapes.json: holds shapes alone, no values; name the weights, or leave out "
    for words in ({"exact": True}, {"atol": 1e-3}, {"rtol": 1e-3}):
        with pytest.raises(cs.CkptSurgeonError, match=f"{told}{next(iter(words))}"):
            cs.diff(a, shapes, **words)
        with pytest.raises(cs.CkptSurgeonError, match=told):
            cs.diff(shapes, a, **words)
    assert cs.diff(shapes, shapes).equal


def test_parts_of_b_are_told_of_what_was_chosen() -> None:
    a = {"w": np.ones((2, 3), np.float32), "v": np.ones(2, np.float32)}
    b = {"w": np.ones((3, 3), np.float32), "v": np.ones(2, np.float32)}
    rules = ["w -> w[:2]", "v -> v"]
    told = ("rules", "1 tensor with parts that are B's own, as w")
    assert cs.diff(a, b, rules=rules).notes == (told,)
    assert cs.diff(a, b, rules=rules, only="v").notes == ()
    assert cs.diff(a, b, rules=rules, only="w").notes == (told,)


def test_entries_that_are_told_in_part_are_not_called_equal(tmp_path: Path) -> None:
    for name, rate in (("a", 0.1), ("b", 0.2)):
        entries = {"epoch": 3, "config": {"rate": rate}, "log": f"{'x' * 100}{rate}"}
        torch.save({"state_dict": {"w": torch.ones(4)}, **entries}, tmp_path / f"{name}.pt")
    found = cs.diff(tmp_path / "a.pt", tmp_path / "b.pt")
    told = "alike in type and size, and not compared any further: config, log"
    assert found.notes == (("entry", told),)


def test_quantized_tensors_are_told(tmp_path: Path) -> None:
    quantized = torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)
    torch.save({"q": quantized, "w": torch.ones(2)}, tmp_path / "q.pt")
    found = cs.diff(tmp_path / "q.pt", tmp_path / "q.pt")
    assert statuses(found) == {"q": "unreadable"}
    assert found.exit_code == 2
    assert found.bottom_line == "can't be told: 1 unreadable; 1 of 2 tensors is equal"
    remedy = found.by_status[Status.UNREADABLE][0].spec.remedy  # type: ignore[attr-defined]
    assert f"it is a quantized tensor; {remedy}" in str(found)
    assert cs.diff(tmp_path / "q.pt", tmp_path / "q.pt", headers=True).exit_code == 0
    changed = {"q": quantized, "w": torch.zeros(2)}
    assert cs.diff(tmp_path / "q.pt", changed).exit_code == 1


def test_what_is_told_of_unreadable_tensors_is_told(tmp_path: Path) -> None:
    quantized = torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)
    torch.save({"q": quantized, "w": torch.ones(2)}, tmp_path / "q.pt")
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    torch.save({"q": torch.ones(5), "w": torch.ones(2)}, tmp_path / "other.pt")
    for headers in (False, True):
        gone = cs.diff(tmp_path / "q.pt", tmp_path / "w.pt", headers=headers)
        assert (statuses(gone)["q"], gone.exit_code) == ("gone", 1)
        other = cs.diff(tmp_path / "q.pt", tmp_path / "other.pt", headers=headers)
        assert (statuses(other)["q"], other.exit_code) == ("other shape", 1)


def test_a_title_counts_those_that_were_cast() -> None:
    a = {f"a.{i}": np.arange(4, dtype=np.float32) + i / 3 for i in range(4)}
    b = {f"b.{i}": a[f"a.{i}"].astype(np.float16 if i < 2 else np.float32) for i in range(4)}
    assert "2 of them F32 -> F16, each value rounded" in str(cs.diff(a, b))


def test_a_difference_shows_itself() -> None:
    a = network()
    b = a | {"embed.weight": a["embed.weight"] * np.float32(1.5)}
    found = cs.diff(a, b)
    assert repr(found) == "<Difference: different: 1 with other values; 12 of 13 tensors are equal>"
    told = found.to_dict()
    assert told["whole"]["relative_l2"] == pytest.approx(found.whole.relative)
    assert [row["key"] for row in told["rows"]] == list(a)
    assert "embed.weight" in found._repr_html_()
