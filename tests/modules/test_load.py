"""`modules.load` from files and dicts, and `convert_on_load` for every load after."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import ResNet, randomise
from safetensors.torch import save_file
from torch import Tensor, nn

from ckptsurgeon import load_ruleset, modules
from ckptsurgeon.errors import CheckpointError, FindingsError, PlanError, RulesetError

STEM = "conv1.weight[:, :3] -> conv1.weight"


def resnet(seed: int, channels: int = 3) -> ResNet:
    network = ResNet(channels=channels, layers=2)
    randomise(network, seed)
    return network


def plain(model: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    return {prefix + key: tensor.clone() for key, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# --- load -----------------------------------------------------------------------------------------


def test_a_file_is_loaded_from_its_wrapper(tmp_path: Path) -> None:
    source, model = resnet(1), resnet(2)
    torch.save({"state_dict": source.state_dict(), "epoch": 3}, tmp_path / "a.pt")
    report = modules.load(model, tmp_path / "a.pt")
    assert report.sources[0].root == "state_dict"
    assert same(plain(model), plain(source))


def test_safetensors_and_numpy_are_loaded(tmp_path: Path) -> None:
    source = resnet(1)
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    arrays = {key: tensor.numpy() for key, tensor in source.state_dict().items()}
    np.savez(tmp_path / "a.npz", **arrays)
    for given in (tmp_path / "a.safetensors", tmp_path / "a.npz", arrays):
        model = resnet(2)
        assert modules.load(model, given).clean
        assert same(plain(model), plain(source))


def test_further_sources_are_named() -> None:
    one, other, model = resnet(1), resnet(2), resnet(3)
    rules = [{"drop": "fc.*"}, "head::fc.* -> fc.*", {"drop": "head::**"}]
    modules.load(model, one.state_dict(), rules, sources={"head": other.state_dict()})
    assert torch.equal(model.fc.weight, other.fc.weight)
    assert torch.equal(model.conv1.weight, one.conv1.weight)


def test_the_source_is_not_altered() -> None:
    source, model = resnet(1).state_dict(), resnet(2)
    before = {key: tensor.clone() for key, tensor in source.items()}
    modules.load(model, source)
    assert same(before, dict(source))
    assert model.conv1.weight.data_ptr() != source["conv1.weight"].data_ptr()


def test_counters_that_the_checkpoint_lacks_stay_and_are_told() -> None:
    source, model = plain(resnet(1)), resnet(2)
    old = {key: one for key, one in source.items() if "num_batches_tracked" not in key}
    counters = {key: one for key, one in plain(model).items() if "num_batches_tracked" in key}
    report = modules.load(model, old)
    assert report.clean
    after = plain(model)
    assert all(torch.equal(after[key], one) for key, one in counters.items())
    kept = {row.key: row.rule.place.file for row in report.rows if row.key in counters and row.rule}
    assert kept == dict.fromkeys(counters, "<loading a module>")


def test_counters_that_the_model_has_no_place_for_are_dropped_and_told() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("weight", "bias", "running_mean", "running_var"):
                self.register_buffer(name, torch.zeros(3))

    norm, model = nn.BatchNorm2d(3), Frozen()
    report = modules.load(nn.ModuleDict({"bn": model}), nn.ModuleDict({"bn": norm}))
    assert [fate.key for fate in report.fates if fate.reason or fate.fate.value == "dropped"] == [
        "bn.num_batches_tracked"
    ]
    assert torch.equal(model.running_var, torch.ones(3))


def test_a_batchnorm_that_is_missing_whole_stays_a_finding() -> None:
    source = {key: one for key, one in plain(resnet(1)).items() if not key.startswith("bn1.")}
    with pytest.raises(FindingsError) as caught:
        modules.load(resnet(2), source)
    assert len(caught.value.problems) == 5


def test_a_key_of_a_tied_pair_is_enough() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.second.weight = self.first.weight

    for key in ("first.weight", "second.weight"):
        model, weight = Tied(), torch.rand(3, 3)
        assert modules.load(model, {key: weight}).clean
        assert torch.equal(model.first.weight, weight)
        assert model.second.weight is model.first.weight
    with pytest.raises(FindingsError, match="missing"):
        modules.load(Tied(), {})


def test_a_tensor_that_no_key_of_the_model_wants_is_left_out_where_it_is_allowed() -> None:
    model = nn.Linear(2, 2)
    source = {**plain(model), "extra": torch.rand(3)}
    with pytest.raises(FindingsError, match=r"1 unused (.|\n)* extra "):
        modules.load(model, source)
    for rules, kind in ((None, "unused"), (["extra -> other"], "unexpected")):
        report = modules.load(model, source, rules, allow=[kind])
        assert not report.open_findings
        assert not report.clean
        assert report.bottom_line.startswith(f"allowed: 1 {kind}; ")


def test_values_that_are_no_tensors_are_named() -> None:
    with pytest.raises(CheckpointError, match="'epoch' is int; wanted torch tensors"):
        modules.load(nn.Linear(2, 2), {"epoch": 3})


# --- convert_on_load ------------------------------------------------------------------------------


def test_old_checkpoints_load_ever_after_and_new_ones_still_do() -> None:
    old, model = resnet(1, channels=4), resnet(2)
    modules.convert_on_load(model, [STEM])
    model.load_state_dict(old.state_dict())
    assert torch.equal(model.conv1.weight, old.conv1.weight[:, :3])
    new = resnet(3)
    model.load_state_dict(new.state_dict())
    assert same(plain(model), plain(new))


def test_the_dict_that_is_loaded_is_not_altered() -> None:
    old, model = resnet(1, channels=4).state_dict(), resnet(2)
    before = (list(old), dict(old._metadata))
    modules.convert_on_load(model, [STEM])
    model.load_state_dict(old)
    assert (list(old), dict(old._metadata)) == before
    assert old["conv1.weight"].shape[1] == 4


def test_the_handle_takes_the_hook_off() -> None:
    old, model = resnet(1, channels=4), resnet(2)
    with modules.convert_on_load(model, [STEM]):
        model.load_state_dict(old.state_dict())
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict(old.state_dict())


def test_the_hook_is_copied_and_pickled_with_the_model() -> None:
    old, model = resnet(1, channels=4), resnet(2)
    modules.convert_on_load(model, [STEM])
    for another in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        another.load_state_dict(old.state_dict())
        assert torch.equal(another.conv1.weight, old.conv1.weight[:, :3])


def test_a_part_of_a_larger_model_converts_its_own_keys() -> None:
    old, part = resnet(1, channels=4), resnet(2)
    modules.convert_on_load(part, [STEM])
    whole = nn.ModuleDict({"backbone": part, "conv1": nn.Linear(2, 2)})
    state = {f"backbone.{key}": one for key, one in old.state_dict().items()}
    head = torch.rand(2, 2)
    state |= {"conv1.weight": head, "conv1.bias": torch.zeros(2)}
    whole.load_state_dict(state)
    assert torch.equal(part.conv1.weight, old.conv1.weight[:, :3])
    assert torch.equal(whole["conv1"].weight, head)


def test_what_can_not_be_converted_is_told_before_anything_is_written() -> None:
    model = resnet(2)
    before = plain(model)
    modules.convert_on_load(model, [STEM])
    with pytest.raises(PlanError, match=r"no key matches `conv1\.weight"):
        model.load_state_dict({"nope": torch.rand(2)})
    old = OrderedDict(resnet(1, channels=4).state_dict())
    del old["fc.weight"]
    with pytest.raises(FindingsError, match=r"1 missing (.|\n)* fc\.weight "):
        model.load_state_dict(old)
    assert same(before, plain(model))


def test_a_loose_load_takes_what_there_is_and_tells_the_rest() -> None:
    old, model = resnet(1, channels=4).state_dict(), resnet(2)
    modules.convert_on_load(model, [STEM, "stem.* -> bn1.*"])
    own = model.fc.weight.clone()
    state = {k: v for k, v in old.items() if k != "fc.weight"} | {"extra": torch.rand(2)}
    told = model.load_state_dict(state, strict=False)
    assert (told.missing_keys, told.unexpected_keys) == (["fc.weight"], ["extra"])
    assert torch.equal(model.conv1.weight, old["conv1.weight"][:, :3])
    assert torch.equal(model.fc.weight, own)
    part = {"fc.bias": torch.rand(5)}
    told = model.load_state_dict(part, strict=False)  # a part of the model's own
    assert told == resnet(3).load_state_dict(part, strict=False)
    assert torch.equal(model.fc.bias, part["fc.bias"])
    with pytest.raises(FindingsError, match="1 mismatched"):
        model.load_state_dict({**state, "fc.bias": torch.rand(7)}, strict=False)
    with pytest.raises(FindingsError, match="nothing of the source ends in the output"):
        model.load_state_dict({"extra": torch.rand(2)}, strict=False)


@pytest.mark.parametrize("allow", ["missing", ["missing"]])
def test_what_is_allowed_keeps_the_models_value(allow: str | list[str]) -> None:
    model = resnet(2)
    own = model.fc.weight.clone()
    modules.convert_on_load(model, [STEM], allow=allow)
    old = OrderedDict(resnet(1, channels=4).state_dict())
    del old["fc.weight"]
    model.load_state_dict(old)
    assert torch.equal(model.fc.weight, own)


def test_old_checkpoints_without_counters_load() -> None:
    old = {k: v for k, v in resnet(1, channels=4).state_dict().items() if "num_batches" not in k}
    model = resnet(2)
    modules.convert_on_load(model, [STEM])
    model.load_state_dict(old)
    assert torch.equal(model.bn1.running_var, old["bn1.running_var"])


def test_a_model_on_the_meta_device_is_given_values() -> None:
    old = resnet(1, channels=4)
    with torch.device("meta"):
        model = ResNet(layers=2)
    modules.convert_on_load(model, [STEM])
    model.load_state_dict(old.state_dict(), assign=True)
    assert torch.equal(model.conv1.weight, old.conv1.weight[:, :3])


class Versioned(nn.Module):
    """A layer whose first version kept a tenth of what this one keeps, and a state beside."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))
        self.seen = 0

    def get_extra_state(self) -> int:
        return self.seen

    def set_extra_state(self, state: int) -> None:
        self.seen = state

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
        if metadata.get("version", 1) < 2:
            state[f"{prefix}w"] = state[f"{prefix}w"] * 10
        super()._load_from_state_dict(state, prefix, metadata, *rest)


