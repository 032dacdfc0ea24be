"""An example: sources and what was made of them, with the signatures of all tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.drafting.checking import Ground
from ckptsurgeon.drafting.nodes import nodes_of
from ckptsurgeon.drafting.steps import Call, Step
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.engine.mover import Progress
from ckptsurgeon.engine.reading import NodeReader
from ckptsurgeon.errors import CkptSurgeonError, ShapeError
from ckptsurgeon.language.rules import OutputOptions, SourceOptions
from ckptsurgeon.learning.comparing import agrees, is_equal
from ckptsurgeon.learning.matching import Matcher
from ckptsurgeon.learning.nearness import are_near, is_bfloat, numbers_of, shorten
from ckptsurgeon.learning.signatures import Signature, sign
from ckptsurgeon.learning.tables import Tables
from ckptsurgeon.learning.words import Array, may_become
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.plans.graph import Leaf, Node, call
from ckptsurgeon.plans.views import renamed_keys
from ckptsurgeon.specs import TensorSpec, UnreadableSpec

LARGE_TENSOR = 16 << 20
"""Bytes of a tensor up to which all of it is compared for each way that it may be made."""

MOST_COMPUTED = 1 << 22
"""Elements of a tensor up to which ops that compute are tried on it."""

MOST_ROUNDED = 16
"""Tensors of each side that are looked at for values of a narrower dtype."""


@dataclass(frozen=True)
class Example:
    """Sources and the converted checkpoint, opened; `tell` hears of each tensor that is read."""

    ground: Ground
    converted: Checkpoint
    output: OutputOptions = field(default_factory=OutputOptions)
    tell: Progress | None = None

    def given(self, values: Mapping[str, int]) -> Example:
        """The example with values of vars that no file tells."""
        return replace(self, ground=replace(self.ground, given=values)) if values else self

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
        """The signatures of the sources' tensors whose values a dtype can hold."""
        found: dict[str, Signature] = {}
        for key, tensor in self.tensors.items():
            if may_become(tensor.spec.dtype, dtype):
                with suppress(ShapeError):  # values that the dtype can't hold
                    found[key] = self._sign(self.ground.sources[tensor.source], tensor.name, dtype)
        return found

    def _sign(self, checkpoint: Checkpoint, key: str, dtype: str) -> Signature:
        if self.tell is not None:
            self.tell(checkpoint.contents.specs[key].nbytes, 0, key)
        return sign(checkpoint, key, dtype)

    # --- tried ------------------------------------------------------------------------------------

    @cached_property
    def reader(self) -> NodeReader:
        """Reads nodes of the sources."""
        return NodeReader(self.ground.sources)

    def gives(self, step: Step) -> bool:
        """Whether a step makes just the values that its targets have; of large ones, on samples."""
        try:
            nodes = nodes_of(step, self.tensors)
            return all(self._is(target, node) for target, node in nodes.items())
        except CkptSurgeonError:
            return False

    def is_near(self, step: Step) -> bool:
        """Whether a step makes the values of its targets but for rounding."""
        try:
            nodes = nodes_of(step, self.tensors)
            if any(node.spec.count > MOST_COMPUTED for node in nodes.values()):
                return False
            evaluator = Evaluator(self.ground.sources, nodes.values())
            return all(
                key in self.wanted and node.spec.shape == self.wanted[key].shape
                for key, node in nodes.items()
            ) and all(self.nears(key, node, evaluator) for key, node in nodes.items())
        except CkptSurgeonError:
            return False

    def nears(self, target: str, node: Node, evaluator: Evaluator) -> bool:
        """Whether a node's values are a target's but for rounding."""
        made = numbers_of(evaluator.array(node), node.spec.dtype)
        wanted = self.wanted_numbers(target)
        if made is None or wanted is None or made.shape != wanted.shape:
            return False
        return are_near(made, wanted, self.wanted[target].dtype)

    def wanted_numbers(self, target: str) -> Array | None:
        """The values of a converted tensor in float64; None for what is large, or not real."""
        if self.wanted[target].count > MOST_COMPUTED:
            return None
        return numbers_of(self.converted.read(self.names[target]), self.wanted[target].dtype)

    def source_numbers(self, key: str) -> Array | None:
        """The values of a source's tensor in float64; None for what is large, or not real."""
        leaf = self.tensors[key]
        if leaf.spec.count > MOST_COMPUTED:
            return None
        return numbers_of(self.ground.sources[leaf.source].read(leaf.name), leaf.spec.dtype)

    @property
    def is_rounded(self) -> bool:
        """Whether the converted F32 values are all BF16's, and the sources' are not; on samples."""
        wanted = [key for key, spec in self.wanted.items() if spec.dtype == "F32"]
        own = [key for key, leaf in self.tensors.items() if leaf.spec.dtype == "F32"]
        made = [self.wanted_numbers(key) for key in wanted[:MOST_ROUNDED]]
        given = [self.source_numbers(key) for key in own[:MOST_ROUNDED]]
        return bool(own and wanted) and all(map(is_bfloat, made)) and not all(map(is_bfloat, given))

    def constants(self, key: str, target: str) -> Iterator[Call]:
        """The factor, or the sum, by which a target differs from a source throughout."""
        source, wanted = self.source_numbers(key), self.wanted_numbers(target)
        if source is None or wanted is None or not source.size or source.min() == source.max():
            return
        largest = int(np.abs(source).argmax())
        dtype = self.wanted[target].dtype
        before, after = float(source.reshape(-1)[largest]), float(wanted.reshape(-1)[largest])
        factor, added = (
            shorten(after / before, dtype) if before else 0,
            shorten(after - before, dtype),
        )
        if factor not in (0, 1):
            yield Call("scale", (("number", factor),))
        if added:
            numbers = (*(float(f"{added:.{digits}g}") for digits in range(1, 5)), added)
            yield from (Call("shift", (("number", one),)) for one in dict.fromkeys(numbers))

    def lora_alpha(self, weight: str, down: str, up: str, target: str) -> float | int | None:
        """The alpha of the update that leads from a weight to a target, where it is one."""
        numbers = [self.source_numbers(key) for key in (weight, down, up)]
        wanted = self.wanted_numbers(target)
        if wanted is None or any(one is None for one in numbers):
            return None
        base, a, b = (one for one in numbers if one is not None)
        update = b @ a
        size = float((update * update).sum())
        scale = float(((wanted - base) * update).sum()) / size if size else 0.0
        return shorten(scale * len(a), self.wanted[target].dtype) if scale else None

    def _is(self, target: str, node: Node) -> bool:
        wanted = self.wanted.get(target)
        if wanted is None or node.spec.shape != wanted.shape:
            return False
        if node.spec.dtype != wanted.dtype:
            (node,) = call(Cast(dtype=wanted.dtype), node)
        compare = is_equal if wanted.nbytes <= LARGE_TENSOR else agrees
        return compare(self.reader, node, self.converted, self.names[target])
