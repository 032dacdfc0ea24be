"""Learned rules run on their example: every output compared with the converted tensor."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.engine.reading import NodeReader
from ckptsurgeon.learning.comparing import agrees, is_equal
from ckptsurgeon.learning.example import Example


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
    plan = example.ground.plan(text)
    equal: list[str] = []
    different: list[str] = []
    with NodeReader(example.ground.sources, memory) as reader:
        for key, spec in example.wanted.items():
            if key in plan.outputs:
                node = plan.outputs.nodes[key]
                if node.spec != spec:
                    alike = False
                elif key in near:
                    alike = example.nears(key, node, Evaluator(example.ground.sources, [node]))
                else:
                    compare = is_equal if whole else agrees
                    alike = compare(reader, node, example.converted, example.names[key])
                (equal if alike else different).append(key)
    unexpected = tuple(key for key in plan.outputs if key not in example.wanted)
    return Proof(frozenset(equal), tuple(different), unexpected)