@pytest.mark.parametrize(("version", "value"), [(2, 7), (1, 70)])
@pytest.mark.parametrize("prefix", ["", "part."])
def test_versions_and_extra_states_move_with_their_modules(
    version: int, value: int, prefix: str
) -> None:
    old, part = nn.ModuleDict({"old": Versioned()}), nn.ModuleDict({"new": Versioned()})
    nn.init.constant_(old["old"].w, 7)
    old["old"].seen = 3
    modules.convert_on_load(part, ["old.* -> new.*"])
    holder = nn.ModuleDict({"part": old}) if prefix else old
    model = nn.ModuleDict({"part": part}) if prefix else part
    state = holder.state_dict()
    state._metadata[f"{prefix}old"]["version"] = version
    before = copy.deepcopy(state._metadata)
    model.load_state_dict(state)
    assert part["new"].w.tolist() == [value, value]
    assert part["new"].seen == 3
    assert state._metadata == before


OWN_HEAD: list[Any] = [{"drop": "fc.*"}, {"keep": "fc.*"}]


@pytest.mark.parametrize("head", [[], OWN_HEAD, OWN_HEAD[1:]], ids=["none", "own", "kept"])
def test_of_names_that_are_the_models_torch_tells_what_is_wrong(head: list[Any]) -> None:
    model = resnet(2)
    modules.convert_on_load(model, ["stem.weight -> conv1.weight", *head])
    state = resnet(3).state_dict()
    with pytest.raises(RuntimeError, match=r"Unexpected key.*extra"):
        model.load_state_dict({**state, "extra": torch.rand(2)})
    with pytest.raises(RuntimeError, match="size mismatch for fc"):
        model.load_state_dict({**state, "fc.bias": torch.rand(7)})
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({"fc.bias": state["fc.bias"]})
    with pytest.raises(RuntimeError, match="size mismatch for fc"):
        model.load_state_dict({**state, "fc.bias": torch.rand(7)}, strict=False)
    told = model.load_state_dict({**state, "extra": torch.rand(2)}, strict=False)
    assert (told.missing_keys, told.unexpected_keys) == ([], ["extra"])
    assert same(plain(model), dict(state))


