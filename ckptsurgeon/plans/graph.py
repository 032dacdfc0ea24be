"""A plan's graph: what every tensor is made from. Nodes know specs but hold no data.

A renamed tensor is its `Leaf`; ops stand between as `Call`s; several stages are one graph, so data
moves once. It is walked without recursion, as it may be deeper than Python's stack. There may be
millions of nodes, which are trees or shared, never in a circle: they are kept small.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import msgspec

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.errors import Place
from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.batchnorms import OfBatchNorm
from ckptsurgeon.ops.indexing import Index, Slice
from ckptsurgeon.ops.texts import op_text
from ckptsurgeon.specs import Specs, TensorSpec

Address = tuple[str, str]
"""A key with its alias."""


class Lines(msgspec.Struct, frozen=True, gc=False):
    """The lines of a table's entries, in its file's order, by the keys that are read and given."""

    file: str
    read: dict[str, int]
    given: dict[str, int]

    def place(self, lines: Mapping[str, int], key: str) -> Place | None:
        """Where an entry stands; None where the table has no such key."""
        return Place(self.file, lines[key], 1) if key in lines else None

    def __str__(self) -> str:
        lines = self.read.values()  # in the order of the file
        return span_lines(self.file, (next(iter(lines)), next(reversed(lines))))

    def __hash__(self) -> int:
        return hash(self.file)


def span_lines(file: str, lines: Collection[int]) -> str:
    """`names.csv:2-13`: the lines of a file from the first to the last."""
    first, last = min(lines), max(lines)
    return f"{file}:{first}-{last}" if first != last else f"{file}:{first}"


class RuleInfo(msgspec.Struct, frozen=True, gc=False):
    """A rule of a stage for reports: its kind (`move`, `keep`, …), its text on one line, its place.

    `steps` says how many it made, where that is known; `lines` are those of a table's entries.
    """

    stage: int
    number: int
    kind: str
    text: str
    place: Place
    steps: int = 0
    lines: Lines | None = None


def place_reading(rule: RuleInfo, key: str) -> Place:
    """Where it stands that a rule reads a key: a table has a line for each."""
    lines = rule.lines
    return rule.place if lines is None else lines.place(lines.read, key) or rule.place


def place_giving(rule: RuleInfo, key: str) -> Place:
    """Where it stands that a rule gives a key."""
    lines = rule.lines
    return rule.place if lines is None else lines.place(lines.given, key) or rule.place


def full_key(alias: str, key: str) -> str:
    """`s1::key`: a key with the alias of its source, if that has one."""
    return f"{alias}::{key}" if alias else key


class Leaf(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A whole tensor of a checkpoint: `source` is its alias, "" for the unnamed one.

    `key` is what rules call it, `name` what the file does.
    """

    source: str
    key: str
    spec: TensorSpec
    name: str


