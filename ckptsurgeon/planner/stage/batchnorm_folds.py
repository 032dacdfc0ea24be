"""`fold_batchnorm`, `freeze_batchnorm`: BatchNorms worked into other layers or into constants."""

from __future__ import annotations

from collections.abc import Callable

from ckptsurgeon.errors import ExpressionError
from ckptsurgeon.language.expressions import Value, kind_of
from ckptsurgeon.language.patterns import write_key
from ckptsurgeon.language.problems import Folded
from ckptsurgeon.language.rules import FoldBatchNorm, FreezeBatchNorm, Number, evaluate
from ckptsurgeon.ops.batchnorms import BatchNormScale, BatchNormShift, FoldIdentity, FoldKernel
from ckptsurgeon.planner.compiling.compiled import BATCHNORM_PARTS, BATCHNORM_VECTORS, CompiledRule
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.batchnorm_parts import Taking
from ckptsurgeon.planner.stage.grouping import Group, group_steps
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.plans.graph import Made

LAYER_PARTS = {"kernel": "weight", "kernel_bias": "bias"}
NORM_PARTS = {part: part for part in BATCHNORM_PARTS}
STATISTICS = ("running_mean", "running_var")

FILLS = {"weight": "ones", "bias": "zeros"}
"""What stands for the affine parameters of a BatchNorm that has none."""


def run_fold(run: StageRun, rule: CompiledRule, written: FoldBatchNorm) -> None:
    """Makes a step of every pair: conv.weight, bn.weight, … -> conv.weight, conv.bias."""
    _run(run, rule, lambda taking, group: _fold(taking, group, written))


def run_freeze(run: StageRun, rule: CompiledRule, written: FreezeBatchNorm) -> None:
    """Makes a step of every BatchNorm: bn.weight, … -> bn.weight, bn.bias and what else is kept."""
    _run(run, rule, lambda taking, group: _freeze(taking, group, written))


def _run(run: StageRun, rule: CompiledRule, make: Callable[[Taking, Group], None]) -> None:
    found = [run.find(rule, number, reader) for number, reader in enumerate(rule.readers)]
    if not all(found):
        return
    failures = Folded(run.problems, "step", "of this rule")
    for group in group_steps(rule, found, run.vars_of(rule), run.problems):
        with failures.at(rule.group, rule.place):
            make(Taking(run, rule), group)
    failures.tell()


def _scope(taking: Taking, group: Group) -> Scope:
    captures = dict(zip(taking.rule.step_columns, group.values, strict=True))
    return Scope(captures, taking.run.vars_of(taking.rule))


def _eps(written: FoldBatchNorm | FreezeBatchNorm, scope: Scope) -> float:
    return float(_number(written.eps, "eps", scope))


def _number(written: Number, word: str, scope: Scope) -> int | float:
    value: Value = evaluate(written, scope)  # type: ignore[assignment]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"`{word}` takes a number, found {kind_of(value)} ({value!r})")
    return value


# --- fold_batchnorm -------------------------------------------------------------------------------


def _fold(taking: Taking, group: Group, written: FoldBatchNorm) -> None:
    scope = _scope(taking, group)
    *layers, norm = group.matches
    for layer in layers:
        taking.take(layer, LAYER_PARTS)
    taking.take(norm, NORM_PARTS)
    taking.need(norm, *STATISTICS)
    eps, groups = _eps(written, scope), _number(written.groups, "groups", scope)
    kind = FoldKernel if layers else FoldIdentity
    how = {"transposed": written.transposed} if layers else {}
    kernel = taking.make(kind, eps=eps, groups=groups, **how)
    bias = taking.taken.get("kernel_bias")
    dtype, linear = (bias.node if bias else kernel).spec.dtype, len(kernel.spec.shape) == 2
    shift = taking.make(BatchNormShift, eps=eps, dtype=dtype, scale_first=linear)
    prefix = write_key(taking.rule.targets[0].pattern, scope)
    taking.give(f"{prefix}.weight", kernel, kind.known)
    taking.give(f"{prefix}.bias", shift, BatchNormShift.known)
    taking.finish()


# --- freeze_batchnorm -----------------------------------------------------------------------------


def _freeze(taking: Taking, group: Group, written: FreezeBatchNorm) -> None:
    scope, norm = _scope(taking, group), group.matches[0]
    taking.take(norm, NORM_PARTS)
    taking.need(norm, *STATISTICS)
    prefix = write_key(taking.rule.targets[0].pattern, scope)
    if written.form == "affine":
        _give_affine(taking, prefix, _eps(written, scope))
    else:
        _give_buffers(taking, prefix)


def _give_affine(taking: Taking, prefix: str, eps: float) -> None:
    """Scale and shift, which hold the statistics and eps."""
    dtype = taking.taken["running_mean"].node.spec.dtype
    scale = taking.make(BatchNormScale, eps=eps)
    taking.give(f"{prefix}.weight", scale, BatchNormScale.known)
    shift = taking.make(BatchNormShift, eps=eps, dtype=dtype, scale_first=True)
    taking.give(f"{prefix}.bias", shift, BatchNormShift.known)
    taking.finish()


def _give_buffers(taking: Taking, prefix: str) -> None:
    """The four tensors as they are; ones and zeros where there are no affine parameters."""
    spec = taking.taken["running_mean"].node.spec
    for part in BATCHNORM_VECTORS:
        key, taken = f"{prefix}.{part}", taking.taken.get(part)
        node = taken.node if taken else Made(spec, key, FILLS[part], 0.0, 0)
        taking.give(key, node, [part])
    taking.finish()
