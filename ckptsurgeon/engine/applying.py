"""The outputs of a plan as tensors in memory, of the kind that went in."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.checkpoints.memory import tensors_held
from ckptsurgeon.checkpoints.tensors import is_torch, to_numpy, to_torch
from ckptsurgeon.engine.execution import Execution
from ckptsurgeon.engine.module_metadata import output_metadata
from ckptsurgeon.plans.graph import Leaf, Node, walk
from ckptsurgeon.plans.outputs import Output


def make_tensors(execution: Execution) -> dict[str, Any]:
    """The tensors by key, by address where outputs have names.

    One that no op touches is the very object that was given; others are new, torch's where the
    first source that is a dict has such, else NumPy's.
    """
    return _Outputs(execution).all()


class _Outputs:
    """The outputs of a plan, whose tensors are made one by one."""

    def __init__(self, execution: Execution) -> None:
        self._plan = execution.plan
        self._evaluator = execution.evaluate()
        self._given = tensors_held(execution.checkpoints)
        dicts = [one for name, one in self._given.items() if name != DESTINATION]
        self._torch = any(map(is_torch, dicts[0].values())) if dicts else False

    def all(self) -> dict[str, Any]:
        outputs = self._plan.outputs
        checked = {tie.key for tie in self._plan.checked_ties}
        following = {
            key: leader
            for key, leader in self._plan.ties.items()
            if key in checked or not isinstance(outputs[key].node, Leaf)
        }  # the others share their storage as they were given, and may stay the objects
        made = {key: self._tensor(outputs[key]) for key in outputs if key not in following}
        is_named = self._plan.is_named  # and so keys are addresses
        tensors = {
            key if is_named else one.name: made[following.get(key, key)]
            for key, one in outputs.items()
        }
        metadata = None if is_named else output_metadata(self._plan)
        if metadata is None:
            return tensors
        ordered: Any = OrderedDict(tensors)
        ordered._metadata = OrderedDict((k, dict(v)) for k, v in metadata.items())
        return ordered  # type: ignore[no-any-return]

    def _tensor(self, output: Output) -> Any:
        if isinstance(output.node, Leaf):
            given = self._value(output.node)
            if given is not None and is_torch(given) == self._torch:
                return given
        array = self._evaluator.output(output)
        if not self._torch:
            return to_numpy(array, output.spec)
        return to_torch(array, output.spec, self._device(output.node))

    def _device(self, node: Node) -> Any:
        leaves = (work for work in walk(node) if isinstance(work, Leaf))
        values = (self._value(leaf) for leaf in leaves if leaf.source != DESTINATION)
        return next((value.device for value in values if is_torch(value)), "cpu")

    def _value(self, leaf: Leaf) -> Any:
        """The tensor that was given for a key, as it is; None where it is no dict's."""
        given = self._given.get(leaf.source)
        return None if given is None else given[leaf.name]
