"""One stage: its rules, in order, looked up against the tensors that the stage sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ckptsurgeon.errors import (
    CkptSurgeonError,
    ExpressionError,
    PlanError,
    Problem,
    ProblemsError,
)
from ckptsurgeon.expressions import Value
from ckptsurgeon.ops.indexing import Slice, resolve_index
from ckptsurgeon.patterns import ConcreteIndex, Index, write_key
from ckptsurgeon.planner.calling import Caller, call, op_text
from ckptsurgeon.planner.compile import (
    BATCHNORM_PARTS,
    BATCHNORM_VECTORS,
    CompiledRule,
    CompiledStage,
    Reader,
    Target,
)
from ckptsurgeon.planner.grid import TARGETS, Grid
from ckptsurgeon.planner.joining import Group, Layout, group_steps
from ckptsurgeon.planner.lookups import keys_named
from ckptsurgeon.planner.matching import Match, matches
from ckptsurgeon.planner.model import Node, Note, Operand, Product, RuleInfo, SourceView, Step
from ckptsurgeon.planner.outputs import Contribution, Production
from ckptsurgeon.planner.problems import Problems
from ckptsurgeon.planner.requirements import check_requirement
from ckptsurgeon.planner.scope import Scope, Surroundings, Vars
from ckptsurgeon.planner.tables import (
    Address,
    Holdings,
    Origin,
    Table,
    TakenPart,
    overlap,
)
from ckptsurgeon.planner.templates import initialised, kept
from ckptsurgeon.ruleset.model import BatchNorm, Drop, Init, Keep, Move, Require


@dataclass(slots=True)
class StageRun:
    """What a stage has found out so far. `claimed` are destination keys of `keep` and `init`."""

    number: int
    compiled: CompiledStage
    tables: tuple[Table, ...]
    destination: SourceView | None
    surroundings: Surroundings
    problems: Problems
    production: Production
    holdings: Holdings = field(default_factory=Holdings)
    dropped: dict[Address, RuleInfo] = field(default_factory=dict)
    claimed: dict[str, RuleInfo] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    lost: dict[Address, RuleInfo] = field(default_factory=dict)
    made: dict[int, int] = field(default_factory=dict)
    """Steps by rule number."""
    alive: dict[int, set[int]] = field(default_factory=dict)
    """Entries that have matched, by rule number."""
    failed: set[int] = field(default_factory=set)
    """Rules with problems of their own: whether they matched is not asked."""
    vars: dict[int, Vars] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    """Output keys of the rule that runs now: it gives way to earlier ones, not to itself."""

    def run(self) -> None:
        """Runs every rule; what is wrong is told to `problems`."""
        self._find_slices()
        for rule in self.compiled.rules:
            before = len(self.problems)
            with self.problems.at(rule.place):
                self._run_rule(rule)
            if len(self.problems) > before:
                self.failed.add(rule.group)

    def info(self, rule: CompiledRule) -> RuleInfo:
        return RuleInfo(self.number, rule.group, rule_text(rule), rule.place)

    def vars_of(self, rule: CompiledRule) -> Vars:
        key = id(rule.vars)
        if key not in self.vars:
            self.vars[key] = Vars(rule.vars, self.surroundings)
        return self.vars[key]

    def _run_rule(self, rule: CompiledRule) -> None:
        self.alive.setdefault(rule.group, set())
        self.made.setdefault(rule.group, 0)
        self.given.clear()
        if isinstance(rule.rule, Move):
            self._move(rule)
        elif isinstance(rule.rule, BatchNorm):
            self._batchnorm(rule)
        elif isinstance(rule.rule, Drop):
            self._drop(rule)
        elif isinstance(rule.rule, Require):
            self._require(rule)
        elif isinstance(rule.rule, Keep | Init):
            self._claim(rule, rule.rule)

    # --- reading ----------------------------------------------------------------------------------

    def _find_slices(self) -> None:
        """Notes the keys that any rule takes in slices: whole references pass over them."""
        for rule in self.compiled.rules:
            for reader in rule.readers:
                if reader.index is None or rule.options.reuse:
                    continue
                with self.problems.at(reader.place):
                    for match in matches(rule, reader, self.tables, self.vars_of(rule)):
                        for address in self._sliced_by(rule, match):
                            self.holdings.sliced.setdefault(address, self.info(rule))

    def _sliced_by(self, rule: CompiledRule, match: Match) -> Iterator[Address]:
        alias, key = match.address
        if not isinstance(rule.rule, BatchNorm):
            yield match.address
            return
        base = key.removesuffix("running_mean")
        yield from ((alias, base + part) for part in BATCHNORM_VECTORS)

    def _found(self, rule: CompiledRule, number: int, reader: Reader) -> list[Match]:
        """The matches that are this rule's to take."""
        whole = reader.index is None
        held = self.holdings
        found = [
            match
            for match in matches(rule, reader, self.tables, self.vars_of(rule))
            if match.address not in held.whole and not (whole and match.address in held.sliced)
        ]
        if found:
            self.alive[rule.group].add(number)
        return found

    def _take(self, rule: CompiledRule, info: RuleInfo, address: Address) -> None:
        if rule.options.reuse:
            self.holdings.reused[address] = info
        else:
            self.holdings.whole[address] = info

    def _take_part(
        self, rule: CompiledRule, info: RuleInfo, match: Match, index: ConcreteIndex
    ) -> Node:
        """The slice of a key, noted as taken; an overlap with another rule's is a problem."""
        node = match.origin.node
        region = resolve_index(index, node.spec.shape)
        parts = self.holdings.parts.setdefault(match.address, [])
        known = any(part.rule is rule and part.region == region for part in parts)
        for part in () if known or rule.options.reuse else parts:
            if not part.rule.options.reuse and overlap(part.region, region):
                raise PlanError([_overlap_problem(match, index, part, rule)])
        if not known:
            parts.append(TakenPart(region, rule, info))
        return call(Slice(index=index), node)[0]

    # --- moves ------------------------------------------------------------------------------------

    def _move(self, rule: CompiledRule) -> None:
        found = [self._found(rule, n, reader) for n, reader in enumerate(rule.readers)]
        if not all(found):
            return
        info, failures = self.info(rule), Failures(self.problems)
        caller = Caller(rule.ops, rule.spread, len(rule.targets))
        groups = group_steps(rule, found, self.vars_of(rule), self.problems)
        if rule.where_by_step and not groups:
            self._tell_no_step(rule)
        for group in groups:
            with failures.watch(rule):
                self._step(rule, info, group, caller)
        failures.tell()

    def _tell_no_step(self, rule: CompiledRule) -> None:
        if not rule.options.optional:
            place = rule.options.places.get("where", rule.place)
            self.problems.add("`where` leaves out every step", place)

    def _step(self, rule: CompiledRule, info: RuleInfo, group: Group, caller: Caller) -> None:
        operands = tuple(self._operands(rule, group))
        grids = [
            self._grid(rule, info, reader, layout)
            for reader, layout in zip(rule.readers, group.layouts, strict=True)
        ]
        vars = self.vars_of(rule)
        about = ", ".join(f"`{operand.key}`" for operand in operands[:3])
        grid, texts = caller.run(grids, Scope(group.values, vars), about)
        origins = [match.origin for layout in group.layouts for match in layout.matches]
        sources = _sources(origins, operands)
        earlier = tuple(dict.fromkeys(op for origin in origins for op in origin.ops))
        products: list[Product] = []
        for target, values, node in _placed(rule, group.values, grid):
            with_vars = Scope(values, vars)
            key, index = _named(target, with_vars, about)
            origin = Origin(node, sources, info, earlier + texts)
            if self._give(rule, key, Contribution(origin, index, target.place), operands):
                products.append(Product(key, index))
        self.made[rule.group] += 1
        self.steps.append(Step(self.number, info, operands, tuple(products), texts))

    def _operands(self, rule: CompiledRule, group: Group) -> Iterator[Operand]:
        for reader, layout in zip(rule.readers, group.layouts, strict=True):
            for match in layout.matches:
                index = self._index(rule, reader.index, match)
                yield Operand(*match.address, index)

    def _index(self, rule: CompiledRule, index: Index | None, match: Match) -> ConcreteIndex | None:
        if index is None:
            return None
        return index.evaluate(Scope(match.raw, self.vars_of(rule)))

    def _grid(self, rule: CompiledRule, info: RuleInfo, reader: Reader, layout: Layout) -> Grid:
        """The nodes of a reference's matches, which are taken by this."""
        nodes: list[Node] = []
        for match in layout.matches:
            index = self._index(rule, reader.index, match)
            if index is None:
                self._take(rule, info, match.address)
                nodes.append(match.origin.node)
            else:
                nodes.append(self._take_part(rule, info, match, index))
        return Grid(layout.dims, tuple(nodes))

    def _give(
        self,
        rule: CompiledRule,
        key: str,
        contribution: Contribution,
        operands: Iterable[Operand],
    ) -> bool:
        """Whether the key is this rule's: a fallback gives way to earlier rules."""
        if rule.options.fallback and key in self.production and key not in self.given:
            winner = self.production.giver(key)
            if winner is not None:
                self.lost.update(((operand.source, operand.key), winner) for operand in operands)
            return False
        self.production.give(key, contribution)
        self.given.add(key)
        return True

    # --- the other rules --------------------------------------------------------------------------

    def _batchnorm(self, rule: CompiledRule) -> None:
        reader, target, info = rule.readers[0], rule.targets[0], self.info(rule)
        failures = Failures(self.problems)
        for match in matches(rule, reader, self.tables, self.vars_of(rule)):
            with failures.watch(rule):
                parts = list(self._batchnorm_parts(reader, match))
                if parts:
                    self.alive[rule.group].add(0)
                    self._batchnorm_step(rule, info, reader, target, match.values, parts)
        failures.tell()

    def _batchnorm_parts(self, reader: Reader, mean: Match) -> Iterator[tuple[str, Match]]:
        """The parts of a BatchNorm that are there and not taken, by name."""
        alias, key = mean.address
        base = key.removesuffix("running_mean")
        table = next(table for table in self.tables if table.alias == alias)
        for part in BATCHNORM_PARTS:
            address = (alias, base + part)
            if address[1] not in table.origins or address in self.holdings.whole:
                continue
            sliced = reader.index is not None and part in BATCHNORM_VECTORS
            if sliced or address not in self.holdings.sliced:
                yield part, Match(address, table.origins[address[1]], mean.raw, mean.values)

    def _batchnorm_step(
        self,
        rule: CompiledRule,
        info: RuleInfo,
        reader: Reader,
        target: Target,
        values: Mapping[str, Value],
        parts: Sequence[tuple[str, Match]],
    ) -> None:
        scope = Scope(values, self.vars_of(rule))
        prefix = write_key(target.pattern, scope)
        into = target.index.evaluate(scope) if target.index is not None else None
        operands: list[Operand] = []
        products: list[Product] = []
        for part, match in parts:
            vector = part in BATCHNORM_VECTORS
            index = self._index(rule, reader.index, match) if vector else None
            place = into if vector else None
            if index is None:
                self._take(rule, info, match.address)
                node, texts = match.origin.node, match.origin.ops
            else:
                node = self._take_part(rule, info, match, index)
                texts = (*match.origin.ops, op_text(Slice(index=index)))
            operand, key = Operand(*match.address, index), f"{prefix}.{part}"
            origin = Origin(node, _sources([match.origin], [operand]), info, texts)
            operands.append(operand)
            if self._give(rule, key, Contribution(origin, place, target.place), [operand]):
                products.append(Product(key, place))
        self.made[rule.group] += 1
        self.steps.append(Step(self.number, info, tuple(operands), tuple(products)))

    def _drop(self, rule: CompiledRule) -> None:
        info = self.info(rule)
        for number, reader in enumerate(rule.readers):
            with self.problems.at(reader.place):
                for match in self._found(rule, number, reader):
                    self.made[rule.group] += 1
                    index = self._index(rule, reader.index, match)
                    if index is not None:
                        self._take_part(rule, info, match, index)
                        continue
                    self.holdings.whole[match.address] = info
                    self.dropped[match.address] = info

    def _require(self, rule: CompiledRule) -> None:
        found = list(matches(rule, rule.readers[0], self.tables, self.vars_of(rule)))
        self.alive[rule.group].add(0)
        self.made[rule.group] += len(found)
        check_requirement(rule, found, Scope({}, self.vars_of(rule)), self.problems)

    def _claim(self, rule: CompiledRule, written: Keep | Init) -> None:
        """`keep` and `init`: keys of the destination that no source tensor gives."""
        info, vars = self.info(rule), self.vars_of(rule)
        for number, lookup in enumerate(rule.lookups):
            place = written.targets[number].place
            with self.problems.at(place):
                for key in keys_named(rule, lookup, written, self.destination, vars):
                    node = (
                        kept(key, self.destination)
                        if isinstance(written, Keep)
                        else initialised(key, written, self.destination, Scope({}, vars))
                    )
                    self.alive[rule.group].add(number)
                    self.made[rule.group] += 1
                    self.claimed[key] = info
                    self._give(rule, key, Contribution(Origin(node, (), info), None, place), ())


