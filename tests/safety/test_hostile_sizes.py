"""Small files that ask for very much are refused in words, before memory is gone."""

from __future__ import annotations

import json
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptsurgeon as cs
from ckptsurgeon.errors import CkptSurgeonError, ProblemsError


def spec(shape: list[int], keys: list[str]) -> str:
    Path("spec.json").write_text(json.dumps({key: ["U8", shape] for key in keys}))
    return "spec.json"


def rules(*rules: Any) -> dict[str, Any]:
    return {"format": 1, "rules": list(rules)}


def test_a_key_of_very_many_pieces_costs_no_more_than_its_length(folder: Path) -> None:

    deep = [f"{'1.' * 20_000}{name}" for name in "ab"]
    a = {key: np.ones(2, np.float32) for key in deep}
    b = {key: np.zeros(2, np.float32) for key in deep}
    tracemalloc.start()
    try:
        for text in (str(cs.diff(a, b)), str(cs.plan(a, into={"c": b[deep[0]]}))):
            assert len(text) < 20_000
        json.dumps(cs.diff(a, b).to_dict())
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


MANY = [0] * 1000


@pytest.mark.parametrize(
    ("shape", "rule", "told"),
    [
        (
            [4],
            {"from": "k.<i>.<j>.<k>", "to": "c.<i>.<j>.<k>", "pick": dict.fromkeys("ijk", MANY)},
            "`pick` repeats keys more than 100002 times",
        ),
        (
            [65536, 0],
            {
                "from": "k.<i>.0.0",
                "to": "m.<i>",
                "ops": [{"unstack": {"over": "q"}}, {"stack": {"over": "q"}}] * 70,
            },
            "more than 4000000 tensors",
        ),
    ],
)
def test_rules_that_explode(
    shape: list[int], rule: dict[str, Any], told: str, folder: Path
) -> None:
    source = spec(shape, ["k.0.0.0", "k.1.0.0"])
    with pytest.raises(CkptSurgeonError, match=told):
        cs.plan(source, rules(rule))


DIMS = 33
"""More than NumPy 1 has; what is installed decides nothing."""


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"init": {"to": "x", "fill": 0, "shape": [1] * DIMS}}, "`x` would have 33 dims; 32 is"),
        ({"init": {"to": "many", "fill": "normal"}}, "`many` would have 33 dims; 32 is the most"),
        ("one -> many[..., 0]", "of 33 dims no parts are taken; 32 is the most"),
        ("many[0] -> x", "of 33 dims no parts are taken; 32 is the most"),
        ({"many -> x": {"scale": 2}}, "scale: takes tensors of at most 32 dims"),
        ({"many -> x.<i>": "unstack"}, "unstack: takes tensors of at most 32 dims"),
        ({"one -> x": {"reshape": [1] * DIMS}}, "reshape: 33 dims would be made; 32 is the most"),
        ({"one -> x": {"rearrange": f"a -> a {'1 ' * 32}"}}, "rearrange: 33 dims would be made"),
        ({"from": ["most", "most"], "to": "x", "ops": ["stack"]}, "stack: 33 dims would be made"),
        ({"from": ["many", "many"], "to": "x", "ops": ["concat"]}, "concat: takes tensors of at m"),
    ],
)
def test_more_dims_than_any_numpy_has_are_refused_in_the_plan(
    rule: Any, told: str, folder: Path
) -> None:
    shapes = {"one": [1], "most": [1] * (DIMS - 1), "many": [1] * DIMS}
    Path("spec.json").write_text(json.dumps({key: ["F32", shape] for key, shape in shapes.items()}))
    with pytest.raises(ProblemsError, match=re.escape(told)) as caught:
        cs.plan("spec.json", [rule], into="spec.json")
    assert caught.value.problems[0].place


def test_slices_with_huge_steps_are_counted_in_no_memory(folder: Path) -> None:
    source = spec([4 * 10**18], ["a"])
    slices = [
        {"from": f"a[::{step}]", "to": f"x{step}", "reuse": True} for step in (10**9, 10**9 + 7)
    ]
    notes = [note.text for note in cs.plan(source, rules(*slices)).notes]
    assert any("is taken by no rule" in text for text in notes)


