"""A checkpoint proved in its network: it loads strictly, its values are sane, its outputs agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.proof.comparing import compare
from ckptsurgeon.proof.loading import Loaded, read_state, without_wrappers
from ckptsurgeon.proof.networks import Model, Network
from ckptsurgeon.proof.results import Comparison, Delta, Finding, Kind, Verification
from ckptsurgeon.proof.values import check_values
from ckptsurgeon.report.sides import nbytes_of
from ckptsurgeon.request import Root, Source, open_source, read_kinds, read_roots
from ckptsurgeon.wanted import refuse, require, whole_number
from ckptsurgeon.wording import argument, name_kinds, name_root

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TOLERANCE", "Comparison", "Delta", "Finding", "Kind", "Verification", "verify"]

TOLERANCE = 1e-5
"""Relative error up to which outputs agree: float32 sums in another order stay below it."""

AGAINST = "against"
"""The alias of the second checkpoint, where a root is named."""


def verify(
    checkpoint: Source,
    model: Model,
    *,
    arguments: Mapping[str, Any] | None = None,
    against: Source | None = None,
    source_model: Model | None = None,
    source_arguments: Mapping[str, Any] | None = None,
    shape: tuple[int, ...] | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    allow: Collection[str] = (),
    root: Root | None = None,
) -> Verification:
    """What is wrong with a checkpoint as the weights of `model`.

    It is loaded with `strict` and `assign=True`, and every tensor is looked at (`Kind` says for
    what). With `against`, a second checkpoint, which is loaded into `source_model` (`model` unless
    given), both networks get one random input of `shape` (guessed from the first layer unless
    given) and of a seed, and their outputs are compared: `tolerance` is the relative error that is
    let pass. `allow` accepts findings by kind, and in loading those of both sides. `root` is the
    wrapper to open in the checkpoint, or a dict in which "" is that and `against` the second one's.

    Raises CkptSurgeonError for what can't be built, read or run at all.
    """
    for name, value in (("arguments", arguments), ("source_arguments", source_arguments)):
        if value is not None:
            require(name, value, Mapping, "a dict of keywords")
    shape = None if shape is None else _read_shape(shape)
    seed, tolerance = whole_number("seed", seed, least=0), _read_tolerance(tolerance)
    kinds = read_kinds(allow, [kind.value for kind in Kind])
    network = Network(model, arguments)
    roots = _read_roots(root, against is not None)
    opened = open_source(checkpoint, roots.get(""))
    built, loaded = network.load(read_state(opened), "meta" if against is None else "cpu")
    found = [*loaded.findings, *check_values(loaded.state, _parameters(built, loaded))]
    comparison, notes = None, list(loaded.notes)
    if against is not None and any(one.kind.value not in kinds for one in loaded.findings):
        notes.append("the outputs are not compared, for it does not load")
    elif against is not None:
        source = network
        if source_model is not None:
            source = Network(source_model, source_arguments, "source_arguments")
        second = open_source(against, roots.get(AGAINST), AGAINST)
        reference, told = _load_reference(second, source, kinds)
        names = str(second.path), source.name
        comparison, differences = compare(reference, built, names, shape, seed, tolerance)
        notes, found = [*notes, *told], [*found, *differences]
    return Verification(
        checkpoint=str(opened.path),
        model=network.name,
        tensors=len(loaded.state),
        nbytes=nbytes_of(opened.contents.specs.values()),
        findings=tuple(replace(one, allowed=one.kind.value in kinds) for one in found),
        notes=tuple(notes),
        comparison=comparison,
    )


def _read_roots(root: Root | None, has_second: bool) -> Mapping[str, str]:
    """The wrappers to open by alias; raises CheckpointError for one that is no checkpoint here."""
    roots = read_roots(root)
    for alias, name in roots.items():
        if alias and (alias != AGAINST or not has_second):
            raise CheckpointError(f"{name_root(name, alias)}: there is no such checkpoint here")
    return roots


def _read_shape(shape: Any) -> tuple[int, ...]:
    wanted = "a tuple of sizes, (1, 3, 224, 224),"
    if isinstance(shape, str) or not isinstance(shape, Iterable) or not getattr(shape, "ndim", 1):
        refuse("shape", shape, wanted)
    return tuple(whole_number("shape", size, least=1) for size in shape)


def _read_tolerance(tolerance: Any) -> float:
    try:
        if isinstance(tolerance, str | bool):
            raise TypeError
        return float(tolerance)
    except (TypeError, ValueError):
        refuse("tolerance", tolerance, "a number")


def _parameters(model: nn.Module, loaded: Loaded) -> set[str]:
    """The checkpoint's keys that are parameters: all that the model takes, buffers aside."""
    buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
    unexpected = {one.key for one in loaded.findings if one.kind is Kind.UNEXPECTED}
    return set(loaded.state) - buffers - unexpected


def _load_reference(
    checkpoint: Checkpoint, network: Network, kinds: Collection[str]
) -> tuple[nn.Module, list[str]]:
    """The source's network with its weights, and a note of what was allowed."""
    model, loaded = network.load(without_wrappers(read_state(checkpoint)), "cpu")
    if refused := [one for one in loaded.findings if one.kind.value not in kinds]:
        first, *others = refused
        more = f", and {len(others)} more" if others else ""
        raise CheckpointError(
            f"{checkpoint.path}: does not load into {network.name}: {first.kind.value} "
            f"`{first.key}`: {first.text}{more}; {argument('source_model', 'FACTORY')} names its "
            f"network, {name_kinds(first.kind.value)} accepts these on both sides"
        )
    counts = Counter(one.kind.value for one in loaded.findings)
    told = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    notes = [f"{checkpoint.path}: {told}, which is allowed"] if told else []
    return model, notes
