"""YAML text to nodes, in the strict subset of rule files. Nothing else in the package knows YAML.

PyYAML's events are used, not its constructors: they carry places, and no event runs, expands or
allocates anything. Anchors, aliases, tags, merge keys, duplicate keys and keys that are no text are
refused. After a trap that spoils one line the line is set aside and the rest is read again, so that
one slip doesn't hide the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

import yaml

from ckptsurgeon.errors import Place, Problem, RulesetError
from ckptsurgeon.language.problems import MAX_PROBLEMS, shown, wrong
from ckptsurgeon.language.yaml import snags, traps
from ckptsurgeon.language.yaml.nodes import Broken, Mapping, Node, Scalar, Sequence
from ckptsurgeon.language.yaml.quoting import value_begins

MAX_TEXT = 2**20
"""Largest rule file, in characters and in bytes."""

MAX_DEPTH = 150
"""Most levels of lists and mappings: 64 of `within` take two each."""

MAX_REREADS = 20

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
REFUSED = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
    "|[\u202a-\u202e\u2066-\u2069]"
)


def decode(data: bytes, file: str) -> str:
    """The text of a rule file; raises RulesetError for what is not UTF-8 or too large."""
    if len(data) > MAX_TEXT:
        raise wrong(Place(file, 1, 1), f"a rule file of {len(data)} bytes; at most {MAX_TEXT}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise wrong(
            Place(file, line, column), "a byte that is not UTF-8", "save the file as UTF-8"
        ) from None


def documents(text: str, file: str, via: str = "") -> tuple[tuple[Node, ...], tuple[Problem, ...]]:
    """The documents of a YAML text, and the problems of those parts that are Broken in them.

    `file` and `via` are those of its places. Raises RulesetError where the text can't be read to
    its end.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_TEXT:
        raise wrong(Place(file, 1, 1), f"rules of {len(text)} characters; at most {MAX_TEXT}")
    lines, start = _LINE_BREAK.split(text), Place(file, 1, 1, via=via)
    _refuse_characters(text, lines, start)
    return _read_and_reread(lines, start)


def _refuse_characters(text: str, lines: list[str], start: Place) -> None:
    if not REFUSED.search(text):
        return
    for number, line in enumerate(lines, 1):
        if found := REFUSED.search(line):
            visible = REFUSED.sub("\ufffd", line)
            place = replace(start, line=number, column=found.start() + 1, text=visible)
            raise wrong(
                place,
                f"a character that can't be shown: U+{ord(found[0]):04X}",
                "a rule file is plain UTF-8 text; remove it",
            )