class Call(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One op applied to tensors; `specs` are those of its results.

    `rule` is what asked for it, None where the options of a file did.
    """

    op: Op
    inputs: tuple[Node, ...]
    specs: Specs
    rule: RuleInfo | None


class Result(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One of the tensors that a call gives."""

    call: Call
    number: int

    @property
    def spec(self) -> TensorSpec:
        return self.call.specs[self.number]


class Made(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A tensor that `init` makes: fill is zeros, ones, eye, normal or a number; seeded per key."""

    spec: TensorSpec
    key: str
    fill: str | int | float
    std: float
    seed: int


class Part(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A tensor and the place in an assembly that it fills."""

    index: Index
    node: Node


class Assembly(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A tensor filled in parts; `base` holds what the parts leave, None where they tile it."""

    spec: TensorSpec
    parts: tuple[Part, ...]
    base: Node | None


Node = Leaf | Result | Made | Assembly

Work = Leaf | Made | Assembly | Call
"""What gives tensors: a call all of its results, the others one."""


def call(op: Op, *nodes: Node, rule: RuleInfo | None = None) -> tuple[Node, ...]:
    """The results of an op on nodes; raises ShapeError."""
    return results(Call(op, nodes, op.infer(tuple(node.spec for node in nodes)), rule))


def results(call: Call) -> tuple[Node, ...]:
    """The tensors that a call gives."""
    if len(call.specs) == 1:  # as of most
        return (Result(call, 0),)
    return tuple(Result(call, number) for number in range(len(call.specs)))


# --- walking --------------------------------------------------------------------------------------


def work_of(node: Node) -> Work:
    """What gives the node's tensor: the call of a result, else the node itself."""
    return node.call if isinstance(node, Result) else node


def nbytes_of(work: Work) -> int:
    """The bytes of all results: a split has one of them for each output."""
    specs = work.specs if isinstance(work, Call) else (work.spec,)
    return sum(spec.nbytes for spec in specs)


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


def walk(node: Node) -> Iterator[Work]:
    """The work behind a node and all that it needs: each once, after its own inputs."""
    last = work_of(node)
    inputs = inputs_of(last)
    if all(isinstance(one, Leaf | Made) for one in inputs):  # as most are, of a million
        yield from dict.fromkeys(map(work_of, inputs))
        yield last
        return
    done: set[int] = set()
    for work in in_order(last, lambda work: id(work) in done):
        done.add(id(work))
        yield work


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


# --- told -----------------------------------------------------------------------------------------


class Operand(msgspec.Struct, frozen=True, gc=False):
    """A key that is read, with the slice that is taken of it."""

    source: str
    key: str
    index: Index | None = None

    @property
    def at(self) -> Address:
        """The key with its alias."""
        return self.source, self.key


def operands_of(node: Node) -> tuple[Operand, ...]:
    """The checkpoint keys that a tensor is made from, in the order in which they go in.

    The destination's own values are none of them.
    """
    work, index = work_of(node), None
    while isinstance(work, Call) and len(work.inputs) == 1:  # as of most
        index = work.op.index if isinstance(work.op, Slice) else None
        work = work_of(work.inputs[0])
    if isinstance(work, Leaf):
        return () if work.source == DESTINATION else (Operand(work.source, work.key, index),)
    found: dict[Operand, None] = {}
    seen: set[int] = set()
    waiting: list[Work] = [work]
    while waiting:
        work = waiting.pop()
        leaf = sliced_leaf(work)
        if leaf is not None and leaf.source != DESTINATION:
            index = work.op.index if isinstance(work, Call) and isinstance(work.op, Slice) else None
            found.setdefault(Operand(leaf.source, leaf.key, index))
        elif leaf is None and id(work) not in seen:
            seen.add(id(work))
            waiting += map(work_of, reversed(inputs_of(work)))
    return tuple(found)


def sliced_leaf(work: Work) -> Leaf | None:
    """The leaf that the work is, or takes a slice of."""
    if isinstance(work, Call) and isinstance(work.op, Slice):
        work = work_of(work.inputs[0])
    return work if isinstance(work, Leaf) else None


def op_texts(node: Node) -> tuple[str, ...]:
    """The ops on the way to a tensor, in words and in the order in which they run.

    Slices of checkpoint keys are told with these, as operands.
    """
    if isinstance(node, Leaf | Made):
        return ()
    texts: dict[int, tuple[str, ...]] = {}
    for work in walk(node):
        behind = dict.fromkeys(texts[id(work_of(one))] for one in inputs_of(work))
        earlier = behind if len(behind) < 2 else [tuple(dict.fromkeys(itertools.chain(*behind)))]
        own: tuple[str, ...] = ()
        if isinstance(work, Call) and sliced_leaf(work) is None:
            own = (text_of(work.op, work.rule),)
        elif isinstance(work, Made):
            own = (f"init({work.fill})",)
        texts[id(work)] = (*itertools.chain(*earlier), *own)
    return texts[id(work_of(node))]


def text_of(op: Op, rule: RuleInfo | None) -> str:
    """An op in words; one that no rule file names is told by the rule that it comes from."""
    if isinstance(op, OfBatchNorm) and rule is not None:
        return f"{rule.kind}(eps={op.eps:g})"
    return op_text(op)
