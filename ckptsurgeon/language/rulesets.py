"""Rule files: from YAML, or from plain Python values, to a Ruleset with a place for each value."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ckptsurgeon.errors import Place, Problem, RulesetError
from ckptsurgeon.files import near_file
from ckptsurgeon.language import catalog
from ckptsurgeon.language.places import COMMAND_LINE, PYTHON_RULES
from ckptsurgeon.language.problems import Problems
from ckptsurgeon.language.reading.arrows import nodes_of_arrows
from ckptsurgeon.language.reading.documents import read_nodes, read_ruleset
from ckptsurgeon.language.reading.includes import read_text
from ckptsurgeon.language.reading.rule_kinds import RULE_WORDS
from ckptsurgeon.language.reading.sections import STAGE
from ckptsurgeon.language.rules import Ruleset, Stage
from ckptsurgeon.language.yaml import objects
from ckptsurgeon.wanted import kind_of
from ckptsurgeon.wording import choose

Rules = str | os.PathLike[str] | Mapping[str, object] | Sequence[object] | Ruleset
"""Rules as the API takes them: a path, a shipped name, a dict, a list, or a Ruleset."""


def load_ruleset(rules: Rules) -> Ruleset:
    """The ruleset of a file, a shipped name, a dict as YAML would give it, or a list of rules.

    Raises RulesetError, which holds every problem with its place.
    """
    return _without_problems(load_with_problems(rules))


def load_with_problems(rules: Rules) -> Ruleset:
    """As `load_ruleset`, with the problems in the ruleset: those of its compiling can join them."""
    if isinstance(rules, Ruleset):
        return rules
    if isinstance(rules, str | os.PathLike):
        return _of_file(os.fspath(rules))
    if isinstance(rules, Mapping):
        _refuse_renames(rules)
        return read_nodes(*objects.document(rules), PYTHON_RULES)
    if isinstance(rules, Sequence) and not isinstance(rules, bytes | bytearray):
        whole = {"format": 1, "rules": list(rules)}
        return read_nodes(*objects.document(whole), PYTHON_RULES)
    message = f"{kind_of(rules)} where rules are wanted: a path, a name, a dict or a list"
    raise RulesetError([Problem(message, None, _tell_kind(rules))])


def _tell_kind(rules: object) -> str:
    """The next step for what is given for rules."""
    if isinstance(rules, bytes | bytearray):
        return "give a text, `.decode()`"
    if hasattr(rules, "state_dict") or hasattr(rules, "contents"):
        return "a destination is given by `into=…`"
    if hasattr(rules, "outputs"):
        return "a plan is run by `transplant` and `apply`"
    if hasattr(rules, "read"):
        return "give the path of the file, or `yaml.safe_load` of it"
    if callable(rules):
        return "a rule is a text, such as 'OLD -> NEW'"
    if isinstance(rules, Iterable):
        return "give a list, `list(…)`: the order of rules matters"
    return "a list of rules is `['OLD -> NEW']`"


def _refuse_renames(rules: Mapping[str, object]) -> None:
    """Raises RulesetError for a dict that is a rule, or old names to new ones, and no file."""
    if not rules or STAGE.fields.keys() & rules.keys():
        return
    old, new = next(iter(rules.items()))
    if old in RULE_WORDS:
        help = f"give a list of rules: `[{{{old!r}: …}}]`"
        raise RulesetError([Problem("a rule where rules are wanted", None, help)])
    if isinstance(old, str) and isinstance(new, str):
        help = f"give a list of rules: `[{f'{old} -> {new}'!r}]`"
        raise RulesetError([Problem("a dict of names where rules are wanted", None, help)])


def parse_ruleset(text: str, file: str) -> Ruleset:
    """The ruleset that a YAML text says; `file` is what its places are called."""
    return _without_problems(read_ruleset(text, file))


def rules_from_arrows(arrows: Sequence[str]) -> Ruleset:
    """The ruleset of rules from the command line: `A -> B`, or any rule as YAML has it.

    Its problems are in it, as `load_with_problems` has them.
    """
    return read_nodes(*nodes_of_arrows(arrows), COMMAND_LINE)


def _without_problems(ruleset: Ruleset) -> Ruleset:
    problems = Problems()
    problems.take(ruleset.problems)
    problems.raise_if_any()
    return ruleset


def _tell_text(text: str) -> str:
    """The next step in Python for the text of a rule file; YAML reads one stage at a time."""
    staged = re.search(r"^---", text, re.MULTILINE)
    return "write it to a file" if staged else "give `yaml.safe_load(text)`, or write it to a file"


def _of_file(name: str) -> Ruleset:
    try:
        return _read_file(name)
    except RulesetError as error:
        return Ruleset(name, (Stage((), Place(name, 1, 1)),), error.problems)


def _read_file(name: str) -> Ruleset:
    path = Path(name)
    if "\n" in name:
        help = choose("write it to a file, or give its rules by -e", _tell_text(name))
        problem = Problem("the text of a rule file where its path is wanted", None, help)
        raise RulesetError([problem])
    if ("->" in name or ": " in name) and not path.is_file():
        help = choose(f"write `-e {shlex.quote(name)}`", f"give a list of rules: `[{name!r}]`")
        problem = Problem(f"a rule where rules are wanted: {name!r}", None, help)
        raise RulesetError([problem])
    if not (path.is_file() or path.suffix in catalog.RULE_FILES or path.name != name):
        path, name = catalog.path_of(name), f"{name}.yaml"
    try:
        return read_ruleset(read_text(path, name), name, path)
    except OSError as error:
        near = near_file(path) if isinstance(error, FileNotFoundError) else ""
        help = f"did you mean `{near}`?" if near else ""
        problem = Problem(f"can't read the rule file: {error.strerror}", Place(name, 1, 1), help)
        raise RulesetError([problem]) from None
