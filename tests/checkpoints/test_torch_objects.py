"""Containers and tensors of classes that nobody imports: what is walked, and what is named."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import functools
import pickle
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import torch
from torch import nn

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.report.report import make_report
from ckptsurgeon.specs import UnreadableSpec


def tensor(number: int) -> torch.Tensor:
    return torch.full((2, 3), float(number))


class Pair(NamedTuple):
    mean: torch.Tensor
    std: torch.Tensor


@dataclasses.dataclass
class State:
    params: dict[str, torch.Tensor]
    step: int = 3


@dataclasses.dataclass(slots=True)
class SlottedState:
    w: torch.Tensor
    b: torch.Tensor


class Bag(dict[str, Any]):
    """As EasyDict: each entry is an attribute as well."""


class Rows(list[Any]):
    pass


class Tupled(tuple[Any, ...]):
    pass


class Holder:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


class Slotted:
    __slots__ = ("__dict__", "b", "w")


class Stated:
    """Pickled by a state that is no dict of attributes."""

    def __getstate__(self) -> Any:
        return [tensor(1), tensor(2)]

    def __setstate__(self, state: Any) -> None:
        pass


class Scaled(nn.Module):
    """A module that pickles less than all it has."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.cache = torch.ones(4)

    def __getstate__(self) -> Any:
        return {**self.__dict__, "cache": None}


def bag() -> Bag:
    made = Bag(w=tensor(1), b=tensor(2))
    made.__dict__.update(made, extra=3)
    return made


def slotted() -> Slotted:
    made = Slotted()
    made.w, made.b = tensor(1), tensor(2)  # type: ignore[attr-defined]
    made.other = tensor(3)  # type: ignore[attr-defined]
    return made


ONE, TWO, THREE = tensor(1), tensor(2), tensor(3)

WALKED: dict[str, tuple[Any, dict[str, torch.Tensor]]] = {
    "namedtuple": (Pair(ONE, TWO), {"0": ONE, "1": TWO}),
    "deque": (collections.deque([ONE, TWO], maxlen=4), {"0": ONE, "1": TWO}),
    "dataclass": (State({"w": ONE}), {"params.w": ONE}),
    "dataclass with slots": (SlottedState(ONE, TWO), {"w": ONE, "b": TWO}),
    "Namespace": (argparse.Namespace(w=ONE, n=3), {"w": ONE}),
    "SimpleNamespace": (types.SimpleNamespace(w=ONE, n=3), {"w": ONE}),
    "dict subclass": (bag(), {"w": ONE, "b": TWO}),
    "OrderedDict": (collections.OrderedDict(w=ONE), {"w": ONE}),
    "defaultdict": (collections.defaultdict(list, w=ONE), {"w": ONE}),
    "list subclass": (Rows([ONE, [TWO]]), {"0": ONE, "1.0": TWO}),
    "tuple subclass": (Tupled((ONE, TWO)), {"0": ONE, "1": TWO}),
    "slots": (slotted(), {"other": THREE, "b": TWO, "w": ONE}),
    "set": ({ONE}, {"0": ONE}),
    "nested": (Holder([Pair(ONE, TWO)]), {"tensor.0.0": ONE, "tensor.0.1": TWO}),  # type: ignore[arg-type]
}

WRITERS: dict[str, Callable[[Any, Path], object]] = {
    "zip": torch.save,
    "legacy": functools.partial(torch.save, _use_new_zipfile_serialization=False),
}


def opened(value: Any, path: Path, write: str = "zip") -> Checkpoint:
    WRITERS[write](value, path)
    return open_checkpoint(path)


def assert_tensors(found: Checkpoint, wanted: dict[str, torch.Tensor]) -> None:
    assert sorted(found.contents.specs) == sorted(wanted)
    for key, one in wanted.items():
        assert found.read(key).tobytes() == one.numpy().tobytes(), key


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", WALKED)
def test_containers_are_walked(name: str, write: str, tmp_path: Path) -> None:
    value, wanted = WALKED[name]
    path = tmp_path / "a.pt"
    assert_tensors(opened({"model": value, "epoch": 1}, path, write), wanted)
    inside = {f"part.{key}": one for key, one in wanted.items()}
    assert_tensors(opened({"part": value, "w": ONE}, path, write), {**inside, "w": ONE})


