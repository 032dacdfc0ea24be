"""What speaks against steps that shapes allow: no shape tells a square's sides, nor rows' order."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ckptsurgeon.drafting.steps import Call, Degree, Step
from ckptsurgeon.keys import prefixes_of, without_integers
from ckptsurgeon.suggesting.names import cut_leaf, spell
from ckptsurgeon.suggesting.relations import is_square
from ckptsurgeon.suggesting.roles import Found, roles_of
from ckptsurgeon.suggesting.units import Specs

TURNED = Call("transpose")

HEADWISE = frozenset(
    {
        "query_key_value",  # BLOOM, GPT-NeoX, Falcon, Megatron: head by head, or group by group
        "linear_qkv",  # Megatron-Core, group by group
    }
)
"""Names of fused layers whose rows are not all of query, all of key, all of value."""

COMPLEX = frozenset({"wq", "wk"})
"""Meta's names: its rotary embeddings pair neighbouring rows, others pair halves of a head."""

ROTARY = "rotary rows: as they are, or by permute_rope"

_ITEM = re.compile(r".*?[0-9][^.]*\.")


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
    forms = {without_integers(key) for side in (source, target) for key in side}
    positions = any(map(_is_position, forms))
    rotary = not positions
    tokens = not positions and any(map(_is_token, forms)) and not any(map(_is_relative, forms))
    every = [*steps, *known.steps]
    turned = _Squares(every, source, target, guessed)
    beside = _turned_parents(every, source, target)
    around = _Around(every, source)
    norms = _Norms(source, target)
    found = []
    for step in steps:
        step = norms.judge(turned.judge(step))
        if step.degree < Degree.LIKELY:
            told = _doubt_place(step, source, target, beside) or _doubt_layer(
                step, source, target, around
            )
            step = replace(step, degree=Degree.LIKELY, remark=told) if told else step
        if step.degree < Degree.OPEN and (told := _doubt_rows(step, rotary)):
            step = replace(step, degree=Degree.OPEN, remark=told)
        elif step.degree < Degree.LIKELY and tokens and _is_of_another_attention(step):
            step = replace(step, degree=Degree.LIKELY, remark=ROTARY)
        found.append(step)
    return found


def _is_token(key: str) -> bool:
    found = _roles(key).get("embed")
    return found is not None and found.value == "token"


def _is_relative(key: str) -> bool:
    """Whether a tensor is a table of relative positions, which take the place of rotary ones."""
    return "relative" in spell(cut_leaf(key)[0]).split() or "rel" in spell(key).split()


def _is_position(key: str) -> bool:
    found = _roles(key).get("embed")
    return found is not None and found.value == "position"


# --- squares --------------------------------------------------------------------------------------


class _Squares:
    """What became of the matrices that are no squares, by the block that they are in."""

    def __init__(
        self, steps: Sequence[Step], source: Specs, target: Specs, guessed: Collection[str]
    ) -> None:
        self._source = source
        self._wanted = {spec.shape for spec in target.values() if len(spec.shape) == 2}
        strange = any(len(source[key].shape) == 2 for key in guessed if key in source)
        self._is_suspect = strange or _has_turned(source, self._wanted)
        self._seen: dict[str, set[bool]] = defaultdict(set)
        for step in steps:
            if self._tells(step) and not any(key in guessed for key in step.takes):
                self._see(step.targets.keys[0], turned=TURNED in step.calls)
        for key, spec in target.items():
            if len(spec.shape) == 2 and _is_turned(key, source, target):
                self._see(key, turned=True)

    def _see(self, key: str, *, turned: bool) -> None:
        for block in _blocks(key):
            self._seen[block].add(turned)

    def _tells(self, step: Step) -> bool:
        """Whether a step could not as well have been one of another matrix, turned."""
        if TURNED in step.calls and len(step.calls) > 1:
            return True  # what is fused or split has a shape of its own
        if not self._is_matrix(step):
            return False
        shape = self._source[step.sources.keys[0]].shape
        wanted = shape[::-1] if TURNED in step.calls else shape
        named = step.degree is Degree.SURE or _has_kept_name(step)
        return not is_square(shape) and (named or wanted[::-1] not in self._wanted)

    def _is_matrix(self, step: Step) -> bool:
        key = step.sources.keys[0] if len(step.sources.keys) == 1 else ""
        plain = (
            step.unit is None
            and key in self._source
            and len(self._source[key].shape) == 2
            and step.targets.keys
        )
        if not plain or not set(step.calls) <= {TURNED}:
            return False
        return not (_is_embedding(key) or _is_embedding(step.targets.keys[0]))

    def judge(self, step: Step) -> Step:
        """A square turned as the matrices beside it are; open, where these differ.

        So is what is no square, where its turning is a guess and no other is turned.
        """
        if not self._is_matrix(step):
            return step
        seen = next(
            (found for one in _blocks(step.targets.keys[0]) if (found := self._seen[one])), set()
        )
        turned = TURNED in step.calls
        if seen == {turned}:
            return step
        if not is_square(self._source[step.sources.keys[0]].shape):
            guess = turned and seen == {False} and step.degree is Degree.LIKELY
            told = "it fits when it is transposed, and nothing beside it is"
            return replace(step, degree=Degree.OPEN, remark=told) if guess else step
        if len(seen) > 1:
            told = "a square: some matrices beside it are transposed, and some are not"
            return replace(step, degree=max(step.degree, Degree.OPEN), remark=told)
        if not seen:
            doubt = turned or self._is_suspect or _is_bare(step)
            told = "a square: no shape tells whether it is transposed"
            return (
                replace(step, degree=max(step.degree, Degree.LIKELY), remark=told)
                if doubt
                else step
            )
        calls = () if turned else (TURNED,)
        told = "a square: turned as the matrices beside it are"
        return replace(step, calls=calls, degree=max(step.degree, Degree.LIKELY), remark=told)


