"""What no rule gives or takes: settled where it is no weight, else told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.drafting.leaving import leave_keys
from ckptsurgeon.drafting.steps import Degree, Step, drop, keep
from ckptsurgeon.specs import TensorSpec
from ckptsurgeon.suggesting.known import NOTHING, Known
from ckptsurgeon.suggesting.units import Specs

COUNTER = "num_batches_tracked"

BUFFERS = frozenset(
    {
        COUNTER,  # counts batches; torch's BatchNorm makes its own
        "position_ids",  # 0, 1, 2, …
        "relative_position_index",  # made of the window's size
        "attn_mask",  # Swin's, made of the resolution
        "inv_freq",  # rotary frequencies, made of the base
        "masked_bias",  # GPT-2's number for what is masked
    }
)
"""Last names of what modules make by themselves."""

MASKS = frozenset({"bias", "mask", "tril", "causal_mask"})
"""Last names of causal masks, where their shape is one; GPT-2's is `attn.bias`."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Steps that settle buffers, and what is left on both sides, with what is said of it."""

    steps: Sequence[Step]
    open: Mapping[str, str]
    unused: Mapping[str, str]
    footer: Sequence[str]


def settle_leftovers(
    steps: Iterable[Step],
    asked: Mapping[str, str],
    doubted: Mapping[str, str],
    source: Specs,
    target: Specs,
    tied: Mapping[str, Sequence[str]],
    known: Known = NOTHING,
) -> Leftovers:
    """What steps leave of both sides.

    `asked` are remarks on keys of the target, `doubted` on those of the source; `tied` are source
    keys with those of one storage: what is tied to what is taken is not lost. `known` is what other
    rules give.
    """
    used, given = set[str](), set[str]()
    for step in steps:
        used.update(step.takes)
        given.update(step.gives)
    unused = {key: spec for key, spec in source.items() if key not in used}
    missing = {key: spec for key, spec in target.items() if key not in given}
    spare = {key for key in unused if not used.isdisjoint(tied.get(key, ()))}
    spare.update(_buffers({key: spec for key, spec in unused.items() if key not in spare}))
    made = set(_buffers(missing))
    settled = [drop(key, Degree.SURE) for key in unused if key in spare]
    settled += [keep(key, Degree.SURE) for key in missing if key in made]
    open = {key: asked.get(key, "no source was found for it") for key in missing if key not in made}
    lost = {key: doubted.get(key, "nothing takes it") for key in unused if key not in spare}
    return Leftovers(settled, open, lost, leave_both(open, lost, known.beside(source, target)))


def leave_both(open: Mapping[str, str], lost: Mapping[str, str], every: Known) -> list[str]:
    """Comments on keys of both sides, which keep or drop nothing else of `every`."""
    return [
        *leave_keys("keep", open, [key for key in every.target if key not in open]),
        *leave_keys("drop", lost, [key for key in every.source if key not in lost]),
    ]


def _buffers(specs: Specs) -> list[str]:
    """The keys of what modules make by themselves, whose modules have nothing else left here."""
    found = [key for key, spec in specs.items() if is_buffer(key, spec)]
    known = set(found)
    busy = {key.rpartition(".")[0] for key in specs if key not in known}
    return [key for key in found if key.rpartition(".")[0] not in busy]


def is_buffer(key: str, spec: TensorSpec) -> bool:
    """Whether a key is a buffer that its module makes by itself."""
    name = key.rpartition(".")[2]
    return name in BUFFERS or (name in MASKS and _is_mask(spec))


def _is_mask(spec: TensorSpec) -> bool:
    """Whether it is `[1, 1, n, n]`, or of truth values: a bias of relative positions has heads."""
    *before, rows, columns = (0, 0, *spec.shape)
    least = 4 if spec.floating else 3
    return len(spec.shape) >= least and rows == columns > 1 and set(before) <= {0, 1}
