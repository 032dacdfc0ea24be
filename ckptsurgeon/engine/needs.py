"""Which tensors of a plan take more memory than a run is given, told before it starts.

What only moves elements is made in blocks, and always fits; so is what is computed in
boxes. What is computed on whole tensors, or read from a file which has other values than theirs
(conjugate ones), needs room for these.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.engine.boxes import boxed
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.graph import Leaf, Node, Work, in_order, inputs_of, nbytes_of, uses, work_of
from ckptsurgeon.plans.lowering import Lowering
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.specs import human_bytes


def memory_notes(plan: Plan, checkpoints: Mapping[str, Checkpoint], memory: int) -> Iterator[Note]:
    """A note for each output that takes more than `memory` bytes at once."""
    lowering, sizes = Lowering(), functools.cache(nbytes_of)

    def in_parts(leaf: Leaf) -> bool:
        checkpoint = checkpoints[leaf.source]
        found = (
            look(leaf.name) for look in (checkpoint.extent, checkpoint.blocks, checkpoint.span)
        )
        return any(one is not None for one in found)

    outputs = plan.outputs
    for kind in outputs.kinds:
        first = outputs.first(kind)
        whole = whole_bytes(first.node, sizes)
        if whole <= memory:
            continue
        in_blocks = made_in_blocks(first.node, lowering, memory)
        if in_blocks and all(leaf.spec.nbytes <= memory for leaf in leaves_of(first.node)):
            continue
        for key in kind.keys:
            read = (leaf for leaf in leaves_of(outputs.nodes[key]) if not in_parts(leaf))
            needed = max((leaf.spec.nbytes for leaf in read), default=0) if in_blocks else whole
            if needed > memory:
                text = f"needs {human_bytes(needed)} at once, of {human_bytes(memory)}"
                yield Note("memory", text, key, first.rule)


def made_in_blocks(node: Node, lowering: Lowering, memory: int) -> bool:
    """Whether a tensor is made in blocks: nothing of it is computed on whole tensors."""
    if isinstance(node, Leaf):
        return True
    if node.spec.carrier is None:
        return False
    return lowering.mosaic(node) is not None or boxed(node, lowering, memory) is not None


def leaves_of(node: Node) -> Iterator[Leaf]:
    """The tensors of checkpoints that a node is made from."""
    return (work for work in uses([node]) if isinstance(work, Leaf))


def whole_bytes(node: Node, size_of: Callable[[Work], int]) -> int:
    """The most bytes of whole tensors that are there at once while a node is evaluated."""
    waiting = Counter(map(id, uses([node])))
    made: set[int] = set()
    held = most = 0
    for work in in_order(work_of(node), lambda work: id(work) in made):
        made.add(id(work))
        held += size_of(work)
        most = max(most, held)
        for used in map(work_of, inputs_of(work)):
            waiting[id(used)] -= 1
            if not waiting[id(used)]:
                held -= size_of(used)
    return most