class Failures:
    """The steps of one rule that went wrong: the first is told, the others are counted."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._first: list[Problem] = []
        self._more = 0

    def watch(self, rule: CompiledRule) -> Failures:
        self._rule = rule
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, CkptSurgeonError):
            return False
        problems = (
            error.problems
            if isinstance(error, ProblemsError)
            else (Problem(str(error), self._rule.place, getattr(error, "help", "")),)
        )
        if not self._first:
            self._first = list(problems)
        elif problems[0] != self._first[0]:
            self._more += 1
        return True

    def tell(self) -> None:
        for problem in self._first:
            more = f"; {self._more} more steps of this rule fail likewise" if self._more else ""
            self._problems.add(problem.message + more, problem.place, problem.help)


def rule_text(rule: CompiledRule) -> str:
    """A rule on one line, for reports."""
    written = rule.rule
    if isinstance(written, Move):
        sources = ", ".join(reader.text for reader in rule.readers)
        return f"{sources} -> {', '.join(target.text for target in rule.targets)}"
    if isinstance(written, BatchNorm):
        return f"batchnorm: {written.source.reference} -> {written.target.reference}"
    if isinstance(written, Drop | Require):
        names = ", ".join(reader.text for reader in rule.readers)
        return f"{type(written).__name__.lower()}: {names}"
    names = ", ".join(str(at.reference) for at in written.targets)
    return f"{type(written).__name__.lower()}: {names}"


def _named(target: Target, scope: Scope, about: str) -> tuple[str, ConcreteIndex | None]:
    """The key and slice that a target names; raises PlanError at its place."""
    try:
        index = target.index.evaluate(scope) if target.index is not None else None
        return write_key(target.pattern, scope), index
    except ExpressionError as error:
        problem = Problem(f"{about} -> `{target.text}`: {error}", target.place, error.help)
        raise PlanError([problem]) from None


def _placed(
    rule: CompiledRule, values: Mapping[str, Value], grid: Grid
) -> Iterator[tuple[Target, Mapping[str, Value], Node]]:
    """Each target with the captures' values and the tensor for it."""
    names = [name for name, _ in grid.dims]
    spread = {capture.name: capture for capture in rule.spread}
    for coordinates, node in zip(grid.coordinates, grid.nodes, strict=True):
        own = dict(values)
        targets: Sequence[Target] = rule.targets
        for name, at in zip(names, coordinates, strict=True):
            if name == TARGETS:
                targets = (rule.targets[at],)
            else:
                words = spread[name].words
                own[name] = spread[name].value(words[at].left) if words else at
        for target in targets:
            yield target, own, node


def _sources(origins: Sequence[Origin], operands: Sequence[Operand]) -> tuple[Operand, ...]:
    """The checkpoint keys behind a step: its operands, or what those were made from."""
    found: dict[Operand, None] = {}
    for origin, operand in zip(origins, operands, strict=True):
        if len(origin.sources) == 1 and origin.sources[0].key == operand.key:
            found[operand] = None
        else:
            found.update(dict.fromkeys(origin.sources))
    return tuple(found)


def _overlap_problem(
    match: Match, index: ConcreteIndex, part: TakenPart, rule: CompiledRule
) -> Problem:
    taken = op_text(Slice(index=index)).removeprefix("slice")
    return Problem(
        f"`{match.address[1]}{taken}` overlaps with what {part.info.place} takes of it",
        rule.place,
        "`reuse: true` lets a rule read what another one takes",
    )
