"""Rules from the command line: `-e 'A -> B'`, or any rule as one would write it in a file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence as List
from dataclasses import replace

from msgspec import structs

from ckptsurgeon.errors import Place, Problem, RulesetError
from ckptsurgeon.language import catalog
from ckptsurgeon.language.places import COMMAND_LINE
from ckptsurgeon.language.problems import Problems, wrong
from ckptsurgeon.language.yaml.composing import documents
from ckptsurgeon.language.yaml.nodes import Broken, Mapping, Node, Scalar, Sequence
from ckptsurgeon.language.yaml.objects import from_object, line_of
from ckptsurgeon.language.yaml.quoting import without_brackets

_STARRED = re.compile(r"(?P<word>drop|keep):\s+(?P<key>\*[^\s#'\"]*)\s*")
"""A word with a pattern that begins with a star: the shell has quoted it, so YAML has no say."""


def nodes_of_arrows(arrows: List[str]) -> tuple[Mapping, tuple[Problem, ...]]:
    """The document of a rule file that holds these rules, and the problems of those left out.

    Lines are the numbers of the texts.
    """
    problems = Problems()
    rules = problems.gather(_numbered, enumerate(arrows, 1))
    place = Place(COMMAND_LINE, 1, 1)
    format_ = (Scalar("format", place), Scalar("1", place, plain=True))
    document = Mapping((format_, (Scalar("rules", place), Sequence(tuple(rules), place))), place)
    return document, tuple(problems)


def _numbered(numbered: tuple[int, str]) -> Node:
    number, text = numbered
    return node_of_line(text, Place(COMMAND_LINE, number, 1, line_of(text)))


def node_of_line(text: str, line: Place) -> Node:
    """The node of a rule in one text, as it is typed. Raises RulesetError for what is none."""
    if not text.strip():
        raise wrong(line, "an empty rule", "write one, such as `OLD -> NEW`")
    _refuse_other_words(text, line)
    arrow, ops = _split_ops(text)
    starred = _STARRED.fullmatch(text)
    if starred is not None:
        at = replace(line, column=starred.start("key") + 1)
        return Mapping(((Scalar(starred["word"], line), Scalar(starred["key"], at)),), line)
    if not arrow:
        return _read_yaml(text, 0, line)
    key = _written(arrow, line)
    if not ops:
        return key
    at = replace(line, column=len(text) + 1)
    value = _read_yaml(ops, len(text) - len(ops), line) if ops.strip() else Scalar("", at, True)
    return Mapping(((key, value),), line)


def _refuse_other_words(text: str, line: Place) -> None:
    """Raises RulesetError for a rule file, a list and several rules where one rule is wanted."""
    lines = text.strip().splitlines()
    if "->" not in text and text.endswith(catalog.RULE_FILES):
        raise wrong(line, "a rule file where a rule is wanted", f"write `-r {shlex.quote(text)}`")
    if len(lines) > 1 and all("->" in one for one in lines):
        raise wrong(line, f"{len(lines)} rules in one -e", "give each an -e of its own")
    if len(lines) == 1 and text.startswith("- "):
        raise wrong(line, "a list where one rule is wanted", "leave out the `- `")


def _split_ops(text: str) -> tuple[str, str]:
    """An arrow, which YAML has no say in, and what stands behind its colon; else two empty texts.

    The shell has quoted a `*` or a `#` already.
    """
    plain = without_brackets(text)
    arrow, colon = plain.find("->"), re.search(r"(?<!\\):(?:\s|$)", plain)
    if arrow < 0 or "\n" in text or text.startswith(("{", "'", '"', "- ")):
        return "", ""
    if colon is None:
        return text, ""
    if colon.start() < arrow:
        return "", ""
    return text[: colon.start()], text[colon.end() :] or " "


def _written(text: str, line: Place) -> Scalar:
    """The scalar of an arrow, whose columns are those of the line."""
    found = from_object(text, line)
    if not isinstance(found, Scalar):
        raise TypeError(f"{text!r} is a text")
    return structs.replace(found, shift=0)


def _read_yaml(text: str, column: int, line: Place) -> Node:
    """The node of a text, which stands at a column of the line."""
    try:
        found, problems = documents(" " * column + text, line.file)
        if problems:
            raise RulesetError(problems)
    except RulesetError as error:
        raise RulesetError(
            replace(problem, place=_moved_place(problem.place or line, line))
            for problem in error.problems
        ) from None
    if len(found) != 1:
        raise wrong(line, f"{len(found)} rules in one -e", "give each an -e of its own")
    return _moved(found[0], line)


def _moved_place(place: Place, line: Place) -> Place:
    return replace(place, line=line.line, text=line.text)


def _moved(node: Node, line: Place) -> Node:
    """The node with its text's number for a line."""
    place = _moved_place(node.place, line)
    if isinstance(node, Scalar | Broken):
        return structs.replace(node, place=place)
    if isinstance(node, Sequence):
        return Sequence(tuple(_moved(item, line) for item in node.items), place)
    keys = (structs.replace(key, place=_moved_place(key.place, line)) for key, _ in node.entries)
    values = (_moved(value, line) for _, value in node.entries)
    return Mapping(tuple(zip(keys, values, strict=True)), place)
