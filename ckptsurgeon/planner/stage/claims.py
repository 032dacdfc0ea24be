"""What the keys of `keep` and `init` get: the destination's own value, or a new one."""

from __future__ import annotations

import math

from ckptsurgeon.errors import ExpressionError, PlanError, Problem, ShapeError
from ckptsurgeon.language.expressions import Value, kind_of
from ckptsurgeon.language.rules import Init
from ckptsurgeon.ops.base import MAX_MADE_BYTES
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.calling import evaluate
from ckptsurgeon.plans.graph import Leaf, Made
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.specs import TensorSpec, human_bytes


def kept(key: str, destination: SourceView | None) -> Leaf:
    """The destination's own value; raises ShapeError where it has shapes alone."""
    if destination is None:
        raise ShapeError("`keep` needs a destination: give it by --into")
    if not destination.has_values:
        raise ShapeError(
            f"`{key}` can't be kept: the destination has shapes alone; use `init`, or give a "
            "checkpoint as --into"
        )
    return destination.leaf(key)


def initialised(key: str, written: Init, destination: SourceView | None, scope: Scope) -> Made:
    """A tensor that `init` makes, its spec from the rule, else from the destination."""
    wanted = destination.specs.get(key) if destination else None
    spec = _spec(key, written, wanted, scope)
    fill = _fill(written, scope)
    if fill == "eye" and len(spec.shape) != 2:
        raise ShapeError(f"`fill: eye` makes a matrix, `{key}` is {spec}")
    if spec.nbytes > MAX_MADE_BYTES:
        raise ShapeError(f"`{key}` would be {spec}, which is {human_bytes(spec.nbytes)}")
    seed = _value(written.seed, scope)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ExpressionError(f"`seed` takes an integer from 0, found {seed!r}")
    std = _number(written.std, scope, "std")
    if std < 0:
        raise ExpressionError(f"`std` takes a number from 0, found {std}")
    return Made(spec, key, fill, float(std), seed)


def _spec(key: str, written: Init, wanted: TensorSpec | None, scope: Scope) -> TensorSpec:
    if written.shape is None and wanted is None:
        raise PlanError(
            [
                Problem(
                    f"`{key}` has no shape: the rule gives none, and no destination has the key",
                    written.place,
                    "add `shape: […]` and `dtype: F32`, or give the destination by --into",
                )
            ]
        )
    shape = wanted.shape if wanted else ()
    if written.shape is not None:
        shape = tuple(_size(size, scope) for size in written.shape)
    dtype = written.dtype or (wanted.dtype if wanted else "F32")
    return TensorSpec(dtype, shape)


def _size(size: object, scope: Scope) -> int:
    value = _value(size, scope)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ExpressionError(f"`shape` takes integers from 0, found {value!r}")
    return value


def _fill(written: Init, scope: Scope) -> str | int | float:
    if isinstance(written.fill, str):
        return written.fill
    return _number(written.fill, scope, "fill")


def _number(value: object, scope: Scope, word: str) -> int | float:
    number = _value(value, scope)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ExpressionError(f"`{word}` takes a number, found {kind_of(number)} ({number!r})")
    if not math.isfinite(number):
        raise ExpressionError(f"`{word}` takes a finite number, found {number}")
    return number


def _value(value: object, scope: Scope) -> Value:
    return evaluate(value, scope)  # type: ignore[arg-type, return-value]
