"""An example: sources and what was made of them, with the signatures of all tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.nodes import nodes_of
from ckptsurgeon.drafting.steps import Step
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.language.rules import OutputOptions, SourceOptions
from ckptsurgeon.learning.matching import Matcher
from ckptsurgeon.learning.signatures import Signature, sign
from ckptsurgeon.learning.tables import Tables
from ckptsurgeon.learning.words import Array, may_become, words_of
from ckptsurgeon.plans.graph import Leaf, Node
from ckptsurgeon.plans.views import renamed_keys
from ckptsurgeon.specs import TensorSpec, UnreadableSpec

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Example:
    """Sources and the converted checkpoint, opened; `tell` hears of each tensor that is read."""

    ground: Ground
    converted: Checkpoint
    output: OutputOptions = field(default_factory=OutputOptions)
    tell: Tell = field(default=lambda _: None)

    @property
    def tensors(self) -> Mapping[str, Leaf]:
        """The readable tensors of the sources by their keys with aliases."""
        return self.ground.leaves

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The converted file's names by the keys that rules give."""
        specs = self.converted.contents.specs
        return renamed_keys(specs, SourceOptions(separator=self.output.separator), "")

    @cached_property
    def wanted(self) -> Mapping[str, TensorSpec]:
        """The readable tensors of the converted checkpoint."""
        specs = self.converted.contents.specs
        return {
            key: specs[name]
            for key, name in self.names.items()
            if not isinstance(specs[name], UnreadableSpec)
        }

    @cached_property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures of the converted tensors."""
        return {
            key: self._sign(self.converted, self.names[key], spec.dtype)
            for key, spec in self.wanted.items()
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
            key: self._sign(self.ground.sources[tensor.source], tensor.name, dtype)
            for key, tensor in self.tensors.items()
            if may_become(tensor.spec.dtype, dtype)
        }

    def _sign(self, checkpoint: Checkpoint, key: str, dtype: str) -> Signature:
        self.tell(key)
        return sign(checkpoint, key, dtype)

    # --- tried ------------------------------------------------------------------------------------

    def gives(self, step: Step) -> bool:
        """Whether a step makes just the values that its targets have."""
        try:
            nodes = nodes_of(step, self.tensors)
            evaluator = Evaluator(self.ground.sources, nodes.values())
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
        return words_of(
            np.ravel(self.converted.read(self.names[target])), wanted.dtype, wanted.dtype
        )
