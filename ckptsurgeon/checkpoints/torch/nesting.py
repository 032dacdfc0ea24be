"""From the nested values of a torch file to dotted keys, and which part of it holds the weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ckptsurgeon.checkpoints.torch.inert import (
    DictValue,
    ObjectValue,
    OddKey,
    is_tensor,
    why_unreadable,
)
from ckptsurgeon.checkpoints.torch.keys import named_entries
from ckptsurgeon.checkpoints.torch.objects import (
    all_parts,
    buried,
    extra_groups,
    extras,
    is_module,
    module_attributes,
    object_children,
    scanned,
)
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import UnreadableSpec, plural, unreadable_spec

WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "network",
    "net",
    "params",
    "weights",
    "ema",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "params_ema",
    "teacher",
    "student",
    "generator",
)
"""Names under which training code keeps a state dict, the likeliest first."""

OPTIMIZERS = frozenset(
    (
        "optimizer",
        "optimizers",
        "optimizer_state",
        "optimizer_states",
        "optimizer_state_dict",
        "optimizer_state_dicts",
        "optim",
        "optim_state_dict",
        "opt",
        "opt_state",
    )
)
"""Names of optimizer state, which belongs to no model."""

FLAT = frozenset((bool, int, float, str, bytes, type(None)))
"""Classes of values that neither are tensors nor have parts."""

BARE = "tensor"
"""The key of a tensor that was saved alone, without a dict around it."""

EXTRA_STATE = "_extra_state"
"""How the key ends under which a module keeps what its `get_extra_state` gives."""

MAX_DEPTH = 100
"""Deepest nesting that is followed; a model's own nesting stays below 30."""

MAX_PREFIX = 1000
"""Longest name of a container, in characters: each entry in it begins with that."""

MAX_NAMES = 1 << 28
"""What all names may take, in characters and VISIT; those of a million tensors are half."""

VISIT = 64
"""What a value takes beside its name, in characters: about what it costs in memory."""

UNFOLDING = 8
"""How many times its entries a tree may unfold to, where containers share parts."""

FEW = 10_000
"""Entries that any tree may unfold to."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value with its dotted key: a tensor, readable or not, or what has no tensor in it.

    One that `is_aside` is an attribute of a module, which no state dict has.
    """

    key: str
    value: Any
    unreadable: UnreadableSpec | None = None
    is_aside: bool = False

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor, readable or not."""
        return self.unreadable is not None or is_tensor(self.value)


def join(prefix: str, piece: str) -> str:
    """`prefix.piece`, or the piece alone at the top."""
    return f"{prefix}.{piece}" if prefix else piece


def children(value: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a container with the pieces that they give to keys."""
    if isinstance(value, DictValue):
        yield from ((piece, entry) for piece, _, entry in named_entries(value))
    elif isinstance(value, (list, tuple)):
        yield from ((str(index), entry) for index, entry in enumerate(value))
    elif isinstance(value, ObjectValue):
        yield from object_children(value)


def is_container(value: Any) -> bool:
    """True for what may have children: dicts, lists, tuples and objects."""
    if isinstance(value, ObjectValue):
        return value.unreadable is None
    return isinstance(value, (DictValue, list, tuple))


