"""The graph of a plan walked without recursion: it may be deeper than Python's stack."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ckptsurgeon.planner.model import Assembly, Call, Leaf, Made, Node, Result

Work = Leaf | Made | Assembly | Call
"""What gives tensors: a call all of its results, the others one."""


def work_of(node: Node) -> Work:
    """What gives the node's tensor: the call of a result, else the node itself."""
    return node.call if isinstance(node, Result) else node


def inputs_of(work: Work) -> tuple[Node, ...]:
    """The nodes that must be there first, once for every use."""
    if isinstance(work, Call):
        return work.inputs
    if isinstance(work, Assembly):
        base = () if work.base is None else (work.base,)
        return (*base, *(part.node for part in work.parts))
    return ()


def in_order(work: Work, is_done: Callable[[Work], bool]) -> Iterator[Work]:
    """The work and all that it needs, save what is done: each once, after its own inputs."""
    stack, entered = [work], set()
    while stack:
        last = stack[-1]
        if is_done(last):
            stack.pop()
        elif id(last) in entered:
            yield stack.pop()
        else:
            entered.add(id(last))
            stack += map(work_of, reversed(inputs_of(last)))


def uses(nodes: Iterable[Node]) -> Iterator[Work]:
    """The work behind nodes and all that they need, once for every time it will be asked for."""
    seen: set[int] = set()
    waiting = list(map(work_of, nodes))
    while waiting:
        work = waiting.pop()
        yield work
        if id(work) not in seen:
            seen.add(id(work))
            waiting += map(work_of, inputs_of(work))
