"""Writing torch's zip files, with torch and zipfile as the judges."""

from __future__ import annotations

import argparse
import os
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ckptsurgeon as cs
from ckptsurgeon.checkpoints.archive import read_archive
from ckptsurgeon.checkpoints.base import Checkpoint, Layout
from ckptsurgeon.checkpoints.safetensors.writer import SafetensorsWriter
from ckptsurgeon.checkpoints.torch.inert import DTYPE_CODES
from ckptsurgeon.checkpoints.torch.records import directory, local_header, plan_members
from ckptsurgeon.checkpoints.torch.skeleton import dropped_entries
from ckptsurgeon.checkpoints.torch.writer import TorchZipWriter
from ckptsurgeon.checkpoints.torch.zipped import open_torch_zip
from ckptsurgeon.checkpoints.transfer import Extent
from ckptsurgeon.errors import CheckpointError, OutputError
from ckptsurgeon.specs import DTYPE_NAMES, TensorSpec, row_strides

T = torch.arange(4.0)


def opened(value: Any, folder: Path, root: str | None = None) -> Checkpoint:
    torch.save(value, folder / "template.pt")
    return open_torch_zip(folder / "template.pt", root)


def carried(template: Checkpoint, folder: Path, rename: Mapping[str, str] | None = None) -> Any:
    """What torch loads of a copy that has the template's tensors, under new names."""
    names = {key: (rename or {}).get(key, key) for key in template.contents.specs}
    specs = {names[key]: spec for key, spec in template.contents.specs.items()}
    metadata = template.contents.module_metadata
    layout = Layout(specs, module_metadata=metadata, template=template)
    with TorchZipWriter(folder / "out.pt", layout, force=True) as writer:
        for key, name in names.items():
            extent = template.extent(key)
            if extent:
                writer.copy(name, extent)
            else:
                writer.write(name, template.read(key))
    return loaded(folder / "out.pt")


def loaded(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    for member in read_archive(path).values():
        assert member.offset % 64 == 0
    return torch.load(path, weights_only=True, mmap=True)


def write_all(path: Path, layout: Layout, arrays: Mapping[str, Any]) -> None:
    with TorchZipWriter(path, layout, force=True) as writer, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: writer.write(key, arrays[key]), reversed(list(arrays))))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(max_size=12),
        st.tuples(
            st.sampled_from(sorted(DTYPE_CODES.values())),
            st.lists(st.integers(0, 4), max_size=4).map(tuple),
        ),
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_what_is_written_is_what_torch_loads(
    tmp_path: Path, planned: dict[str, tuple[str, tuple[int, ...]]], random: Any
) -> None:
    specs = {key: TensorSpec(*spec) for key, spec in planned.items() if _is_text(key)}
    arrays = {
        key: np.frombuffer(random.randbytes(spec.nbytes), "u1")
        .view(spec.carrier or "u1")
        .reshape(spec.shape)
        for key, spec in specs.items()
    }
    arrays = {
        key: array & 1 if specs[key].dtype == "BOOL" else array for key, array in arrays.items()
    }
    path = tmp_path / "out.pt"
    write_all(path, Layout(specs), arrays)
    found = loaded(path)
    assert type(found) is OrderedDict
    assert list(found) == list(specs)
    for key, tensor in found.items():
        assert str(tensor.dtype) == f"torch.{DTYPE_NAMES[specs[key].dtype]}"
        assert tensor.shape == specs[key].shape
        assert tensor.reshape(-1).view(torch.uint8).numpy().tobytes() == arrays[key].tobytes()
    again = open_torch_zip(path, "")
    assert dict(again.contents.specs) == specs
    assert all(again.read(key).tobytes() == array.tobytes() for key, array in arrays.items())


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    template = opened({"state_dict": {"b": T, "a": T.clone()}, "s": {"x", "y"}}, tmp_path)
    carried(template, tmp_path)
    first = (tmp_path / "out.pt").read_bytes()
    carried(template, tmp_path)
    assert (tmp_path / "out.pt").read_bytes() == first


