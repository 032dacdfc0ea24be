"""What the keys of `keep` and `init` get: the destination's own value, or a new one."""

from __future__ import annotations

import math

from ckptsurgeon.errors import ExpressionError, PlanError, Problem, ShapeError
from ckptsurgeon.keys import nearest_key
from ckptsurgeon.language.rules import Init, Number, evaluate
from ckptsurgeon.ops.indexing import Index, index_text, resolve_index, taken_shape
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.calling import evaluate_number
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.plans.fills import check_made
from ckptsurgeon.plans.graph import Leaf, Made
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import FLOATING, UNKNOWN, TensorSpec, UnreadableSpec
from ckptsurgeon.wording import argument


def keep(key: str, destination: SourceView | None) -> Leaf:
    """The destination's own value; raises ShapeError for one that can't be read."""
    if destination is None:
        raise ValueError(f"{key} has no destination to be kept from")
    spec = destination.specs[key]
    if isinstance(spec, UnreadableSpec):
        raise ShapeError(
            f"`{key}` can't be kept: it is unreadable in the destination, {spec.what}; "
            "use `init`, or give the key a tensor of the source"
        )
    return destination.leaf(key)


def initialise(run: StageRun, written: Init, key: str, part: Index | None, scope: Scope) -> Made:
    """A tensor that `init` makes, its spec from the rule, else from the output or destination.

    It is one for the part of the key that an index names; `scope` has the captures of the key.
    """
    destination = run.destination
    wanted = destination.specs.get(key) if destination else None
    if destination and not wanted and written.shape is None:
        text = f"`{key}` has no shape: the rule gives none, and the destination lacks the key"
        near = nearest_key(key, destination.specs)
        add = "add `shape: […]` and `dtype: F32`"
        raise PlanError([Problem(text, written.place, f"{near} or {add}" if near else add)])
    shape = _shape(key, written, wanted, part, scope)
    spec = TensorSpec(_dtype(run, key, written, wanted), shape)
    seed = evaluate(written.seed, scope)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ExpressionError(f"`seed` takes an integer from 0, found {seed!r}")
    std = float(_number(written.std, "std", scope))
    fill = written.fill
    filled = fill if isinstance(fill, str) else _number(fill, "fill", scope)
    seeded = key if part is None else key + index_text(part)
    return check_made(Made(spec, seeded, filled, std, seed))


def _dtype(run: StageRun, key: str, written: Init, wanted: TensorSpec | None) -> str:
    """The dtype that a rule gives, else `output: {dtype: …}` to a floating tensor."""
    dtype, asked = wanted.dtype if wanted else "F32", run.compiled.stage.output.dtype
    if dtype == UNKNOWN and written.dtype is None:
        text = f"`{key}` has no dtype: the rule gives none, and it is not known in the destination"
        raise PlanError([Problem(text, written.place, "add `dtype: F32`")])
    is_asked = asked is not None and asked != "destination" and dtype in FLOATING
    return written.dtype or (asked if asked and is_asked else dtype)


def _shape(
    key: str, written: Init, wanted: TensorSpec | None, part: Index | None, scope: Scope
) -> tuple[int, ...]:
    if written.shape is not None:
        return tuple(_size(size, scope) for size in written.shape)
    if wanted is not None and not (isinstance(wanted, UnreadableSpec) and not wanted.has_shape):
        if part is None:
            return wanted.shape
        return taken_shape(part, resolve_index(part, wanted.shape))
    why = "it is not known in the destination" if wanted else "no destination has the key"
    text = f"`{key}` has no shape: the rule gives none, and {why}"
    into = "" if wanted else f", or give the destination by {argument('into', 'DST')}"
    help = f"add `shape: […]` and `dtype: F32`{into}"
    raise PlanError([Problem(text, written.place, help)])


def _size(size: Number, scope: Scope) -> int:
    value = evaluate(size, scope)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ExpressionError(f"`shape` takes integers from 0, found {value!r}")
    return value


def _number(value: Number, word: str, scope: Scope) -> int | float:
    number = evaluate_number(value, word, scope)
    if isinstance(number, int) and -(2**63) <= number < 2**64:
        return number
    try:
        wide = float(number)  # what needs more than 64 bits is no item of any integer dtype
    except OverflowError:
        wide = math.inf
    if not math.isfinite(wide):
        raise ExpressionError(f"`{word}` takes a finite number, found {wide}")
    return wide