@dataclass(slots=True)
class _Walk:
    """One walk over a tree: what was found, where it is, and how much it may still visit."""

    visits: int
    names: int = MAX_NAMES
    leaves: list[Leaf] = field(default_factory=list)
    ancestors: set[int] = field(default_factory=set)
    flat: dict[int, bool] = field(default_factory=dict)

    def visit(self, key: str, value: Any, *, in_module: bool) -> bool:
        """Add the value's leaves; True if a tensor is among them."""
        self.visits -= 1
        if self.visits < 0:
            raise CheckpointError(
                f"its containers share parts and unfold to over {UNFOLDING} times what they hold"
            )
        self.names -= len(key) + VISIT
        if self.names < 0:
            raise CheckpointError(f"it has more names than {MAX_NAMES >> 20} MiB hold")
        if self._is_leaf(value, is_top=not key) or id(value) in self.ancestors:
            found = is_tensor(value)
            if found or not in_module:
                self.leaves.append(Leaf(key, value, why_unreadable(value)))
            return self._visit_all(key, extras(value), in_module=True) or found
        if len(self.ancestors) >= MAX_DEPTH:
            raise CheckpointError(f"nested deeper than {MAX_DEPTH} levels")
        if len(key) > MAX_PREFIX:
            raise CheckpointError(f"a container's name has over {MAX_PREFIX} characters")
        return self._descend(key, value, in_module)

    def _is_leaf(self, value: Any, *, is_top: bool) -> bool:
        """Whether a value is one entry, for which a list is scanned once, however often it is seen.

        The entries of a dict at the top are told one by one.
        """
        if not is_container(value):
            return True
        if is_top and isinstance(value, DictValue):
            return False
        if id(value) not in self.flat:
            self.flat[id(value)] = _is_flat(value) or _is_flat_dict(value)
        return self.flat[id(value)]

    def _descend(self, key: str, value: Any, in_module: bool) -> bool:
        start, inside = len(self.leaves), in_module or is_module(value)
        self.visits -= scanned(value)
        self.ancestors.add(id(value))
        found = self._visit_all(key, children(value), in_module=inside)
        found = self._visit_all(key, extras(value), in_module=True) or found
        hidden = self._count(hidden_in(value))
        if hidden:
            self.leaves.append(Leaf(key or BARE, value, _explain_buried(value, hidden)))
        elif not found and key and not in_module:
            self.leaves[start:] = [Leaf(key, value)]
        aside = len(self.leaves)
        self._visit_all(key, module_attributes(value), in_module=True)
        self.leaves[aside:] = [replace(leaf, is_aside=True) for leaf in self.leaves[aside:]]
        self.ancestors.discard(id(value))
        return found or hidden > 0

    def _visit_all(self, key: str, parts: Iterable[tuple[str, Any]], *, in_module: bool) -> bool:
        """Add the leaves of a container's parts; True if a tensor is among them."""
        visits = [self.visit(join(key, piece), part, in_module=in_module) for piece, part in parts]
        return any(visits)

    def _count(self, values: tuple[Any, ...]) -> int:
        """How many tensors stand anywhere in some values; looking costs visits."""
        found = list(_everything(*values)) if values else []
        self.visits -= len(found)
        return sum(map(is_tensor, found))


def hidden_in(value: Any) -> tuple[Any, ...]:
    """What stands in a container where no name leads to: in keys, and in calls."""
    if isinstance(value, DictValue):
        return tuple(key.value for key in value.entries if isinstance(key, OddKey))
    return buried(value) if isinstance(value, ObjectValue) else ()


def _explain_buried(value: Any, number: int) -> UnreadableSpec:
    """What a container is whose tensors stand where no name leads to."""
    name = f"an object of `{value.name}`" if isinstance(value, ObjectValue) else "a dict"
    return unreadable_spec(
        f"{name} that is made of {plural(number, 'tensor')}",
        "load it where it was made, and save its tensors in a dict",
    )


def flatten(tree: Any) -> list[Leaf]:
    """All tensors under their dotted keys, and the other entries, each container of them as one.

    `{"a": {"w": T, "n": 3}, "log": [1, 2]}` -> `a.w`, `a.n`, `log`. Lists give their indices as
    pieces; of a module only tensors are told. Raises CheckpointError for nesting without end or
    without measure.
    """
    walk = _Walk(UNFOLDING * sum(1 for _ in _everything(tree)) + FEW)
    walk.visit("", tree, in_module=False)
    return walk.leaves


def _everything(*values: Any, flat: dict[int, bool] | None = None) -> Iterator[Any]:
    """Some values and all that stands anywhere in them; what shared containers hold, once.

    `flat` remembers which lists are flat, by their ids, for many looks at one tree.
    """
    waiting, seen = list(values), set[int]()
    known = {} if flat is None else flat
    while waiting:
        value = waiting.pop()
        yield value
        if id(value) in seen or not (is_container(value) or is_tensor(value)):
            continue
        seen.add(id(value))
        for group in extra_groups(value):
            if id(group) not in seen:
                seen.add(id(group))
                waiting += group.entries.values()
        if is_module(value):
            if id(value.state) not in seen:
                seen.add(id(value.state))
                waiting += all_parts(value)
        elif isinstance(value, ObjectValue):
            waiting += all_parts(value)
        elif isinstance(value, DictValue):
            waiting += value.entries.values()
            waiting += hidden_in(value)
        elif isinstance(value, (list, tuple)):
            if id(value) not in known:
                known[id(value)] = _is_flat(value)
            waiting += () if known[id(value)] else value


