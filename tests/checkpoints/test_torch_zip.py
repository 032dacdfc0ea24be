"""Reading torch's zip files, with torch as the oracle; and refusing crafted archives."""

from __future__ import annotations

import argparse
import contextlib
import io
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from ckptsurgeon.checkpoints.torch.inert import DTYPE_CODES
from ckptsurgeon.checkpoints.torch.reader import TorchCheckpoint
from ckptsurgeon.checkpoints.torch.zipped import is_torch_zip, open_torch_zip
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import UnreadableSpec

Tensors = dict[str, torch.Tensor]


def saved(value: Any, folder: Path, root: str | None = None, **options: Any) -> TorchCheckpoint:
    path = folder / "saved.pt"
    torch.save(value, path, **options)
    assert is_torch_zip(path)
    return open_torch_zip(path, root)


def tensor_bytes(tensor: torch.Tensor) -> bytes:
    dense = tensor.detach().contiguous().reshape(-1)
    return bytes(dense.view(torch.uint8).numpy().tobytes()) if dense.numel() else b""


def assert_holds(found: TorchCheckpoint, expected: Tensors) -> None:
    assert list(found.contents.specs) == list(expected)
    for key, tensor in expected.items():
        spec, array = found.contents.specs[key], found.read(key)
        assert spec.shape == tuple(tensor.shape) == array.shape
        assert DTYPE_CODES[str(tensor.dtype).removeprefix("torch.")] == spec.dtype
        assert array.tobytes() == tensor_bytes(tensor), key
        extent = found.extent(key)
        assert (extent is not None) == tensor.is_contiguous()
        if extent:
            data = found.path.read_bytes()
            assert data[extent.offset : extent.offset + extent.nbytes] == tensor_bytes(tensor)


@pytest.mark.parametrize("name", sorted(DTYPE_CODES))
def test_every_dtype(name: str, tmp_path: Path) -> None:
    dtype = getattr(torch, name)
    raw = torch.arange(2 * 3 * dtype.itemsize, dtype=torch.uint8) % 2
    tensor = raw.view(dtype).reshape(2, 3)
    scalar = raw[: dtype.itemsize].clone().view(dtype)[0]
    expected = {"matrix": tensor, "scalar": scalar, "turned": tensor.t(), "empty": tensor[:0]}
    assert_holds(saved(expected, tmp_path), expected)


def test_views_ties_and_parameters(tmp_path: Path) -> None:
    weight = torch.randn(4, 6)
    state = {
        "weight": torch.nn.Parameter(weight),
        "tied": weight,
        "rows": weight[1:3],
        "columns": weight[:, ::2],
        "repeated": weight[0, 0].expand(3, 2),
        "window": weight.reshape(-1).as_strided((3, 4), (1, 2), 2),
        "buffer": torch.nn.Buffer(weight.clone()),
        "one": weight[:1, :1],
    }
    found = saved(state, tmp_path)
    assert_holds(found, {key: tensor.detach() for key, tensor in state.items()})
    assert found.contents.aliases == (("weight", "tied"),)
    assert found.extent("weight").crc is not None
    assert found.extent("rows").crc is None
    assert found.extent("columns") is None


