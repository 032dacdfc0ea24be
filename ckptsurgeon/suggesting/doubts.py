"""What speaks against steps that shapes allow: each is changed for it, or made less certain."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from ckptsurgeon.drafting.steps import Degree, Step, taken_by
from ckptsurgeon.keys import integers_in, prefixes_of, without_integers
from ckptsurgeon.suggesting.names import cut_leaf, spell, words_of
from ckptsurgeon.suggesting.norms import Norms
from ckptsurgeon.suggesting.numbers import Numbers
from ckptsurgeon.suggesting.roles import roles_of_tensor
from ckptsurgeon.suggesting.rows import Rows, doubt_fused
from ckptsurgeon.suggesting.squares import TURNED, Squares, holder_of, holders_of_turned
from ckptsurgeon.suggesting.units import Specs


@dataclass(frozen=True, slots=True)
class Known:
    """What rules settled already, with both sides as they are with that: evidence for the rest."""

    steps: Sequence[Step] = ()
    source: Specs = field(default_factory=dict)
    target: Specs = field(default_factory=dict)


NOTHING = Known()


def doubt_steps(
    steps: Sequence[Step],
    source: Specs,
    target: Specs,
    guessed: Collection[str] = (),
    known: Known = NOTHING,
) -> list[Step]:
    """The steps, those that something speaks against changed, or made less certain.

    Of `guessed` source keys the shape tells nothing.
    """
    source, target = {**known.source, **source}, {**known.target, **target}
    rows = Rows(source, target)
    every = [*steps, *known.steps]
    turned = Squares(every, source, target, guessed)
    steps = [turned.judge(step) for step in steps]
    if not any(step.degree < Degree.LIKELY for step in steps):
        return [rows.judge(step) for step in steps]
    beside = holders_of_turned(every, source, target)
    around = _Around(every, source, target)
    norms, numbers = Norms(source, target), Numbers(source, target)
    found = []
    for step in steps:
        step = numbers.judge(norms.judge(step))
        if step.degree < Degree.LIKELY:
            told = (
                _doubt_place(step, source, target, beside)
                or _doubt_layer(step, source, target, around)
                or _doubt_attention(step)
                or _doubt_values(step)
                or doubt_fused(step)
            )
            step = replace(step, degree=Degree.LIKELY, remark=told) if told else step
        found.append(rows.judge(step))
    return found


def _doubt_place(step: Step, source: Specs, target: Specs, turned: Collection[str]) -> str:
    """Why a step is less than sure: a square beside turned ones, a kernel, a name that stays."""
    if TURNED in step.calls or step.unit is not None or len(step.gives) != 1 or not step.takes:
        return ""
    own, key = step.takes[0], step.gives[0]
    shape = target[key].shape if key in target else ()
    square = len(shape) > 1 and shape[-1] == shape[-2]
    if square and len(shape) > 2 and holder_of(key) in turned:
        return "a square: others beside it are transposed"
    kernels = [one.rpartition(".")[2] == "kernel" for one in (own, key)]
    if kernels[0] != kernels[1] and len(shape) > 1 and shape == shape[::-1]:
        return "a kernel of equal sides: no shape tells whether it is transposed"
    if step.is_move and own != key and own in target and source[own].shape != target[own].shape:
        return f"{own} is here, too, in another size"
    return ""


def _doubt_attention(step: Step) -> str:
    """Why attention may be another: one name says that it looks at the encoder."""
    keys = [keys[0] for keys in (step.takes, step.gives) if keys]
    found = [roles_of_tensor(key).get("attention") for key in keys]
    crosses = [role is not None and role.value == "cross" for role in found]
    return "cross-attention by one name alone" if len(set(crosses)) > 1 else ""


COMPUTED = frozenset({"log", "inv", "inverse", "exp", "sqrt"})
"""Words of what is computed of a tensor, where only one of two names has them."""

FLIPPED = frozenset({"transpose", "transposed", "deconv", "upscaling"})
"""Words of transposed convolutions, whose kernels Flax has as torch has them turned around."""


def _doubt_values(step: Step) -> str:
    """Why the values of a tensor may be others, where its names say so."""
    if not (step.takes and step.gives):
        return ""
    own, to = step.takes[0], step.gives[0]
    words = [set(words_of(key.rpartition(".")[2])) for key in (own, to)]
    if words[0] & COMPUTED != words[1] & COMPUTED:
        return (
            f"one is called {own.rpartition('.')[2]}, the other {to.rpartition('.')[2]}: computed?"
        )
    is_kernel = own.endswith(".kernel") != to.endswith(".kernel")
    if is_kernel and not FLIPPED.isdisjoint(words_of(to.rpartition(".")[0])):
        return "a transposed convolution: its kernel may be turned around"
    return ""


def _doubt_layer(step: Step, source: Specs, target: Specs, around: _Around) -> str:
    """Why what is in a layer or a part of another name is less than sure.

    The layer's own weight comes from elsewhere; or the part that has the other name is there, too;
    or it is a norm, and what else is in the layer is doubted.
    """
    if not step.is_move or step.takes == step.gives:
        return ""
    if around.is_rare(step):
        return "in other layers another tensor gives this one"
    if around.is_shifted(step):
        return "by the order of their numbers: one is left over on each side"
    if other := around.namesake_of(step):
        return f"{other} would fit as well"
    layers = [cut_leaf(key)[0].rpartition(".")[0] for key in (step.takes[0], step.gives[0])]
    (before, _, name), (_, _, other) = (layer.rpartition(".") for layer in layers)
    if name == other or not (name and other):
        return ""
    if f"{before}.{other}".lstrip(".") in around.modules and not other.isdecimal():
        return f"{other} is there, too"
    own, to = (f"{layer}.weight" for layer in layers)
    strange = own in source and to in target and own not in around.origins.get(to, ())
    norm = "norm" in spell(cut_leaf(step.gives[0])[0].rpartition(".")[2]).split()
    if strange or (norm and layers[1] in around.doubted):
        return f"{layers[0]} and {layers[1]} may be other layers"
    return ""


class _Around:
    """What gives each key, the modules of which a key is doubted, all modules of the source, and
    what is left over on both sides.

    What holds a module that is doubted is doubted, too.
    """

    def __init__(self, steps: Sequence[Step], source: Specs, target: Specs) -> None:
        self._moves: tuple[dict[str, Counter[str]], ...] = (
            defaultdict(Counter),
            defaultdict(Counter),
        )
        for step in steps:
            if step.is_move:
                own, to = _forms(step)
                self._moves[0][own][to] += 1
                self._moves[1][to][own] += 1
        self.origins = {key: step.takes for step in steps for key in step.gives}
        doubted = [key for step in steps if step.degree is Degree.LIKELY for key in step.gives]
        modules = {cut_leaf(key)[0] for key in doubted}
        self.doubted = modules | {module.rpartition(".")[0] for module in modules}
        parents = {key.rpartition(".")[0] for key in source}
        above = {parent.rpartition(".")[0] for parent in parents}
        self.modules = parents | above | {one for module in above for one in prefixes_of(module)}
        taken = taken_by(steps)
        spare = [key for key in source if key not in taken]
        self._left = (
            set(map(without_integers, spare)),
            {without_integers(key) for key in target if key not in self.origins},
        )
        self._spare = {(_tail(key), source[key].shape): key for key in spare}
        self._target = target

    def is_shifted(self, step: Step) -> bool:
        """Whether numbers differ, and of what numbers tell apart some is left over on each side."""
        own, to = _forms(step)
        if own not in self._left[0] or to not in self._left[1]:
            return False
        return integers_in(step.takes[0]) != integers_in(step.gives[0])

    def namesake_of(self, step: Step) -> str:
        """A key that nothing takes, and that ends as the target does, where the source doesn't."""
        own, to = step.takes[0], step.gives[0]
        if to not in self._target or _tail(own) == _tail(to):
            return ""
        return self._spare.get((_tail(to), self._target[to].shape), "")

    def is_rare(self, step: Step) -> bool:
        """Whether a target is mostly given by another, and its source mostly gives another."""
        own, to = _forms(step)
        every = (self._moves[0][own], self._moves[1][to])
        return all(max(one.values()) > self._moves[0][own][to] for one in every)


def _tail(key: str) -> str:
    """The last two pieces of a key, without integers."""
    return ".".join(without_integers(key).split(".")[-2:])


def _forms(step: Step) -> tuple[str, str]:
    """The keys of a move without their integers."""
    return without_integers(step.takes[0]), without_integers(step.gives[0])