def _is_flat(value: Any) -> bool:
    """Whether a value is a list of numbers and texts alone, as the losses of a training run."""
    return isinstance(value, (list, tuple)) and FLAT.issuperset(map(type, value))


def _is_flat_dict(value: Any) -> bool:
    """Whether a value is a dict of numbers and texts alone, as a vocabulary."""
    if not isinstance(value, DictValue) or value.attributes is not None:
        return False
    entries = value.entries
    return FLAT.issuperset(map(type, entries.values())) and OddKey not in set(map(type, entries))


def has_parts(value: Any) -> bool:
    """Whether a value is a container of more than numbers and texts."""
    return is_container(value) and not (_is_flat(value) or _is_flat_dict(value))


def holds_tensor(*values: Any, flat: dict[int, bool] | None = None) -> bool:
    """True if a tensor stands anywhere in the values, be it one that can't be read."""
    return any(map(is_tensor, _everything(*values, flat=flat)))


def default_root(tree: Any) -> str:
    """The first known wrapper that holds tensors, or the one inside it; "" where there is none."""
    root = ""
    chain: tuple[Any, ...] = (tree,)
    while (inner := next(_wrapped(chain), None)) and (not root or _wraps_alone(chain[-1])):
        root, chain = join(root, inner[0]), (*chain, inner[1])
    return root


def _wrapped(chain: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """The known wrappers that hold tensors in the last of a chain of dicts, none of them on it."""
    entries = chain[-1].entries if isinstance(chain[-1], DictValue) else {}
    for name in WRAPPERS:
        entry = entries.get(name)
        wraps = isinstance(entry, (DictValue, ObjectValue)) and is_container(entry)
        if wraps and not any(entry is outer for outer in chain) and holds_tensor(entry):
            yield name, entry


def _wraps_alone(tree: DictValue) -> bool:
    """True if only known wrappers and optimizers hold tensors: else another part would be lost."""
    known = {*WRAPPERS, *OPTIMIZERS}
    return not holds_tensor(*(entry for key, entry in tree.entries.items() if key not in known))


def wrappers(tree: Any) -> tuple[str, ...]:
    """The dotted roots of all known wrappers that hold tensors, those in wrappers too."""
    found: list[tuple[str, tuple[Any, ...]]] = [("", (tree,))]
    for root, chain in found:  # which grows meanwhile
        found += [(join(root, name), (*chain, entry)) for name, entry in _wrapped(chain)]
    return tuple(root for root, _ in found[1:])


def node_at(tree: Any, root: str) -> Any:
    """The container under a dotted path, or None; keys may hold dots themselves."""
    if not root:
        return tree
    for piece, entry in children(tree):
        if piece == root:
            return entry
        if piece and root.startswith(piece + ".") and is_container(entry):
            found = node_at(entry, root[len(piece) + 1 :])
            if found is not None:
                return found
    return None


def is_under(path: str, root: str) -> bool:
    """True for the root itself and what stands below it; all is below ""."""
    return not root or path == root or path.startswith(root + ".")


def under(leaves: Iterable[Leaf], root: str) -> list[Leaf]:
    """The leaves below a root, without its prefix."""
    if not root:
        return list(leaves)
    prefix = root + "."
    return [
        replace(leaf, key=leaf.key[len(prefix) :]) for leaf in leaves if leaf.key.startswith(prefix)
    ]


def tops(tree: Any) -> tuple[str, ...]:
    """Some of the top-level entries that hold tensors inside: what a root may name."""
    entries = itertools.islice(children(tree), 30)
    return tuple(
        piece for piece, entry in entries if piece and is_container(entry) and holds_tensor(entry)
    )
