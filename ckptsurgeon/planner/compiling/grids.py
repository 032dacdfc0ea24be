"""The tensors in flight of one step: a grid with a dim for each open capture.

Which dims each op closes and opens follows from the rule alone; `trace` works it out once, before
any key is looked at. `Grid` then carries the nodes of one step through the same course.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from msgspec import Struct

from ckptsurgeon.errors import Place, ShapeError, nearest
from ckptsurgeon.language.patterns import Kind
from ckptsurgeon.language.problems import Problems, wrong
from ckptsurgeon.language.reading.move_guesses import tell_listed
from ckptsurgeon.language.rules import Block, Move, OpCall
from ckptsurgeon.ops import OPS
from ckptsurgeon.ops.base import Arity
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Join, PlacedOp

MAX_TENSORS = 2**18
"""Most tensors in flight of one step, so that splits of splits can't ask for billions."""

Dims = tuple[tuple[str, int], ...]
"""The dims of a grid, each with its name and size."""

BY_PLACE = frozenset(
    {
        "fuse_qkv",
        "merge_lora",
        "divide",
        "fuse_weight_norm",
        "fuse_spectral_norm",
        "dequantize_blocks",
    }
)
"""Joins that take another tensor in each place."""

LIST = "(the list of references)"
TARGETS = "(the list of targets)"


def trace(rule: CompiledRule, written: Move) -> tuple[Join, tuple[str, ...]]:
    """The ops of a rule with their dims, in the tree of its `from`; and what is to be said of them.

    Raises RulesetError for what is joined twice, never joined or never spread.
    """
    course = _Course(rule)
    join = course.follow(_nest([at.block for at in written.sources]), written.ops)
    problems = Problems()
    course.finish(rule.place, problems)
    problems.raise_if_any()
    return join, tuple(course.remarks)


class _Nested(Struct, frozen=True):
    """What a block holds: references by their number, and blocks."""

    parts: tuple[int | _Nested, ...]
    block: Block | None = None


def _nest(blocks: Sequence[Block | None]) -> _Nested:
    """The tree of references, by the block that each stands in."""
    chains = [_chain(block) for block in blocks]

    def nest(numbers: Sequence[int], depth: int, block: Block | None) -> _Nested:
        parts: list[int | _Nested] = []
        inner = {number: chains[number][depth : depth + 1] for number in numbers}
        # two blocks may be equal, and are two
        for _, group in itertools.groupby(numbers, lambda number: [*map(id, inner[number])]):
            own = list(group)
            here = inner[own[0]]
            parts += [nest(own, depth + 1, here[0])] if here else own
        return _Nested(tuple(parts), block)

    return nest(range(len(blocks)), 0, None)


def _chain(block: Block | None) -> tuple[Block, ...]:
    """A block behind all those around it."""
    return () if block is None else (*_chain(block.outer), block)


