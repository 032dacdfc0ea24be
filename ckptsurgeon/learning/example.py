"""An example: sources and what was made of them, with the signatures of all tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.drafting.nodes import nodes_of
from ckptsurgeon.drafting.steps import Step
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.learning.matching import Matcher
from ckptsurgeon.learning.signatures import Signature, sign
from ckptsurgeon.learning.tables import Tables
from ckptsurgeon.learning.words import Array, may_become, words_of
from ckptsurgeon.plans.graph import Leaf, Node, full_key
from ckptsurgeon.specs import TensorSpec, UnreadableSpec

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a source: its alias, its key there, and its spec."""

    alias: str
    key: str
    spec: TensorSpec


@dataclass(frozen=True)
class Example:
    """Sources by alias and the converted checkpoint, opened; `tell` hears of each tensor read."""

    sources: Mapping[str, Checkpoint]
    converted: Checkpoint
    tell: Tell = field(default=lambda _: None)

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """The readable tensors of the sources by their keys with aliases."""
        return {
            full_key(alias, key): Tensor(alias, key, spec)
            for alias, checkpoint in self.sources.items()
            for key, spec in checkpoint.contents.specs.items()
            if not isinstance(spec, UnreadableSpec)
        }

    @cached_property
    def wanted(self) -> Mapping[str, TensorSpec]:
        """The readable tensors of the converted checkpoint."""
        specs = self.converted.contents.specs.items()
        return {key: spec for key, spec in specs if not isinstance(spec, UnreadableSpec)}

    @cached_property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures of the converted tensors."""
        return {
            key: self._sign(self.converted, key, spec.dtype) for key, spec in self.wanted.items()
        }

    @cached_property
    def matchers(self) -> Mapping[str, Matcher]:
        """By dtype of converted tensors, what finds them among the sources."""
        shapes = {key: tensor.spec.shape for key, tensor in self.tensors.items()}
        return {
            dtype: Matcher(Tables(self._signed(dtype), shapes))
            for dtype in dict.fromkeys(spec.dtype for spec in self.wanted.values())
        }

    def _signed(self, dtype: str) -> dict[str, Signature]:
        return {
            key: self._sign(self.sources[tensor.alias], tensor.key, dtype)
            for key, tensor in self.tensors.items()
            if may_become(tensor.spec.dtype, dtype)
        }

    def _sign(self, checkpoint: Checkpoint, key: str, dtype: str) -> Signature:
        self.tell(key)
        return sign(checkpoint, key, dtype)

    # --- tried ------------------------------------------------------------------------------------

    def leaf(self, key: str) -> Node:
        """The node of a source's tensor."""
        tensor = self.tensors[key]
        return Leaf(tensor.alias, tensor.key, tensor.spec, tensor.key)

    def gives(self, step: Step) -> bool:
        """Whether a step makes just the values that its targets have."""
        try:
            nodes = nodes_of(step, self.leaf)
            evaluator = Evaluator(self.sources, nodes.values())
            return all(self._is(target, node, evaluator) for target, node in nodes.items())
        except CkptSurgeonError:
            return False

    def _is(self, target: str, node: Node, evaluator: Evaluator) -> bool:
        wanted = self.wanted.get(target)
        if wanted is None or node.spec.shape != wanted.shape:
            return False
        if not may_become(node.spec.dtype, wanted.dtype):
            return False
        made = words_of(np.ravel(evaluator.array(node)), node.spec.dtype, wanted.dtype)
        return bool(np.array_equal(made, self._words(target, wanted)))

    def _words(self, target: str, wanted: TensorSpec) -> Array:
        return words_of(np.ravel(self.converted.read(target)), wanted.dtype, wanted.dtype)
