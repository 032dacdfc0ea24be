"""Captures as regular expressions, format strings and routes have them, and as they are here.

Each function gives both sides of an arrow as they might have been meant; who calls it reads, or
compiles, what it gives before it says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ckptsurgeon.language.problems import MAX_SHOWN

Sides = tuple[str, str]

_INTEGER = r"\\d(?:[+*?]|\{[\d,]*\})*|\[[\d-]+\][+*?]*"
_KINDS = (
    (re.compile(rf"\s*(?:{_INTEGER})\s*"), ""),
    (re.compile(r"\.[+*]\??"), ":path"),
    (re.compile(r"\\[wS][+*]\??|\[\^?[\w.\-\\/]+\][+*]\??|\*"), ":str"),
)
"""What a group of a regular expression matches, as the kind of a capture."""

_WORDS = re.compile(r"\w+(?:[|,]\s*\w+)+")
_SPAN = re.compile(r"(\d{1,9})\s*(?:-|\.\.+)\s*(\d{1,9})")

MOST_WORDS = 20
"""Integers of a span that are listed."""

_ALTERNATIVES = re.compile(
    r"\(\w+(?:\|\w+)+\)|\{\w+(?:,\w+)+\}"
    r"|\{\d+(?:-|\.\.)\d+\}|(?<=[._])\d+(?:-|\.\.)\d+(?=[._]|$)"
)

_CAPTURE = re.compile(
    rf"""
      \((?:\?P?<(?P<name>\w+)>|\?:)?(?P<group>[^()]*)\)              # (\d+), (?P<i>\d+)
    | <(?:int|str|path):(?P<typed>\w+)>                                # <int:i>
    | <(?P<kinded>\w+):(?P<regex>[^<>]*[\\*+\[][^<>]*|\d+(?:-|\.\.)\d+)>  # <i:\d+>, <i:0-3>
    | <(?:(?P<of>[A-Za-z_]\w*)\s*(?:in|=)\s*)?(?P<span>\d+(?:-|\.\.)\d+)>  # <i in 0..3>
    | (?<=[._])(?:\[(?P<bracketed>[A-Za-z_]\w*)\]|[:@](?P<marked>[A-Za-z_]\w*))  # [i], :i, @i
    | \[(?P<list>\d+(?:,\s*\d+)+)\]                                    # [0, 1]
    | \{{(?P<braces>\w+(?:,\w+)+|\d+\.\.\d+)\}}                        # {{q,k}}, {{0..3}}
    | (?<=\w)\[(?P<item>0|[1-9]\d*)\](?![+*?])                         # blocks[0]
    | (?P<digits>{_INTEGER})                                           # \d+, [0-9]+
    | (?P<rest>\\\.\.[*+]) | (?P<front>^\^?\.[*+]\\\.)                 # fc\..*, .*\.bias
    | <(?P<star>\**)>                                                  # <*>, <>
    | (?P<escape>\\[._/-]) | (?P<end>^\^|\$$)                          # \. ^ $
    """,
    re.VERBOSE,
)
"""What a source has in the place of a capture, or of plain text."""

_REFERENCE = re.compile(
    r"""
      \\(?:g<)?(?P<number>\d)>? | \$\{?(?P<dollar>\d)\}?              # \1, \g<1>, $1
    | <(?P<angled>\d)> | \{(?P<braced>\d?)\}                           # <1>, {1}, {}
    | (?P<same>\(\w+(?:\|\w+)+\)|\{\w+(?:,\w+)+\}|\{\d+\.\.\d+\})      # (q|k), {q,k}
    | \$?\{(?P<formula>[A-Za-z_][^{}]*)\} | \\g<(?P<group>\w+)>        # {i+1}, ${i}, \g<i>
    | (?<=[._])(?:\[(?P<bracketed>[A-Za-z_]\w*)\]|[:@](?P<marked>[A-Za-z_]\w*))
    | <(?:int|str|path):(?P<typed>\w+)> | <(?P<star>\**)>
    | (?<=\w)\[(?P<item>0|[1-9]\d*)\](?=[.\w])
    """,
    re.VERBOSE,
)
"""What a target has in the place of a name."""

_NAMED = re.compile(r"<(\w+)(?::[^<>]*)?>")


def other_notations(source: str, target: str) -> Iterator[Sides]:
    """Both sides of an arrow as they may have been meant, the likeliest first."""
    if len(source) + len(target) > 2 * MAX_SHOWN:
        return
    sides = _translate(source.removeprefix("re:"), target.removeprefix("re:"))
    if sides is None:
        return
    yield sides
    paired = _pair_names(*sides)
    if paired != sides:
        yield paired


def _translate(source: str, target: str) -> Sides | None:
    """Captures for groups, and their names for what stands for groups; None where that fails."""
    taken = {*_NAMED.findall(source), *re.findall(r"\{(\w+)", target)}
    free = {kind: (n for n in letters if n not in taken) for kind, letters in _LETTERS.items()}
    groups: list[str] = []

    def capture(found: re.Match[str]) -> str:
        given = found.groupdict()
        if found["escape"] or found["end"]:
            return found[0].lstrip("\\^").rstrip("$")
        if found["rest"] or found["front"]:
            return ".**" if found["rest"] else "**."
        if found["item"]:
            return f".{found['item']}"
        if found["star"] is not None:
            return found["star"] or _name(next(free[""], ""), "", groups)
        name = given["name"] or given["typed"] or given["kinded"] or given["bracketed"]
        name = name or given["marked"] or given["of"] or ""
        if found["digits"]:
            return "<_:int>"
        forms = ("group", "regex", "span", "list", "braces")
        kind = _kind_of(next(filter(None, map(given.get, forms)), ""))
        if kind is None:
            return found[0]
        return _name(name or next(free[kind if kind in free else ":str"], ""), kind, groups)

    ours = _CAPTURE.sub(capture, source)
    count = iter(groups)

    def refer(found: re.Match[str]) -> str:
        number = found["number"] or found["dollar"] or found["angled"] or found["braced"]
        if found["star"] or found["item"]:
            return found["star"] or f".{found['item']}"
        if number:
            return f"<{groups[int(number) - 1]}>" if 0 < int(number) <= len(groups) else found[0]
        name = found["formula"] or found["group"] or found["bracketed"] or found["marked"]
        name = name or found["typed"] or next(count, "")
        return f"<{name}>" if name else found[0]

    return None if re.search(r"[\\^$()+?]", ours) else (ours, _REFERENCE.sub(refer, target))


_LETTERS = {"": "ijkn", ":path": ("rest", "r", "v"), ":str": "pqst"}


def _name(name: str, kind: str, groups: list[str]) -> str:
    groups.append(name)
    return f"<{name}{kind}>"


def _kind_of(group: str) -> str | None:
    """The kind of a capture that matches what a group does; None for one that has none."""
    if not group:
        return ""
    if words := _words_of(group):
        return f":{'|'.join(words)}"
    return next((kind for form, kind in _KINDS if form.fullmatch(group)), None)


def find_alternatives(text: str) -> tuple[str, list[str]] | None:
    """`(q|k|v)`, `{q,k,v}` or `{0..2}` in a key, and the words that it stands for."""
    found = _ALTERNATIVES.search(text)
    words = _words_of(found[0].strip("(){}")) if found else []
    return (found[0], words) if found and words else None


def _words_of(text: str) -> list[str]:
    """The words of `q|k|v`, `q,k,v` and `0..2`; none for other texts."""
    if _WORDS.fullmatch(text):
        return re.split(r"[|,]\s*", text)
    span = _SPAN.fullmatch(text)
    numbers = range(int(span[1]), int(span[2]) + 1) if span else range(0)
    return list(map(str, numbers)) if len(numbers) <= MOST_WORDS else []


def _pair_names(source: str, target: str) -> Sides:
    """The one capture, or star, that each side has alone made one."""
    left, right = set(_NAMED.findall(source)), set(_NAMED.findall(target))
    ours, theirs = sorted(left - right), sorted(right - left)
    stars = (source.count("*"), target.count("*"))
    if len(ours) == 1 == len(theirs):
        return source, re.sub(rf"<{theirs[0]}(?=[>:])", f"<{ours[0]}", target)
    if len(ours) == 1 and stars == (0, 1):
        return source, target.replace("*", f"<{ours[0]}>")
    if len(theirs) == 1 and stars == (1, 0):
        return source.replace("*", f"<{theirs[0]}>"), target
    return source, target
