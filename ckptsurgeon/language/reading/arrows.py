"""Rules from the command line: `-e 'A -> B'`, or any rule as one would write it in a file."""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import replace

from msgspec import structs

from ckptsurgeon.errors import Place, Problem, RulesetError
from ckptsurgeon.language.problems import Problems, wrong
from ckptsurgeon.language.yaml.composing import documents
from ckptsurgeon.language.yaml.nodes import Broken, Mapping, Node, Scalar, Sequence
from ckptsurgeon.language.yaml.objects import from_object, line_of

FILE = "-e"


def nodes_of_arrows(arrows: List[str]) -> tuple[Mapping, tuple[Problem, ...]]:
    """The document of a rule file that holds these rules, and the problems of those left out.

    Lines are the numbers of the texts.
    """
    problems = Problems()
    rules = problems.gather(_rule, enumerate(arrows, 1))
    place = Place(FILE, 1, 1)
    format_ = (Scalar("format", place), Scalar("1", place, plain=True))
    document = Mapping((format_, (Scalar("rules", place), Sequence(tuple(rules), place))), place)
    return document, tuple(problems)


def _rule(numbered: tuple[int, str]) -> Node:
    number, text = numbered
    line = Place(FILE, number, 1, line_of(text))
    if _is_plain_arrow(text):
        return from_object(text, line)
    try:
        found, problems = documents(text, FILE)
        if problems:
            raise RulesetError(problems)
    except RulesetError as error:
        raise RulesetError(
            replace(problem, place=replace(problem.place or line, line=number))
            for problem in error.problems
        ) from None
    if len(found) != 1:
        raise wrong(line, f"{len(found)} rules in one -e", "give each an -e of its own")
    return _moved(found[0], number)


def _is_plain_arrow(text: str) -> bool:
    """Whether YAML has no say in it: the shell has quoted a `*` or a `#` already."""
    yaml = text.startswith(("{", "[", "'", '"', "- ")) or ": " in text or text.endswith(":")
    return "->" in text and "\n" not in text and not yaml


def _moved(node: Node, number: int) -> Node:
    """The node with its text's number for a line."""
    place = replace(node.place, line=number)
    if isinstance(node, Scalar | Broken):
        return structs.replace(node, place=place)
    if isinstance(node, Sequence):
        return Sequence(tuple(_moved(item, number) for item in node.items), place)
    keys = (structs.replace(key, place=replace(key.place, line=number)) for key, _ in node.entries)
    values = (_moved(value, number) for _, value in node.entries)
    return Mapping(tuple(zip(keys, values, strict=True)), place)
