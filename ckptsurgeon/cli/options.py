"""The words that several commands share, and what is made of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import click

from ckptsurgeon.cli.guesses import KINDS_OF_FINDING
from ckptsurgeon.cli.streams import (
    STREAM,
    open_spec_stream,
    read_config_stream,
    read_ruleset_stream,
)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def read_assignments(words: Iterable[str], option: str, form: str) -> dict[str, str]:
    """`name=value` words as a dict."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if option == "--source" and (sides := _split_word(word)) is not None:
            name, value = sides
        if option == "--source" and not equals:
            named = shlex.quote(f"NAME={word or 'PATH'}")
            told = f"the one source stands alone; a further one is `--source {named}`"
            raise click.UsageError(f"{option} {word}: wanted {form}: {told}")
        if not (name and equals and value):
            raise click.UsageError(f"{option} {word}: wanted {form}")
        if name in found:
            raise click.UsageError(f"{option} {name}: given twice")
        found[name] = value
    return found


def _split_word(word: str) -> tuple[str, str] | None:
    """The alias and the path of `ALIAS=PATH`, whose words may hold a `=`, as `<p:a=b>`."""
    if "<" not in word:
        return None
    from ckptsurgeon.file_names import split_word

    return split_word(word)


def read_paths(
    context: click.Context, option: click.Parameter, words: tuple[str, ...]
) -> str | dict[str, str] | None:
    """One path alone, or several by their aliases; "" is the one without a name."""
    from ckptsurgeon.file_names import split_word

    found: dict[str, str] = {}
    for word in words:
        alias, path = split_word(word) or ("", word)
        if alias in found:
            name = option.opts[0] if len(option.opts) == 1 else min(option.opts, key=len)
            twice = f"{name} {alias}=: given twice" if alias else f"{name} stands twice"
            help = "it takes one value, or ALIAS=PATH for each output"
            raise click.UsageError(f"{twice}: {help}")
        if alias and not path:
            raise click.BadParameter(f"{word}: no path behind `=`", context, option)
        found[alias] = path
    return found.get("") if found.keys() <= {""} else found