def _read_and_reread(
    lines: list[str], start: Place
) -> tuple[tuple[Node, ...], tuple[Problem, ...]]:
    problems: list[Problem] = []
    lines_as_read, token = list(lines), _unused_word(lines)
    # A large text is not read again and again: each reading costs time in its length.
    rereads = min(MAX_REREADS, MAX_TEXT // (1 + sum(map(len, lines))))
    while True:
        composer = _Composer(lines, lines_as_read, start, token)
        try:
            found = tuple(composer.documents())
        except yaml.MarkedYAMLError as error:
            problem = snags.explain(snags.Snag.of(error, lines, start))
            problems.append(problem)
            rereads -= 1
            if rereads < 0 or not _set_aside(problem, lines_as_read, composer, token):
                raise RulesetError([*problems, *composer.problems]) from None
            continue
        return found, (*problems, *composer.problems)


def _unused_word(lines: list[str]) -> str:
    runs = (len(run) for line in lines for run in re.findall("unreadable(_*)", line))
    return "unreadable" + "_" * (1 + max(runs, default=-1))


def _set_aside(problem: Problem, lines: list[str], composer: _Composer, token: str) -> bool:
    """Puts the token in the place of what the line says, if it can do so without guessing."""
    if problem.place is None or composer.inside_flow_before(problem.place.line):
        return False
    at = problem.place.line - 1
    line = lines[at] if at < len(lines) else ""
    start = line[: value_begins(line.rstrip())]
    if not start.strip() or token in line or not _self_contained(line):
        return False
    lines[at] = start + token
    return True


def _self_contained(line: str) -> bool:
    even_quotes = line.count('"') % 2 == 0 and line.count("'") % 2 == 0
    return even_quotes and sum(map(line.count, "[{")) == sum(map(line.count, "]}"))


@dataclass(slots=True)
class _Frame:
    """An open list or mapping (or the document) and what has been read of it."""

    place: Place
    mapping: bool = False
    flow: bool = False
    children: list[Node] = field(default_factory=list)


class _Composer:
    """Nodes out of events, with a stack of its own, so that depth costs no recursion."""

    def __init__(
        self, lines: list[str], lines_as_read: list[str], start: Place, token: str
    ) -> None:
        self.lines, self.text, self.token = lines, "\n".join(lines_as_read), token
        self.file, self.via = start.file, start.via
        self.problems: list[Problem] = []
        self.frames: list[_Frame] = []
        self.anchors: set[str] = set()

    def inside_flow_before(self, line: int) -> bool:
        """Whether a `[` or `{` of an earlier line is open."""
        return any(frame.flow and frame.place.line < line for frame in self.frames)

    def documents(self) -> Iterator[Node]:
        for event in yaml.parse(self.text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                if event.version or event.tags:
                    self.problems.append(traps.directive(self.place(event)))
                self.frames = [_Frame(self.place(event))]
            elif isinstance(event, yaml.DocumentEndEvent):
                yield self.frames.pop().children[0]
            elif isinstance(event, yaml.NodeEvent):
                self.begin(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.add(self.finished(self.frames.pop()))

    def place(self, event: Any) -> Place:
        mark = event.start_mark
        line = self.lines[mark.line] if mark.line < len(self.lines) else ""
        return Place(self.file, mark.line + 1, mark.column + 1, line, self.via)

    def begin(self, event: yaml.NodeEvent) -> None:
        place = self.place(event)
        if len(self.problems) >= MAX_PROBLEMS:
            raise RulesetError(self.problems)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                self.problems.append(traps.alias(place))
            self.add(Broken(place))
            return
        decorated = self.refuse_decoration(event, place)
        if isinstance(event, yaml.ScalarEvent):
            self.add(Broken(place) if decorated else self.scalar(event, place))
            return
        if len(self.frames) > MAX_DEPTH:
            raise wrong(place, f"more than {MAX_DEPTH} levels of lists and mappings")
        mapping = isinstance(event, yaml.MappingStartEvent)
        self.frames.append(_Frame(place, mapping, bool(getattr(event, "flow_style", False))))

    def refuse_decoration(self, event: Any, place: Place) -> bool:
        """Whether there was an anchor or a tag, of which a problem then tells."""
        if event.anchor is not None:
            self.problems.append(traps.anchor(place))
            self.anchors.add(event.anchor)
        if event.tag is not None:
            self.problems.append(traps.tag(place))
        return event.anchor is not None or event.tag is not None

    def scalar(self, event: Any, place: Place) -> Node:
        text = event.value
        if text == self.token and not event.style:
            return Broken(place)
        one_line = event.start_mark.line == event.end_mark.line
        odd = REFUSED.search(text) or (one_line and re.search("[\t\n\r\x85\u2028\u2029]", text))
        if odd and event.style == '"':
            self.problems.append(traps.escape(place, odd[0]))
            return Broken(place)
        shift = 1 if event.style in ("'", '"') else 0
        begins = place.column - 1 + shift
        exact = event.style in (None, "", "'", '"') and place.text.startswith(text, begins)
        return Scalar(text, place, not event.style, shift if exact else None)

    def add(self, node: Node) -> None:
        self.frames[-1].children.append(node)

    def finished(self, frame: _Frame) -> Node:
        if not frame.mapping:
            return Sequence(tuple(frame.children), frame.place)
        entries: dict[str, tuple[Scalar, Node]] = {}
        if problem := traps.tuple_in_mapping(frame.children):
            self.problems.append(problem)
            return Broken(frame.place)
        for key, value in zip(frame.children[::2], frame.children[1::2], strict=True):
            if self.usable_key(key, entries):
                entries[key.text] = (key, value)
        if frame.children and not entries:
            return Broken(frame.place)
        whole = 2 * len(entries) == len(frame.children)
        return Mapping(tuple(entries.values()), frame.place, whole)

    def usable_key(self, key: Node, entries: dict[str, tuple[Scalar, Node]]) -> TypeGuard[Scalar]:
        if isinstance(key, Broken):
            return False
        if not isinstance(key, Scalar):
            self.problems.append(traps.complex_key(key.place))
        elif key.text == "<<" and key.plain:
            self.problems.append(traps.merge_key(key.place))
        elif key.text in entries:
            first = entries[key.text][0].place.line
            help = f"it stands in line {first} already; keep one of the two"
            self.problems.append(Problem(f"{shown(key.text)} stands twice", key.place, help))
        else:
            return True
        return False