def test_what_a_rule_keeps_is_not_told_as_missing() -> None:
    old, model = resnet(1, channels=4).state_dict(), resnet(2)
    head = model.fc.weight.clone()
    modules.convert_on_load(model, [STEM, *OWN_HEAD])
    for strict in (True, False):
        told = model.load_state_dict(old, strict=strict)
        assert (told.missing_keys, told.unexpected_keys) == ([], [])
        assert torch.equal(model.fc.weight, head)
        assert torch.equal(model.conv1.weight, old["conv1.weight"][:, :3])


def pair(value: float) -> nn.ModuleDict:
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


STRANGER = {"extra": torch.ones(1)}

OWN_AND_MORE: dict[str, tuple[list[Any], Any, list[str]]] = {
    # rules, what is allowed, the keys that torch calls unexpected
    "kept": ([{"keep": "head.*"}], (), ["extra"]),
    "made": ([{"init": {"to": "head.weight", "fill": "zeros"}}], (), ["extra"]),
    "dropped": ([{"drop": "extra"}, {"keep": "head.*"}], (), []),
    "moved": (["extra -> body.bias"], (), ["extra"]),
    "none": ([], (), ["extra"]),
    "allowed": ([{"keep": "head.*"}], "unused", []),
    "allowed, no rules": ([], "unused", []),
    "in stages": (
        [{"format": 1, "rules": ["extra -> mid"]}, {"format": 1, "rules": [{"drop": "mid"}]}],
        (),
        [],
    ),
    "onto the model's own": (
        [
            {"format": 1, "rules": ["extra -> body.bias"]},
            {"format": 1, "rules": [{"drop": "body.bias"}]},
        ],
        (),
        [],
    ),
}