def read_bytes(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """The bytes of a size such as 128MiB or 5GB."""
    from ckptsurgeon.specs import parse_bytes

    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from None


def _join(*options: Decorator) -> Decorator:
    """One decorator for several options, which `--help` shows in this order."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


class Name(click.Path):
    """A name of a file, a folder or a factory, as it is; shells complete it like one of a file.

    What there is of it is told later: click would ask the disk, which some names stop.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name itself."""
        return value


PATH = Name()


class Kinds(click.Choice[str]):
    """Kinds of finding to accept; who names a key is told how single ones are accepted."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The kind; raises BadParameter."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            several = re.split(r"\s*,\s*", str(value))
            if len(several) > 1 and all(one in self.choices for one in several):
                how = " ".join(f"--allow {one}" for one in several)
                raise click.BadParameter(f"write {how}", ctx, param) from None
            if "." not in str(value):
                raise
            drop, keep = (shlex.quote(f"{word}: {value}") for word in ("drop", "keep"))
            how = f"a kind is of all keys: of one say -e {keep}, and -e {drop} if the source has it"
            raise click.BadParameter(f"{error.message}; {how}", ctx, param) from None


KINDS = Kinds(KINDS_OF_FINDING)

one_shard = click.option(
    "--one-shard", is_flag=True, help="A shard of a set is meant, not all of it."
)


def further_sources(second: str = "DST", first: str = "SRC") -> Decorator:
    """The options that name further sources, and say how they and both files are opened."""
    return _join(
        click.option(
            "--source",
            "named",
            multiple=True,
            metavar="ALIAS=PATH",
            help="Further source, whose keys are ALIAS::KEY in rules; 's*=GLOB' numbers files, "
            "'r<r>=mp_rank_<r:02>.pt' takes their numbers. May be repeated.",
        ),
        click.option(
            "--root",
            multiple=True,
            metavar="[ALIAS=]NAME",
            help=f"Wrapper to open in {first}, or in the source ALIAS; "
            f"dst=NAME in {second}. May be repeated.",
        ),
        one_shard,
    )


rule_file = _join(
    click.option(
        "-o",
        "--output",
        metavar="RULES",
        type=PATH,
        help="The rule file that is written; without it the rules are printed.",
    ),
    click.option("--force", is_flag=True, help="Replace a rule file that exists."),
)
"""The options of every command that writes rules."""


def read_rule_file(output: str | None, *, force: bool) -> str | None:
    """The file that rules are written to, its name and its place checked; None for stdout."""
    if output is None or output == STREAM:
        return None
    from ckptsurgeon.checkpoints.writing.staging import refuse_file
    from ckptsurgeon.drafting.saving import refuse_name

    refuse_name(Path(output))
    refuse_file(Path(output), force=force)
    return output


given_rules = _join(
    click.option(
        "-r",
        "--rules",
        multiple=True,
        metavar="RULES",
        type=PATH,
        help="Rule file, shipped ruleset, or - for stdin. May be repeated: each further one is a "
        "stage that reads what the one before gives.",
    ),
    click.option(
        "-e",
        "--rule",
        "arrows",
        multiple=True,
        metavar="RULE",
        help="One rule, as 'A -> B'; stands before those of the last file. May be repeated.",
    ),
)
"""The options that give rules."""

variables = _join(
    click.option(
        "--config",
        metavar="JSON",
        type=PATH,
        help="Model config that vars may look into.",
    ),
    click.option(
        "--set",
        "given",
        multiple=True,
        metavar="NAME=VALUE",
        help="Overrides a var by an expression, as 8 or '[[1, 3], [0, 2]]'. May be repeated.",
    ),
)
"""The options that vars of rules look into."""

inputs = _join(
    click.argument("source", metavar="[SRC]", required=False, type=PATH),
    click.option(
        "--into",
        metavar="[ALIAS=]DST",
        type=PATH,
        multiple=True,
        callback=read_paths,
        help="What the result must fit: checkpoint, JSON spec (- for stdin), or factory "
        "(pkg.mod:name, transformers:FOLDER, timm:NAME). Of several outputs one for each, also as "
        "'rank<r>=mp_rank_<r:02>.pt'.",
    ),
    click.option(
        "--model-args",
        metavar="JSON",
        help="Arguments of the factory that DST, or else SRC, names.",
    ),
    given_rules,
    further_sources(),
    variables,
    click.option(
        "--allow",
        multiple=True,
        type=KINDS,
        metavar="KIND",
        help="Accepts findings of this kind: missing or mismatched (the keys keep DST's values), "
        "unexpected, unused, unreadable, nothing. May be repeated.",
    ),
)
"""The options of every command that makes a plan."""

only = click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Tensors whose keys match, as in rules: 'fc.*', 'layers.<i>.**'. May be repeated.",
)

MOST_JOBS = 64
"""More threads than processors gain nothing; far more only cost."""

jobs = click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1, MOST_JOBS),
    help="Threads; one for each processor, up to 8, unless given.",
)

memory = click.option(
    "--memory",
    metavar="SIZE",
    callback=read_bytes,
    help="Bytes to hold of tensors at a time, as 128MiB; 256MiB unless given.",
)


def formats_with(*further: str) -> Decorator:
    """The option that says how a result is printed: as text, as JSON, or in a further format."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["text", "json", *further]),
        default="text",
        show_default=True,
        help="How it is printed; JSON is complete, and never folded.",
    )


formats = formats_with()
color = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colours; auto: on a terminal, unless NO_COLOR is set or TERM is dumb.",
)
verbose = click.option(
    "-v", "--verbose", is_flag=True, help="Fold and cut nothing, as far as the format has room."
)


def report_with(*further: str) -> Decorator:
    """The options of a command that prints a report, in text, JSON or a further format."""
    return _join(formats_with(*further), color, verbose)


report = report_with()

quiet = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    help="Print no report unless there are findings; of those allowed, the last line.",
)


def prepare(words: Mapping[str, Any], output: str | Mapping[str, str] | None) -> Any:
    """The Execution that a command's words ask for; `output` is what it will write, if anything."""
    has_unnamed = isinstance(output, str) or (output is not None and "" in output)
    return aim(request(words, has_unnamed=has_unnamed).prepare(), output, words)


def aim(execution: Any, output: str | Mapping[str, str] | None, words: Mapping[str, Any]) -> Any:
    """The execution with the paths of its outputs."""
    from ckptsurgeon.file_names import paths_of_outputs

    paths = {"": output} if isinstance(output, str) else {}
    if output is not None and not execution.plan.open_findings:
        paths = paths_of_outputs(output, execution.plan)
    return execution.aim(paths, *limits(words))


