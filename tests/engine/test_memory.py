"""The memory budget holds, and a plan says beforehand where it can't."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Ckpt
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch
from sparse_files import write_sparse

ROWS, COLUMNS = 20_000, 19_000
MARKS = {(0, 0): 1.5, (1, 17_000): -2.25, (12_345, 6_789): 3.0, (ROWS - 1, COLUMNS - 1): 0.5}
"""Elements that are not zero."""

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (300_000_000, 300_000_000))
from ckptsurgeon.cli import main
main()
"""
"""The command line where the kernel refuses memory: RLIMIT_DATA counts every private page that may
be written, touched or not, and so more than what is resident (RssAnon)."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One matrix of 1.5 GB, zeros but for the marks, that takes no room on the disk."""
    path = tmp_path_factory.mktemp("memory") / "source.safetensors"
    write_marked(path, MARKS)
    yield path
    path.unlink()


def write_marked(path: Path, marks: Mapping[tuple[int, int], float]) -> None:
    start = write_sparse(path, "F32", {"w": (ROWS, COLUMNS)})["w"]
    with path.open("r+b") as file:
        for (row, column), value in marks.items():
            file.seek(start + 4 * (row * COLUMNS + column))
            file.write(struct.pack("<f", value))


def limited(*words: object, code: int = 0) -> str:
    """What the command line prints under the limit, where it must end with this code."""
    command = [sys.executable, "-c", LIMITED, *map(str, words)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == code, ran.stderr
    return ran.stdout


def marks_in(path: Path, shape: tuple[int, int], dtype: str) -> dict[tuple[int, int], float]:
    """The elements of the one tensor of a file that are not zero."""
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        assert header["w"]["shape"] == list(shape)
        found = {}
        rows = 1 + (16 << 20) // (shape[1] * np.dtype(dtype).itemsize)
        for start in range(0, shape[0], rows):
            data = file.read(rows * shape[1] * np.dtype(dtype).itemsize)
            part = np.frombuffer(data, dtype).reshape(-1, shape[1])
            if data.strip(b"\0"):
                found |= {
                    (start + int(row), int(column)): float(part[row, column])
                    for row, column in np.argwhere(part)
                }
        assert not file.read(1)
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds little elsewhere")
@pytest.mark.parametrize("case", ["rename", "slice", "transpose", "cast"])
def test_a_job_of_1_5_gb_under_a_limit_of_300_mb(case: str, source: Path, tmp_path: Path) -> None:
    rules = {
        "rename": "w -> w",
        "slice": "w[:, 1:] -> w",
        "transpose": "{from: w, to: w, ops: transpose}",
        "cast": "{from: w, to: w, ops: {cast: BF16}}",
    }
    wanted = {
        "rename": MARKS,
        "slice": {(row, column - 1): value for (row, column), value in MARKS.items() if column},
        "transpose": {(column, row): value for (row, column), value in MARKS.items()},
        "cast": MARKS,
    }
    shapes = {"slice": (ROWS, COLUMNS - 1), "transpose": (COLUMNS, ROWS)}
    out = tmp_path / "out.safetensors"
    try:
        limited("transplant", source, "-e", rules[case], "-o", out, "--memory", "128MiB", "-q")
        dtype = "<u2" if case == "cast" else "<f4"
        found = marks_in(out, shapes.get(case, (ROWS, COLUMNS)), dtype)
    finally:
        out.unlink(missing_ok=True)
    if case == "cast":
        found = {at: bfloat16(int(bits)) for at, bits in found.items()}
    assert found == wanted[case]


def bfloat16(bits: int) -> float:
    value: float = struct.unpack("<f", struct.pack("<I", bits << 16))[0]
    return value


INIT = "{init: {to: big, fill: normal, shape: [1024, 1024], dtype: F32}}"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds little elsewhere")
def test_a_difference_of_1_5_gb_under_a_limit_of_300_mb(source: Path, tmp_path: Path) -> None:
    assert "equal in every value" in limited("diff", source, source, "--memory", "32MiB")
    rule = "{from: w, to: w, ops: {slice: ':, :'}}"
    assert "equal bit for bit" in limited("diff", source, source, "-e", rule, "--exact")
    other = tmp_path / "other.safetensors"
    write_marked(other, {**MARKS, (19_000, 5): -0.25})
    try:
        told = json.loads(limited("diff", source, other, "--format=json", code=1))
        change = told["rows"][0]["change"]
        assert (change["elements"], change["max_delta"]) == (ROWS * COLUMNS, 0.25)
        assert change["equal"] == ROWS * COLUMNS - 1
    finally:
        other.unlink()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds little elsewhere")
def test_values_are_told_within_the_memory_that_is_given(source: Path) -> None:
    told = json.loads(limited("inspect", source, "--stats", "--memory", "32MiB", "--format=json"))
    found, count = told["tensors"]["w"]["statistics"], ROWS * COLUMNS
    assert (found["count"], found["zeros"]) == (count, count - len(MARKS))
    assert (found["min"], found["max"]) == (-2.25, 3.0)
    assert found["mean"] == pytest.approx(sum(MARKS.values()) / count, rel=1e-12)
    assert found["zero_channels"] == ROWS - len(MARKS)


def test_a_plan_says_what_needs_more(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": np.ones((512, 512), np.float32)}, path)
    asked = ("plan", path, "-e", INIT, "-e", "{from: w, to: v, ops: transpose}")
    ran = ckpt(*asked, "--memory", "1MiB")
    assert ran.code == 0
    assert "memory" in ran.out
    assert "needs 4.0 MiB at once, of 1.0 MiB: big" in ran.out
    assert ran.out.count("at once") == 1  # a transpose is made in blocks
    assert "at once" not in ckpt(*asked).out
    told = json.loads(ckpt(*asked, "--memory", "1MiB", "--format", "json").out)["notes"]
    assert [note["key"] for note in told if note["kind"] == "memory"] == ["big"]


@pytest.mark.parametrize("size", ["none", "0", "-1", "5G", "1e9 GB", "9999999PB"])
def test_sizes_that_are_none(size: str, ckpt: Ckpt, tmp_path: Path) -> None:
    ran = ckpt("plan", tmp_path, f"--memory={size}")
    assert ran.code == 2
    assert f"{size!r} is no size; wanted one as 128MiB or 5GB" in ran.err


@pytest.mark.parametrize("rule", ["w -> w", "w -> w: transpose", "w[1000:] -> w"])
def test_an_archive_that_is_compressed_is_read_in_order(
    rule: str, ckpt: Ckpt, tmp_path: Path
) -> None:
    """What is wanted again is inflated again, where memory has no room for all of it."""
    path, output = tmp_path / "a.npz", tmp_path / "o.safetensors"
    array = np.random.default_rng(0).random((1024, 1024), np.float32)
    np.savez_compressed(path, w=array)
    ran = ckpt("transplant", path, "-e", rule, "-o", output, "--memory", "1MiB")
    assert ran.code == 0, ran.err
    wanted = {"w -> w": array, "w -> w: transpose": array.T, "w[1000:] -> w": array[1000:]}[rule]
    assert load_file(output)["w"].tobytes() == wanted.tobytes()


RANDOM = np.random.default_rng(1).random((1024, 1024), np.float32)

BY_COLUMN: dict[str, Callable[[Path], object]] = {
    "stored.npz": lambda path: np.savez(path, w=np.asfortranarray(RANDOM)),
    "deflated.npz": lambda path: np.savez_compressed(path, w=np.asfortranarray(RANDOM)),
    "swapped.npz": lambda path: np.savez(path, w=np.asfortranarray(RANDOM).astype(">f4")),
    "turned.pt": lambda path: torch.save({"w": torch.tensor(RANDOM.T.copy()).T}, path),
    "legacy.pt": lambda path: torch.save(
        {"w": torch.tensor(RANDOM.T.copy()).T}, path, _use_new_zipfile_serialization=False
    ),
}


@pytest.mark.parametrize("rule", ["w -> w", "w -> w: transpose", "w[500:, 7:] -> w"])
@pytest.mark.parametrize("name", BY_COLUMN)
def test_columns_are_read_in_blocks(name: str, rule: str, ckpt: Ckpt, tmp_path: Path) -> None:
    """A tensor that lies column by column, and for which there is no room."""
    path, output = tmp_path / name, tmp_path / "o.safetensors"
    BY_COLUMN[name](path)
    ran = ckpt("transplant", path, "-e", rule, "-o", output, "--memory", "1MiB")
    assert ran.code == 0, ran.err
    assert "at once" not in ran.out
    wanted = {"w -> w": RANDOM, "w -> w: transpose": RANDOM.T, "w[500:, 7:] -> w": RANDOM[500:, 7:]}
    assert load_file(output)["w"].tobytes() == wanted[rule].tobytes()


VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "expanded": lambda x: x[:1].expand(700, 1024, 1024)[:, 0],
    "every other": lambda x: x[:, ::2],
    "every third": lambda x: x[:, ::3],
    "overlapping": lambda x: x.reshape(-1).as_strided((900, 1100), (1000, 1), 5),
    "turned": lambda x: x.reshape(64, 128, 128).permute(2, 0, 1),
}


@pytest.mark.parametrize(
    "rule", ["w -> w", "w -> w: [{transpose: {dims: [0, 1]}}, {reshape: [-1]}]", "w[5:] -> w"]
)
@pytest.mark.parametrize("name", VIEWS)
def test_views_are_read_in_blocks(name: str, rule: str, ckpt: Ckpt, tmp_path: Path) -> None:
    """The same bytes as with room for all of them, which torch's are."""
    path, output = tmp_path / "a.pt", tmp_path / "o.safetensors"
    torch.save({"w": VIEWS[name](torch.tensor(RANDOM))}, path)
    found = []
    for memory in ("1MiB", "64MiB"):
        ran = ckpt("transplant", path, "-e", rule, "-o", output, "--memory", memory, "--force")
        assert ran.code == 0, ran.err
        whole = name in ("every third", "overlapping") and memory == "1MiB"
        assert ("at once" in ran.out) == whole  # far apart, or over each other
        found.append(load_file(output)["w"].tobytes())
    assert found[0] == found[1]
    if rule == "w -> w":
        assert found[0] == VIEWS[name](torch.tensor(RANDOM)).contiguous().numpy().tobytes()


def test_conjugates_are_read_whole(ckpt: Ckpt, tmp_path: Path) -> None:
    """Other values are stored than they have."""
    path, values = tmp_path / "a.pt", torch.tensor(RANDOM).to(torch.complex64)
    torch.save({"w": values.conj()}, path)
    ran = ckpt("plan", path, "--memory", "1MiB")
    assert "needs 8.0 MiB at once, of 1.0 MiB: w" in ran.out
    ran = ckpt("transplant", path, "-o", tmp_path / "o.pt", "--memory", "1MiB")
    assert ran.code == 0, ran.err
    assert torch.equal(torch.load(tmp_path / "o.pt")["w"], values.conj())


@pytest.mark.parametrize("memory", ["1MiB", "64MiB"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_damage_is_seen_however_little_memory_there_is(
    order: str, memory: str, ckpt: Ckpt, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, w=np.array(RANDOM, order=order))  # type: ignore[call-overload]
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        crc = struct.pack("<I", archive.getinfo("w.npy").CRC)
    path.write_bytes(data.replace(crc, b"\x01\x02\x03\x04"))
    ran = ckpt("transplant", path, "-o", tmp_path / "o.safetensors", "--memory", memory)
    assert ran.code == 2
    assert "don't have the CRC-32 that the file gives: damaged" in ran.err
    assert not (tmp_path / "o.safetensors").exists()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("rule", ["flip: 0", "flip: 1", "transpose", "roll: {shift: 5, dim: 0}"])
def test_what_is_inflated_in_another_order(
    rule: str, order: str, ckpt: Ckpt, tmp_path: Path
) -> None:
    path, output = tmp_path / "a.npz", tmp_path / "o.safetensors"
    np.savez_compressed(path, w=np.array(RANDOM, order=order))  # type: ignore[call-overload]
    made = f"{{from: w, to: w, ops: [{{{rule}}}]}}" if ":" in rule else f"w -> w: {rule}"
    found = []
    for memory in ("1MiB", "64MiB"):
        ran = ckpt("transplant", path, "-e", made, "-o", output, "--memory", memory, "--force")
        assert ran.code == 0, ran.err
        found.append(load_file(output)["w"].tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("memory", ["1MiB", "64MiB"])
def test_damage_of_a_strided_tensor_is_seen(memory: str, ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"w": torch.tensor(RANDOM).T}, path)
    data = bytearray(path.read_bytes())
    data[data.index(RANDOM[500].tobytes())] ^= 1
    path.write_bytes(data)
    ran = ckpt("transplant", path, "-o", tmp_path / "o.safetensors", "--memory", memory)
    assert ran.code == 2
    assert "don't have the CRC-32 that the file gives: damaged" in ran.err


# --- what is computed -----------------------------------------------------------------------------

IN_BOXES = {
    "w -> w: {scale: 3}": False,
    "w -> w: {noise: 0.5}": False,
    "w -> w: [transpose, {noise: 0.5}, {cast: F16}]": False,
    "w[3:] -> w: {noise: 0.5}": False,
    "{from: [w, v], to: w, ops: multiply}": False,
    "{from: [w, v], to: w, ops: [divide, {shift: 1}]}": False,
    "{from: [w, w], to: w, ops: [concat, {scale: 2}]}": False,
    "w -> w.<p:weight|scale>: quantize_blocks": False,
    "w -> w.<p:weight|scale>: [{noise: 0.5}, quantize_blocks]": True,
    "w -> w.<p:weight|scale>: {quantize_blocks: [33, 400]}": False,
    "w -> w.<p:weight|scale>: {quantize_blocks: 1024}": True,
    "w -> w: [{noise: 0.5}, transpose]": True,
    "w -> w: {sum: 0}": True,
}
"""Rules, and whether whole tensors are needed."""


@pytest.mark.parametrize("rule", IN_BOXES)
def test_what_is_computed_in_boxes_is_what_whole_tensors_give(
    rule: str, ckpt: Ckpt, tmp_path: Path
) -> None:
    path, output = tmp_path / "a.safetensors", tmp_path / "o.safetensors"
    save_file({"w": RANDOM, "v": RANDOM[:1] + 1}, path)
    found = []
    for memory in ("1MiB", "64MiB"):
        words = ("transplant", path, "-e", rule, "-o", output, "--memory", memory, "--force")
        ran = ckpt(*words)
        assert ran.code == 0, ran.err
        assert ("at once" in ran.out) == (IN_BOXES[rule] and memory == "1MiB")
        found.append(output.read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
@pytest.mark.parametrize("shape", [(1000, 900), (3, 300, 900)])
def test_blocks_of_float8_under_a_budget(
    dtype: str, shape: tuple[int, ...], ckpt: Ckpt, tmp_path: Path
) -> None:
    path, output = tmp_path / "a.safetensors", tmp_path / "o.safetensors"
    scales = (*shape[:-2], -(-shape[-2] // 128), -(-shape[-1] // 128))
    weight = torch.tensor(RANDOM.reshape(-1)[: int(np.prod(shape))].reshape(shape))
    held = {"w": weight.to(torch.float8_e4m3fn), "s": torch.rand(scales) + 0.5}
    save_torch(held, path)
    rule = f"{{from: [w, s], to: w, ops: {{dequantize_blocks: {{dtype: {dtype}}}}}}}"
    ran = ckpt("transplant", path, "-e", rule, "-o", output, "--memory", "1MiB")
    assert ran.code == 0, ran.err
    assert "at once" not in ran.out
    spread = held["s"].repeat_interleave(128, -2).repeat_interleave(128, -1)
    exact = held["w"].float() * spread[..., : shape[-2], : shape[-1]]
    wanted = exact.bfloat16() if dtype == "BF16" else exact
    assert torch.equal(load_torch(output)["w"], wanted)


def test_an_overflow_in_a_box_is_told(ckpt: Ckpt, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": RANDOM.astype(np.float16)}, path)
    rule, output = "w -> w: [{scale: 60000}, {scale: 60000}]", tmp_path / "o.safetensors"
    ran = ckpt("transplant", path, "-e", rule, "-o", output, "--memory", "1MiB")
    assert ran.code == 1
    assert "`w`: " in ran.err
    assert "at least" in ran.err
    assert "finite values overflow in F16" in ran.err
    assert not output.exists()
