"""Numbers of rules that one example alone shows: constants, or sizes of its network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.drafting.arrows import Arrow
from ckptsurgeon.drafting.captures import is_piece
from ckptsurgeon.drafting.lines import pattern_text
from ckptsurgeon.drafting.steps import Call, Size, Step, Value
from ckptsurgeon.drafting.units import Capture, Choice, Formula, Number, regex_of_units
from ckptsurgeon.keys import without_integers
from ckptsurgeon.learning.permutations import PARTS, QKV
from ckptsurgeon.ops import OPS
from ckptsurgeon.ops.base import Op
from ckptsurgeon.ops.indexing import index_text
from ckptsurgeon.plans.graph import Leaf
from ckptsurgeon.suggesting.names import cut_leaf
from ckptsurgeon.suggesting.roles import part_of

ONCE = "seen once: constant, or a size?"

MOST_NUMBERS = 4
"""Numbers of one parameter that are told one by one."""

ONE_HEAD = "k and v of one head, which all layouts put alike"

EQUAL_HEADS = "q, k and v of equal size"

NEAR = 1
"""How much an integer of a target may lie beside that of the source: names count from 0 or 1."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Whether heads of q may share one of k and v in networks of the kind, and whether all do."""

    may_share: bool = True
    is_one: bool = False


def doubt_numbers(step: Step, heads: Heads) -> Step:
    """The step, with a remark on its numbers that may be sizes."""
    numbers = numbers_of(step, heads)
    if not numbers or step.remark:
        return step
    return replace(step, remark=f"{', '.join(numbers)}: {ONCE}")


def numbers_of(step: Step, heads: Heads) -> list[str]:
    """The numbers of a step's slices and ops that may be sizes."""
    told = [index_text(step.index)] if _has_bounds(step) else []
    told += [text for call in step.calls for text in _numbers_of_call(call, step)]
    copies = step.targets.keys if not (step.calls or step.targets.sizes) else ()
    if step.sources.keys and len(copies) > 1 and len(set(map(without_integers, copies))) == 1:
        told.append(f"copies {len(copies)}")
    told += [EQUAL_HEADS] if heads.may_share and _has_equal_heads(step) else []
    told += [ONE_HEAD] if _has_one_head(step, heads) else []
    return list(dict.fromkeys(told))


def _has_bounds(step: Step) -> bool:
    """Whether a slice has numbers."""
    parts = (part if isinstance(part, tuple) else (part,) for part in step.index)
    return any(isinstance(one, int) for numbers in parts for one in numbers)


def _numbers_of_call(call: Call, step: Step) -> Iterator[str]:
    given = dict(call.parameters)
    for name, value in call.parameters:
        if name == "kv_heads" and given.get("layout") == "flat":
            continue  # of flat rows the ratio to `heads` alone counts
        if call.op == "rearrange" and name == PARTS and _is_of_all(given, step):
            continue
        if _is_sized(OPS[call.op], name) and not isinstance(value, Size) and value != (-1,):
            numbers = value if isinstance(value, tuple) else (value,)
            many = len(numbers) > MOST_NUMBERS
            yield f"the {name} of `{call.op}`" if many else f"{name} {', '.join(map(str, numbers))}"
    forms = set(map(without_integers, step.targets.keys))
    if call.op == "split" and "sizes" not in given and len(forms) == 1:
        yield f"parts {len(step.targets.keys)}"


def _is_of_all(given: Mapping[str, Value], step: Step) -> bool:
    """Whether all parts of a dim have a target: those that it alone is cut into, or q, k and v."""
    return "d" not in given or (given[PARTS] == len(QKV) and _are_qkv(step.gives))


def _is_sized(op: type[Op], name: str) -> bool:
    """Whether a parameter of an op may be a size, or computed of sizes."""
    is_further = op.further in op.sized and name not in op.__struct_fields__
    return name in op.sized or is_further