@pytest.mark.parametrize("name", OWN_AND_MORE)
def test_all_that_a_model_has_is_loaded_whatever_stands_beside(name: str) -> None:
    given, allow, unexpected = OWN_AND_MORE[name]
    staged = [isinstance(one, dict) and "format" in one for one in given]
    rules = [load_ruleset(one) for one in given] if any(staged) else given
    new, model = pair(1), pair(2)
    modules.convert_on_load(model, rules, allow=allow)
    state = {**new.state_dict(), **STRANGER}
    told = model.load_state_dict(state, strict=False)
    assert same(plain(model), plain(new))
    assert told.unexpected_keys == (["extra"] if allow else unexpected)
    model = pair(2)
    modules.convert_on_load(model, rules, allow=allow)
    if unexpected:
        with pytest.raises(RuntimeError, match=r"Unexpected key.*extra"):
            model.load_state_dict(state)
    else:
        model.load_state_dict(state)
        assert same(plain(model), plain(new))


def test_names_that_a_strip_changes_are_dropped_by_their_own() -> None:
    new, model = pair(1), pair(2)
    rules = {"format": 1, "source": {"strip": "module."}, "rules": [{"drop": "extra"}]}
    modules.convert_on_load(model, rules)
    told = model.load_state_dict({**new.state_dict(), "module.extra": torch.ones(1)})
    assert not told.unexpected_keys
    assert same(plain(model), plain(new))
    rules["rules"] = [{"drop": "head.bias"}]
    model = pair(2)
    modules.convert_on_load(model, rules)
    model.load_state_dict({**new.state_dict(), "module.head.bias": torch.ones(2)})
    assert same(plain(model), plain(new))


def test_a_part_of_which_nothing_is_there_may_be_kept() -> None:
    model = pair(2)
    modules.convert_on_load(model["head"], [{"keep": "*"}], allow=["missing", "nothing"])
    modules.convert_on_load(model["body"], ["stem.* -> *"])
    old = {f"body.stem.{key}": one for key, one in pair(1)["body"].state_dict().items()}
    model.load_state_dict(old)
    assert same(plain(model), {**plain(pair(2)), **plain(pair(1)["body"], "body.")})
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({})