class _Course:
    """Follows the open dims of a rule from op to op."""

    def __init__(self, rule: CompiledRule) -> None:
        self.rule, self.captures, self.targets = rule, rule.captures, len(rule.targets)
        self.spread = [capture.name for capture in rule.spread]
        gathered = [capture.name for capture in rule.gathered]
        self.read = [[name for name in gathered if name in one.names] for one in rule.readers]
        self.open: list[list[str]] = []
        """The dims that are open of each reference, or block, of the list at hand."""
        self.opened: set[str] = set()
        self.joined: dict[str, str] = {}
        """What was joined, each with the op that did it."""
        self.remarks: list[str] = []
        self.untold: tuple[OpCall, str] | None = None
        """The last join that took a capture of all references of a list, and doesn't say so."""

    def follow(self, nested: _Nested, calls: Sequence[OpCall]) -> Join:
        """Runs the ops of a block behind those within it; its dims are open then."""
        own: list[list[str]] = []
        parts: list[int | Join] = []
        for part in nested.parts:
            if isinstance(part, int):
                own.append(self.read[part])
                parts.append(part)
            else:
                parts.append(self.follow(part, part.block.ops if part.block else ()))
                own += self.open
        self.open, self.untold = own, None
        problems = Problems()
        placed = problems.gather(self.place, calls)
        problems.raise_if_any()
        if nested.block is not None and len(self.open) > 1:
            message, help = self._left_apart()
            raise wrong(nested.block.place, message, help)
        return Join(tuple(parts), tuple(placed))

    def place(self, call: OpCall) -> PlacedOp:
        arity = OPS[call.name].arity
        if arity is Arity.EACH:
            return PlacedOp(call, arity, "")
        return PlacedOp(call, arity, self._join(call) if arity is Arity.JOIN else self._split(call))

    def _all_open(self) -> list[str]:
        return list(dict.fromkeys(itertools.chain(*self.open)))

    def _joinable(self) -> list[str]:
        """The open dims that no target takes."""
        return [name for name in self._all_open() if name not in (*self.spread, TARGETS)]

    def _join(self, call: OpCall) -> str:
        dim = call.over or self._only_open(call)
        if dim == LIST:
            self._tell_order(call)
            self.open = [self._all_open()]
        elif dim in self._all_open():
            self._remark(call, dim)
            if len(self.open) > 1 and not call.over and all(dim in dims for dims in self.open):
                self.untold = (call, dim)
            self.open = [[name for name in dims if name != dim] for dims in self.open]
            self.opened.discard(dim)
            self.joined[dim] = call.name
        else:
            by = f"; `{self.joined[dim]}` has joined it" if dim in self.joined else ""
            text = f"{call.name}: `{dim}` is not open here{by or self._those_open()}"
            raise wrong(call.place, text, self._tell_over(dim))
        return dim

    def _remark(self, call: OpCall, dim: str) -> None:
        """Notes an op that computes, and that joins what some of the references have open alone."""
        without = sum(dim not in dims for dims in self.open)
        if call.over or not without or not OPS[call.name].arithmetic:
            return
        name = next((one.text for one in self.rule.readers if dim in one.names), dim)
        self.remarks.append(
            f"`{call.name}` joins all `{name}` with each other: `{dim}` is open in "
            f"{len(self.open) - without} of {len(self.open)} references. To join each with the "
            f"others: `[stack, {call.name}]`; if it is meant: `over: {dim}`"
        )

    def _tell_order(self, call: OpCall) -> None:
        """Tells that a capture was joined before the list, where the other order may be meant.

        Raises RulesetError where it is the likelier: `stack` is for what is alike, and some ops
        mean another tensor by each place.
        """
        if self.untold is None or self.untold[0].name == "stack":
            return
        (first, dim), self.untold = self.untold, None
        text = f"`{first.name}` joins `{dim}` of each reference, then `{call.name}` their list"
        if call.name == "stack" or first.name in BY_PLACE:
            help = (
                f"for the other order write `[{call.name}: {{over: {dim}}}, {first.name}: …]`, or "
                "the list as words of a capture, as `<p:gate|up>`, with `over: p`; if it is meant, "
                f"`{first.name}: {{over: {dim}}}`"
            )
            raise wrong(first.place, text, help)
        self.remarks.append(f"{text}; `over: {dim}` says that it is meant")

    def _only_open(self, call: OpCall) -> str:
        candidates = self._joinable()
        if len(candidates) > 1:
            raise wrong(
                call.place,
                f"{call.name}: {_listed(candidates)} are open",
                f"say which it joins: `{call.name}: {{over: {candidates[0]}}}`",
            )
        if candidates:
            return candidates[0]
        if len(self.open) > 1:
            return LIST
        move = self.rule.rule
        if named := self._named_by_both():
            raise wrong(
                call.place,
                f"{call.name}: there is one tensor here; `<{named}>` names the step, as the "
                "target uses it",
                f"to join over `{named}` give the output's capture another name",
            )
        listed = tell_listed(move) if isinstance(move, Move) else ""
        raise wrong(
            call.place,
            f"{call.name}: there is one tensor here, and nothing to join it with",
            listed or "gather a capture (one that no target uses), or give a list of references",
        )

    def _named_by_both(self) -> str:
        """A capture in the alias of a source and in that of an output; empty for none."""
        read = (one.name for reader in self.rule.readers for one in reader.alias.captures)
        aliases = (target.alias for target in self.rule.targets if target.alias is not None)
        written = {one.name for alias in aliases for one in alias.captures}
        return next((name for name in read if name in written), "")

    def _split(self, call: OpCall) -> str:
        dim = call.over or self._only_spread(call)
        if dim in self._all_open():
            raise wrong(call.place, f"{call.name}: `{dim}` is open already")
        self._check_parts(call, dim)
        self.open = [[*dims, dim] for dims in self.open]
        self.opened.add(dim)
        return dim

    def _check_parts(self, call: OpCall, dim: str) -> None:
        """Raises RulesetError for an op that gives another number of parts than take them."""
        counted = OPS[call.name].counted
        parts, sizes = call.arguments.get(counted), call.arguments.get("sizes")
        given = len(sizes) if isinstance(sizes, tuple) else parts
        wanted, takers = self.targets, "targets"
        if dim != TARGETS:
            words = self.captures[dim].words if dim in self.spread else ()
            wanted, takers = len(words), f"words of `{dim}`"
        if counted and isinstance(given, int) and wanted and given != wanted:
            message = f"{call.name}: gives {given} tensors for {wanted} {takers}"
            raise wrong(call.place, message)

    def _only_spread(self, call: OpCall) -> str:
        waiting = [name for name in self.spread if name not in self._all_open()]
        if len(waiting) > 1:
            raise wrong(
                call.place,
                f"{call.name}: {_listed(waiting)} are to be spread",
                f"say which it opens: `{call.name}: {{over: {waiting[0]}}}`",
            )
        if waiting:
            return waiting[0]
        if self.targets > 1 and TARGETS not in self._all_open():
            return TARGETS
        raise wrong(
            call.place,
            f"{call.name}: nothing takes its parts",
            "name several targets, a capture that only the target has, or an `over` that a "
            "later op joins",
        )

    def finish(self, place: Place, problems: Problems) -> None:
        """Tells what is not joined and not spread behind the last op."""
        if len(self.open) > 1:
            message, help = self._left_apart()
            problems.add(message, place, help)
        for name in self._joinable():
            message, help = self._left_open(name)
            problems.add(message, place, help)
        for name in self.spread:
            # A star that the source lacks is told where stars are counted.
            if name not in self._all_open() and not self.captures[name].star:
                message = f"`{self.captures[name]}` is in the target alone, and no op spreads it"
                help = (
                    f"write `<{name}>` in the source too where it is in its keys; an op that makes "
                    "several tensors of one spreads it: `split`, `unstack`, `copies`"
                )
                if self.captures[name].kind is Kind.INT and not self.captures[name].width:
                    help += f"; or name one value: `vars: {{{name}: 0}}`"
                near = nearest(name, self.rule.known)
                if op := self.joined.get(name):
                    message = f"`{name}` is in the target, and `{op}` has joined it again"
                    near = f"leave out that `{op}`"
                problems.add(message, place, near or help)

    def _tell_over(self, dim: str) -> str:
        """The next step where a join names what an earlier one has taken of a list."""
        if dim not in self.joined or len(self.open) < 2:
            return ""
        return f"the list is left: a join without `over` takes it; put `over: {dim}` first"

    def _left_apart(self) -> tuple[str, str]:
        """What is told of references that nothing joins, and the next step."""
        found = f"{len(self.open)} references and no op that joins them"
        if not self.joined:
            return found, "write one rule for each, or join them: concat, stack, same"
        joined = ", ".join(f"`{op}` joins `{name}`" for name, op in self.joined.items())
        return f"{found}: {joined}", (
            "references go together by captures of one name: give those that mean the same one "
            "name, or add an op that joins the references"
        )

    def _left_open(self, name: str) -> tuple[str, str]:
        """What is told of a dim that nothing joins, and the next step."""
        capture = self.captures.get(name)
        if capture is None or name in self.opened:
            return (
                f"`{name}` is opened by a split and never joined",
                f"put `<{name}>` into the target, or join it: `concat: {{over: {name}}}`",
            )
        return (
            f"`{capture}` is in the source alone, so its tensors are gathered, and never joined",
            f"put `<{name}>` into the target, join it (`stack`, `concat`, or `same` where all are"
            " equal), or name it `<_:…>` where it doesn't matter",
        )

    def _those_open(self) -> str:
        names = self._all_open()
        return f"; open: {', '.join(names)}" if names else "; nothing is"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