# --- pickles --------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def name(module: str, word: str) -> bytes:
    return f"c{module}\n{word}\n".encode()


TENSOR = b"".join(
    (
        name("torch._utils", "_rebuild_tensor_v2"),
        b"(("
        + text("storage")
        + name("torch", "FloatStorage")
        + text("0")
        + text("cpu")
        + b"K\x04tQ",
        b"K\x00K\x04\x85K\x01\x85\x89" + name("collections", "OrderedDict") + b")RtR",
    )
)


def torch_file(pickle: bytes) -> Path:
    with zipfile.ZipFile("x.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickle)
        archive.writestr("archive/data/0", b"\0" * 16)
    return Path("x.pt")


def test_arguments_that_are_copied_again_and_again_are_counted(folder: Path) -> None:
    arguments = (
        b"(" + b"N" * 100_000 + b"tr\x01\0\0\0" + b"0" + name("a", "b") + b"r\x02\0\0\0" + b"0"
    )
    made = b"j\x02\0\0\0j\x01\0\0\0N\x92" * 2000
    path = torch_file(
        arguments + b"}" + text("w") + TENSOR + b"s" + text("x") + b"(" + made + b"ts."
    )
    with pytest.raises(CkptSurgeonError):
        cs.open_checkpoint(path)


def test_a_container_of_a_very_long_name_is_refused(folder: Path) -> None:
    path = torch_file(b"}" + text("A" * 2000) + b"}" + text("w") + TENSOR + b"ss.")
    with pytest.raises(CkptSurgeonError, match="a container's name has over 1000 characters"):
        cs.open_checkpoint(path)


DICT = name("collections", "OrderedDict")
COPIES = {
    "NEWOBJ_EX": DICT + b"q\x00" + b")h\x01\x92",
    "OBJ": b"(" + DICT + b"h\x01o",
    "REDUCE": DICT + b"h\x01\x85R",
    "copyreg": name("copyreg", "_reconstructor") + DICT + DICT + b"h\x01\x85\x87R",
    "a type": name("torch._tensor", "_rebuild_from_type_v2") + b"(" + DICT + b"Nh\x01\x85NtR",
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_a_dict_are_counted(how: str, folder: Path) -> None:
    """By every opcode that makes one of it."""
    items = b"".join(b"J" + struct.pack("<i", number) + b"N" for number in range(50_000))
    path = torch_file(b"}q\x01(" + items + b"u](" + COPIES[how] * 2000 + b"e.")
    with pytest.raises(CkptSurgeonError, match="makes more values than torch writes"):
        cs.open_checkpoint(path)


NESTED = b"K\x01K\x01\x86" + b"2\x86" * 40
"""A tuple of 2^41 parts, all of which are shared."""

UNFOLDING = {
    "a bit": TENSOR[:-2] + b"}" + NESTED + b"\x88stR",
    "a shape": name("numpy.core.numeric", "_frombuffer")
    + b"("
    + b"C\x08"
    + bytes(8)
    + name("numpy", "dtype")
    + text("f4")
    + b"\x85R"
    + name("x", "y")
    + NESTED
    + b"\x85\x81\x85"
    + text("C")
    + b"tR",
    "an axis": name("numpy.core.numeric", "_frombuffer")
    + b"(C\x08"
    + bytes(8)
    + name("numpy", "dtype")
    + text("f4")
    + b"\x85RK\x02K\x01\x86"
    + text("C")
    + b"NK\x00\x86tR",
}


@pytest.mark.parametrize("where", UNFOLDING)
def test_parts_that_unfold_are_never_spelled_out(where: str, folder: Path) -> None:
    path = torch_file(b"}" + text("w") + TENSOR + b"s" + text("x") + UNFOLDING[where] + b"s.")
    try:
        found = cs.open_checkpoint(path).contents.specs
    except CkptSurgeonError:
        return
    assert next(iter(found)) == "w"


SHARED = {
    "keys of one text": b"G" + struct.pack(">d", 1.5) + b"q\x000}(" + b"h\x00N" * 20_000 + b"u.",
    "a list of a list": b"".join(
        (b"](" + b"K\x01" * 20_000 + b"eq\x000}", text("a"), b"](" + b"h\x00" * 20_000 + b"es.")
    ),
}


@pytest.mark.parametrize("what", SHARED)
def test_what_is_shared_is_looked_at_once(what: str, folder: Path) -> None:
    """Each took minutes, the square of its number."""
    assert not cs.open_checkpoint(torch_file(SHARED[what])).contents.specs


def shared_key() -> bytes:
    """A tuple of 16^8 parts, which are shared."""
    level = b"K\x01q\x050"
    for _ in range(8):
        level += b"(" + b"h\x05" * 16 + b"tq\x050"
    return level + b"h\x05"


SMALL = {
    "a shared key": b"}(" + text("w") + TENSOR + shared_key() + b"Nu.",
    "a set with it": b"}("
    + text("w")
    + TENSOR
    + text("s")
    + name("__builtin__", "set")
    + b"]"
    + shared_key()
    + b"a\x85Ru.",
}


@pytest.mark.parametrize("what", SMALL)
def test_keys_of_shared_parts_are_not_unfolded(what: str, folder: Path) -> None:
    try:
        report = cs.transplant(torch_file(SMALL[what]), "o.pt")
    except CkptSurgeonError as error:
        assert "share parts and unfold" in str(error)  # noqa: PT017
    else:
        assert [row.key for row in report.rows] == ["w"]


MODULE = name("torch.nn", "M") + b")\x81"
MODULES = {
    "names": b"}("
    + text("_parameters")
    + b"}"
    + text("_buffers")
    + b"}"
    + text("_non_persistent_buffers_set")
    + name("__builtin__", "set")
    + b"]("
    + b"".join(text(str(number)) for number in range(20_000))
    + b"e\x85Ru",
    "entries": b"}("
    + text("_parameters")
    + b"}("
    + b"".join(b"J" + struct.pack("<i", number) + b"N" for number in range(20_000))
    + b"uu",
}


@pytest.mark.parametrize("what", MODULES)
def test_states_that_modules_share_are_looked_at_once(what: str, folder: Path) -> None:
    many = b"](" + (MODULE + b"h\x00b") * 20_000 + b"e"
    path = torch_file(MODULES[what] + b"q\x000}" + text("m") + many + b"s.")
    with pytest.raises(CkptSurgeonError, match="share parts and unfold"):
        cs.open_checkpoint(path)


def test_attributes_that_many_share_are_looked_at_once(folder: Path) -> None:
    held = b"}(" + b"".join(b"J" + struct.pack("<i", n) + b"N" for n in range(20_000)) + b"uq\x000"
    holder = name("collections", "OrderedDict") + b")Rh\x00b"
    path = torch_file(held + b"}" + text("d") + b"](" + holder * 5000 + b"es.")
    with pytest.raises(CkptSurgeonError, match="share parts and unfold"):
        cs.open_checkpoint(path)


def test_long_texts_as_keys_are_counted(folder: Path) -> None:
    dtype = name("numpy", "dtype") + text("U16000") + b"\x85R"
    scalar = name("numpy.core.multiarray", "scalar") + dtype
    scalar += b"B" + struct.pack("<I", 60_000) + b"\xff" * 60_000 + b"\x86R"
    path = torch_file(b"\x80\x04" + scalar + b"q\x000}(" + b"h\x00N" * 60_000 + b"u.")
    with pytest.raises(CkptSurgeonError):
        cs.open_checkpoint(path)


def test_shared_texts_of_a_template_have_a_measure(folder: Path) -> None:
    shared = text("x" * 60_000) + b"q\x000"
    entries = b"](" + b"h\x00" * 20_000 + b"e"
    path = torch_file(shared + b"}(" + text("w") + TENSOR + text("l") + entries + b"u.")
    with pytest.raises(cs.OutputError, match="where they are spelled out, since they share parts"):
        cs.transplant(path, "o.pt")