@pytest.mark.parametrize("name", sorted(set(WALKED) - {"set", "slots"}))
def test_of_early_protocols_too(name: str, tmp_path: Path) -> None:
    value, wanted = WALKED[name]
    path = tmp_path / "a.pt"
    torch.save({"model": value}, path, pickle_protocol=2, _use_new_zipfile_serialization=False)
    assert_tensors(open_checkpoint(path), wanted)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (
            Stated(),
            "an object of `checkpoints.test_torch_objects.Stated` that is made of 2 tensors",
        ),
        (
            functools.partial(torch.add, ONE),
            "an object of `functools.partial` that is made of 1 tensor",
        ),
    ],
    ids=["state of another form", "partial"],
)
def test_tensors_that_no_name_leads_to_are_counted(value: Any, what: str, tmp_path: Path) -> None:
    found = opened({"w": ONE, "odd": value}, tmp_path / "a.pt")
    spec = found.contents.specs["odd"]
    assert isinstance(spec, UnreadableSpec)
    assert spec.what.replace("tests.", "") in (what, what.replace("checkpoints.", ""))
    with pytest.raises(cs.FindingsError, match=r"1 unreadable (.|\n)* odd  an object of"):
        cs.transplant(tmp_path / "a.pt", tmp_path / "out.safetensors")
    alone = opened(value, tmp_path / "b.pt")
    assert list(alone.contents.specs) == ["tensor"]


MODULES: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
    "with a state of its own": Scaled,
    "traced by fx": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU())),
    "compiled": lambda: torch.compile(nn.Linear(3, 2)),  # type: ignore[return-value]
    "in DataParallel": lambda: nn.DataParallel(nn.Linear(3, 2)),
}


@pytest.mark.parametrize("name", MODULES)
def test_whole_modules_give_their_state(name: str, tmp_path: Path) -> None:
    module = MODULES[name]()
    torch.save(module, tmp_path / "a.pt")
    found = open_checkpoint(tmp_path / "a.pt")
    wanted = {key: one.detach() for key, one in module.state_dict().items()}
    assert_tensors(found, wanted)


def test_a_device_without_storages_keeps_its_values_in_arrays(tmp_path: Path) -> None:
    """As XLA's tensors are pickled: an array of the values, and the dtype that they had."""
    build: Any = torch._utils._rebuild_device_tensor_from_numpy  # type: ignore[attr-defined]

    class Xla:
        def __init__(self, kept: torch.Tensor, dtype: torch.dtype) -> None:
            self.call = build, (kept.numpy(), dtype, "xla:0", False)

        def __reduce__(self) -> Any:
            return self.call

    value = {"w": Xla(ONE, torch.float32), "h": Xla(ONE, torch.bfloat16)}
    found = opened(value, tmp_path / "a.pt")
    assert found.read("w").tobytes() == ONE.numpy().tobytes()
    assert str(found.contents.specs["h"]) == "BF16[2, 3]"
    assert isinstance(found.contents.specs["h"], UnreadableSpec)


def test_tensors_of_a_plain_pickle_are_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"w": ONE}))
    spec = open_checkpoint(path).contents.specs["w"]
    assert isinstance(spec, UnreadableSpec)
    with pytest.raises(cs.FindingsError, match="load it with pickle where it came from"):
        cs.transplant(path, tmp_path / "out.safetensors", allow="nothing")


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (torch.tensor([1 + 2j, -3 - 0j]).conj(), "conj"),
        (torch.imag(torch.tensor([1 + 2j, -3 - 0j]).conj()), "neg"),
        (torch.imag(torch.randn(3, 4, dtype=torch.complex64).t().conj()), "neg of a view"),
        (torch.randn(3, 4, dtype=torch.complex128).t().conj(), "conj of a view"),
        (torch.tensor(3 + 4j).conj(), "conj of a scalar"),
    ],
)
@pytest.mark.parametrize("write", WRITERS)
def test_conjugate_and_negative_views(
    value: torch.Tensor, bits: str, write: str, tmp_path: Path
) -> None:
    found = opened({"w": value, "plain": ONE}, tmp_path / "a.pt", write)
    wanted = value.resolve_conj().resolve_neg()
    assert found.read("w").tobytes() == wanted.contiguous().numpy().tobytes(), bits


NESTED: dict[str, Any] = {
    "list": [{"classes": 3}, {"w": ONE}],
    "tuple": (7, {"w": ONE}, [ONE, TWO]),
    "list of tensors": [ONE, TWO, 3],
    "odd keys": {("a", 1): ONE, b"k": TWO, None: THREE, 1.5: ONE, True: TWO, 7: THREE},
    "deep": {"state_dict": {"a": [(ONE, {"b": TWO}), 3]}, "epoch": 1},
}