def test_ties_share_a_storage(tmp_path: Path) -> None:
    spec = TensorSpec("F32", (4,))
    layout = Layout({"a": spec, "b": spec, "c": spec}, ties={"b": "a", "c": "a"})
    write_all(tmp_path / "out.pt", layout, {"a": T.numpy()})
    found = loaded(tmp_path / "out.pt")
    assert found["a"].data_ptr() == found["b"].data_ptr() == found["c"].data_ptr()
    assert torch.equal(found["c"], T)
    assert open_torch_zip(tmp_path / "out.pt", None).contents.aliases == (("a", "b", "c"),)
    with pytest.raises(OutputError, match=r"b is I32\[4\] and tied to a, which is F32\[4\]"):
        TorchZipWriter(
            tmp_path / "x.pt", Layout({"a": spec, "b": TensorSpec("I32", (4,))}, {"b": "a"}), False
        )


def test_plain_entries_are_carried_and_others_told(tmp_path: Path) -> None:
    plain = {
        "epoch": 3,
        "name": "é",
        "history": [1.5, (None, True), {"deep": [2**70, -(2**2039)]}],
        "bytes": b"\xff\0",
        "set": {1, 2},
        "size": torch.Size([1, 2]),
        "dtype": torch.bfloat16,
        "device": torch.device("cuda", 1),
        "complex": 1 - 2j,
        "ordered": OrderedDict(b=1, a=2),
        5: "five",
        (1, 2.5): "tuple",
        "score": 0.5,
    }
    other = {
        "args": argparse.Namespace(lr=1),
        "best": torch.ones(1),
        "ema": {"w": torch.ones(2), "n": 1},
        "optimizer": {"param_groups": [{"lr": 1}], "state": {}},
        "frozen": frozenset([1]),
    }
    given = {**plain, "score": np.float64(0.5)}  # a number of NumPy becomes one of Python
    template = opened({**given, "state_dict": {"w": T}, **other}, tmp_path)
    found = carried(template, tmp_path)
    assert torch.equal(found.pop("state_dict")["w"], T)
    assert found == plain
    assert [(entry.key, entry.kind, entry.text) for entry in dropped_entries(template)] == [
        ("args", "argparse.Namespace", "1 entry: 'lr'"),
        ("optimizer", "dict", "2 entries: 'param_groups', 'state' (optimizer state)"),
        ("frozen", "frozenset", "list of 1"),
    ]
    assert [one.key for one in template.contents.outside] == ["best", "ema"]