def prepare_saved(
    saved: str, words: Mapping[str, Any], output: str | Mapping[str, str] | None
) -> Any:
    """The Execution of a saved plan, which has its rules and all that was said beside them."""
    from ckptsurgeon import saved as saved_plans

    names = {"rules": "-r", "arrows": "-e", "given": "--set"}
    for word in ("rules", "arrows", "config", "given", "allow", "root"):
        if words[word]:
            name = names.get(word, f"--{word}")
            raise click.UsageError(f"--plan takes no {name}: it has its own")
    words = build_factory(words)
    execution = saved_plans.prepare_saved(
        Path(saved), words["source"], named_sources(words), words["into"], words["one_shard"]
    )
    return aim(execution, output, words)


def limits(words: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Memory and threads that a run may use."""
    return words["memory"], words.get("jobs")


def request(words: Mapping[str, Any], *, has_unnamed: bool = False) -> Any:
    """The Request that the words of `inputs` make."""
    from ckptsurgeon.request import open_request

    words = open_streams(build_factory(words))
    return open_request(
        load_rules(words["rules"], words["arrows"]),
        words["source"],
        words["into"],
        sources=named_sources(words),
        config=words["config"],
        variables=read_assignments(words["given"], "--set", "NAME=VALUE"),
        allow=words["allow"],
        root=read_roots(words["root"]),
        one_shard=words["one_shard"],
        has_unnamed=has_unnamed,
    )


def read_roots(words: Iterable[str]) -> dict[str, str] | None:
    """Roots by alias of a source; "" for every one that is not named."""
    found: dict[str, str] = {}
    for word in words:
        alias, equals, name = word.partition("=")
        alias, name = (alias, name) if equals else ("", word)
        if alias in found:
            raise click.UsageError(f"--root {word}: given twice for one source")
        found[alias] = name
    return found or None


def named_sources(words: Mapping[str, Any]) -> dict[str, str]:
    """Further sources by alias."""
    return read_assignments(words["named"], "--source", "ALIAS=PATH")


def build_factory(words: Mapping[str, Any]) -> Mapping[str, Any]:
    """The words with the factory that --model-args belongs to built and in its place."""
    from ckptsurgeon.factories import is_factory, open_factory, read_arguments

    if words["model_args"] is None:
        return words
    given = [word for word in ("into", "source") if isinstance(words[word], str)]
    named = [word for word in given if is_factory(words[word])]
    if not named:
        raise click.UsageError("--model-args: neither DST nor SRC is a factory, as pkg.mod:name")
    arguments = read_arguments(words["model_args"], "--model-args")
    return {**words, named[0]: open_factory(words[named[0]], arguments)}


def read_factory_arguments(name: str, text: str | None) -> dict[str, Any] | None:
    """The arguments that --model-args gives to a factory; raises UsageError where it is none."""
    from ckptsurgeon.factories import is_factory, read_arguments

    if text is None:
        return None
    if not is_factory(name):
        raise click.UsageError(f"--model-args: {name} is no factory, as pkg.mod:name")
    return read_arguments(text, "--model-args")


def open_streams(words: Mapping[str, Any]) -> Mapping[str, Any]:
    """The words with what `-` reads from standard input in its place, which is read once."""
    files = [word for word in ("source", "into", "config") if words[word] == STREAM]
    if len(files) + list(words["rules"]).count(STREAM) > 1:
        raise click.UsageError("`-` stands more than once, and standard input is read once")
    if not files:
        return words
    opened = read_config_stream() if files[0] == "config" else open_spec_stream()
    return {**words, files[0]: opened}


def load_rules(rules: Sequence[str], arrows: Sequence[str] = ()) -> Any:
    """The rule files of `-r` in order, with the rules of `-e` in front of the last stage's."""
    from ckptsurgeon.given_rules import load_rulesets, put_before, read_rules
    from ckptsurgeon.language.rulesets import rules_from_arrows
    from ckptsurgeon.planner.compiling.compilation import refuse_problems

    found = [read_ruleset_stream() if one == STREAM else read_rules(one) for one in rules]
    rulesets = load_rulesets(found or None)
    if arrows:
        rulesets = put_before(rulesets, rules_from_arrows(arrows))
    return refuse_problems(rulesets)
