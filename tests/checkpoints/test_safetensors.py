"""safetensors: the strict parser, and a writer whose bytes are the same every time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from ckptsurgeon.checkpoints.base import Layout
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.output import open_writer
from ckptsurgeon.checkpoints.safetensors.header import (
    MAX_HEADER,
    Entry,
    parse_header,
    write_header,
)
from ckptsurgeon.checkpoints.transfer import Extent
from ckptsurgeon.errors import CheckpointError, OutputError
from ckptsurgeon.specs import TensorSpec


def deserialize(content: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The tensors that the safetensors library finds: the oracle."""
    return safetensors.deserialize(content)  # type: ignore[no-untyped-call, no-any-return]


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4), **more: Any) -> Any:
    """One tensor of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


A = '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
B = '"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}'

HOSTILE = {
    "a gap": ({"a": entry(), "b": entry(offsets=(8, 12))}, 12, "a gap"),
    "a gap at the start": ({"a": entry(offsets=(4, 8))}, 8, "a gap"),
    "an overlap": ({"a": entry(shape=(2,), offsets=(0, 8)), "b": entry(offsets=(4, 8))}, 8, "over"),
    "the same range twice": ({"a": entry(), "b": entry()}, 4, "overlap"),
    "data beyond the last": ({"a": entry()}, 5, "take 4 bytes, the file has 5"),
    "data cut": ({"a": entry()}, 3, "take 4 bytes, the file has 3: it was cut"),
    "data without tensors": ({}, 4, "take 0 bytes"),
    "wrong size": ({"a": entry(shape=(2,))}, 4, "takes 8 bytes, its offsets span 4"),
    "backwards": ({"a": entry(offsets=(4, 0))}, 4, "span -4"),
    "negative size": ({"a": entry(shape=(-1,))}, 4, "wanted at most 64 sizes from 0"),
    "negative offset": ({"a": entry(offsets=(-4, 0))}, 4, "wanted two offsets"),
    "a boolean size": ({"a": entry(shape=(True,))}, 4, "wanted at most 64 sizes"),
    "a decimal size": ({"a": entry(shape=(1.0,))}, 4, "wanted at most 64 sizes"),
    "minus zero": (f"{{{A.replace('[0,', '[-0,')}}}", 4, "-0 is no integer"),
    "a boolean offset": ({"a": entry("U8", (1,), (False, True))}, 1, "wanted two offsets"),
    "a size as text": ({"a": entry(shape=("1",))}, 4, "wanted at most 64 sizes"),
    "a size beyond 64 bits": ({"a": entry(shape=(2**64,))}, 4, "wanted at most 64 sizes"),
    "sizes that overflow": ({"a": entry(shape=(2**40, 2**40))}, 4, "too large"),
    "sizes that wrap to 4": ({"a": entry("U8", (2**62, 4, 1), (0, 0))}, 0, "too large"),
    "too many dims": ({"a": entry(shape=(1,) * 65)}, 4, "wanted at most 64 sizes"),
    "one offset": ({"a": entry(offsets=(0,))}, 4, "wanted two offsets"),
    "no shape": ({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, 4, "wanted dtype, shape and"),
    "one field more": ({"a": entry(code="x")}, 4, "wanted dtype, shape and"),
    "not an entry": ({"a": [1, 2]}, 4, "wanted dtype, shape and"),
    "unknown dtype": ({"a": entry("F31")}, 4, "unknown dtype 'F31'"),
    "a dtype that the format lacks": ({"a": entry("C128", (1,), (0, 16))}, 16, "has no C128"),
    "a dtype that is a number": ({"a": entry(32)}, 4, "wanted a dtype's name"),
    "half a byte": ({"a": entry("F4", (3,), (0, 2))}, 2, "does not fill whole bytes"),
    "metadata of a number": ({"__metadata__": {"a": 1}}, 0, "wanted text"),
    "metadata of a list": ({"__metadata__": []}, 0, "wanted an object of texts"),
    "metadata null": ({"__metadata__": None}, 0, "wanted an object of texts"),
    "a name twice": (f"{{{A},{A}}}", 4, "'a' stands twice"),
    "a name twice, other ranges": (f"{{{A},{B.replace('b', 'a', 1)}}}", 8, "'a' stands twice"),
    "a name twice, escaped": (f"{{{A},{A.replace('a', chr(92) + 'u0061', 1)}}}", 4, "'a' stands"),
    "a field twice": (
        '{"a":{"dtype":"F32","dtype":"F32",' + A[19:] + "}",
        4,
        "'dtype' stands twice",
    ),
    "metadata twice": ('{"__metadata__":{},' + A + ',"__metadata__":{}}', 4, "stands twice"),
    "metadata name twice": ('{"__metadata__":{"a":"1","a":"2"},' + A + "}", 4, "'a' stands twice"),
    "no comma after metadata": ('{"__metadata__":{}' + A + "}", 4, "can't be read"),
    "two commas after metadata": ('{"__metadata__":{},,' + A + "}", 4, "can't be read"),
    "cut after metadata": ('{"__metadata__":{}', 4, "can't be read"),
    "half a surrogate": ('{"\\ud800":' + A[4:] + "}", 4, "not UTF-8"),
    "not UTF-8": (b'{"\xff":' + A[4:].encode() + b"}", 4, "not UTF-8"),
    "UTF-16": (f"{{{A}}}".encode("utf-16-le"), 4, "can't be read"),
    "NaN": ('{"a":NaN}', 0, "NaN is no number"),
    "cut JSON": (f"{{{A}", 4, "can't be read"),
    "text after JSON": (f"{{{A}}}x", 4, "can't be read"),
    "a comma at the end": ('{"__metadata__":{},}', 0, "can't be read"),
    "nested": ('{"a":' * 100_000 + "1" + "}" * 100_000, 0, "nested"),
    "nested lists": ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", 0, "nested"),
    "a number of many digits": ('{"a":' + "9" * 10_000 + "}", 0, "can't be read"),
}

ACCEPTED_BY_OTHERS = {
    "a name twice",
    "a name twice, escaped",
    "a name twice, other ranges",
    "metadata null",
    "metadata name twice",
    "one field more",
    "too many dims",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_header_is_told(name: str, raw_file: Callable[..., Path]) -> None:
    header, nbytes, words = HOSTILE[name]
    path = raw_file(header, bytes(nbytes))
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 1000
    if name not in ACCEPTED_BY_OTHERS:
        with pytest.raises(safetensors.SafetensorError):
            deserialize(path.read_bytes())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x10\0\0\0\0\0\0\0{", "claims a header of 16 bytes, but has 1"),
        ((MAX_HEADER + 1).to_bytes(8, "little") + b"{}", "claims a header of 100000001 bytes"),
        ((2**31).to_bytes(8, "little") + b"{}", "claims a header of 2147483648 bytes"),
    ],
)
def test_header_beyond_the_file(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(path)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"__metadata__":{}}',
        '{"__metadata__":{"format":"pt"}}   ',
        f"{{{B},{A}}}",
        f'{{{A}, "__metadata__": {{"x": "a \\"quoted\\" text"}},{B}}}',
        f'{{"__metadata__":{{"x":"}}"}} , {A}}}',
        '{"\\u00e9\\n\\"":' + A[4:] + "}",
        '{"é{}":' + A[4:] + "}",
        '{"":' + A[4:] + "}",
        '{"a":{"shape":[],"data_offsets":[0,2],"dtype":"BF16"}}',
        '{"z":{"dtype":"F4","shape":[4,1],"data_offsets":[0,2]}}',
        '{"n":{"dtype":"F32","shape":[0,9],"data_offsets":[4,4]},' + A + "}",
    ],
)
def test_good_header_reads_as_safetensors_does(text: str, raw_file: Callable[..., Path]) -> None:
    loaded = json.loads(text)
    tensors = {key: found for key, found in loaded.items() if key != "__metadata__"}
    end = max((found["data_offsets"][1] for found in tensors.values()), default=0)
    path = raw_file(text, bytes(range(end)))
    mine = open_checkpoint(path)
    theirs = dict(deserialize(path.read_bytes()))
    assert mine.contents.metadata == loaded.get("__metadata__", {})
    assert mine.contents.specs.keys() == theirs.keys()
    for key, found in theirs.items():
        spec = mine.contents.specs[key]
        assert (spec.dtype, list(spec.shape)) == (tensors[key]["dtype"], found["shape"])
        assert mine.read(key).tobytes() == bytes(found["data"])


def test_specs_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    header = f"{{{B},{A}}}".encode()
    assert list(parse_header(header, 8).specs) == ["a", "b"]
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    found, start = open_checkpoint(tmp_path / "x"), 8 + len(header)
    assert [found.extent(key).offset - start for key in "ab"] == [0, 4]


def test_reads_what_safetensors_saves(tmp_path: Path) -> None:
    saved: dict[str, np.ndarray[Any, Any]] = {
        "w": np.arange(12, dtype=np.float32).reshape(3, 4),
        "n": np.array(3, np.int64),
        "b": np.array([True, False]),
        "h": np.ones((2, 0), np.float16),
    }
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file(saved, path, metadata={"k": "v"})
    found = open_checkpoint(path)
    assert (found.format, found.has_values) == ("safetensors", True)
    assert found.contents.metadata == {"k": "v"}
    for key, array in saved.items():
        assert found.read(key).tobytes() == array.tobytes()
        assert found.contents.specs[key].shape == array.shape


def test_writes_what_safetensors_reads(
    write: Callable[..., Path], arrays: Mapping[str, Any], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.safetensors", metadata={"k": "v", "format": "tf"})
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"k": "v", "format": "pt"}
        assert file.get_tensor("single").tobytes() == arrays["single"].tobytes()
    for key, found in deserialize(path.read_bytes()):
        assert bytes(found["data"]) == arrays[key].tobytes()
        assert tuple(found["shape"]) == arrays[key].shape


def test_round_trip(
    write: Callable[..., Path], holds: Callable[[Path], bool], tmp_path: Path
) -> None:
    assert holds(write(tmp_path / "a.safetensors"))


def test_wider_items_come_first_and_aligned(write: Callable[..., Path], tmp_path: Path) -> None:
    found = open_checkpoint(write(tmp_path / "a.safetensors"))
    assert list(found.contents.specs) == ["scalar", "complex", "empty", "single", "half", "small"]
    first = found.extent("scalar")
    assert first is not None
    assert first.offset % 8 == 0


def test_same_inputs_give_the_same_bytes(write: Callable[..., Path], tmp_path: Path) -> None:
    names = [f"key{number}" for number in range(8)]
    ways = (dict.fromkeys(names, "x"), dict.fromkeys(reversed(names), "x"))
    files = [write(tmp_path / f"{n}.safetensors", metadata=way) for n, way in enumerate(ways)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_copies_from_several_threads(
    write: Callable[..., Path], specs: Mapping[str, TensorSpec], tmp_path: Path
) -> None:
    source = open_checkpoint(write(tmp_path / "a.safetensors"))
    many = {f"{key}.{n}": spec for n in range(50) for key, spec in specs.items()}
    target = tmp_path / "b.safetensors"

    def move(key: str) -> None:
        extent = source.extent(key.partition(".")[0])
        assert extent is not None
        writer.copy(key, extent)

    with (
        open_writer(target, Layout(many), force=False) as writer,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(move, many))
    found = open_checkpoint(target)
    for key in many:
        assert found.read(key).tobytes() == source.read(key.partition(".")[0]).tobytes()


def test_a_renamed_file_is_one_copy(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_checkpoint(write(tmp_path / "a.safetensors"))
    calls: list[int] = []
    monkeypatch.setattr(
        "ckptsurgeon.checkpoints.writing.target.copy_bytes", lambda *where: calls.append(where[4])
    )
    layout = Layout({f"x.{key}": spec for key, spec in source.contents.specs.items()})
    with open_writer(tmp_path / "b.safetensors", layout, force=False) as writer:
        for key in source.contents.specs:
            extent = source.extent(key)
            assert extent is not None
            writer.copy(f"x.{key}", extent)
    assert calls == [sum(spec.nbytes for spec in source.contents.specs.values())]


def test_arrays_of_any_strides_are_written_row_major(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.uint32).reshape(3, 4)
    path = tmp_path / "a.safetensors"
    layout = Layout({"w": TensorSpec("F32", (4, 3))})
    with open_writer(path, layout, force=False) as writer:
        writer.write("w", array.T)
    assert np.array_equal(open_checkpoint(path).read("w"), array.T)


def test_a_tied_key_is_filled_with_its_owner(tmp_path: Path) -> None:
    spec = TensorSpec("U8", (2,))
    path = tmp_path / "a.safetensors"
    layout = Layout({"head": spec, "embed": spec}, ties={"head": "embed"})
    with open_writer(path, layout, force=False) as writer:
        writer.write("embed", np.array([1, 2], np.uint8))
    assert open_checkpoint(path).read("head").tolist() == [1, 2]


def test_a_forgotten_key_is_a_bug_and_leaves_nothing(tmp_path: Path) -> None:
    layout = Layout({"a": TensorSpec("U8", (2,))})
    with (
        pytest.raises(RuntimeError, match=r"1 keys were never written whole: \['a'\]"),
        open_writer(tmp_path / "a.safetensors", layout, force=False),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_tensor_of_another_size_is_a_bug(tmp_path: Path) -> None:
    layout = Layout({"a": TensorSpec("U8", (2,))})
    with (
        pytest.raises(RuntimeError, match=r"a: U8\[2\] takes 2 bytes, not 3"),
        open_writer(tmp_path / "a.safetensors", layout, force=False) as writer,
    ):
        writer.write("a", np.zeros(3, np.uint8))


@pytest.mark.parametrize(
    ("key", "spec", "words"),
    [
        ("__metadata__", TensorSpec("U8", (1,)), "the key __metadata__ can't be a tensor's"),
        ("a\ud800", TensorSpec("U8", (1,)), "no Unicode text"),
        ("a", TensorSpec("F4", (3,)), r"F4\[3\] does not fill whole bytes"),
        ("a", TensorSpec("C128", (1,)), "has no C128; write a .pt file"),
    ],
)
def test_keys_that_the_format_cannot_hold(
    key: str, spec: TensorSpec, words: str, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=words):
        open_writer(tmp_path / "a.safetensors", Layout({key: spec}), force=False)


def test_a_header_that_no_reader_would_take() -> None:
    entries = {"a" * (MAX_HEADER + 1): Entry("U8", (0,), (0, 0))}
    with pytest.raises(OutputError, match="write shards"):
        write_header(entries, {})


def test_a_file_that_shrinks_gives_an_error(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors")
    found = open_checkpoint(path)
    extent = found.extent("small")
    assert extent is not None
    with path.open("r+b") as file:
        file.truncate(extent.offset + 1)
    with pytest.raises(CheckpointError, match="cut after it was opened"):
        found.read("small")
    layout = Layout({"small": found.contents.specs["small"]})
    with (
        pytest.raises(CheckpointError, match=f"{path}: ends 2 bytes before"),
        open_writer(tmp_path / "b.safetensors", layout, force=False) as writer,
    ):
        writer.copy("small", Extent(path, extent.offset, extent.nbytes))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]