def test_module_metadata_is_written(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    template = opened({"state_dict": model.state_dict()}, tmp_path)
    found = carried(template, tmp_path)["state_dict"]
    assert found._metadata == model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(found)
    layout = Layout({"w": TensorSpec("F32", (4,))}, template=template)
    write_all(tmp_path / "out.pt", layout, {"w": T.numpy()})
    assert not hasattr(loaded(tmp_path / "out.pt")["state_dict"], "_metadata")


def test_nesting_stays_and_names_move(tmp_path: Path) -> None:
    value = {
        "backbone": {"conv.weight": T, "old": {"w": T.clone()}},
        "heads": [{"w": T.clone(), "n": 1}, {"w": T.clone()}],
        "pair": [T.clone(), 7],
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
    }
    template = opened(value, tmp_path, root="")
    moved = {"backbone.old.w": "backbone.new.w", "heads.1.w": "heads.1.weight"}
    found = carried(template, tmp_path, moved)
    assert list(found) == ["backbone", "heads", "pair", "optimizer"]
    assert list(found["backbone"]) == ["conv.weight", "new.w"]
    assert [list(head) for head in found["heads"]] == [["n", "w"], ["weight"]]
    assert found["pair"][1] == 7
    assert torch.equal(found["pair"][0], T)
    assert list(found["optimizer"]["state"]) == [0]
    assert found["optimizer"]["param_groups"] == [{"lr": 0.1}]


def test_a_root_that_is_a_prefix(tmp_path: Path) -> None:
    model = OrderedDict({"model.a": T, "model.b": T.clone(), "head": T.clone()})
    model._metadata = OrderedDict({"model": {"version": 2}})  # type: ignore[attr-defined]
    found = carried(opened(model, tmp_path, root="model"), tmp_path)
    assert list(found) == ["model.a", "model.b"]
    assert found._metadata == {"model": {"version": 2}}


def test_a_dict_that_holds_itself_is_dropped(tmp_path: Path) -> None:
    loop: dict[str, Any] = {"w": T, "n": 1}
    loop["self"] = [loop, T]
    template = opened(loop, tmp_path)
    found = carried(template, tmp_path)
    assert list(found) == ["n", "self", "w"]
    assert found["self"][0] is None
    assert torch.equal(found["self"][1], T)
    assert [entry.key for entry in dropped_entries(template)] == ["self.0"]


def test_a_module_becomes_its_state_dict(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    found = carried(opened({"model": model, "epoch": 1}, tmp_path), tmp_path)
    assert found["epoch"] == 1
    model.load_state_dict(found["model"])


def test_a_tensor_over_a_carried_entry_is_refused(tmp_path: Path) -> None:
    template = opened({"w": T, "epoch": 1}, tmp_path)
    with pytest.raises(OutputError, match="'epoch' is also an entry of the template"):
        carried(template, tmp_path, {"w": "epoch"})


def test_dtypes_that_torch_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"w: torch files have no F6_E2M3; cast it"):
        TorchZipWriter(tmp_path / "out.pt", Layout({"w": TensorSpec("F6_E2M3", (4,))}), False)


def test_copies_take_the_crc_or_are_told_it(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    source = tmp_path / "source"
    source.write_bytes(b"head" + data)
    layout = Layout({"a": TensorSpec("U8", (len(data),)), "b": TensorSpec("U8", (5,))})
    with TorchZipWriter(tmp_path / "out.pt", layout, force=False) as writer:
        writer.copy("a", Extent(source, 4, len(data)))
        writer.copy("b", Extent(source, 4, 5, zlib.crc32(data[:5])))
    assert loaded(tmp_path / "out.pt")["a"].numpy().tobytes() == data
    extent = open_torch_zip(tmp_path / "out.pt", None).extent("a")
    assert extent is not None
    assert extent.crc == zlib.crc32(data)


def test_parts_come_in_any_order(tmp_path: Path) -> None:
    data = np.frombuffer(os.urandom(1000), np.uint8)
    with TorchZipWriter(
        tmp_path / "out.pt", Layout({"a": TensorSpec("U8", (1000,))}), False
    ) as writer:
        writer.write("a", data[700:], 700)
        writer.write("a", data[:300])
        writer.write("a", data[300:700], 300)
    assert loaded(tmp_path / "out.pt")["a"].numpy().tobytes() == data.tobytes()
    extent = open_torch_zip(tmp_path / "out.pt", None).extent("a")
    assert extent is not None
    assert extent.crc == zlib.crc32(data)


def test_a_wrong_crc_is_carried_and_seen_on_the_way_to_another_format(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"four")
    damaged = Extent(tmp_path / "source", 0, 4, crc=1234)
    layout = Layout({"a": TensorSpec("U8", (4,))})
    with TorchZipWriter(tmp_path / "out.pt", layout, force=False) as writer:
        writer.copy("a", damaged)
    extent = open_torch_zip(tmp_path / "out.pt", None).extent("a")
    assert extent is not None
    assert extent.crc == 1234
    with pytest.raises(CheckpointError, match="'a': its bytes don't have the CRC-32"):  # noqa: SIM117
        with SafetensorsWriter(tmp_path / "out.safetensors", layout, force=False) as writer:
            writer.copy("a", extent)


def test_nothing_is_left_of_an_output_that_failed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"four")
    layout = Layout({"a": TensorSpec("U8", (9,))})
    with pytest.raises(CheckpointError, match="ends before the 9 bytes"):  # noqa: SIM117
        with TorchZipWriter(tmp_path / "out.pt", layout, force=False) as writer:
            writer.copy("a", Extent(source, 0, 9))
    with pytest.raises(RuntimeError, match=r"never written whole: \['a'\]"):  # noqa: SIM117
        with TorchZipWriter(tmp_path / "out.pt", layout, force=False):
            pass
    assert os.listdir(tmp_path) == ["source"]


def test_strides_are_torchs() -> None:
    for shape in ((), (3,), (2, 3, 4), (2, 0, 3), (0,), (1, 5, 1)):
        assert row_strides(shape) == torch.empty(shape).stride()


def test_sizes_beyond_32_bits(tmp_path: Path) -> None:
    """A sparse file of 5 GiB, whose records are written around data that nobody wrote."""
    sizes = {"a/version": 2, "a/data/0": (1 << 32) + 5, "a/data/1": 0xFFFFFFFF, "a/data/2": 7}
    members = plan_members(sizes)
    path = tmp_path / "sparse.pt"
    with path.open("wb") as file:
        for member in members:
            file.seek(member.header)
            file.write(local_header(member, 1))
            assert file.tell() == member.offset
        file.seek(members[0].offset)
        file.write(b"3\n")
        file.seek(members[-1].end)
        file.write(directory(members, dict.fromkeys(sizes, 1)))
    found = read_archive(path)
    assert {name: member.nbytes for name, member in found.items()} == sizes
    with zipfile.ZipFile(path) as archive:
        assert {info.filename: info.file_size for info in archive.infolist()} == sizes
    reader = torch._C.PyTorchFileReader(str(path))
    for name, place in found.items():
        assert reader.get_record_offset(name.removeprefix("a/")) == place.offset  # type: ignore[attr-defined]


def test_more_members_than_16_bits_count(tmp_path: Path) -> None:
    members = plan_members(dict.fromkeys((f"a/{index}" for index in range(70000)), 0))
    path = tmp_path / "many.zip"
    with path.open("wb") as file:
        for member in members:
            file.write(local_header(member, 0))
        file.write(directory(members, {}))
    assert len(read_archive(path)) == 70000


@pytest.mark.parametrize("size", [1000, (64 << 10) - 1, 64 << 10, 200_000])
def test_bytes_and_texts_of_a_template_are_carried(tmp_path: Path, size: int) -> None:
    """Long ones stay in the file until they are written."""
    entries = {
        "blob": bytes(range(256)) * (size // 256) + b"\xff",
        "text": "aé€😀" * (size // 4),
        "array": bytearray(b"\x80\x7f" * (size // 2)),
    }
    torch.save({"w": torch.ones(2), **entries}, tmp_path / "a.pt")
    cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt")
    found = torch.load(tmp_path / "b.pt", weights_only=True)
    assert {key: found[key] for key in ("blob", "text")} == {
        key: entries[key] for key in ("blob", "text")
    }


HARMFUL: dict[str, bytes] = {
    "a set of lists": b"c__builtin__\nset\n]]a\x85R",
    "a device that is none": b"ctorch\ndevice\nX\x03\x00\x00\x00fpu\x85R",
    "a device of two digits": b"ctorch\ndevice\nX\x07\x00\x00\x00cuda:09\x85R",
    "a number that no float holds": b"c__builtin__\ncomplex\n\x8a\x81" + bytes(128) + b"\x01\x85R",
    "a number of a text": b"c__builtin__\ncomplex\nX\x01\x00\x00\x00a\x85R",
    "sizes that are none": b"ctorch\nSize\nX\x01\x00\x00\x00a\x85R",
    "a long integer": b"I" + b"9" * 700 + b"\n",
}


@pytest.mark.parametrize("what", HARMFUL)
def test_entries_that_torch_would_not_load_are_left_out(tmp_path: Path, what: str) -> None:
    with_entry(tmp_path / "a.pt", HARMFUL[what])
    report = cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt")
    assert [note.key for note in report.notes if note.kind == "entry"] == ["z"]
    assert list(torch.load(tmp_path / "b.pt", weights_only=True)) == ["w"]


def test_a_long_text_that_is_none_is_damage(tmp_path: Path) -> None:
    with_entry(tmp_path / "a.pt", b"X" + struct.pack("<I", 70_000) + b"\xff" * 70_000)
    with pytest.raises(CheckpointError, match="a text that is no UTF-8: damaged"):
        cs.transplant(tmp_path / "a.pt", tmp_path / "b.pt")


def with_entry(path: Path, pickled: bytes) -> None:
    """A torch file of one tensor and the entry `z` of these opcodes."""
    torch.save({"w": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            if name.endswith("data.pkl"):
                data = data.removesuffix(b"s.") + b"sX\x01\x00\x00\x00z" + pickled + b"s."
            archive.writestr(name, data)


def test_views_of_conjugates_and_negatives_are_no_ties(tmp_path: Path) -> None:
    values = torch.randn(4, dtype=torch.complex64)
    given = {"a": values, "b": values.conj(), "c": values.imag, "d": values.conj().imag}
    cs.transplant(given, tmp_path / "a.pt")
    found = torch.load(tmp_path / "a.pt", weights_only=True)
    assert all(torch.equal(found[key], value) for key, value in given.items())