def _has_kept_name(step: Step) -> bool:
    """Whether the module is called the same on both sides, and not by a number alone."""
    names = {
        cut_leaf(keys[0])[0].rpartition(".")[2] for keys in (step.sources.keys, step.targets.keys)
    }
    return len(names) == 1 and not names.pop().isdecimal()


def _has_turned(source: Specs, wanted: Collection[tuple[int, ...]]) -> bool:
    """Whether the target has shapes of the source's matrices turned."""
    mine = {spec.shape for spec in source.values() if len(spec.shape) == 2}
    return any(not is_square(shape) and shape[::-1] in wanted for shape in mine)


def _is_bare(step: Step) -> bool:
    """Whether only one side is a parameter of its own, which may be multiplied from the left."""
    leaves = [cut_leaf(keys[0])[1] for keys in (step.sources.keys, step.targets.keys)]
    return ("" in leaves) and leaves[0] != leaves[1]


def _blocks(key: str) -> Iterator[str]:
    """The block that a key is in, and all blocks; what is in none has ways of its own."""
    found = _ITEM.match(key)
    if found is not None:
        yield found[0]
        yield ""


def _is_embedding(key: str) -> bool:
    return "embed" in _roles(key)


def _roles(key: str) -> Mapping[str, Found]:
    """What a key's module is for; its integers tell nothing of that here."""
    return roles_of(cut_leaf(without_integers(key))[0])


def _turned_parents(steps: Sequence[Step], source: Specs, target: Specs) -> set[str]:
    """What holds tensors that are turned, or stand turned under their own names."""
    keys = [key for step in steps if TURNED in step.calls for key in step.gives]
    keys += [key for key in target if _is_turned(key, source, target)]
    return set(map(_holder, keys))


def _is_turned(key: str, source: Specs, target: Specs) -> bool:
    """Whether a tensor stands turned under its own name."""
    own = source[key].shape if key in source else ()
    swapped = own[:-2] + own[:-3:-1]
    return len(own) > 1 and target[key].shape == swapped != own


def _holder(key: str) -> str:
    return without_integers(key).rpartition(".")[0]


def _doubt_place(step: Step, source: Specs, target: Specs, turned: Collection[str]) -> str:
    """Why a step is less than sure: a square beside turned ones, a kernel, a name that stays."""
    if TURNED in step.calls or step.unit is not None or len(step.gives) != 1 or not step.takes:
        return ""
    own, key = step.takes[0], step.gives[0]
    shape = target[key].shape if key in target else ()
    square = len(shape) > 1 and shape[-1] == shape[-2]
    if square and len(shape) > 2 and _holder(key) in turned:
        return "a square: others beside it are transposed"
    kernels = [one.rpartition(".")[2] == "kernel" for one in (own, key)]
    if kernels[0] != kernels[1] and len(shape) > 1 and shape == shape[::-1]:
        return "a kernel of equal sides: no shape tells whether it is transposed"
    if step.is_move and own != key and own in target and source[own].shape != target[own].shape:
        return f"{own} is here, too, in another size"
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
    """What gives each key, the modules of which a key is doubted, and all modules of the source.

    What holds a module that is doubted is doubted, too.
    """

    def __init__(self, steps: Sequence[Step], source: Specs) -> None:
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
        self.modules = parents | {above for module in parents for above in prefixes_of(module)}

    def is_rare(self, step: Step) -> bool:
        """Whether a target is mostly given by another, and its source mostly gives another."""
        own, to = _forms(step)
        every = (self._moves[0][own], self._moves[1][to])
        return all(max(one.values()) > self._moves[0][own][to] for one in every)