def test_all_problems_of_a_load_are_told() -> None:
    model = pair(2)
    modules.convert_on_load(model, ["a.* -> body.*", "b.* -> body.*", "nothing -> head.weight"])
    old = {f"{n}.{p}": torch.ones(2, 2) for n in "ab" for p in ("weight", "bias")}
    with pytest.raises(PlanError, match=r"no key matches `nothing`") as caught:
        model.load_state_dict(old)
    assert "two producers" in str(caught.value)


def test_a_rule_that_takes_one_key_converts() -> None:
    model = pair(2)
    modules.convert_on_load(model, ["module.body.weight -> body.weight", "nothing -> head.weight"])
    with pytest.raises(PlanError, match="no key matches `nothing`"):
        model.load_state_dict({f"module.{k}": v for k, v in pair(1).state_dict().items()})


def chain(number: int) -> nn.Sequential:
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(number)])
    for at, layer in enumerate(model):
        nn.init.constant_(layer.weight, at)
        nn.init.constant_(layer.bias, at)
    return model


@pytest.mark.parametrize("strict", [True, False])
def test_old_and_new_names_that_overlap(strict: bool) -> None:
    model = chain(3)
    own = plain(model)
    modules.convert_on_load(model, ["<n>.* -> <n+1>.*", {"keep": "0.*"}])
    model.load_state_dict(own, strict=strict)
    assert same(plain(model), own)
    model.load_state_dict(chain(2).state_dict(), strict=strict)
    assert [layer.weight.item() for layer in model] == [0, 0, 1]


def test_what_rules_give_and_the_model_lacks_is_told_in_a_loose_load() -> None:
    model = nn.ModuleDict({"layers": chain(1)})
    modules.convert_on_load(model, ["h.<n>.* -> layers.<n>.*"])
    old = nn.ModuleDict({"h": chain(2)}).state_dict()
    told = model.load_state_dict(old, strict=False)
    assert told.unexpected_keys == ["layers.1.weight", "layers.1.bias"]


def test_a_loose_load_keeps_nothing_of_the_meta_device() -> None:
    with torch.device("meta"):
        model = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    modules.convert_on_load(model, ["stem.* -> body.*", {"keep": "head.*"}])
    old = {key.replace("body", "stem"): one for key, one in pair(1).state_dict().items()}
    old = {key: one for key, one in old.items() if "head" not in key}
    told = model.load_state_dict(old, strict=False, assign=True)
    assert told.missing_keys == ["head.weight", "head.bias"]


def test_of_own_names_behind_a_prefix_torch_tells_what_is_wrong() -> None:
    model = resnet(2)
    modules.convert_on_load(model, [STEM, "stem.* -> bn1.*"])
    with pytest.raises(RuntimeError, match=r"Unexpected key.*module\.conv1"):
        model.load_state_dict({f"module.{k}": v for k, v in resnet(1).state_dict().items()})
    with pytest.raises(FindingsError, match="nothing of the source ends in the output"):
        model.load_state_dict({"module.fc.bias": torch.rand(5)}, strict=False)


def test_the_part_of_a_model_is_named() -> None:
    part = resnet(2)
    modules.convert_on_load(part, [STEM])
    whole = nn.ModuleDict({"backbone": part})
    old = {f"backbone.{k}": v for k, v in resnet(1, channels=4).state_dict().items()}
    with pytest.raises(FindingsError, match=r"^backbone: 1 finding"):
        whole.load_state_dict({k: v for k, v in old.items() if k != "backbone.fc.bias"})
    with pytest.raises(PlanError, match=r"backbone: no key matches"):
        whole.load_state_dict({"backbone.strange": torch.ones(1)})


def test_a_checkpoint_around_a_state_dict_is_told() -> None:
    model = resnet(2)
    modules.convert_on_load(model, [STEM])
    with pytest.raises(CheckpointError, match=r"load_state_dict\(checkpoint\['state_dict'\]\)"):
        model.load_state_dict({"state_dict": resnet(1).state_dict(), "epoch": 1})


