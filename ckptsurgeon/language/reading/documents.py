"""A whole rule file: its documents to stages, all problems of all of them told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ckptsurgeon.errors import Place, Problem, RulesetError
from ckptsurgeon.language.gathering import MAX_PROBLEMS, Gathering, both, shown, wrong
from ckptsurgeon.language.reading.fields import read_fields
from ckptsurgeon.language.reading.includes import included_path, read_text
from ckptsurgeon.language.reading.rule_lines import Context, Included, read_rules
from ckptsurgeon.language.reading.scalars import unlike
from ckptsurgeon.language.reading.sections import FORMAT, STAGE
from ckptsurgeon.language.reading.variables import names
from ckptsurgeon.language.rules import OutputOptions, Rule, Ruleset, SourceOptions, Stage
from ckptsurgeon.language.yaml.composing import documents
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence

MAX_INCLUDED = 64
"""Most rulesets that one file includes, directly and through others."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where rules come from: the name to show, and the files that include one another down to it.

    `budget` gives an item for each ruleset that may still be included.
    """

    file: str
    chain: tuple[Path, ...] = ()
    budget: Iterator[int] = field(default_factory=lambda: iter(range(MAX_INCLUDED)))


def read_ruleset(text: str, file: str, path: Path | None = None) -> Ruleset:
    """The ruleset that a text says. `path` is the file that it is from, for what it includes.

    Raises RulesetError with all problems, in the order of their places.
    """
    origin = _Origin(file, () if path is None else (path.resolve(),))
    return Ruleset(file, _in_order(lambda: _read_stages(text, origin)))


def read_nodes(document: Node, problems: Iterable[Problem], file: str) -> Ruleset:
    """The ruleset of a document that no file is behind, with the problems of what is Broken in it.

    Raises RulesetError as `read_ruleset` does.
    """
    return Ruleset(file, _in_order(lambda: _stages((document,), problems, _Origin(file))))


def _in_order(read: Callable[[], tuple[Stage, ...]]) -> tuple[Stage, ...]:
    """The stages; problems are sorted, told once each, and no more of them than are of use."""
    try:
        return read()
    except RulesetError as error:
        problems = sorted(dict.fromkeys(error.problems), key=_by_place)
    if len(problems) > MAX_PROBLEMS:
        more = Problem(f"more than {MAX_PROBLEMS} problems; the others are not listed")
        problems = [*problems[:MAX_PROBLEMS], more]
    raise RulesetError(problems)


def _by_place(problem: Problem) -> tuple[bool, Place]:
    return problem.place is None, problem.place or Place("", 0, 0)


def _read_stages(text: str, origin: _Origin, within: int = 0) -> tuple[Stage, ...]:
    found, problems = documents(text, origin.file)
    return _stages(found, problems, origin, within)


def _stages(
    found: tuple[Node, ...], problems: Iterable[Problem], origin: _Origin, within: int = 0
) -> tuple[Stage, ...]:
    """A stage for each document; `problems` are those that its YAML has told already."""
    if not found:
        raise wrong(
            Place(origin.file, 1, 1), "an empty rule file", f"begin with `format: {FORMAT}`"
        )
    gathering = Gathering()
    if told := tuple(problems):
        gathering.add(told)
    stages = []
    for node in found:
        stage = gathering.attempt(_stage, node, origin, within)
        if stage is not None:
            stages.append(stage)
        if gathering.full:
            break
    gathering.finish()
    return tuple(stages)


# --- one document ---------------------------------------------------------------------------------


def _stage(node: Node, origin: _Origin, within: int) -> Stage:
    if not isinstance(node, Mapping):
        raise unlike(node, f"a mapping that begins with `format: {FORMAT}`")
    _refuse_other_format(node)

    def include(name: Scalar, levels: int) -> Included:
        return _include(name, levels, origin)

    context = Context(names(node.get("vars")), include, within)
    (read, rules), _ = both(
        lambda: both(
            lambda: read_fields(node, STAGE, "a rule file"),
            lambda: _rules(node.get("rules"), context),
        ),
        lambda: _need_format(node),
    )
    return Stage(
        rules,
        node.place,
        read.get("about", ""),
        read.get("source", SourceOptions()),
        read.get("output", OutputOptions()),
        read.get("unmatched", "copy"),
        read.get("vars", {}),
    )


def _rules(node: Node | None, context: Context) -> tuple[Rule, ...]:
    """The rules of a document, which may do without: every key is then copied."""
    if node is None or (isinstance(node, Sequence) and not node.items):
        return ()
    return read_rules(node, context)


def _need_format(node: Mapping) -> None:
    if node.get("format") is None:
        raise wrong(node.place, "`format` is missing in a rule file", f"write `format: {FORMAT}`")


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


def _include(name: Scalar, within: int, origin: _Origin) -> Included:
    """The rules and vars of `rules: name`, with places of their own."""
    path = included_path(name, origin.chain)
    if next(origin.budget, None) is None:
        raise wrong(name.place, f"more than {MAX_INCLUDED} rulesets included by one file")
    file = f"{name.text}.yaml"
    if name.text.startswith("."):
        file = str(Path(origin.file).parent / name.text)
    inner = replace(origin, file=file, chain=(*origin.chain, path))
    try:
        text = read_text(path, file)
    except OSError as error:
        raise wrong(name.place, f"can't read {shown(file)}: {error.strerror}") from None
    stages = _read_stages(text, inner, within)
    if len(stages) != 1:
        message = f"{shown(file)} has {len(stages)} documents; one that is included has one"
        raise wrong(name.place, message)
    return stages[0].rules, stages[0].vars
