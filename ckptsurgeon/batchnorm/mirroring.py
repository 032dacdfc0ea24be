"""`mirror`: BatchNorms of one model kept equal to those of another while both are in use."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ckptsurgeon.batchnorm.copying import write_links
from ckptsurgeon.batchnorm.layers import listed, tensors_of
from ckptsurgeon.batchnorm.links import Copied, Link, links_between
from ckptsurgeon.batchnorm.results import Block, NormResult
from ckptsurgeon.checkpoints.models import is_compiled
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.language.rulesets import Rules
from ckptsurgeon.render.shown import LOOKS
from ckptsurgeon.specs import plural

Stamp = tuple[tuple[object, object, int], ...]


class Mirror(NormResult):
    """What `mirror` gives: a handle that ends it by `remove()`, or at the end of a `with` block.

    `pairs` says which layer follows which, and which BatchNorms of either side have no partner.
    """

    def __init__(self, pairs: Copied, hooks: dict[nn.Module, _Hook]) -> None:
        self.pairs = pairs
        self._hooks = tuple(hooks.values())
        self._handles: tuple[RemovableHandle, ...] = tuple(
            module.register_forward_pre_hook(hook) for module, hook in hooks.items()
        )

    @property
    def copies(self) -> int:
        """How often a layer was copied so far."""
        return sum(hook.copies for hook in self._hooks)

    @property
    def summary(self) -> str:
        """How many layers follow others, and how often one was copied."""
        alone = f", {len(self.pairs.kept):,} follow none" if self.pairs.kept else ""
        pairs = plural(len(self.pairs.pairs), "BatchNorm")
        return f"{pairs} mirrored{alone}; copied {plural(self.copies, 'time')} so far"

    @property
    def blocks(self) -> Sequence[Block]:
        """Which layer follows which, and those without a partner."""
        pairs = self.pairs
        return (
            Block.of("mirrored", ((one.destination, one.sources) for one in pairs.pairs)),
            Block.names("follow none", pairs.kept),
            Block.names("of the source, followed by none", pairs.unused),
        )

    def remove(self) -> None:
        """Ends the mirroring; the destination keeps the values of its last forward."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def _write(shown: Mirror) -> str:
    """The pairs, and the number of copies."""
    return json.dumps({**shown.pairs.to_dict(), "copies": shown.copies})


LOOKS[Mirror] = LOOKS[NormResult]._replace(json=_write)


def mirror(
    source_model: nn.Module, destination_model: nn.Module, rules: Rules | None = None
) -> Mirror:
    """A handle; until it is removed, the destination's BatchNorms are the source's in each forward.

    Which layer follows which is said as in `copy_all`, and checked by it at once. Before a layer's
    forward, its tensors are copied, unless PyTorch's version counters say that neither side changed
    since the last time. So the destination's own training of them, or counting in train mode, is
    undone. Values written by way of `tensor.data` raise no counter and are not noticed.

    A model that is compiled by `torch.compile(model)` is followed up before the forward of the
    whole; give that model, not the one inside it. Copies and pickles of the destination don't
    mirror.

    Without rules, layers of one name are pairs, and a warning names those without a partner.

    Raises what `copy_all` raises, also where no layers pair, and CkptSurgeonError for layers that
    the models share, and for modules inside that are compiled in place, to which hooks come too
    late.
    """
    links, pairs = links_between(source_model, destination_model, rules)
    _check(source_model, destination_model)
    if rules is None and (alone := _tell_alone(pairs)):
        warnings.warn(f"mirror: {alone}; say which follows which by rules", stacklevel=2)
    hooks: dict[nn.Module, _Hook] = {link.layer: _Hook((link,)) for link in links}
    if any(map(is_compiled, destination_model.modules())):
        hooks = {destination_model: _Hook(links)}
    return Mirror(pairs, hooks)


def _tell_alone(pairs: Copied) -> str:
    """The layers of either side that have no partner of their name, in words."""
    told = []
    if pairs.kept:
        told.append(f"{listed(pairs.kept)} of the destination")
    if pairs.unused:
        told.append(f"{listed(pairs.unused)} of the source")
    return f"no partner of the same name for {' and '.join(told)}" if told else ""


def _check(source: nn.Module, destination: nn.Module) -> None:
    owners = {id(tensor): name for name, m in source.named_modules() for tensor in _tensors(m)}
    shared = [owners[id(t)] for m in destination.modules() for t in _tensors(m) if id(t) in owners]
    if shared:
        names = listed(dict.fromkeys(shared))
        raise CkptSurgeonError(f"mirror: both models hold {names}; a layer can't follow itself")
    named = destination.named_modules()
    late = [name for name, module in named if module._compiled_call_impl is not None]
    if late:
        raise CkptSurgeonError(
            f"mirror: {listed(late)} is compiled in place; mirror first, then call its compile()"
        )


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """The tensors of a BatchNorm; of another module, none."""
    yield from tensors_of(module).values() if hasattr(module, "running_mean") else ()


def _stamp(link: Link) -> Stamp:
    """Every tensor of both sides with its version and address."""
    spots = [spot for feed in link.feeds for spot in feed.inputs.values()]
    tensors = [spot.tensor for spot in spots]
    # A BatchNorm's forward moves its statistics without raising their versions, but the
    # counter's is raised: it stands for them.
    modules = {spot.module for spot in spots} | {link.layer}
    tensors += [tensor for module in modules for tensor in _tensors(module)]
    return tuple((tensor, _version(tensor), tensor.data_ptr()) for tensor in tensors)


def _version(tensor: Tensor) -> object:
    """The tensor's version; something new each time where it has none (inference mode)."""
    return object() if tensor.is_inference() else tensor._version


def _same(one: Stamp, other: Stamp) -> bool:
    return len(one) == len(other) and all(
        before is after and version == now and place == there
        for (before, version, place), (after, now, there) in zip(one, other, strict=True)
    )


class _Hook:
    """A forward pre-hook that copies what changed; it is one model's, so a copy does nothing."""

    def __init__(self, links: tuple[Link, ...]) -> None:
        self.links, self.copies = links, 0
        self._last: dict[str, Stamp] = {}

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch types it so
    def __call__(self, module: nn.Module, inputs: Any) -> None:
        for link in self.links:
            if not _same(self._last.get(link.name, ()), _stamp(link)):
                write_links([link])
                self.copies += 1
                self._last[link.name] = _stamp(link)

    def __deepcopy__(self, memo: object) -> _Hook:
        return _Hook(())

    def __reduce__(self) -> tuple[type[_Hook], tuple[tuple[()]]]:
        return _Hook, ((),)
