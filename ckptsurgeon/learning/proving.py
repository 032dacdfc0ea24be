"""Learned rules run on their example: every output compared with the converted tensor."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.engine.reading import NodeReader
from ckptsurgeon.errors import ShapeError
from ckptsurgeon.learning.comparing import agrees, is_equal
from ckptsurgeon.learning.example import Example
from ckptsurgeon.plans.graph import Node


@dataclass(frozen=True, slots=True)
class Proof:
    """The targets that the rules make right, and those that they don't.

    `unexpected` are keys that they make and the converted checkpoint lacks.
    """

    equal: frozenset[str]
    different: tuple[str, ...]
    unexpected: tuple[str, ...]


def prove(
    text: str, example: Example, near: Collection[str], memory: int | None, *, whole: bool = True
) -> Proof:
    """What comes out where the rules run on the example: all of it, or samples.

    Those of `near` are computed, and may differ by rounding.
    """

    def compare(key: str, node: Node, reader: NodeReader) -> bool:
        if key in near:
            return example.nears(key, node, Evaluator(example.ground.sources, [node]))
        is_alike = is_equal if whole else agrees
        return is_alike(reader, node, example.converted, example.names[key])

    plan = example.ground.plan(text)
    equal: list[str] = []
    different: list[str] = []
    with NodeReader(example.ground.sources, memory) as reader:
        for key, spec in example.wanted.items():
            if key in plan.outputs:
                node = plan.outputs.nodes[key]
                try:
                    alike = node.spec == spec and compare(key, node, reader)
                except ShapeError:  # values that the dtype can't hold
                    alike = False
                (equal if alike else different).append(key)
    unexpected = tuple(key for key in plan.outputs if key not in example.wanted)
    return Proof(frozenset(equal), tuple(different), unexpected)