def test_module_metadata_and_every_protocol(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    state = model.state_dict()
    for protocol in (2, 3, 4):
        found = saved(state, tmp_path, pickle_protocol=protocol)
        assert_holds(found, dict(state))
        assert found.contents.module_metadata == dict(state._metadata)  # type: ignore[attr-defined]


def test_what_weights_only_refuses_opens(tmp_path: Path) -> None:
    weight = torch.randn(2)
    odd = {"args": argparse.Namespace(lr=1), "score": np.float32(0.5), "epoch": 3, "at": Path("x")}
    found = saved({"state_dict": {"w": weight, 7: weight}, **odd}, tmp_path)
    assert_holds(found, {"w": weight, "7": weight})
    assert [(entry.key, entry.kind) for entry in found.contents.opaque] == [
        ("args", "argparse.Namespace"),
        ("score", "numpy.float32"),
        ("epoch", "int"),
        ("at", f"{Path('x').__class__.__module__}.PosixPath"),
    ]


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_without_plain_bytes_are_unreadable(tmp_path: Path) -> None:
    state = {
        "plain": torch.ones(1),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.empty(3, device="meta"),
        "conjugated": torch.ones(2, dtype=torch.complex64).conj(),
        "parameter": torch.nn.Parameter(torch.eye(2).to_sparse()),
    }
    found = saved(state, tmp_path)
    specs = found.contents.specs
    assert list(specs) == list(state)
    told = {key: spec.what for key, spec in specs.items() if isinstance(spec, UnreadableSpec)}
    assert told == {
        "quantized": "a quantized tensor",
        "sparse": "a sparse tensor",
        "meta": "a tensor on the meta device, without values",
        "parameter": "a sparse tensor",
    }
    assert list(map(str, specs.values())) == [
        "F32[1]",
        "?[2]",
        "F32[2, 2]",
        "F32[3]",
        "C64[2]",
        "F32[2, 2]",
    ]
    resolved = state["conjugated"].resolve_conj()
    assert found.read("conjugated").tobytes() == resolved.numpy().tobytes()


T = torch.ones(1)

NESTED = {
    "top": ({"w": T}, "", ["w"]),
    "wrapper": ({"epoch": 1, "state_dict": {"w": T}, "loss": T}, "state_dict", ["w"]),
    "likeliest first": ({"ema": {"e": T}, "model": {"w": T}}, "model", ["w"]),
    "wrapper in wrapper": ({"model": {"state_dict": {"w": T}}}, "model.state_dict", ["w"]),
    "a part that looks so": (
        {"model": {"net": {"w": T}, "head": {"b": T}}},
        "model",
        ["net.w", "head.b"],
    ),
    "no known wrapper": ({"encoder": {"w": T}, "optimizer": {0: T}}, "", ["encoder.w"]),
    "a part called opt": ({"opt.weight": T}, "", ["opt.weight"]),
    "empty wrapper": ({"state_dict": {}, "model": {"w": T}}, "model", ["w"]),
    "lists": ({"params": [T, {"b": (T, 1, T)}]}, "", ["params.0", "params.1.b.0", "params.1.b.2"]),
    "a bare tensor": (T, "", ["tensor"]),
    "list at the top": ([{"w": T}], "", ["0.w"]),
}


@pytest.mark.parametrize("name", NESTED)
def test_the_default_root(name: str, tmp_path: Path) -> None:
    value, root, keys = NESTED[name]
    found = saved(value, tmp_path)
    assert (found.contents.root, list(found.contents.specs)) == (root, keys)


def test_roots_that_are_asked_for(tmp_path: Path) -> None:
    value = {"model": {"a.x": T, "a.y": T, "b": T}, "ema": {"w": T}, "optimizer": {"state": {0: T}}}
    everything = saved(value, tmp_path, root="")
    assert list(everything.contents.specs)[-1] == "optimizer.state.0"
    assert everything.contents.wrappers == ("model", "ema")
    assert list(saved(value, tmp_path, root="optimizer").contents.specs) == ["state.0"]
    prefixed = saved(value, tmp_path, root="model.a")
    assert list(prefixed.contents.specs) == ["x", "y"]
    assert [(one.key, one.tensors) for one in prefixed.contents.outside] == [
        ("model.b", 1),
        ("ema", 1),
        ("optimizer", 1),
    ]
    with pytest.raises(
        CheckpointError, match=r"'modle'; roots there are: 'model', 'ema', 'opti.*mean"
    ):
        saved(value, tmp_path, root="modle")


def test_keys_that_coincide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"two tensors come to the key 'a\.b'"):
        saved({"a": {"b": T}, "a.b": T}, tmp_path)


def test_containers_without_end_or_measure(tmp_path: Path) -> None:
    loop: dict[str, Any] = {"w": T}
    loop["self"] = loop
    assert list(saved(loop, tmp_path).contents.specs) == ["w"]
    deep: Any = T
    for _ in range(150):
        deep = [deep]
    with pytest.raises(CheckpointError, match="nested deeper than 100"):
        saved(deep, tmp_path)
    wide: Any = T
    for _ in range(40):
        wide = [wide, wide]
    with pytest.raises(CheckpointError, match="unfold to over 8 times"):
        saved({"a": wide}, tmp_path, root="a.0.0.0.0")


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
def test_torchscript_and_whole_modules(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.BatchNorm2d(2))
    model.register_buffer("passing", torch.ones(1), persistent=False)
    expected = dict(model.state_dict())
    script = tmp_path / "script.jit"
    torch.jit.script(model).save(script)  # type: ignore[no-untyped-call]
    found = open_torch_zip(script, None)
    assert {key: found.read(key).tobytes() for key in found.contents.specs if key != "passing"} == {
        key: tensor_bytes(tensor) for key, tensor in expected.items()
    }
    whole = saved({"model": model, "epoch": 1}, tmp_path)
    assert_holds(whole, expected)
    assert whole.contents.notes[0].startswith("a whole Sequential was saved")