def test_a_loose_load_of_other_parts_leaves_a_converted_part_alone() -> None:
    part = resnet(2)
    modules.convert_on_load(part, [STEM])
    whole = nn.ModuleDict({"backbone": part, "head": nn.Linear(2, 2)})
    told = whole.load_state_dict({"head.weight": torch.ones(2, 2)}, strict=False)
    assert "backbone.conv1.weight" in told.missing_keys
    assert whole["head"].weight.tolist() == [[1, 1], [1, 1]]


def test_a_model_on_the_meta_device_is_given_a_part() -> None:
    old = {k: v for k, v in resnet(1, channels=4).state_dict().items() if k != "fc.weight"}
    with torch.device("meta"):
        model = ResNet(layers=2)
    modules.convert_on_load(model, [STEM])
    told = model.load_state_dict(old, strict=False, assign=True)
    assert (told.missing_keys, model.fc.weight.is_meta) == (["fc.weight"], True)
    assert torch.equal(model.conv1.weight, old["conv1.weight"][:, :3])


def test_rules_that_are_wrong_in_themselves_are_told_at_once() -> None:
    with pytest.raises(RulesetError):
        modules.convert_on_load(nn.Linear(2, 2), ["a -> <"])


def with_buffer(value: torch.Tensor) -> nn.Linear:
    model = nn.Linear(2, 3)
    model.register_buffer("n", value)
    return model


@pytest.mark.parametrize(
    ("held", "given", "lost"),
    [
        (torch.int32, torch.tensor([3e10, float("nan")]), 2),
        (torch.int32, torch.tensor([2**40, 1]), 1),
        (torch.uint8, torch.tensor([300, -1]), 2),
        (torch.bool, torch.tensor([0.5, 1.0]), 1),
        (torch.float32, torch.tensor([1 + 2j, 3]), 1),
        (torch.float32, torch.tensor([2**30 + 1, 7]), 1),
        (torch.int32, torch.tensor([1 + 0j, 1.5]), 1),
        (torch.uint64, torch.tensor([-5, 3]), 1),
    ],
)
def test_values_that_another_dtype_does_not_hold(
    held: torch.dtype, given: torch.Tensor, lost: int
) -> None:
    model = with_buffer(torch.ones(2, dtype=held))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    told = f"`n`: {lost} of 2 values would change from"
    with pytest.raises(CheckpointError, match=told):
        modules.load(model, {**nn.Linear(2, 3).state_dict(), "n": given})
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("held", "given"),
    [
        (torch.int32, torch.tensor([3.0, -4.0])),
        (torch.int64, torch.tensor([True, False])),
        (torch.bool, torch.tensor([0, 1])),
        (torch.complex64, torch.tensor([1.5, 2.0])),
        (torch.complex64, torch.tensor([float("inf"), 2.0])),
        (torch.float32, torch.tensor([1.5 + 0j, 2])),
        (torch.float32, torch.tensor([1, 7])),
    ],
)
def test_values_that_another_dtype_holds(held: torch.dtype, given: torch.Tensor) -> None:
    model = with_buffer(torch.zeros(2, dtype=held))
    modules.load(model, {**nn.Linear(2, 3).state_dict(), "n": given})
    assert model.state_dict()["n"].tolist() == given.tolist()


@pytest.mark.filterwarnings("ignore:Sparse CSR", "ignore:The PyTorch API of nested")
@pytest.mark.parametrize("kind", ["sparse", "csr", "nested"])
def test_buffers_that_cannot_be_read_are_findings(kind: str) -> None:
    value = {
        "sparse": lambda: torch.eye(3).to_sparse(),
        "csr": lambda: torch.eye(3).to_sparse_csr(),
        "nested": lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
    }[kind]()
    model, given = with_buffer(value), nn.Linear(2, 3).state_dict()
    with pytest.raises(
        FindingsError, match=r"1 unreadable  the destination's can't be read(.|\n)* dst::n "
    ):
        modules.load(model, given)
    assert modules.load(model, given, allow=["unreadable"]).bottom_line.startswith("allowed: 1 unr")
    assert torch.equal(model.weight, given["weight"])
    with pytest.raises(CheckpointError, match=r"`n` is a .*, which can't be written to"):
        modules.load(model, {**given, "n": torch.ones(3, 3)})
