"""A checkpoint proved in its network: it loads strictly, its values are sane, its outputs agree."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.models import require_model
from ckptsurgeon.checkpoints.planting import is_model
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.factories import build_model, is_pretrained
from ckptsurgeon.proof.comparing import compare
from ckptsurgeon.proof.loading import Loaded, State, load_strictly, read_state, without_wrappers
from ckptsurgeon.proof.pretrained import load_pretrained
from ckptsurgeon.proof.results import Comparison, Delta, Finding, Kind, Verification
from ckptsurgeon.proof.values import check_values
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

Model = str | Callable[..., "nn.Module"]
"""A factory by name (`pkg.mod:factory`, `transformers:FOLDER`, `timm:NAME`), or a callable."""


@dataclass(frozen=True, slots=True)
class Network:
    """A model that can be built on a device, as often as it is needed."""

    model: Model
    arguments: Mapping[str, Any] | None
    word: str = "arguments"
    """What its arguments are called in `verify`."""

    @property
    def name(self) -> str:
        if isinstance(self.model, str):
            return self.model
        return str(getattr(self.model, "__qualname__", type(self.model).__name__))

    def build(self, device: str) -> nn.Module:
        import torch

        if isinstance(self.model, str):
            return build_model(self.model, self.arguments, device)
        if is_model(self.model):
            raise CheckpointError(
                f"verify: {self.name} is built already; give what makes one, such as "
                "`lambda: copy.deepcopy(model)`, or the name of it"
            )
        if not callable(self.model):
            what = self.word.replace("arguments", "model")
            refuse(f"verify: {what}", self.model, "what makes one, or the name of it")
        given = self.arguments or {}
        try:
            takes = inspect.signature(self.model, follow_wrapped=False)
        except (TypeError, ValueError):  # a builtin that says nothing of itself
            takes = None
        try:
            if takes is not None:
                takes.bind(**given)
        except TypeError as error:
            message = f"verify: {self.name}: {error}; `{self.word}` are its own"
            raise CheckpointError(message) from None
        with torch.device(device):
            made = self.model(**given)
        require_model(made)
        return made

    def load(self, state: State, device: str) -> tuple[nn.Module, Loaded]:
        """The model with a checkpoint's tensors, and what was wrong with them."""
        if isinstance(self.model, str) and is_pretrained(self.model):
            return load_pretrained(state, self.build("meta"))
        model = self.build(device)
        return model, load_strictly(state, model)


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
        path, reference, told = _reference(
            open_source(against, roots.get(AGAINST), AGAINST), source, kinds
        )
        notes += told
        names = path, source.name
        comparison, differences = compare(reference, built, names, shape, seed, tolerance)
        found += differences
    return Verification(
        checkpoint=str(opened.path),
        model=network.name,
        tensors=len(loaded.state),
        nbytes=sum(spec.nbytes for spec in opened.contents.specs.values()),
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


def _reference(
    checkpoint: Checkpoint, network: Network, kinds: Collection[str]
) -> tuple[str, nn.Module, list[str]]:
    """The source's path, its network with its weights, and a note of what was allowed."""
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
    return str(checkpoint.path), model, notes