def _has_equal_heads(step: Step) -> bool:
    """Whether q, k and v are cut as where each head of q has one of k and v."""
    for call in step.calls:
        given = dict(call.parameters)
        if call.op == "split" and "sizes" not in given:
            modules = {cut_leaf(without_integers(key))[0] for key in step.targets.keys}
            return {part_of(module) for module in modules} == {"q", "k", "v"}
        if call.op in ("split_qkv", "fuse_qkv") and "kv_heads" not in given:
            return True
        if call.op == "rearrange" and given.get(PARTS) == len(QKV):
            return _are_qkv(step.gives)
    return False


def _are_qkv(keys: Sequence[str]) -> bool:
    return all(part_of(cut_leaf(without_integers(key))[0]) in QKV for key in keys)


def _has_one_head(step: Step, heads: Heads) -> bool:
    """Whether rows of q, k and v are fused or cut where k and v have one head: layouts are one."""
    for call in step.calls:
        if call.op in ("split_qkv", "fuse_qkv"):
            given = dict(call.parameters)
            return any(isinstance(one, Size) and one.value == 1 for one in given.values())
        if call.op in ("split", "concat") and heads.is_one:
            keys = step.targets.keys if call.op == "split" else step.sources.keys
            return {part_of(cut_leaf(without_integers(key))[0]) for key in keys} == {"q", "k", "v"}
    return False


# --- patterns -------------------------------------------------------------------------------------


def numbers_of_patterns(arrows: Sequence[Arrow], leaves: Mapping[str, Leaf]) -> list[str]:
    """The numbers in the patterns of rules that may be sizes; `leaves` are the sources' tensors."""
    told = [text for arrow in arrows for text in _numbers_of_target(arrow)]
    return list(dict.fromkeys([*told, *_single_items(arrows, leaves)]))


def _numbers_of_target(arrow: Arrow) -> Iterator[str]:
    for at, unit in enumerate(arrow.target):
        if isinstance(unit, Formula) and _is_far(unit):
            yield pattern_text(arrow.target[at : at + 1], "target", arrow)
    for at, unit in enumerate(arrow.source):
        if isinstance(unit, Choice) and _has_integers(unit) and is_piece(arrow.source, at):
            yield pattern_text(arrow.source, "source", arrow)
    if arrow.pick is not None:
        yield f"pick {', '.join(map(str, arrow.pick[1]))}"


def _is_far(formula: Formula) -> bool:
    """Whether a formula of integers has numbers that may be of this network alone."""
    several = len(formula.terms) > 1 or any(factor != 1 for _, factor in formula.terms)
    return several or abs(formula.offset) > NEAR


def _has_integers(choice: Choice) -> bool:
    return all(one.isdecimal() for one, _ in choice.words)


def _single_items(arrows: Sequence[Arrow], leaves: Mapping[str, Leaf]) -> Iterator[str]:
    """Items of lists that a rule is for alone: the last, beside rules for all; any, with an op."""
    captured = {
        arrow.source[:at]
        for arrow in arrows
        for at, unit in enumerate(arrow.source)
        if isinstance(unit, Capture)
    }
    for arrow in arrows:
        for at, unit in enumerate(arrow.source):
            if not isinstance(unit, Number) or not is_piece(arrow.source, at):
                continue
            before = arrow.source[:at]
            items = _items_like(arrow, at, leaves)
            is_last = before in captured and unit.value == max(items, default=0)
            is_inner = before in captured and not arrow.target
            if unit.value and len(items) > 1 and (arrow.calls or is_last or is_inner):
                yield pattern_text(arrow.source[: at + 1], "source", arrow)


def _items_like(arrow: Arrow, at: int, leaves: Mapping[str, Leaf]) -> set[int]:
    """The integers in a place of a pattern for which there are tensors of one shape."""
    parts = (arrow.source[:at], arrow.source[at + 1 :])
    pattern = re.compile("([0-9]+)".join(map(regex_of_units, parts)))
    shapes = {leaves[key].spec.shape for key in arrow.samples if key in leaves}
    found = ((pattern.fullmatch(leaf.key), leaf) for leaf in leaves.values())
    return {int(one[1]) for one, leaf in found if one and leaf.spec.shape in shapes}
