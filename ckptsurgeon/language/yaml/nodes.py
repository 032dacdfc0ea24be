"""What a rule file is made of once YAML is read: scalars, sequences and mappings with their places.

Numbers and truth values are those of YAML 1.2's core schema, and only where one is wanted: a scalar
stays the text that was written until something asks for more.
"""

from __future__ import annotations

import re
from dataclasses import replace

from msgspec import Struct

from ckptsurgeon.errors import Place
from ckptsurgeon.language.expressions.terms import MAX_INTEGER
from ckptsurgeon.language.problems import shown, wrong

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")


class Scalar(Struct, frozen=True):
    """A text as written. `plain` is one without quotes, which may mean a number, truth or null.

    `shift` is how far its text begins behind its place; None where escapes or line breaks keep the
    columns of the two from running together.
    """

    text: str
    place: Place
    plain: bool = False
    shift: int | None = None

    def at(self, column: int) -> Place:
        """The place of a character of the text, where the file shows it as it is."""
        if self.shift is None:
            return self.place
        return replace(self.place, column=self.place.column + self.shift + column)

    @property
    def null(self) -> bool:
        return self.plain and self.text in _NULLS

    @property
    def truth(self) -> bool | None:
        """What `true` and `false` mean; None for anything else (`no` and `on` are text)."""
        return _TRUTH.get(self.text) if self.plain else None

    @property
    def numeric(self) -> bool:
        """Whether YAML 1.2 has a number here, `.inf` and `.nan` included."""
        kinds = (_INTEGER, _DECIMAL, _NO_NUMBER)
        return self.plain and any(kind.fullmatch(self.text) for kind in kinds)

    def number(self) -> int | float:
        """The number of a numeric scalar; raises RulesetError for one that has no use here."""
        text = self.text
        if _LEADING_ZERO.fullmatch(text):
            raise wrong(
                self.place,
                f"a number with a leading zero: {shown(text)}",
                f"write {text.lstrip('+-0') or '0'}; YAML 1.1 would have read it as octal",
            )
        if _NO_NUMBER.fullmatch(text):
            raise wrong(self.place, f"a number is wanted, found {text}", "write a finite number")
        value = _integer(text) if _INTEGER.fullmatch(text) else float(text)
        if value is None or abs(value) > MAX_INTEGER:
            raise wrong(self.place, f"a number beyond 2**63: {shown(text)}")
        return value


def _integer(text: str) -> int | None:
    # Longer ones are beyond 2**63, and int() takes time that grows with the square of the length.
    if len(text) > 25:
        return None
    bases = {"0x": 16, "0o": 8}
    return int(text, bases.get(text[:2], 10))


class Sequence(Struct, frozen=True):
    items: tuple[Node, ...]
    place: Place


class Mapping(Struct, frozen=True):
    """Keys and values in order; no key stands twice.

    It is not `whole` where there were more, which YAML's traps took and a problem has told.
    """

    entries: tuple[tuple[Scalar, Node], ...]
    place: Place
    whole: bool = True

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(key.text for key, _ in self.entries)

    def get(self, word: str) -> Node | None:
        return next((node for key, node in self.entries if key.text == word), None)


class Broken(Struct, frozen=True):
    """Something that YAML itself could not read, of which a problem has already told."""

    place: Place


Node = Scalar | Sequence | Mapping | Broken


def kind_of(node: Node) -> str:
    """What a node is, in a user's words: `a list`, `the text 'x'`, `nothing`."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Broken) or node.null:
        return "nothing (null)"
    if node.truth is not None or node.numeric:
        return shown(node.text)[1:-1]
    return f"the text {shown(node.text)}"


def is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.null


def is_whole(node: Node) -> bool:
    """Whether nothing that stands in it was taken by a trap of YAML's; without recursion."""
    waiting: list[Node] = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, Broken) or (isinstance(current, Mapping) and not current.whole):
            return False
        if isinstance(current, Sequence):
            waiting += current.items
        elif isinstance(current, Mapping):
            waiting += (value for _, value in current.entries)
    return True