# --- one step -------------------------------------------------------------------------------------


class Grid(Struct, frozen=True, gc=False):
    """Tensors, told by number, in row-major order over `dims`, each with its name and size."""

    dims: Dims
    nodes: tuple[int, ...]

    @property
    def coordinates(self) -> itertools.product[tuple[int, ...]]:
        return itertools.product(*(range(size) for _, size in self.dims))

    def each(self, apply: Callable[[int], int]) -> Grid:
        return Grid(self.dims, tuple(apply(node) for node in self.nodes))

    def join(self, dim: str, apply: Callable[[tuple[int, ...]], int]) -> Grid:
        """The grid without `dim`, each line along it joined into one."""
        at = [name for name, _ in self.dims].index(dim)
        size = self.dims[at][1]
        inner = math.prod(size for _, size in self.dims[at + 1 :])
        outer = len(self.nodes) // (size * inner) if size * inner else 0
        joined = tuple(
            apply(self.nodes[(o * size * inner) + i : (o + 1) * size * inner : inner])
            for o in range(outer)
            for i in range(inner)
        )
        return Grid(self.dims[:at] + self.dims[at + 1 :], joined)

    def split(self, dim: str, apply: Callable[[int], Sequence[int]]) -> Grid:
        """The grid with `dim` behind its others, each tensor split into as many."""
        parts: list[Sequence[int]] = []
        for node in self.nodes:
            parts.append(apply(node))
            if len(parts) * len(parts[0]) > MAX_TENSORS:
                raise ShapeError(f"more than {MAX_TENSORS} tensors would be in flight")
        size = len(parts[0]) if parts else 0
        return Grid((*self.dims, (dim, size)), tuple(itertools.chain(*parts)))
