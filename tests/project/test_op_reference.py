"""docs/rules.md tells of every op what its type says and what a run of it gives."""

from __future__ import annotations

from op_reference import EXAMPLES, PAGE, page_with, reference

from ckptsurgeon.ops import OPS


def test_every_op_has_an_example() -> None:
    assert EXAMPLES.keys() == OPS.keys()


def test_the_page_is_as_the_types_and_the_planner_have_it() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_with(reference())
