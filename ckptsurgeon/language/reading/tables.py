"""Tables of names: inline, or in a JSON or CSV file beside the rule file, each entry with its line.

The entries are keys as they are. A file is read whole and shows nothing of what it holds where it
is no table: an author of rules could name one that is none of theirs.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ckptsurgeon.errors import Place, RulesetError
from ckptsurgeon.files import find_below, follow_links, near_file, read_regular
from ckptsurgeon.language.expressions import Expression, names_in
from ckptsurgeon.language.problems import shown, wrong
from ckptsurgeon.language.reading.scalars import expression, unlike
from ckptsurgeon.language.rules import Entry, Listing
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar
from ckptsurgeon.specs import human_bytes, plural

MAX_BYTES = 64 * 2**20
"""Largest file of a table: a million of entries."""

FILES = (".json", ".csv")

_WANTED = "a table `{old: new}`, a file such as names.json or names.csv, or a var"


def listing(node: Node) -> Listing | Expression:
    """The entries of a `table`, null dropping a key; an expression gives them when it is run."""
    if isinstance(node, Mapping):
        if not node.entries:
            raise wrong(node.place, f"an empty mapping; {_WANTED} is wanted")
        return Listing(tuple(_inline(*entry) for entry in node.entries), node.place.file)
    if not isinstance(node, Scalar) or node.null or node.numeric or node.truth is not None:
        raise unlike(node, _WANTED)
    if is_file(node):
        return read_file(node)
    if re.fullmatch(r"(?!config\.)[\w./-]*\.[A-Za-z]\w*", node.text):
        raise unlike(node, _WANTED)
    found = expression(node)
    if not names_in(found):
        raise unlike(node, _WANTED)
    return found


def is_file(node: Scalar) -> bool:
    """Whether a text names a file of a table."""
    return node.text.lower().endswith(FILES)


def _inline(key: Scalar, value: Node) -> Entry:
    if not isinstance(value, Scalar):
        raise unlike(value, "a key, or null to drop it,")
    return Entry(key.text, None if value.null else value.text, key.place.line)


def read_file(node: Scalar) -> Listing:
    """The entries of the file that a text names; raises RulesetError."""
    path = _beside(node)
    try:
        content = read_regular(path, MAX_BYTES)
    except OSError as error:
        near = near_file(path)
        help = f"did you mean {Path(near).name!r}?" if near else ""
        raise wrong(node.place, f"can't read {shown(node.text)}: {error.strerror}", help) from None
    if len(content) > MAX_BYTES:
        message = f"{shown(node.text)} is larger than {human_bytes(MAX_BYTES)}"
        raise wrong(node.place, message)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise wrong(node.place, f"{shown(node.text)} is no text in UTF-8") from None
    file = str(Path(node.place.file).parent / node.text)
    read = _of_json if node.text.lower().endswith(".json") else _of_csv
    entries = tuple(_once(read(text, file), file))
    if not entries:
        raise wrong(node.place, f"{shown(node.text)} has no entry")
    return Listing(entries, file)


def _beside(node: Scalar) -> Path:
    """The file: beside the rule file or below, never outside of its folder."""
    try:
        path = find_below(follow_links(node.place.file).parent, node.text)
    except OSError as error:
        raise wrong(node.place, f"can't read {shown(node.text)}: {error.strerror}") from None
    if path is None:
        raise wrong(node.place, f"{shown(node.text)} leads out of the rule file's folder")
    return path


def _once(entries: Iterable[Entry], file: str) -> Iterator[Entry]:
    """The entries; raises RulesetError for a key that stands twice."""
    lines: dict[str, int] = {}
    for entry in entries:
        if entry.old in lines:
            message = f"{shown(entry.old)} stands twice, first in line {lines[entry.old]}"
            raise wrong(Place(file, entry.line, 1), message, "leave one of them out")
        lines[entry.old] = entry.line
        yield entry


def refuse_two_of_one(entries: Listing | Expression) -> None:
    """Raises RulesetError for a new key that two entries give, each of which must be met."""
    if isinstance(entries, Expression):
        return
    lines: dict[str, int] = {}
    for entry in entries.entries:
        if entry.new is None:
            continue
        if entry.new in lines:
            message = f"{shown(entry.new)} is given twice, first in line {lines[entry.new]}"
            help = "rename or drop one; of a table with `optional: true` either may be there"
            raise wrong(Place(entries.file, entry.line, 1), message, help)
        lines[entry.new] = entry.line


# --- files ----------------------------------------------------------------------------------------


def _of_csv(text: str, file: str) -> Iterator[Entry]:
    """A line of two cells for each entry, without a header; an empty second cell drops the key.

    Spaces around a cell are none of the key's.
    """
    rows, line = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True), 1
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise wrong(Place(file, line, 1), f"the line is no CSV: {error}") from None
        if row is None:
            return
        row = [cell.strip() for cell in row]
        if row and (len(row) != 2 or not row[0]):
            found = plural(len(row), "cell") if len(row) != 2 else "an empty first cell"
            message = f"two cells, `old,new`, are wanted, found {found}"
            help = "a key with a comma stands in quotes" if len(row) > 2 else ""
            if len(row) == 1:
                other = re.search("[;\t]", row[0])
                help = "a comma parts the cells" if other else "`old,` drops a key"
            raise wrong(Place(file, line, 1), message, help)
        if row:
            yield Entry(row[0], row[1] or None, line)
        line = rows.line_num + 1


_TEXT = r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrtu])*"'
_BEGIN = re.compile(r"\s*\{\s*")
_PAIR = re.compile(rf"({_TEXT})\s*:\s*({_TEXT}|null)\s*(?:,\s*|(\}})\s*\Z)")


def _of_json(text: str, file: str) -> Iterator[Entry]:
    """An object of texts, null dropping a key."""
    begin = _BEGIN.match(text)
    at, line, closed = (begin.end() if begin else 0), 1, False
    counted = 0
    while not closed:
        found = _PAIR.match(text, at) if begin else None
        line += text.count("\n", counted, at)
        counted = at
        if found is None:
            raise _no_object(text, at, Place(file, line, 1))
        try:
            old, new = (json.loads(found[number]) for number in (1, 2))
        except ValueError:
            raise _no_object(text, at, Place(file, line, 1)) from None
        yield Entry(old, new, line)
        at, closed = found.end(), found[3] is not None


def _no_object(text: str, at: int, line: Place) -> RulesetError:
    place = replace(line, column=at - text.rfind("\n", 0, at))
    message = 'an entry `"old": "new"` or `"gone": null` of one object is wanted here'
    return wrong(place, message, _tell_json(text, at))


def _tell_json(text: str, at: int) -> str:
    """What stands in the place of an entry, by its signs alone."""
    key = re.compile(rf"{_TEXT}\s*:\s*").match(text, at)
    if key is not None:
        value = re.compile(_TEXT).match(text, key.end())
        ends = "a comma or the last `}` is missing behind it"
        return ends if value else "a new key is a text in double quotes, or null"
    if text[at : at + 1] == "}" and text[:at].rstrip().endswith(","):
        return "leave out the comma behind the last entry"
    told = {"'": "texts stand in double quotes", "[": "a list is no object of names"}
    return told.get(text[at : at + 1], "")
