"""Ops from plain parameters: the words of each refusal, hostile sizes, and what is imported."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops import OPS, build
from ckptsurgeon.ops.parameters import make
from ckptsurgeon.ops.rearrange import Rearrange
from ckptsurgeon.specs import TensorSpec

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("splitt", {}, "unknown op 'splitt'; did you mean 'split'?"),
    ("split", {"dim": True}, "split: `dim` must be an integer, found true"),
    ("split", {"dim": 1.0}, "split: `dim` must be an integer, found 1.0"),
    ("split", {"dim": None}, "split: `dim` must be an integer, found null"),
    ("split", {"sizes": [1, "2"]}, 'split: `sizes` must be a list of integers, found [1,"2"]'),
    ("split", {"dims": 1}, "split: unknown parameter `dims`; did you mean 'dim'?"),
    ("split", {"over": "e"}, "split: unknown parameter `over`; it takes dim, parts, sizes"),
    ("same", {"dim": 1}, "same: unknown parameter `dim`; it takes none"),
    ("split", {"parts": 2, "sizes": [1, 1]}, "split: takes `parts` or `sizes`, not both"),
    ("split", {"parts": 0}, "split: `parts` must be from 1 to 65536, found 0"),
    ("split", {"parts": 10**9}, "split: `parts` must be from 1 to 65536, found 1000000000"),
    ("split", {"sizes": []}, "split: `sizes` must be one or more of 0 up, found []"),
    ("split", {"sizes": [3, -1]}, "split: `sizes` must be one or more of 0 up, found [3, -1]"),
    ("stack", {"dim": 10**30}, "stack: `dim` holds an integer beyond 2**63"),
    ("take", {}, "take: takes `indices` or `file`, one of the two"),
    ("take", {"indices": [0], "file": "a"}, "take: takes `indices` or `file`, one of the two"),
    ("take", {"indices": []}, "take: `indices` must name at least one item"),
    ("take", {"indices": [1, -1]}, "take: each index counts from 0, found -1"),
    ("take", {"indices": [0.5]}, "take: `indices` must be a list of integers, found [0.5]"),
    ("take", {"indices": [10**30]}, "take: `indices` holds an integer beyond 2**63"),
    ("pad", {}, "pad: takes `to` or `by`, one of the two"),
    ("pad", {"to": 1, "by": 1}, "pad: takes `to` or `by`, one of the two"),
    ("pad", {"by": -1}, "pad: `by` must be 0 or more, found -1; `slice` cuts"),
    ("pad", {"by": 1, "value": "x"}, 'pad: `value` must be a number, found "x"'),
    ("pad", {"by": 1, "value": True}, "pad: `value` must be a number, found true"),
    (
        "pad",
        {"by": 1, "at": "ends"},
        "pad: `at` must be one of start, end, both, found \"ends\"; did you mean 'end'?",
    ),
    ("reshape", {}, "reshape: needs `shape`, a list of integers"),
    (
        "reshape",
        {"shape": [-1, -1]},
        "reshape: `shape` takes sizes from 0 up and at most one -1, found [-1, -1]",
    ),
    (
        "reshape",
        {"shape": [-2]},
        "reshape: `shape` takes sizes from 0 up and at most one -1, found [-2]",
    ),
    ("transpose", {"dims": [0]}, "transpose: `dims` must be a list of two integers, found [0]"),
    ("repeat", {"times": 0}, "repeat: `times` must be 1 or more, found 0"),
    ("repeat", {"times": 10**18 * 1000}, "repeat: `times` holds an integer beyond 2**63"),
    ("repeat", {"times": 2, "each": 1}, "repeat: `each` must be true or false, found 1"),
    (
        "slice",
        {"index": 7},
        "slice: `index` must be an index, a list of integers, [start, stop, step] and `...`,"
        " found 7",
    ),
    ("rearrange", {"two": 2}, "rearrange: needs `pattern`, text"),
    ("rearrange", {"pattern": "a b"}, "rearrange: the pattern 'a b' must have one `->`"),
    (
        "rearrange",
        {"pattern": "a b -> b c"},
        "rearrange: the pattern 'a b -> b c' must have a, c on both sides of `->`",
    ),
    (
        "rearrange",
        {"pattern": "a a -> a"},
        "rearrange: a stands twice on one side of the pattern 'a a -> a'",
    ),
    (
        "rearrange",
        {"pattern": "a (b -> a b"},
        "rearrange: a `(` is not closed in the pattern 'a (b -> a b'",
    ),
    (
        "rearrange",
        {"pattern": "a 2 -> a 2"},
        "rearrange: '2' can't stand there in the pattern 'a 2 -> a 2'; it takes names, 1,"
        " ( ) around names, and `...` outside of them",
    ),
    (
        "rearrange",
        {"pattern": "(two d) -> two d", "tow": 2},
        "rearrange: `tow` is no axis of '(two d) -> two d'; did you mean 'two'?",
    ),
    (
        "rearrange",
        {"pattern": "(a b) -> a b", "a": 0},
        "rearrange: the size of `a` must be 1 or more, found 0",
    ),
    (
        "rearrange",
        {"pattern": "(a b) -> a b", "a": True},
        "rearrange: `a` must be an integer, found true",
    ),
    (
        "rearrange",
        {"pattern": "(a b) -> a b", "sizes": [["a", 2], ["a", 3]]},
        "rearrange: `sizes` must name each axis once",
    ),
]


@pytest.mark.parametrize(("name", "parameters", "message"), REFUSED)
def test_parameters_that_are_off(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        build(name, parameters)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "pattern",
    ["((a b) c) -> a b c", "a) -> a", "a -> a -> a", "(a ...) -> a ...", "a-b -> b", "1a -> 1a"],
)
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(ShapeError, match=r"^rearrange: .*pattern"):
        build("rearrange", {"pattern": pattern})


def test_an_axis_may_be_called_like_the_field() -> None:
    op = build("rearrange", {"pattern": "(sizes b) -> sizes b", "sizes": 2})
    assert op == Rearrange(pattern="(sizes b) -> sizes b", sizes=(("sizes", 2),))


def test_every_field_has_words_for_what_it_wants() -> None:
    for cls in OPS.values():
        for field in msgspec.structs.fields(cls):
            with pytest.raises(ShapeError, match=rf"^{cls.name}: .* must be .*, found"):
                make(cls, dict.fromkeys(needed(cls), 1) | {field.name: {"a": object()}})


def needed(cls: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(cls) if field.required]


def test_the_first_parameter_of_an_op_is_a_field() -> None:
    for cls in OPS.values():
        assert cls.first is None or cls.first in cls.__struct_fields__
        assert cls.further is None or cls.further in cls.__struct_fields__


SMALL, EMPTY = TensorSpec("F32", (3, 4)), TensorSpec("F32", (0, 4))

BOMBS = [
    ("repeat", {"times": 2**40}, SMALL, "would take 48.0 TiB; an op makes at most 1.0 TiB"),
    ("repeat", {"times": 2**62}, SMALL, "beyond 2**63 bytes"),
    ("repeat", {"times": 2**62, "dim": 1}, EMPTY, "beyond 2**63 bytes"),
    ("pad", {"by": 2**40}, SMALL, "would take 16.0 TiB"),
    ("pad", {"to": 2**62}, SMALL, "beyond 2**63 bytes"),
    ("pad", {"to": 2**62, "dim": 1}, EMPTY, "beyond 2**63 bytes"),
    ("reshape", {"shape": [2**32, 2**32, 12]}, SMALL, "does not have 12 elements"),
    ("reshape", {"shape": [0, 2**62]}, EMPTY, "beyond 2**63 bytes"),
    ("reshape", {"shape": [1] * 40 + [12]}, SMALL, "41 dims would be made; 32 is the most"),
    ("rearrange", {"pattern": "a b -> a (b)", "b": 2**62}, SMALL, "b makes 4611686018427387904"),
    ("rearrange", {"pattern": "(a c) b -> a c b", "c": 2**62}, EMPTY, "beyond 2**63 bytes"),
    ("unstack", {}, TensorSpec("F32", (2**40, 0)), "must have from 1 to 65536 items"),
    ("split_qkv", {"layout": "per_head", "heads": 2**62}, EMPTY, "0 rows don't divide"),
    ("permute_rope", {"head_dim": 2**62, "to": "half"}, EMPTY, "0 rows don't divide"),
]


@pytest.mark.parametrize(("name", "parameters", "spec", "words"), BOMBS)
def test_hostile_sizes_are_refused_before_anything_is_made(
    name: str, parameters: dict[str, Any], spec: TensorSpec, words: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        build(name, parameters).infer((spec,))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        ("U8", 256, "must be a whole number from 0 to 255"),
        ("I32", 0.5, "must be a whole number"),
        ("BOOL", 2, "must be a whole number from 0 to 1"),
        ("F16", 70000, "must be at most 65504 in size"),
        ("F8_E4M3", -449, "must be at most 448 in size"),
        ("F8_E8M0", 0, "must be a power of two"),
        ("F32", float("inf"), "must be finite"),
    ],
)
def test_a_pad_value_must_be_one_of_the_dtype(dtype: str, value: float, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        build("pad", {"by": 1, "value": value}).infer((TensorSpec(dtype, (3,)),))


def test_an_odd_pad_has_no_two_sides() -> None:
    with pytest.raises(ShapeError, match="3 added to dim 0 don't divide into two sides"):
        build("pad", {"by": 3, "at": "both"}).infer((SMALL,))


def test_ops_that_still_lack_something_say_so() -> None:
    with pytest.raises(ShapeError, match="split: needs `parts` or `sizes`; given"):
        build("split", {}).infer((SMALL,))
    with pytest.raises(ShapeError, match=r"take: the indices of order\.npy were not read yet"):
        build("take", {"file": "order.npy"}).infer((SMALL,))


def test_planning_an_op_imports_neither_numpy_nor_torch() -> None:
    code = (
        "import sys; from ckptsurgeon.ops import build; from ckptsurgeon.specs import TensorSpec;"
        "spec = TensorSpec('F32', (4, 6));"
        "ops = [build('cast', {'dtype': 'BF16'}), build('pad', {'by': 1, 'value': 0.5}),"
        " build('rearrange', {'pattern': '(a b) c -> a b c', 'a': 2})];"
        "[(op.infer((spec,)), op.inverse((spec,))) for op in ops];"
        "assert not {'numpy', 'ml_dtypes', 'torch', 'einops'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
