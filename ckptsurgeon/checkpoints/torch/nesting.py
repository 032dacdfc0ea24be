"""From the nested values of a torch file to dotted keys, and which part of it holds the weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ckptsurgeon.checkpoints.torch.inert import DictValue, ObjectValue, TensorRecord, key_text
from ckptsurgeon.errors import CheckpointError

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

MAX_DEPTH = 100
"""Deepest nesting that is followed; a model's own nesting stays below 30."""

MAX_PREFIX = 1000
"""Longest name of a container, in characters: each entry in it begins with that."""

UNFOLDING = 8
"""How many times its entries a tree may unfold to, where containers share parts."""

FEW = 10_000
"""Entries that any tree may unfold to."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value with its dotted key; a TensorRecord, or what has no tensor in it."""

    key: str
    value: Any

    @property
    def is_tensor(self) -> bool:
        return isinstance(self.value, TensorRecord)


def join(prefix: str, piece: str) -> str:
    """`prefix.piece`, or the piece alone at the top."""
    return f"{prefix}.{piece}" if prefix else piece


def is_module(value: Any) -> bool:
    """True for a pickled nn.Module and for an object of TorchScript."""
    if not isinstance(value, ObjectValue) or not isinstance(value.state, DictValue):
        return False
    return value.name.module.startswith("__torch__") or "_parameters" in value.state.entries


def children(value: Any) -> Iterator[tuple[str | None, Any]]:
    """The entries of a container with their pieces; None where a key is neither text nor int."""
    if isinstance(value, DictValue):
        yield from ((key_text(key), entry) for key, entry in value.entries.items())
    elif isinstance(value, (list, tuple)):
        yield from ((str(index), entry) for index, entry in enumerate(value))
    elif is_module(value):
        yield from _module_children(value.state)


def _module_children(state: DictValue) -> Iterator[tuple[str | None, Any]]:
    """What a module's state dict would hold: parameters, buffers that persist, submodules."""
    passing = _names(state.entries.get("_non_persistent_buffers_set"))
    for group in _groups(state):
        for key, entry in group.entries.items():
            if isinstance(entry, _WEIGHTY) and key not in passing:
                yield key_text(key), entry


def _groups(state: DictValue) -> list[DictValue]:
    """The dicts of an nn.Module's state; TorchScript keeps all in one."""
    if "_parameters" not in state.entries:
        return [state]
    names = ("_parameters", "_buffers", "_modules")
    groups = (state.entries.get(name) for name in names)
    return [group for group in groups if isinstance(group, DictValue)]


_WEIGHTY = (TensorRecord, ObjectValue, DictValue, list, tuple)
"""What may be or hold tensors; a module's other attributes are no part of its state dict."""


def _names(value: Any) -> frozenset[str]:
    """The texts in a set as the pickle spells it: a call with a list."""
    held = value.arguments[0] if isinstance(value, ObjectValue) and value.arguments else None
    names = held if isinstance(held, list) else []
    return frozenset(name for name in names if isinstance(name, str))


def is_container(value: Any) -> bool:
    """True for what has children: dicts, lists, tuples and modules."""
    return isinstance(value, (DictValue, list, tuple)) or is_module(value)


@dataclass(slots=True)
class _Walk:
    """One walk over a tree: what was found, where it is, and how much it may still visit."""

    visits: int
    leaves: list[Leaf] = field(default_factory=list)
    ancestors: set[int] = field(default_factory=set)

    def visit(self, key: str, value: Any, *, in_module: bool) -> bool:
        """Add the value's leaves; True if a tensor is among them."""
        self.visits -= 1
        if self.visits < 0:
            raise CheckpointError(
                f"its containers share parts and unfold to over {UNFOLDING} times what they hold"
            )
        if not is_container(value) or id(value) in self.ancestors:
            is_tensor = isinstance(value, TensorRecord)
            unreadable = isinstance(value, ObjectValue) and value.reason
            if not in_module or is_tensor or unreadable:
                self.leaves.append(Leaf(key, value))
            return is_tensor
        if len(self.ancestors) >= MAX_DEPTH:
            raise CheckpointError(f"nested deeper than {MAX_DEPTH} levels")
        if len(key) > MAX_PREFIX:
            raise CheckpointError(f"a container's name has over {MAX_PREFIX} characters")
        return self._descend(key, value, in_module)

    def _descend(self, key: str, value: Any, in_module: bool) -> bool:
        start, found, inside = len(self.leaves), False, in_module or is_module(value)
        self.ancestors.add(id(value))
        for piece, entry in children(value):
            if piece is None:
                self.leaves.append(Leaf(join(key, "?"), entry))
            elif self.visit(join(key, piece), entry, in_module=inside):
                found = True
        self.ancestors.discard(id(value))
        if not found and key and not in_module:
            self.leaves[start:] = [Leaf(key, value)]
        return found


def flatten(tree: Any) -> list[Leaf]:
    """All tensors under their dotted keys, and the other entries, each container of them as one.

    `{"a": {"w": T, "n": 3}, "log": [1, 2]}` -> `a.w`, `a.n`, `log`. Lists give their indices as
    pieces; of a module only tensors are told. Raises CheckpointError for nesting without end or
    without measure.
    """
    walk = _Walk(UNFOLDING * sum(1 for _ in _everything(tree)) + FEW)
    walk.visit("", tree, in_module=False)
    return walk.leaves


def _everything(*values: Any) -> Iterator[Any]:
    """Some values and all that stands anywhere in them; what shared containers hold, once."""
    waiting = list(values)
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        yield value
        if is_container(value) and id(value) not in seen:
            seen.add(id(value))
            waiting += [entry for _, entry in children(value)]


def holds_tensor(*values: Any) -> bool:
    """True if a tensor stands anywhere in the values."""
    return any(isinstance(value, TensorRecord) for value in _everything(*values))


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
        wraps = isinstance(entry, DictValue) or is_module(entry)
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
        Leaf(leaf.key[len(prefix) :], leaf.value) for leaf in leaves if leaf.key.startswith(prefix)
    ]


def tops(tree: Any) -> tuple[str, ...]:
    """Some of the top-level entries that hold tensors inside: what a root may name."""
    entries = itertools.islice(children(tree), 30)
    return tuple(
        piece for piece, entry in entries if piece and is_container(entry) and holds_tensor(entry)
    )
