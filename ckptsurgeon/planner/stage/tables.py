"""What a stage reads: the tensors of each alias by key, and who has taken what of them."""

from __future__ import annotations

import bisect
import itertools
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ckptsurgeon.keys import group_forms, has_digits
from ckptsurgeon.language.patterns import Matcher
from ckptsurgeon.ops.indexing import Index, Region
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.plans.fates import Claim
from ckptsurgeon.plans.graph import Leaf, Node, RuleInfo
from ckptsurgeon.plans.views import SourceView, Unchanged
from ckptsurgeon.specs import TensorSpec


class Leaves(Mapping[str, Leaf]):
    """The tensors of a checkpoint by the rules' keys, each made a leaf when it is asked for."""

    def __init__(self, view: SourceView) -> None:
        self._alias, self.specs = view.alias, view.specs
        self._name_of = str if isinstance(view.names, Unchanged) else view.names.__getitem__

    def __getitem__(self, key: str) -> Leaf:
        return Leaf(self._alias, key, self.specs[key], self._name_of(key))

    def __contains__(self, key: object) -> bool:
        return key in self.specs

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)


@dataclass(frozen=True, slots=True)
class TakenPart:
    """What a slice took of a key; `index` is the slice."""

    region: Region
    rule: CompiledRule
    claim: Claim
    index: Index


def tell_taken(taker: RuleInfo | None) -> str:
    """The next step where a key is another rule's; arrows and blocks alone can reuse keys."""
    reuse = ", or give the other `reuse: true`" if taker and taker.kind == "move" else ""
    return f"the first rule that matches a key takes it: reorder{reuse or ', or leave one out'}"


@dataclass(slots=True)
class Holdings:
    """Who has taken which key of one alias, whole or in parts.

    `reused` are the keys that rules read and left for others, `sliced` those that some rule takes
    in slices, `winners` what gave the keys that those of a fallback would have given.
    """

    whole: dict[str, Claim] = field(default_factory=dict)
    reused: dict[str, Claim] = field(default_factory=dict)
    parts: dict[str, list[TakenPart]] = field(default_factory=dict)
    sliced: dict[str, RuleInfo] = field(default_factory=dict)
    winners: dict[str, RuleInfo] = field(default_factory=dict)

    def is_used(self, key: str) -> bool:
        """Whether any rule has read the key or a part of it."""
        return key in self.whole or key in self.reused or key in self.parts

    def taker(self, key: str) -> RuleInfo | None:
        """The rule that took the key whole."""
        claim = self.whole.get(key)
        return claim.rule if claim else None


LARGE = 1000
"""Keys from which on it pays to sort them by what they are without their integers."""


class Table:
    """The tensors of one alias; finds keys by the literal text that they hold.

    `rules` are those of the stage before that gave them, where there is one.
    """

    def __init__(
        self,
        alias: str,
        nodes: Mapping[str, Node],
        rules: Mapping[str, RuleInfo | None] | None = None,
        *,
        has_unreadable: bool = False,
    ) -> None:
        self.alias, self.nodes, self.rules = alias, nodes, rules or {}
        self.has_unreadable = has_unreadable
        self.held = Holdings()

    @cached_property
    def _keys(self) -> list[str]:
        return list(self.nodes)

    @cached_property
    def _sorted(self) -> list[int]:
        """The numbers of the keys by their order as texts."""
        return sorted(range(len(self._keys)), key=self._keys.__getitem__)

    @cached_property
    def _by_form(self) -> dict[str, array[int]]:
        """The numbers of the keys by their forms."""
        return group_forms(self._keys)

    @cached_property
    def specs(self) -> Mapping[str, TensorSpec]:
        """The specs of the tensors, in their order."""
        if isinstance(self.nodes, Leaves):
            return self.nodes.specs
        return {key: node.spec for key, node in self.nodes.items()}

    def candidates(self, matcher: Matcher) -> Iterable[str]:
        """The keys that can match, in their order."""
        if matcher.literal:
            return (matcher.prefix,) if matcher.prefix in self.nodes else ()
        if not matcher.prefix and not matcher.needle:
            return self.nodes
        if len(self.nodes) >= LARGE and not has_digits(matcher.prefix + matcher.needle):
            numbers = list(itertools.chain(*self._of_forms(matcher)))
        elif matcher.prefix:
            numbers = self._beginning(matcher.prefix)
        else:
            return self.nodes
        return map(self._keys.__getitem__, sorted(numbers))

    def cost_of_forms(self, matcher: Matcher) -> int:
        """What it costs to go through the forms for the candidates of a matcher."""
        by_forms = len(self.nodes) >= LARGE and not has_digits(matcher.prefix + matcher.needle)
        if matcher.literal or not by_forms or not (matcher.prefix or matcher.needle):
            return 0
        return 2 * len(self._by_form) if matcher.reads_forms else len(self._by_form) // 4

    def _beginning(self, prefix: str) -> list[int]:
        """The keys that begin with a prefix: those up to the prefix with a later last letter."""
        start = bisect.bisect_left(self._sorted, prefix, key=self._keys.__getitem__)
        stem = prefix.rstrip(chr(sys.maxunicode))
        if not stem:
            return self._sorted[start:]
        later = stem[:-1] + chr(ord(stem[-1]) + 1)
        return self._sorted[
            start : bisect.bisect_left(self._sorted, later, key=self._keys.__getitem__)
        ]

    def _of_forms(self, matcher: Matcher) -> Iterator[array[int]]:
        """The keys whose forms hold the matcher's literals: often those that it matches.

        A form is a key without its integers: there are few of them, even of a million keys.
        """
        matches = matcher.program.fullmatch if matcher.reads_forms else None
        for form, numbers in self._by_form.items():
            is_held = form.startswith(matcher.prefix) and matcher.needle in form
            if is_held and (matches is None or matches(form)):
                yield numbers