@pytest.mark.parametrize("name", NESTED)
def test_a_torch_file_stays_what_its_source_was(name: str, tmp_path: Path) -> None:
    value = NESTED[name]
    torch.save(value, tmp_path / "a.pt")
    cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt")
    assert_same(torch.load(tmp_path / "b.pt", weights_only=True), value)


def assert_same(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert set(found) == set(wanted)
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    elif isinstance(wanted, torch.Tensor):
        assert torch.equal(found, wanted)
    else:
        assert found == wanted


def test_odd_keys_have_names(tmp_path: Path) -> None:
    found = opened(NESTED["odd keys"], tmp_path / "a.pt")
    assert list(found.contents.specs) == ["('a', 1)", "b'k'", "None", "1.5", "True", "7"]


def test_a_list_that_lost_a_tensor_keeps_its_order(tmp_path: Path) -> None:
    torch.save([ONE, TWO], tmp_path / "a.pt")
    cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt", [{"drop": "0"}])
    found = torch.load(tmp_path / "b.pt", weights_only=True)
    assert found[0] is None
    assert torch.equal(found[1], TWO)


def test_attributes_of_a_tensor_that_cannot_be_read_are_keys(tmp_path: Path) -> None:
    parameter = nn.Parameter(tensor(1).to_sparse(), requires_grad=False)
    parameter.extra = tensor(2)  # type: ignore[attr-defined]
    torch.save({"w": parameter}, tmp_path / "a.pt")
    found = open_checkpoint(tmp_path / "a.pt").contents.specs
    assert list(found) == ["w", "w.extra"]
    assert isinstance(found["w"], UnreadableSpec)


class ScaledTensor(torch.Tensor):
    """A tensor subclass that keeps its values in two others, as packages of quantization do."""

    data_: torch.Tensor
    scale: torch.Tensor

    @staticmethod
    def __new__(cls, data_: torch.Tensor, scale: torch.Tensor) -> ScaledTensor:
        made = torch.Tensor._make_wrapper_subclass(cls, data_.shape, dtype=scale.dtype)  # type: ignore[attr-defined]
        made.data_, made.scale = data_, scale
        return cast(ScaledTensor, made)

    @classmethod
    def __torch_dispatch__(cls, *_: Any) -> Any:
        raise NotImplementedError


def test_parts_of_a_tensor_that_keeps_its_values_elsewhere_are_no_keys(tmp_path: Path) -> None:
    torch.save(
        {"w": ScaledTensor(tensor(1).to(torch.int8), tensor(2)), "b": ONE}, tmp_path / "a.pt"
    )
    found = open_checkpoint(tmp_path / "a.pt").contents.specs
    assert list(found) == ["w", "b"]
    assert isinstance(found["w"], UnreadableSpec)


def test_attributes_of_a_sparse_tensor_are_keys(tmp_path: Path) -> None:
    sparse = tensor(1).to_sparse()
    sparse.extra = tensor(2)  # type: ignore[attr-defined]
    torch.save({"w": sparse}, tmp_path / "a.pt")
    assert list(open_checkpoint(tmp_path / "a.pt").contents.specs) == ["w", "w.extra"]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("1 -> mid", {"0": 0, "2": 2, "mid": 1}),
        ("<n> -> p.<n>", {"p.0": 0, "p.1": 1, "p.2": 2}),
        ("0 -> 5", {"1": 1, "2": 2, "5": 0}),
    ],
)
def test_a_list_with_other_keys_is_a_dict_without_holes(
    rule: str, wanted: dict[str, int], tmp_path: Path
) -> None:
    torch.save([tensor(number) for number in range(3)], tmp_path / "a.pt")
    cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt", [rule])
    found = torch.load(tmp_path / "b.pt", weights_only=True)
    assert {key: int(value[0, 0]) for key, value in found.items()} == wanted


def test_a_list_that_nothing_is_left_of_goes(tmp_path: Path) -> None:
    torch.save({"x": [tensor(1), tensor(2)], "w": tensor(3)}, tmp_path / "a.pt")
    cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt", [{"drop": "x.**"}])
    assert list(torch.load(tmp_path / "b.pt", weights_only=True)) == ["w"]


def test_keys_that_become_texts_are_noted(tmp_path: Path) -> None:
    value = {frozenset("a"): tensor(1), 1j: tensor(2), torch.float32: tensor(3), 7: tensor(4)}
    torch.save(value, tmp_path / "a.pt")
    report = cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt")
    told = [note.text for note in report.notes if note.kind == "entry"]
    kinds = ("frozenset", "complex", "dtype")
    assert told == [f"{kind} as a key, not written" for kind in kinds]
    assert list(torch.load(tmp_path / "b.pt", weights_only=True))[-1] == 7


