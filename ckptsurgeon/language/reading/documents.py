"""A whole rule file: its documents to stages, all problems of all of them told at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from ckptsurgeon.errors import Place, Problem
from ckptsurgeon.files import follow_links
from ckptsurgeon.language.problems import Problems, shown, told, wrong
from ckptsurgeon.language.reading.fields import NOTHING
from ckptsurgeon.language.reading.includes import included_path, read_included
from ckptsurgeon.language.reading.rule_lines import Context, Included, read_rules
from ckptsurgeon.language.reading.scalars import unlike
from ckptsurgeon.language.reading.sections import FORMAT, STAGE
from ckptsurgeon.language.reading.variables import read_vars
from ckptsurgeon.language.rules import OutputOptions, Rule, Ruleset, SourceOptions, Stage
from ckptsurgeon.language.yaml.composing import MAX_TEXT, documents
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence

MAX_INCLUDED = 64
"""Most rulesets that one file includes, directly and through others."""


class _Budget(Struct):
    """What one file may still include, directly and through others."""

    rulesets: int = MAX_INCLUDED
    characters: int = MAX_TEXT


class _Origin(Struct, frozen=True):
    """Where rules come from: the name to show, and the files that include one another down to it.

    `via` is where the last of these is included, for its places. `problems` keeps what is wrong in
    any of them, `texts` what stands there.
    """

    file: str
    problems: Problems
    chain: tuple[Path, ...] = ()
    via: str = ""
    within: int = 0
    budget: _Budget = field(default_factory=_Budget)
    texts: dict[str, str] = field(default_factory=dict)


def read_ruleset(text: str, file: str, path: Path | None = None) -> Ruleset:
    """The ruleset that a text says, as far as it can be read, with the problems of the rest.

    `path` is the file that it is from, for what it includes.
    """
    origin = _Origin(file, Problems(), () if path is None else (follow_links(path),))
    stages: tuple[Stage, ...] = ()
    with origin.problems.at():
        stages = _read_stages(text, origin)
    return _ruleset(stages, origin)


def read_nodes(document: Node, problems: Iterable[Problem], file: str) -> Ruleset:
    """The ruleset of a document that no file is behind, as `read_ruleset` gives it.

    `problems` are those of what is Broken in it.
    """
    origin = _Origin(file, Problems())
    return _ruleset(_stages((document,), problems, origin), origin)


def _ruleset(stages: tuple[Stage, ...], origin: _Origin) -> Ruleset:
    """A file of which nothing could be read has a stage, as every other has."""
    file = origin.file
    given = stages or (Stage((), Place(file, 1, 1)),)
    return Ruleset(file, given, tuple(origin.problems), origin.texts)


def _read_stages(text: str, origin: _Origin) -> tuple[Stage, ...]:
    origin.texts[origin.file] = text
    found, problems = documents(text, origin.file, origin.via)
    if not found:
        help = f"begin with `format: {FORMAT}`"
        raise wrong(Place(origin.file, 1, 1), "an empty rule file", help)
    return _stages(found, problems, origin)


def _stages(
    found: tuple[Node, ...], problems: Iterable[Problem], origin: _Origin
) -> tuple[Stage, ...]:
    """A stage for each document; `problems` are those that its YAML has told already."""
    origin.problems.take(problems)
    stages = []
    for node in found:
        stage = Stage((), node.place)
        with origin.problems.at():
            stage = _stage(node, origin)
        stages.append(stage)
        if origin.problems.full:
            break
    return tuple(stages)


# --- one document ---------------------------------------------------------------------------------


def _stage(node: Node, origin: _Origin) -> Stage:
    if not isinstance(node, Mapping):
        raise unlike(node, f"a mapping that begins with `format: {FORMAT}`")
    _refuse_other_format(node)
    read, vars = NOTHING, None
    with origin.problems.at():
        read = STAGE.read(node)
    if "format" not in node.words:
        help = f"write `format: {FORMAT}`"
        origin.problems.add("`format` is missing in a rule file", node.place, help)
    with origin.problems.at():
        vars = read_vars(node.get("vars"), origin.problems)
    rules = _rules(node.get("rules"), origin, frozenset(vars or ()))
    return Stage(
        () if vars is None or _may_hold_vars(node) else rules,
        node.place,
        read.get("about", ""),
        read.get("source", SourceOptions()),
        read.get("output", OutputOptions()),
        read.get("unmatched", "copy"),
        vars or {},
    )


def _may_hold_vars(node: Mapping) -> bool:
    """Whether names of vars may stand under a word that is misspelt or twice there.

    The rules of such a document are read and no more: a name that seems unknown may be known.
    """
    strange = (value for key, value in node.entries if key.text not in STAGE.fields)
    return not node.whole or any(isinstance(value, Mapping) for value in strange)


def _rules(node: Node | None, origin: _Origin, vars: frozenset[str]) -> tuple[Rule, ...]:
    """The rules of a document, which may do without: every key is then copied."""

    def include(name: Scalar, levels: int) -> Included:
        return _include(name, replace(origin, within=levels))

    if node is None or _is_empty(node):
        return ()
    with origin.problems.at():
        return read_rules(node, Context(vars, include, origin.problems, origin.within))
    return ()


def _is_empty(node: Node) -> bool:
    """Whether nothing stands there: `[]`, or comments alone, such as suggestions may be."""
    if isinstance(node, Sequence):
        return not node.items
    return isinstance(node, Scalar) and node.null


def _refuse_other_format(node: Mapping) -> None:
    """Raises RulesetError for another version, whose words nothing more can be said of."""
    found = node.get("format")
    if found is None or (isinstance(found, Scalar) and found.plain and found.text == str(FORMAT)):
        return
    if isinstance(found, Scalar) and found.numeric:
        help = f"this version of ckptsurgeon reads `format: {FORMAT}`"
        raise wrong(found.place, f"format {shown(found.text)[1:-1]} is not known", help)
    raise unlike(found, f"`format: {FORMAT}`")


# --- included rulesets ----------------------------------------------------------------------------


def _include(name: Scalar, origin: _Origin) -> Included:
    """The rules and vars of `rules: name`, with places of their own."""
    path = included_path(name, origin.chain)
    origin.budget.rulesets -= 1
    if origin.budget.rulesets < 0:
        raise wrong(name.place, f"more than {MAX_INCLUDED} rulesets included by one file")
    if origin.budget.characters < 0:
        raise told()
    text = read_included(path, name)
    origin.budget.characters -= len(text)
    if origin.budget.characters < 0:
        message = f"rulesets of more than {MAX_TEXT} characters in all included by one file"
        raise wrong(name.place, message)
    file = f"{name.text}.yaml"
    if name.text.startswith("."):
        file = str(Path(origin.file).parent / name.text)
    inner = replace(origin, file=file, chain=(*origin.chain, path), via=_told(name.place))
    stages = _read_stages(text, inner)
    if len(stages) != 1:
        message = f"{shown(file)} has {len(stages)} documents; one that is included has one"
        raise wrong(name.place, message)
    return stages[0].rules, stages[0].vars


def _told(place: Place) -> str:
    """A place with the places through which its own file is included."""
    return f"{place}, included at {place.via}" if place.via else str(place)
