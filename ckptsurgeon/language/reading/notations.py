"""Captures as regular expressions, format strings and routes have them, and as they are here.

Nothing here matches more than what was written could have; who calls it reads, or compiles, what
it gives before it says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from ckptsurgeon.language.patterns import name_groups
from ckptsurgeon.language.problems import MAX_SHOWN

Sides = tuple[str, str]

MOST_WORDS = 20
"""Integers of a span that are listed."""

_KINDS = (
    (re.compile(r"\s*(?:\\d|\[0-9\])[+*]\s*"), ""),
    (re.compile(r"\.[+*]"), ":path"),
    (re.compile(r"(?:\\[wS]|\[\^\.\]|\[\^\\\.\])[+*]|\*"), ":str"),
)
"""What a group of a regular expression matches, as the kind of a capture."""

_WORDS = re.compile(r"\w+(?:[|,]\s*\w+)+")
OTHER_SPAN = re.compile(r"(\d{1,18})\s*(?:-|\N{EN DASH}|\.\.+|to)\s*(\d{1,18})")
"""A range of integers as it is written elsewhere; ours is `a..b`."""

_DIGIT_CLASS = re.compile(r"\[(\d)-(\d)\]")

_ALTERNATIVES = re.compile(
    r"\(\w+(?:\|\w+)+\)|\{\w+(?:,\w+)+\}"
    r"|\{\d+(?:-|\.\.)\d+\}|(?<=[._])\d+(?:-|\.\.)\d+(?=[._]|$)"
)

_LETTERS = {"": "ijkn", ":path": ("rest", "r", "v"), ":str": "pqst"}
"""Names for captures that have none, by their kind."""

_CAPTURE = re.compile(
    r"""
      \((?:\?P?<(?P<name>\w+)>)?(?P<group>[^()]*)\)                      # (\d+), (?P<i>\d+)
    | <(?:int|str|path):(?P<typed>\w+)>                                    # <int:i>
    | <(?P<kinded>\w+):(?P<regex>[^<>]*[\\*+\[][^<>]*|\d+(?:-|\.\.)\d+)>     # <i:\d+>, <i:0-3>
    | <(?:(?P<of>[A-Za-z_]\w*)\s*(?:in|=)\s*)?(?P<span>\d+(?:-|\.\.)\d+)>    # <i in 0..3>
    | (?<=[._])(?:\[(?P<bracketed>[a-z]|idx|layer|block)\]|[:@](?P<marked>[A-Za-z_]\w*))
    | \[(?P<list>\d+(?:,\s*\d+)+)\]                                        # [0, 1]
    | \{(?P<braces>\w+(?:,\w+)+|\d+\.\.\d+)\}                              # {q,k}, {0..3}
    | (?<=\w)\[(?P<item>0|[1-9]\d*)\](?![+*?])                             # blocks[0]
    | (?P<digits>(?:\\d|\[0-9\])\+)                                        # \d+, [0-9]+
    | (?P<rest>\\\.\.[*+]$) | (?P<front>^\.[*+]\\\.)                       # fc\..*, .*\.bias
    | <(?P<star>\**)>                                                      # <*>, <>
    | (?P<escape>\\[._/-])                                                 # \.
    """,
    re.VERBOSE,
)
"""What a source has in the place of a capture, or of plain text."""

_REFERENCE = re.compile(
    r"""
      \\(?:g<)?(?P<number>\d)>? | \$\{?(?P<dollar>\d)\}?                  # \1, \g<1>, $1
    | <(?P<angled>\d)> | \{(?P<braced>\d?)\}                               # <1>, {1}, {}
    | \(\?P=(?P<again>\w+)\) | \(\?P?<(?P<named>\w+)>[^()]*\)              # (?P=i), (?P<i>\d+)
    | (?P<same>\([^()]*\)|\{\w+(?:,\w+)+\}|\{\d+\.\.\d+\}|\\d\+|\[0-9\]\+) # (q|k), as in the source
    | \$?\{(?P<formula>[A-Za-z_][^{},]*)\} | \\g<(?P<group>[A-Za-z_]\w*)>  # {i+1}, ${i}, \g<i>
    | (?<=[._])(?:\[(?P<bracketed>[a-z]|idx|layer|block)\]|[:@](?P<marked>[A-Za-z_]\w*))
    | <(?:int|str|path):(?P<typed>\w+)> | <(?P<star>\**)>
    | (?<=\w)\[(?P<item>0|[1-9]\d*)\](?=[.\w]) | (?P<escape>\\[._/-](?!\.[*+]))
    | (?P<rest>\\\.\.[*+]$) | (?P<front>^\.[*+]\\\.)                       # fc\..*, .*\.bias
    """,
    re.VERBOSE,
)
"""What a target has in the place of a name."""

_NUMBERED = re.compile(r"\\(?:g<)?\d|\$\{?\d|<\d>|\{\d?\}")
"""A group by its number, in a target."""

_NAMED = re.compile(r"<(\w+)(?::[^<>]*)?>")
_BARE = re.compile(r"<([A-Za-z_]\w*)>")
_USED = re.compile(r"<([A-Za-z_]\w*)[^<>]*>")
_LEFT_OVER = re.compile(r"[\\^$()|?{}]|<[^\w<>]|<>")
_PREFIX = re.compile(r"(?P<alias>\w+::)?(?:re:|regex:)?\^?(?P<text>.*?)\$?")


def other_notations(source: str, target: str) -> Iterator[Sides]:
    """Both sides of an arrow as they may have been meant, the plainest first."""
    if len(source) + len(target) > 2 * MAX_SHOWN:
        return
    front, begins = _PREFIX.fullmatch(source), _PREFIX.fullmatch(target)
    if front is None or begins is None:
        return
    alias, text, to = front["alias"] or "", front["text"], begins["text"]
    (text, index), (to, part) = _split_slice(text), _split_slice(to)
    own = set(_NAMED.findall(text))
    lonely = [name for name in dict.fromkeys(_USED.findall(to)) if name not in own]
    groups = _Groups({*own, *lonely, *re.findall(r"\{(\w+)", to)})
    ours = groups.read(text)
    if ours is not None and len(lonely) == 1 and not _NUMBERED.search(to):
        ours = groups.rename_only(ours, lonely[0])
    theirs = groups.refer(to) if ours is not None else None
    if ours is not None and theirs is not None:
        ours = _name_digits(ours, theirs)
        if not set(_BARE.findall(theirs)).difference(_NAMED.findall(ours)):
            yield f"{alias}{ours}{index}", f"{theirs}{part}"
    if not index and (named := _named_regex(text, to)):
        yield f"{alias}re:{named[0]}", f"{named[1]}{part}"


def other_patterns(text: str) -> Iterator[str]:
    """A pattern as it may have been meant where no target goes with it."""
    for source, _ in other_notations(text, ""):
        if not re.search(r":(?:str|path)>", source):  # which takes more than a group may have
            yield source


def _split_slice(text: str) -> Sides:
    """A reference without its slice, and the slice."""
    found = re.fullmatch(r"(.*[^\\.])(\[(?:[^\[\]]*:[^\[\]]*|-?\d+(?:,\s*-?\d+)*)\])", text)
    return (found[1], found[2]) if found else (text, "")


class _Group(Struct, frozen=True):
    """A capture that was made of what a source has: its name, what stood there, and its words."""

    name: str
    text: str
    words: tuple[str, ...] = ()


class _Groups:
    """The captures of a source in order, from which its target is written."""

    def __init__(self, taken: set[str], found: Iterable[_Group] = ()) -> None:
        self._unnamed: list[str] = []
        free = {kind: [n for n in names if n not in taken] for kind, names in _LETTERS.items()}
        self._free = {kind: iter(names) for kind, names in free.items()}
        self._found = list(found)
        self._fails = False

    def read(self, source: str) -> str | None:
        """The source with captures; None where something is left over, or would match more."""
        ours = _CAPTURE.sub(self._capture, source)
        loose = "\\" in source and re.search(r"\.\*(?!\*)", ours)  # a regex' `.*`, no star of ours
        return None if self._fails or loose or re.search(r"[\\^$()+?]|\[[^\]]*-", ours) else ours

    def _capture(self, found: re.Match[str]) -> str:
        if found["escape"]:
            return found[0][1:]
        if found["rest"] or found["front"]:
            return ".**" if found["rest"] else "**."
        if found["item"]:
            return f".{found['item']}"
        if found["star"]:
            return found["star"]
        if found["digits"]:
            return "<_:int>"
        given = found.groupdict()
        forms = ("group", "regex", "span", "list", "braces")
        inside = next(filter(None, map(given.get, forms)), "")
        words = words_of(inside)
        kind = f":{'|'.join(words)}" if words else _kind_of(inside)
        if kind is None:
            self._fails = True
            return found[0]
        names = ("name", "typed", "kinded", "bracketed", "marked", "of")
        name = next(filter(None, map(given.get, names)), "")
        if not name:
            name = next(self._free[kind if kind in self._free else ":str"], "")
            self._unnamed.append(name)
        self._fails = self._fails or not name
        self._found.append(_Group(name, found[0], tuple(words)))
        return f"<{name}{kind}>"

    def rename_only(self, ours: str, name: str) -> str:
        """The source with a name for the one group that has none; as it is where there are more."""
        if len(self._unnamed) != 1:
            return ours
        old = self._unnamed[0]
        self._found = [replace(one, name=name) if one.name == old else one for one in self._found]
        return re.sub(rf"<{old}(?=[>:])", f"<{name}", ours)

    def refer(self, target: str) -> str | None:
        """The target with the names of captures; None where something is left over."""
        self._base = 0 if "{0}" in target else 1
        self._left = list(self._found)
        theirs = _REFERENCE.sub(self._refer, target)
        return None if self._fails or _LEFT_OVER.search(_NAMED.sub("", theirs)) else theirs

    def _refer(self, found: re.Match[str]) -> str:
        if found["rest"] or found["front"]:
            return ".**" if found["rest"] else "**."
        if found["star"] or found["item"] or found["escape"]:
            return found["star"] or (f".{found['item']}" if found["item"] else found[0][1:])
        number = found["number"] or found["dollar"] or found["angled"]
        if number or found["braced"]:
            at = int(number) - 1 if number else int(found["braced"]) - self._base
            return self._take(self._found[at] if 0 <= at < len(self._found) else None)
        names = ("again", "named", "formula", "group", "bracketed", "marked", "typed")
        if name := next(filter(None, map(found.groupdict().get, names)), ""):
            return f"<{name}>"
        if found["same"]:
            return self._take(self._alike(found["same"]))
        return self._take(self._left.pop(0) if self._left else None)

    def _take(self, group: _Group | None) -> str:
        self._fails = self._fails or group is None
        return f"<{group.name}>" if group else ""

    def _alike(self, text: str) -> _Group | None:
        """The capture of what stands in the source as it stands in the target."""
        words = tuple(words_of(text.strip("(){}")))
        alike = [one for one in self._left if text == one.text or (words and words == one.words)]
        if alike:
            self._left.remove(alike[0])
        return next(iter(alike), None)


def _kind_of(inside: str) -> str | None:
    """The kind of a capture that matches what a group does; None for one that has none."""
    if not inside:
        return ""
    return next((kind for form, kind in _KINDS if form.fullmatch(inside)), None)


def _name_digits(source: str, target: str) -> str:
    """The source with the name that only the target has for its integers without one."""
    names = set(_USED.findall(target)).difference(_NAMED.findall(source))
    alone = source.count("<_:int>") == 1 == len(names)
    return source.replace("<_:int>", f"<{next(iter(names))}>") if alone else source


_DOT = re.compile(r"(\\.|\[(?:\\.|[^\]])*\])|\.(?![*+?{])")
"""A dot that stands for itself; what is escaped, or in brackets, is passed over."""

_REGEX = re.compile(r"\\[dDwWsS.]|\(|\[\^?[\w.-]+\][+*?]|\[\w-\w\]")


def _named_regex(source: str, target: str) -> Sides | None:
    """A regular expression with names for its groups, and a target that has these."""
    if source.startswith("[") or not _REGEX.search(source):
        return None
    source = re.sub(r"\(\?P?<\d+>", "(", source)
    source = re.sub(r"(?<!\?P)(?<!\?)<([A-Za-z_]\w*)>", r"(?P<\1>[0-9]+)", source)
    own = re.findall(r"\(\?P?<(\w+)>", source)
    named_there = [name for name in _USED.findall(target) if not name.isdecimal()]
    lonely = [name for name in dict.fromkeys(named_there) if name not in own]
    unnamed = len(re.findall(r"(?<!\\)\((?!\?)", source))
    alone = len(lonely) == 1 == unnamed and not _NUMBERED.search(target)
    names = lonely if alone else [one for one in "ijkn" if one not in (*own, *lonely)]
    if lonely and not alone:
        return None
    named = name_groups(source, names) or source
    dotted = _DOT.sub(lambda found: found[1] or r"\.", named)
    known = [_Group(name, "") for name in re.findall(r"\(\?P?<(\w+)>", named)]
    to = _Groups(set(), known).refer(target)
    return None if to is None else (dotted, to)


# --- words ----------------------------------------------------------------------------------------


def find_alternatives(text: str) -> tuple[str, list[str]] | None:
    """`(q|k)`, `{q,k}` or `{0..2}` in a key, and the words that it stands for."""
    found = _ALTERNATIVES.search(text)
    words = words_of(found[0].strip("(){}")) if found else []
    return (found[0], words) if found and words else None


def words_of(text: str) -> list[str]:
    """The words of `q|k|v`, `q,k,v`, `0..2` and `[0-2]`; none for other texts."""
    if _WORDS.fullmatch(text):
        return re.split(r"[|,]\s*", text)
    span = OTHER_SPAN.fullmatch(text) or _DIGIT_CLASS.fullmatch(text)
    numbers = range(int(span[1]), int(span[2]) + 1) if span else range(0)
    return list(map(str, numbers)) if len(numbers) <= MOST_WORDS else []


# --- names that don't meet ------------------------------------------------------------------------


def pair_names(source: str, target: str) -> Sides:
    """The one capture, or star, that each side has alone made one."""
    if "(" in source + target:
        return source, target
    left, right = set(_NAMED.findall(source)) - {"_"}, set(_NAMED.findall(target))
    ours, theirs = sorted(left - right), sorted(right - left)
    stars = (_count_stars(source), _count_stars(target))
    if len(ours) == 1 == len(theirs):
        return source, re.sub(rf"<{theirs[0]}(?=[>:])", f"<{ours[0]}", target)
    if len(ours) == 1 and stars == (0, 1):
        return source, target.replace("*", f"<{ours[0]}>")
    if len(theirs) == 1 and stars == (1, 0):
        return source.replace("*", f"<{theirs[0]}>"), target
    return source, target


def _count_stars(text: str) -> int:
    """How many stars a text has that stand for one piece."""
    return len(re.findall(r"(?<!\*)\*(?!\*)", text))