def test_classes_of_containers_that_become_plain_are_noted(tmp_path: Path) -> None:
    value = {
        "pair": Pair(tensor(1), tensor(2)),
        "bag": Bag(w=tensor(3)),
        "state": State({"w": tensor(4)}),
        "plain": collections.OrderedDict(w=tensor(5), x=[tensor(6)]),
        "layer": nn.Linear(1, 1),
    }
    torch.save(value, tmp_path / "a.pt")
    report = cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt")
    told = {note.key: note.text for note in report.notes if note.kind == "entry"}
    here = Pair.__module__
    assert told == {
        "pair": f"the class {here}.Pair, not written",
        "bag": f"the class {here}.Bag, not written",
        "state": f"the class {here}.State, not written",
        "layer": "the class torch.nn.modules.linear.Linear, not written",
    }
    written = torch.load(tmp_path / "b.pt", weights_only=True)
    assert {key: type(one) for key, one in written.items()} == {
        "pair": tuple,
        "bag": dict,
        "state": dict,
        "plain": collections.OrderedDict,
        "layer": collections.OrderedDict,
    }


class Cached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cache = nn.Parameter(tensor(1))
        self.layer = nn.Linear(1, 1)
        self.register_buffer("passing", tensor(2), persistent=False)


def test_buffers_that_do_not_persist_are_told(tmp_path: Path) -> None:
    torch.save(Cached(), tmp_path / "a.pt")
    found = open_checkpoint(tmp_path / "a.pt").contents
    assert list(found.specs) == list(Cached().state_dict())
    assert [(one.key, one.tensors, one.nbytes) for one in found.outside] == [("passing", 1, 24)]


