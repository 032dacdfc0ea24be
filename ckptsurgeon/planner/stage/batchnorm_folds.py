"""`fold_batchnorm`, `freeze_batchnorm`: BatchNorms worked into other layers or into constants."""

from __future__ import annotations

from collections.abc import Sequence

from ckptsurgeon.language.problems import Folded
from ckptsurgeon.language.rules import FoldBatchNorm, FreezeBatchNorm
from ckptsurgeon.ops.batchnorms import BatchNormScale, BatchNormShift, FoldIdentity, FoldKernel
from ckptsurgeon.planner.compiling.compiled import BATCHNORM_VECTORS, CompiledRule
from ckptsurgeon.planner.scope import Scope
from ckptsurgeon.planner.stage.batchnorm_parts import Taking
from ckptsurgeon.planner.stage.calling import evaluate_number
from ckptsurgeon.planner.stage.grouping import group_steps
from ckptsurgeon.planner.stage.reading_keys import Match
from ckptsurgeon.planner.stage.state import StageRun
from ckptsurgeon.plans.graph import Made

LAYER_PARTS = {"kernel": "weight", "kernel_bias": "bias"}

FILLS = {"weight": "ones", "bias": "zeros"}
"""What stands for the affine parameters of a BatchNorm that has none."""


def run_norms(run: StageRun, rule: CompiledRule, written: FoldBatchNorm | FreezeBatchNorm) -> None:
    """Makes a step of every pair that is folded, and of every BatchNorm that is frozen."""
    found = run.find_all(rule)
    if not found:
        return
    failures, vars = Folded(run.problems, "step", "of this rule"), run.vars_of(rule)
    for group in group_steps(rule, *found, vars, run.problems):
        with failures.at(rule.group, rule.place):
            captures = dict(zip(rule.step_columns, group.values, strict=True))
            taking = Taking(run, rule, Scope(captures, vars))
            if isinstance(written, FoldBatchNorm):
                _fold(taking, group.matches, written)
            else:
                _freeze(taking, group.matches[0], written)
            taking.finish()
    failures.tell()


def _eps(taking: Taking, written: FoldBatchNorm | FreezeBatchNorm) -> float:
    return float(evaluate_number(written.eps, "eps", taking.scope))


def _fold(taking: Taking, matches: Sequence[Match], written: FoldBatchNorm) -> None:
    """conv.weight, bn.weight, … -> conv.weight, conv.bias."""
    *layers, norm = matches
    for layer in layers:
        taking.take(layer, LAYER_PARTS)
    taking.take_norm(norm)
    eps = _eps(taking, written)
    groups = evaluate_number(written.groups, "groups", taking.scope)
    kind = FoldKernel if layers else FoldIdentity
    how = {"transposed": written.transposed} if layers else {}
    kernel = taking.make(kind, eps=eps, groups=groups, **how)
    bias = taking.taken.get("kernel_bias")
    dtype, linear = (bias.node if bias else kernel).spec.dtype, len(kernel.spec.shape) == 2
    shift = taking.make(BatchNormShift, eps=eps, dtype=dtype, scale_first=linear)
    taking.give("weight", kernel, kind.known)
    taking.give("bias", shift, BatchNormShift.known)


def _freeze(taking: Taking, norm: Match, written: FreezeBatchNorm) -> None:
    """bn.weight, … -> bn.weight, bn.bias and what else is kept."""
    taking.take_norm(norm)
    if written.form == "affine":
        _give_affine(taking, _eps(taking, written))
    else:
        _give_buffers(taking)


def _give_affine(taking: Taking, eps: float) -> None:
    """Scale and shift, which hold the statistics and eps."""
    dtype = taking.taken["running_mean"].node.spec.dtype
    scale = taking.make(BatchNormScale, eps=eps)
    taking.give("weight", scale, BatchNormScale.known)
    shift = taking.make(BatchNormShift, eps=eps, dtype=dtype, scale_first=True)
    taking.give("bias", shift, BatchNormShift.known)


def _give_buffers(taking: Taking) -> None:
    """The four tensors as they are; ones and zeros where there are no affine parameters."""
    spec = taking.taken["running_mean"].node.spec
    for part in BATCHNORM_VECTORS:
        taken = taking.taken.get(part)
        node = taken.node if taken else Made(spec, taking.key(part), FILLS[part], 0.0, 0)
        taking.give(part, node, [part])
