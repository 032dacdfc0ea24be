"""What is in a layer or a part of another name: it may be another layer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from ckptsurgeon.drafting.steps import Degree, Step, taken_by
from ckptsurgeon.keys import integers_in, prefixes_of, without_integers
from ckptsurgeon.suggesting.names import cut_leaf, spell
from ckptsurgeon.suggesting.units import Specs


class Layers:
    """What gives each key, what is doubted, what the source holds, and what both sides leave.

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
        self._origins = {key: step.takes for step in steps for key in step.gives}
        doubted = [key for step in steps if step.degree is Degree.LIKELY for key in step.gives]
        modules = {cut_leaf(key)[0] for key in doubted}
        self._doubted = modules | {module.rpartition(".")[0] for module in modules}
        parents = {key.rpartition(".")[0] for key in source}
        above = {parent.rpartition(".")[0] for parent in parents}
        self._modules = parents | above | {one for module in above for one in prefixes_of(module)}
        taken = taken_by(steps)
        spare = [key for key in source if key not in taken]
        self._left = (
            set(map(without_integers, spare)),
            {without_integers(key) for key in target if key not in self._origins},
        )
        self._spare = {(_tail(key), source[key].shape): key for key in spare}
        self._source, self._target = source, target

    def doubt(self, step: Step) -> str:
        """Why what is in a layer or a part of another name is less than sure.

        The layer's own weight comes from elsewhere; or the part that has the other name is there,
        too; or it is a norm, and what else is in the layer is doubted.
        """
        if not step.is_move or step.takes == step.gives:
            return ""
        forms = _forms(step)
        if self._is_rare(*forms):
            return "in other layers another tensor gives this one"
        if self._is_shifted(step, *forms):
            return "by the order of their numbers: one is left over on each side"
        if other := self._namesake_of(step):
            return f"{other} would fit as well"
        layers = [cut_leaf(key)[0].rpartition(".")[0] for key in (step.takes[0], step.gives[0])]
        (before, _, name), (_, _, other) = (layer.rpartition(".") for layer in layers)
        if name == other or not (name and other):
            return ""
        if f"{before}.{other}".lstrip(".") in self._modules and not other.isdecimal():
            return f"{other} is there, too"
        own, to = (f"{layer}.weight" for layer in layers)
        strange = (
            own in self._source and to in self._target and own not in self._origins.get(to, ())
        )
        norm = "norm" in spell(cut_leaf(step.gives[0])[0].rpartition(".")[2]).split()
        if strange or (norm and layers[1] in self._doubted):
            return f"{layers[0]} and {layers[1]} may be other layers"
        return ""

    def _is_shifted(self, step: Step, own: str, to: str) -> bool:
        """Whether numbers differ, and of what numbers tell apart some is left over on each side."""
        if own not in self._left[0] or to not in self._left[1]:
            return False
        return integers_in(step.takes[0]) != integers_in(step.gives[0])

    def _namesake_of(self, step: Step) -> str:
        """A key that nothing takes, and that ends as the target does, where the source doesn't."""
        own, to = step.takes[0], step.gives[0]
        if to not in self._target or _tail(own) == _tail(to):
            return ""
        return self._spare.get((_tail(to), self._target[to].shape), "")

    def _is_rare(self, own: str, to: str) -> bool:
        """Whether a target is mostly given by another, and its source mostly gives another."""
        every = (self._moves[0][own], self._moves[1][to])
        return all(max(one.values()) > self._moves[0][own][to] for one in every)


def _tail(key: str) -> str:
    """The last two pieces of a key, without integers."""
    return ".".join(without_integers(key).split(".")[-2:])


def _forms(step: Step) -> tuple[str, str]:
    """The keys of a move without their integers."""
    return without_integers(step.takes[0]), without_integers(step.gives[0])