class Kept(nn.Module):
    """Tensors that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.bank = [tensor(1), tensor(2)]
        self.mean = tensor(3)
        self.teacher = [nn.Linear(1, 1)]


@pytest.mark.parametrize(
    ("root", "keys"),
    [
        ("bank", ["0", "1"]),
        ("mean", ["tensor"]),
        ("teacher", ["0.weight", "0.bias"]),
        ("layer", ["weight", "bias"]),
    ],
)
@pytest.mark.parametrize("wrapper", ["", "model"])
def test_a_root_opens_what_a_module_keeps_aside(
    wrapper: str, root: str, keys: list[str], tmp_path: Path
) -> None:
    torch.save({wrapper: Kept()} if wrapper else Kept(), tmp_path / "a.pt")
    full = f"{wrapper}.{root}" if wrapper else root
    found = open_checkpoint(tmp_path / "a.pt", full).contents
    assert list(found.specs) == keys
    assert sum(one.tensors for one in found.outside) == 7 - len(keys)
    with pytest.raises(cs.CheckpointError, match=r"roots there are: .*'(bank|model)'"):
        open_checkpoint(tmp_path / "a.pt", "bnk")


def test_a_state_that_a_module_keeps_twice_is_told_once(tmp_path: Path) -> None:
    torch.save(nn.LSTM(2, 3), tmp_path / "a.pt")  # with its list of flat weights
    found = open_checkpoint(tmp_path / "a.pt").contents
    assert list(found.specs) == list(nn.LSTM(2, 3).state_dict())
    assert not found.outside


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", [nn.Linear(2, 3), nn.LSTM(2, 3)], ids=["linear", "lstm"])
def test_packed_weights_of_quantized_layers_are_keys(layer: nn.Module, tmp_path: Path) -> None:
    net = nn.Sequential(layer, nn.LayerNorm(3))
    torch.save(
        torch.ao.quantization.quantize_dynamic(net, {type(layer)}, torch.qint8), tmp_path / "a.pt"
    )
    found = open_checkpoint(tmp_path / "a.pt").contents
    (packed, *others) = found.specs
    assert packed.startswith("0.")
    assert isinstance(found.specs[packed], UnreadableSpec)
    assert others == ["1.weight", "1.bias"]
    assert not found.outside


@pytest.mark.filterwarnings("ignore")
def test_constants_of_frozen_torchscript_can_be_opened(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).eval()
    torch.jit.freeze(torch.jit.script(net)).save(str(tmp_path / "a.pt"))
    with pytest.raises(cs.CheckpointError, match="`root='constants'` opens these"):
        cs.plan(tmp_path / "a.pt")
    tensors, _ = cs.apply(tmp_path / "a.pt", [], root="constants")
    assert [one.tolist() for one in tensors.values()] == [
        one.tolist() for one in net.state_dict().values()
    ]


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.uint8, torch.int16, torch.int64, torch.bfloat16, torch.complex64]
)
def test_negative_views_of_every_dtype(dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch._neg_view(torch.tensor([1, 2, 0, 127]).to(dtype))
    torch.save({"w": values}, tmp_path / "a.pt")
    cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt")
    assert torch.equal(torch.load(tmp_path / "b.pt")["w"], values)


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.w = nn.Parameter(tensor(1))
        self.plain = tensor(2)
        self.named = {"a": tensor(3)}
        self.register_buffer("kept", tensor(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        held = self.w.sum() + self.plain.sum() + self.named["a"].sum() + self.kept.sum()  # type: ignore[operator]
        return self.layer(x) + held  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore")
def test_torchscript_s_attributes_are_no_parameters(tmp_path: Path) -> None:
    torch.jit.script(nn.Sequential(Scripted(), nn.BatchNorm1d(2))).save(str(tmp_path / "a.pt"))
    found = open_checkpoint(tmp_path / "a.pt").contents
    assert list(found.specs) == list(torch.jit.load(str(tmp_path / "a.pt")).state_dict())
    assert [(one.key, one.tensors) for one in found.outside] == [("0", 2)]
    held = open_checkpoint(tmp_path / "a.pt", "0.named").contents.specs
    assert list(held) == ["a"]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("x.0 -> x.5", "a list that becomes a dict: its keys are no longer 0, 1, …"),
        ("x.0 -> x.name", "a list that becomes a dict: its keys are no longer 0, 1, …"),
        ({"drop": "x.0"}, "a list that has None where something was"),
        ("x.0 -> y", "a list that has None where something was"),
        ("w -> x.2", None),
        ("w -> x.3", "a list that becomes a dict: its keys are no longer 0, 1, …"),
        ("w -> v", None),
        ({"drop": "x.*"}, None),
    ],
)
def test_lists_that_do_not_stay_are_noted(rule: Any, told: str | None, tmp_path: Path) -> None:
    torch.save({"x": [tensor(1), tensor(2)], "w": tensor(3)}, tmp_path / "a.pt")
    notes = cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt", [rule]).notes
    found = [(note.key, note.text) for note in notes if note.kind == "entry"]
    assert found == ([] if told is None else [("x", told)])
    written = torch.load(tmp_path / "b.pt", weights_only=True).get("x", [])
    assert isinstance(written, dict) == (told is not None and "dict" in told)
    assert (None in written) == (told is not None and "None" in told)


def test_mismatches_with_what_cannot_be_read_have_no_suggestion(tmp_path: Path) -> None:
    into = {"w": torch.eye(6).to_sparse(), "b": tensor(1)}
    report = cs.apply({"b": tensor(1)}, [], into=into, allow=["unreadable"])[1]
    assert not report.advice
    plan = cs.plan({"w": tensor(2), "b": tensor(1)}, into=into)
    assert [finding.kind.value for finding in plan.open_findings] == ["mismatched"]
    assert not make_report(plan).advice


@pytest.mark.parametrize(
    ("value", "rule", "told"),
    [
        ({"l": [1, 2], "w": 3}, "w -> l.0.weight", {"l": "a list that becomes a dict"}),
        ({"l": [1, "plain"], "w": 2}, {"drop": "l.0"}, {"l": "a list that has None"}),
        ({"l": [{"w": 1}, {"w": 2}]}, {"drop": "l.0.**"}, {"l": "a list that has None"}),
        ({"l": [1], "l.x": 2}, None, {}),
        ({"l": [1], "l.x": 2}, {"drop": "l.0"}, {}),
        ({"l": ([1, 2], 3)}, {"drop": "l.0.0"}, {"l.0": "a list that has None"}),
    ],
)
def test_lists_are_noted_as_they_are_written(
    value: Any, rule: Any, told: dict[str, str], tmp_path: Path
) -> None:
    def filled(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: filled(entry) for key, entry in one.items()}
        if isinstance(one, (list, tuple)):
            return type(one)(map(filled, one))
        return tensor(one) if isinstance(one, int) else one

    torch.save(filled(value), tmp_path / "a.pt")
    rules = [] if rule is None else [rule]
    notes = cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt", rules).notes
    found = {note.key: note.text for note in notes if note.kind == "entry"}
    assert list(found) == list(told)
    assert all(found[key].startswith(words) for key, words in told.items())