def _forms(step: Step) -> tuple[str, str]:
    """The keys of a move without their integers."""
    return without_integers(step.takes[0]), without_integers(step.gives[0])


# --- norms ----------------------------------------------------------------------------------------


class _Norms:
    """The norms of each block on both sides: equal ones are told apart by their names alone."""

    def __init__(self, source: Specs, target: Specs) -> None:
        self._source = _norms_by_block(source)
        self._target = _norms_by_block(target)

    def judge(self, step: Step) -> Step:
        """A norm among others of its block is likely at most, unless both names say which it is."""
        if step.degree is not Degree.SURE or not step.is_move:
            return step
        modules = [cut_leaf(keys[0])[0] for keys in (step.sources.keys, step.targets.keys)]
        if modules[0].rpartition(".")[2] == modules[1].rpartition(".")[2]:
            return step
        roles = [_roles(keys[0]).get("norm") for keys in (step.sources.keys, step.targets.keys)]
        if roles == [None, None] or (roles[0] == roles[1] and roles[0] and not roles[0].weak):
            return step
        beside = self._source[_block_of(modules[0])] - {modules[0]}
        plain = [role for role in roles if role is not None and not role.weak]
        if len(plain) == 1 and None in roles:
            told = "one name says which norm it is, the other doesn't"
            return replace(step, degree=Degree.LIKELY, remark=told)
        if not beside and len(self._target[_block_of(modules[1])]) < 2:
            return step
        others = ", ".join(sorted(module.rpartition(".")[2] for module in beside)[:2])
        remark = f"{others} would fit as well" if others else "another norm of the block would fit"
        return replace(step, degree=Degree.LIKELY, remark=remark)


def _norms_by_block(specs: Specs) -> dict[str, set[str]]:
    """The modules whose names are those of norms, by the block that they are in."""
    found: dict[str, set[str]] = defaultdict(set)
    for key in specs:
        module = cut_leaf(key)[0]
        if "norm" in spell(without_integers(module)).split():
            found[_block_of(module)].add(module)
    return found


def _block_of(module: str) -> str:
    """What stands before a module's name, up to the first item of a list."""
    found = _ITEM.match(module)
    return found[0] if found is not None else ""


# --- rows -----------------------------------------------------------------------------------------


def _doubt_rows(step: Step, rotary: bool) -> str:
    """What may be wrong with the order of rows; empty where nothing says so."""
    if not (step.sources.keys and step.targets.keys) or step.unit is not None:
        return ""
    modules = [cut_leaf(keys[0])[0] for keys in (step.sources.keys, step.targets.keys)]
    names = [module.rpartition(".")[2] for module in modules]
    if names[0] == names[1] and len(step.sources.keys) == len(step.targets.keys):
        return ""
    if _are_headwise(names):
        return "rows of fused heads: split_qkv or fuse_qkv with their layout and heads"
    if rotary and len(COMPLEX.intersection(names)) == 1 and _is_part(modules, ("q", "k")):
        return ROTARY
    return ""


def _is_of_another_attention(step: Step) -> bool:
    """Whether a layer of queries or keys keeps its name in an attention that is called otherwise.

    Codebases that name these alike order their rows in two ways: transformers by halves of a head,
    torchtune and Meta by pairs.
    """
    if not step.is_move:
        return False
    modules = [cut_leaf(keys[0])[0] for keys in (step.sources.keys, step.targets.keys)]
    parents = [without_integers(one.rpartition(".")[0]).rpartition(".")[2] for one in modules]
    return parents[0] != parents[1] and _is_part(modules, ("q", "k"))


def _are_headwise(names: Collection[str]) -> bool:
    return not HEADWISE.isdisjoint(names)


def _is_part(modules: Sequence[str], parts: Collection[str]) -> bool:
    found = [roles_of(without_integers(module)).get("part") for module in modules]
    return all(one is not None and one.value in parts for one in found)
