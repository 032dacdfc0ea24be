"""`explain`: which rule took a key, and why the others did not, word for word."""

from __future__ import annotations

from pathlib import Path

from command_line import Ckpt


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