# --- crafted files

Edit = Callable[[dict[str, bytes]], Any]


def rezipped(tmp_path: Path, edit: Edit, method: int = zipfile.ZIP_STORED) -> Path:
    """A saved file whose members were edited; a list of pairs may repeat a name."""
    buffer = io.BytesIO()
    torch.save(OrderedDict(w=torch.arange(4.0)), buffer)
    with zipfile.ZipFile(buffer) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    edited = edit(members)
    path = tmp_path / "crafted.pt"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in edited if isinstance(edited, list) else members.items():
            archive.writestr(name, data)
    return path


def tensor_pickle(
    *, offset: int = 0, size: Any = (4,), stride: Any = (1,), numel: int = 4
) -> bytes:
    """A data.pkl of one tensor, whatever it claims."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, size, stride, False, None)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", numel)
            return None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"w": Tensor()})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"offset": 1}, r"w: F32\[4\] reaches to byte 20 of a storage of 16 bytes"),
        ({"offset": -1}, "offset into its storage is no count"),
        ({"size": (5,)}, "reaches to byte 20"),
        ({"size": (-4,)}, "size is no tuple of counts"),
        ({"stride": (-1,)}, "stride is no tuple of counts"),
        ({"stride": (2,)}, "reaches to byte 28"),
        ({"size": (True,)}, "size is no tuple of counts"),
        ({"size": (2, 2)}, "2 sizes and 1 strides"),
        ({"size": (2**62,), "stride": (0,)}, "a shape too large"),
        ({"size": (2**40,), "stride": (0,)}, "unfolds 16 stored bytes"),
        ({"size": (1,) * 65, "stride": (1,) * 65}, "65 dims"),
        ({"numel": 5}, "a storage of 20 bytes, of which the file holds 16"),
        ({"size": [4]}, "size is no tuple of counts"),
    ],
)
def test_tensors_that_reach_outside(claims: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = rezipped(tmp_path, lambda m: m.update({"archive/data.pkl": tensor_pickle(**claims)}))
    with pytest.raises(CheckpointError, match=told):
        open_torch_zip(path, None)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda m: [*m.items(), ("archive/data.pkl", b"\x80\x02}.")], "two members are named"),
        (lambda m: [*m.items(), ("archive/DATA.PKL", b"\x80\x02}.")], "two members are named"),
        (lambda m: [*m.items(), ("other/data.pkl", b"\x80\x02}.")], "has 2 members named data.pkl"),
        (lambda m: m.pop("archive/data/0"), "storage '0' is not in the file"),
        (lambda m: m.update({"archive/data/0": b"\0" * 12}), "of which the file holds 12"),
        (lambda m: m.update({"archive/byteorder": b"huge"}), "byte order is 'huge', wanted"),
        (lambda m: m.update({"archive/data.pkl": m["archive/data.pkl"] + b"N"}), "behind its end"),
    ],
    ids=["duplicate", "case", "two pickles", "no storage", "short storage", "byte order", "tail"],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_crafted_archives(edit: Edit, told: str, tmp_path: Path) -> None:
    path = rezipped(tmp_path, edit)
    assert is_torch_zip(path) or "two members" in told
    with pytest.raises(CheckpointError, match=told):
        open_torch_zip(path, None)


def test_deflated_members_are_inflated(tmp_path: Path) -> None:
    plain = open_torch_zip(rezipped(tmp_path, lambda m: None), None)
    wanted = {key: plain.read(key).tobytes() for key in plain.contents.specs}
    found = open_torch_zip(rezipped(tmp_path, lambda m: None, zipfile.ZIP_DEFLATED), None)
    assert {key: found.read(key).tobytes() for key in found.contents.specs} == wanted
    assert {found.extent(key) for key in wanted} == {None}


def test_other_compression_is_refused(tmp_path: Path) -> None:
    path = rezipped(tmp_path, lambda m: None, zipfile.ZIP_BZIP2)
    with pytest.raises(CheckpointError, match="compressed by method 12; wanted none, or deflate"):
        open_torch_zip(path, None)


def test_a_pickle_of_another_crc_is_refused(tmp_path: Path) -> None:
    path = rezipped(tmp_path, lambda m: None)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x80\x02")
    data[data.index(b"weight", at) if b"weight" in data[at:] else at + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"data\.pkl: its bytes don't have the CRC-32"):
        open_torch_zip(path, None)


def test_a_pickle_that_inflates_to_far_more_than_any_does(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + b"N0" * (8 << 20) + b"}.")
        archive.writestr("a/data/0", bytes(16))
    with pytest.raises(CheckpointError, match="far more than a torch file does"):
        open_torch_zip(tmp_path / "a.pt", None)


def test_bytes_behind_deflated_data(tmp_path: Path) -> None:
    pickle = b"\x80\x02}."
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflater.compress(pickle) + deflater.flush()
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", packed + b"more")
    data = (tmp_path / "a.pt").read_bytes()
    sizes = struct.pack("<3I", zlib.crc32(packed + b"more"), len(packed) + 4, len(packed) + 4)
    claimed = struct.pack("<3I", zlib.crc32(pickle), len(packed) + 4, len(pickle))
    data = data.replace(sizes, claimed).replace(b"PK\3\4\x14\0\0\0\0\0", b"PK\3\4\x14\0\0\0\x08\0")
    data = data.replace(b"PK\1\2\x14\3\x14\0\0\0\0\0", b"PK\1\2\x14\3\x14\0\0\0\x08\0")
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match="bytes stand behind the deflated data"):
        open_torch_zip(tmp_path / "a.pt", None)


def test_one_name_for_many_tensors_has_a_measure(tmp_path: Path) -> None:
    name = "x" * 60_000
    named = {str(n): {name: {}} for n in range(10_000)}
    torch.save(named | {"w": torch.ones(1)}, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").stat().st_size < 1_000_000
    with pytest.raises(CheckpointError, match="it has more names than 256 MiB hold"):
        open_torch_zip(tmp_path / "a.pt", None)


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_file_of_numbers_alone_is_one_entry(tmp_path: Path, kind: type) -> None:
    torch.save(kind([1.5] * 100_000), tmp_path / "a.pt")
    (found,) = open_torch_zip(tmp_path / "a.pt", None).contents.opaque
    assert (found.key, found.kind, found.text) == ("", kind.__name__, "100000 items")


def test_a_vocabulary_is_one_entry(tmp_path: Path) -> None:
    words = {f"w{n}": n for n in range(100_000)}
    torch.save({"w": torch.ones(1), "words": words}, tmp_path / "a.pt")
    (found,) = open_torch_zip(tmp_path / "a.pt", None).contents.opaque
    assert (found.key, found.text.split(":")[0]) == ("words", "100000 entries")


def test_big_endian_items_are_turned_around(tmp_path: Path) -> None:
    """As torch itself turns them: the oracle is torch.load."""
    state = {
        "f": torch.arange(6.0).reshape(2, 3).t(),
        "c": torch.tensor([1 + 2j, 3 - 4j]),
        "b": torch.tensor([1, 2, 3], dtype=torch.uint8),
        "h": torch.arange(5).to(torch.bfloat16)[1:],
    }
    torch.save(state, tmp_path / "little.pt")
    sizes = {"f": 4, "c": 4, "b": 1, "h": 2}
    with zipfile.ZipFile(tmp_path / "little.pt") as source:
        members = {name: source.read(name) for name in source.namelist()}
    numbers = {name: i for i, name in enumerate(sizes)}
    with zipfile.ZipFile(tmp_path / "big.pt", "w") as target:
        for name, data in members.items():
            key = name.rpartition("/data/")[2]
            for tensor, number in numbers.items():
                if key == str(number) and sizes[tensor] > 1:
                    data = np.frombuffer(data, f"u{sizes[tensor]}").byteswap().tobytes()
            target.writestr(name, b"big" if name.endswith("byteorder") else data)
    found = open_torch_zip(tmp_path / "big.pt", None)
    wanted = torch.load(tmp_path / "big.pt")
    for key, tensor in wanted.items():
        assert torch.equal(tensor, state[key])
        assert found.read(key).tobytes() == tensor_bytes(tensor), key


@pytest.mark.parametrize(
    ("old", "new", "count", "told"),
    [
        (b"archive/data/0", b"archive/data\0\0", -1, "holds NUL"),
        (b"archive/data/0", b"archive/data/1", 1, "local header of 'archive/data/0' disagree"),
        (b"PK\x01\x02", b"PK\x01\x03", 1, "holds something that is no entry"),
        (b"PK\x05\x06", b"PK\x05\x07", 1, "no end record"),
    ],
)
def test_damaged_records(old: bytes, new: bytes, count: int, told: str, tmp_path: Path) -> None:
    path = rezipped(tmp_path, lambda m: None)
    path.write_bytes(path.read_bytes().replace(old, new, count))
    with pytest.raises(CheckpointError, match=told):
        open_torch_zip(path, None)


def test_members_that_overlap(tmp_path: Path) -> None:
    """A whole archive hidden inside a stored member, and both listed in one directory."""
    path = tmp_path / "crafted.pt"
    with zipfile.ZipFile(path, "w") as archive:
        inner = b"PK\x03\x04" + bytes(22) + (1).to_bytes(2, "little") + bytes(2) + b"b"
        archive.writestr("a/data.pkl", inner)
        archive.writestr("b", b"")
    data = bytearray(path.read_bytes())
    listed = data.rindex(b"PK\x01\x02")
    data[listed + 42 : listed + 46] = data.index(inner).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="'a/data.pkl' and 'b' overlap".replace(".", r"\.")):
        open_torch_zip(path, None)


def test_every_cut_of_a_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    torch.save({"w": torch.arange(4.0)}, path)
    data = path.read_bytes()
    cut = tmp_path / "cut.pt"
    for end in range(30, len(data), 23):
        cut.write_bytes(data[:end])
        with pytest.raises(CheckpointError):
            open_torch_zip(cut, None)
    assert is_torch_zip(cut)


def test_damage_anywhere_is_an_error_or_is_read(tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    model = torch.nn.Linear(2, 2)
    torch.save({"state_dict": model.state_dict(), "args": argparse.Namespace(a=1)}, path)
    data, random = path.read_bytes(), Random(0)
    damaged = tmp_path / "damaged.pt"
    for _ in range(600):
        changed = bytearray(data)
        for _ in range(random.choice((1, 1, 3))):
            changed[random.randrange(len(changed))] = random.randrange(256)
        damaged.write_bytes(changed)
        with contextlib.suppress(CheckpointError):
            found = open_torch_zip(damaged, None)
            for key, spec in found.contents.specs.items():
                assert found.read(key).nbytes == spec.nbytes


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    found = saved({"w": torch.ones(1000)}, tmp_path)
    found.path.write_bytes(found.path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="cut after it was opened"):
        found.read("w")


def test_neither_reading_nor_writing_imports_torch(tmp_path: Path) -> None:
    torch.save(
        {"state_dict": {"w": torch.ones(2, 3), "v": torch.ones(2, 3).t()}}, tmp_path / "a.pt"
    )
    program = """
import sys
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.output import open_writer
from ckptsurgeon.checkpoints.base import Layout
found = open_checkpoint("a.pt")
assert "numpy" not in sys.modules
with open_writer("b.pt", Layout(found.contents.specs, template=found), force=False) as writer:
    writer.copy("w", found.extent("w"))
    writer.write("v", found.read("v"))
assert "torch" not in sys.modules
"""
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("others", "root", "wrappers"),
    [({"w": T}, "", ()), ({"weights": {"w": T}}, "weights", ("weights",))],
)
def test_a_dict_is_no_wrapper_of_itself(
    others: dict[str, Any], root: str, wrappers: tuple[str, ...], tmp_path: Path
) -> None:
    tree = dict(others)
    tree["model"] = tree
    contents = saved(tree, tmp_path).contents
    assert (contents.root, contents.wrappers, list(contents.specs)) == (root, wrappers, ["w"])
