"""`explain`: which rule took a key, and why the others did not, word for word.

`golden/explain.cases` holds a key, rules, and what is said of them, case by case.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import Ckpt
from safetensors.torch import save_file

GOLDEN = Path(__file__).parent / "golden" / "explain.cases"


def test_a_key_that_a_slice_takes(ckpt: Ckpt, folder: Path) -> None:
    ran = ckpt("explain", "conv.weight", "train.pt", "--into", "dst.pt", "-r", "rules.yaml")
    assert (ran.code, ran.err) == (0, "")
    assert (
        ran.out
        == """\
conv.weight  F32[8, 4, 3, 3]  (key of source)
  rules.yaml:4:5: `conv.weight[:, :3] -> conv.weight` takes a slice of it
  its name doesn't match the other reference of the rules
  gives conv.weight

conv.weight  F32[8, 3, 3, 3]  (key of the output)
  changed by rules.yaml:4:5
  from conv.weight[:, :3]
"""
    )


def test_a_key_that_no_rule_takes(ckpt: Ckpt, folder: Path) -> None:
    ran = ckpt("explain", "bn.bias", "train.pt", "--into", "dst.pt", "-r", "rules.yaml")
    assert (
        ran.out
        == """\
bn.bias  F32[8]  (key of source)
  its name doesn't match any of the 2 references of the rules
  copied

bn.bias  F32[8]  (key of the output)
  copied by no rule
  from bn.bias
"""
    )


def test_rules_that_come_too_late_or_are_held_back(ckpt: Ckpt, folder: Path) -> None:
    Path("late.yaml").write_text(
        "format: 1\nrules:\n"
        "  - {from: fc.<t:weight|bias>, to: head.<t>, where: t == 'weight'}\n"
        "  - fc.* -> tail.*\n"
        "  - {drop: fc.weight, optional: true}\n"
    )
    assert (
        ckpt("explain", "fc.weight", "src.safetensors", "-r", "late.yaml").out
        == """\
fc.weight  F32[100, 8]  (key of source)
  late.yaml:3:6: `fc.<t:weight|bias> -> head.<t>` takes it
  late.yaml:4:5: `fc.* -> tail.*` comes too late: late.yaml:3:6 takes it
  late.yaml:5:6: `drop: fc.weight` comes too late: late.yaml:3:6 takes it
  gives head.weight
"""
    )
    assert (
        ckpt("explain", "fc.bias", "src.safetensors", "-r", "late.yaml").out
        == """\
fc.bias  F32[100]  (key of source)
  late.yaml:3:6: `fc.<t:weight|bias> -> head.<t>` its `where` leaves it out
  late.yaml:4:5: `fc.* -> tail.*` takes it
  its name doesn't match the other reference of the rules
  gives tail.bias
"""
    )


def test_rules_that_make_no_plan_are_2_and_still_explained(ckpt: Ckpt, folder: Path) -> None:
    ran = ckpt("explain", "fc.bias", "train.pt", "-r", "rules.yaml")
    assert ran.code == 2
    assert "rules.yaml:5:5: `drop: fc.*` takes it" in ran.out
    assert "the rules make no plan:\nrules.yaml:6:" in ran.out


def cases() -> list[tuple[str, str, str]]:
    """A key, rules, and what is to be said, of each case."""
    texts = (text.split("----\n") for text in GOLDEN.read_text().split("====\n"))
    return [(*written.split("\n", 1), told) for written, told in texts]  # type: ignore[misc]


def explained(key: str, rules: str, ckpt: Ckpt) -> str:
    vectors = ("weight", "bias", "running_mean", "running_var")
    tensors = {f"bn.{part}": torch.ones(2) for part in vectors}
    tensors |= {"bn.num_batches_tracked": torch.tensor(1), "conv.weight": torch.ones(2, 3, 1, 1)}
    tensors |= {"conv.bias": torch.ones(2), "fc.weight": torch.ones(2, 3, 1, 1)}
    save_file(tensors, "bn.safetensors")
    Path("norm.yaml").write_text(f"format: 1\nrules:\n{rules}")
    into = ("--into", "bn.safetensors") if "keep" in rules else ()
    ran = ckpt("explain", key, "bn.safetensors", *into, "-r", "norm.yaml")
    assert (ran.code, ran.err) == (0, "")
    return ran.out


@pytest.mark.parametrize(("key", "rules", "told"), cases())
def test_what_is_said_of_a_key(key: str, rules: str, told: str, ckpt: Ckpt, folder: Path) -> None:
    assert explained(key, rules, ckpt) == told


def test_a_key_of_two_sources_is_explained_for_each(ckpt: Ckpt, folder: Path) -> None:
    Path("two.yaml").write_text(
        "format: 1\nrules:\n  - fc.bias -> x\n  - other::fc.bias -> other.x\n"
    )
    words = ("src.safetensors", "--source", "other=src.safetensors", "-r", "two.yaml")
    assert (
        ckpt("explain", "fc.bias", *words).out
        == """\
fc.bias  F32[100]  (key of source)
  two.yaml:3:5: `fc.bias -> x` takes it
  its name doesn't match the other reference of the rules
  gives x

fc.bias  F32[100]  (key of source other)
  two.yaml:4:5: `other::fc.bias -> other.x` takes it
  its name doesn't match the other reference of the rules
  gives other.x
"""
    )
    one = ckpt("explain", "other::fc.bias", *words).out
    assert "(key of source other)" in one
    assert "(key of source)" not in one
    assert ckpt("explain", "nobody::fc.bias", *words).code == 2


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("zzz", "`inspect` lists those there are"),
        ("fc.weights", "did you mean 'fc.weight'?"),
        ("fc", "it is the front of `fc.bias`, `fc.weight`"),
        ("fc.*", "it is the front of `fc.bias`, `fc.weight`"),
    ],
)
def test_a_key_that_is_nowhere_is_2(key: str, more: str, ckpt: Ckpt, folder: Path) -> None:
    ran = ckpt("explain", key, "src.safetensors", "-r", "rules.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert f"error: there is no key `{key}`: {more}\n" in ran.err


def test_a_key_of_the_destination_that_nothing_gives(ckpt: Ckpt, folder: Path) -> None:
    words = ("--into", "dst.pt", "-e", "module.conv.weight -> elsewhere")
    ran = ckpt("explain", "conv.weight", "train.pt", *words)
    assert ran.code == 0
    assert (
        ran.out
        == """\
conv.weight  F32[8, 3, 3, 3]  (key of the destination)
  missing: no rule gives it
"""
    )
