"""What the values of one example can't tell: steps of another meaning would make the same.

Orders that are one at this size are settled by an example of another; the rest is for people.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ckptsurgeon.drafting.steps import Call, Degree, Size, Step, taken_by
from ckptsurgeon.keys import prefixes_of, without_integers
from ckptsurgeon.learning.computing import outer_module
from ckptsurgeon.learning.example import Example

ROWS = 4
"""Rotary rows of a head that both orders put alike."""


MOST_NAMED = 2
"""Tensors of the same values that a doubt names."""


def doubt_order(step: Step) -> Step:
    """The step, likely alone where an op of another meaning does the same at this size."""
    if not any(map(_is_doubtful, step.calls)):
        return step
    remark = f"in heads of {ROWS} rows `to: interleaved` and `to: half` are one order"
    return replace(step, degree=Degree.LIKELY, remark=remark)


def settle_doubts(lists: Sequence[Sequence[Step]]) -> list[list[Step]]:
    """The steps of examples, doubtful ones as examples of another size have the same tensors."""
    known: dict[str, set[str]] = defaultdict(set)
    for step in (step for steps in lists for step in steps):
        for call in step.calls:
            if _is_rope(call) and not _is_doubtful(call):
                for key in step.gives:
                    known[without_integers(key)].add(_order_of(call))
    return [[_settled(step, known) for step in steps] for steps in lists]


def _settled(step: Step, known: Mapping[str, Collection[str]]) -> Step:
    if not any(map(_is_doubtful, step.calls)):
        return step
    orders = set().union(*(known.get(without_integers(key), ()) for key in step.gives))
    if len(orders) != 1:
        return step
    order = orders.pop()
    calls = tuple(_with_order(call, order) if _is_doubtful(call) else call for call in step.calls)
    return replace(step, calls=calls, degree=Degree.PROVED, remark="")


def _with_order(call: Call, order: str) -> Call:
    parameters = tuple((name, order if name == "to" else one) for name, one in call.parameters)
    return replace(call, parameters=parameters)


def _is_rope(call: Call) -> bool:
    return call.op == "permute_rope"


def _order_of(call: Call) -> str:
    return str(dict(call.parameters)["to"])


def _is_doubtful(call: Call) -> bool:
    given = dict(call.parameters)
    rotary = given.get("rotary_dim", given.get("head_dim"))
    rows = rotary.value if isinstance(rotary, Size) else rotary
    return _is_rope(call) and rows == ROWS


# --- equal values ---------------------------------------------------------------------------------


def told_of(rivals: Sequence[str]) -> str:
    """What is said of a tensor whose values are also others'."""
    forms = dict.fromkeys(without_integers(key, "<i>") for key in rivals)
    return f"its values are also those of {', '.join(list(forms)[:MOST_NAMED])}"


def doubt_scalar(step: Step, example: Example) -> Step:
    """The step of a single number as sure as names are, where further sources have that number."""
    source, target = step.takes[0], step.gives[0]
    signature = example.signatures[target]
    scalars = example.matchers[example.wanted[target].dtype].scalars(signature)
    rivals = [key for key in scalars if key != source]
    if not rivals:
        return step
    if source.rpartition(".")[2] == target.rpartition(".")[2]:
        return replace(step, degree=Degree.SURE)
    return replace(step, degree=Degree.LIKELY, remark=told_of(rivals))


# --- updates of zeros -----------------------------------------------------------------------------


def doubt_copies(steps: Sequence[Step], example: Example) -> list[Step]:
    """The steps, likely where a weight is copied and an update dropped that was never trained.

    A low-rank update begins with zeros: to merge it and to drop it make the same weight.
    """
    used = taken_by(steps)
    updates = {
        module: key
        for key in example.tensors
        if key not in used
        for module in _modules_updated(key, example)
    }
    return [_doubted_copy(step, updates, example) if updates else step for step in steps]


def _modules_updated(key: str, example: Example) -> Iterator[str]:
    """The modules around a matrix of zeros."""
    if len(example.tensors[key].spec.shape) != 2:
        return
    numbers = example.source_numbers(key)
    if numbers is None or numbers.any():
        return
    yield from prefixes_of(key)


def _doubted_copy(step: Step, updates: dict[str, str], example: Example) -> Step:
    update = updates.get(outer_module(step.takes[0]))
    shape = example.tensors[step.takes[0]].spec.shape
    if update is None or len(shape) != 2 or example.tensors[update].spec.shape[0] != shape[0]:
        return step
    remark = f"{without_integers(update, '<i>')} is zero: merged or dropped, the weight is the same"
    return replace(step, degree=max(step.degree, Degree.LIKELY), remark=step.remark or remark)
