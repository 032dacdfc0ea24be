"""What people try first on the command line, and what it is called here."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

from ckptsurgeon.language.catalog import RULE_FILES

_PLAN = "the command `plan`"
_DROP = "-e 'drop: KEY', or `keep: KEY`"

OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(
        ("--dst", "--dest", "--destination", "--target", "--to", "--template", "--model"),
        "--into DST",
    ),
    **dict.fromkeys(("--src", "--input", "--in", "--checkpoint", "--ckpt", "-i"), "SRC, alone"),
    **dict.fromkeys(("--ruleset", "--rule-file", "--recipe", "--config-file", "-c"), "-r RULES"),
    **dict.fromkeys(("--expr", "--expression", "--map", "--rename"), "-e 'OLD -> NEW'"),
    **dict.fromkeys(("--out", "--dst-path", "--save", "--save-to", "--output-path"), "-o OUT"),
    **dict.fromkeys(("--overwrite", "--yes", "-y", "-f", "--clobber", "--replace"), "--force"),
    **dict.fromkeys(("--keep", "--drop", "--exclude", "--remove"), _DROP),
    **dict.fromkeys(
        ("--ignore-mismatched-sizes", "--ignore_mismatched_sizes"), "--allow mismatched"
    ),
    **dict.fromkeys(
        ("--device", "--map-location", "--cpu", "--cuda", "--gpu"),
        "no such option: tensors are bytes of files here, on no device",
    ),
    **dict.fromkeys(
        ("--ignore", "--skip", "--accept", "--no-strict", "--non-strict", "--ignore-missing"),
        "--allow missing, or another kind of finding",
    ),
    **dict.fromkeys(
        ("--strict", "--fail", "--fail-on", "--error-on", "--deny", "--error", "--fatal"),
        "nothing: all findings are errors unless --allow names them",
    ),
    "->": "the whole rule in quotes, -e 'OLD -> NEW'",
    **dict.fromkeys(("--json", "--as-json"), "--format json"),
    **dict.fromkeys(("--var", "--vars", "--define", "-D", "--param"), "--set NAME=VALUE"),
    **dict.fromkeys(("--threads", "--workers", "--num-workers", "-j", "--n-jobs"), "--jobs N"),
    **dict.fromkeys(("--mem", "--max-memory", "--memory-limit", "--ram"), "--memory SIZE"),
    **dict.fromkeys(("--shard-size", "--max-shard"), "--max-shard-size SIZE"),
    **dict.fromkeys(("--state-dict", "--wrapper", "--section", "--subkey"), "--root NAME"),
    **dict.fromkeys(
        ("--strip", "--strip-prefix", "--remove-prefix", "--prefix"),
        "`source: {strip: ['module.']}` in a rule file",
    ),
    **dict.fromkeys(
        ("--dtype", "--half", "--fp16", "--bf16", "--cast"),
        "`output: {dtype: BF16}` in a rule file",
    ),
    **dict.fromkeys(("--dry-run", "--dryrun", "-n", "--check"), _PLAN),
    **dict.fromkeys(("--keys", "--filter", "--only-keys", "--pattern", "--grep"), "--only PATTERN"),
    **dict.fromkeys(("--statistics", "--values", "--histogram", "--summary"), "--stats"),
    **dict.fromkeys(("--no-color", "--nocolor", "--no-colour"), "--color never"),
    **dict.fromkeys(("--silent",), "-q"),
    **dict.fromkeys(("--tol", "--threshold", "--epsilon", "--eps"), "--atol NUMBER"),
    **dict.fromkeys(("--bitwise", "--bits", "--bit-exact", "--identical"), "--exact"),
    **dict.fromkeys(("--ignore-dtype", "--ignore-dtypes", "--no-dtype"), "--any-dtype"),
    **dict.fromkeys(
        ("--shapes", "--shapes-only", "--keys-only", "--no-values", "--metadata"), "--headers"
    ),
}
"""Options: what is tried, and what to write."""

KINDS_OF_FINDING = ("missing", "unexpected", "unused", "mismatched", "unreadable", "nothing")

COMMANDS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "convert",
            "run",
            "apply",
            "copy",
            "cp",
            "transfer",
            "migrate",
            "port",
            "write",
            "surgery",
        ),
        "transplant",
    ),
    **dict.fromkeys(
        ("ls", "list", "show", "info", "cat", "keys", "print", "dump", "view", "tree", "summary"),
        "inspect",
    ),
    **dict.fromkeys(("dry-run", "dryrun", "preview", "report", "simulate"), "plan"),
    **dict.fromkeys(("compare", "cmp", "difference"), "diff A B"),
    **dict.fromkeys(("validate", "lint", "parse"), "check"),
    **dict.fromkeys(("test", "prove", "load", "evaluate"), "verify"),
    **dict.fromkeys(("why", "trace", "where", "blame"), "explain"),
    **dict.fromkeys(("reverse", "undo", "inverse", "back"), "invert"),
    **dict.fromkeys(("randomize", "randomise", "random", "fake", "fill"), "probe"),
    **dict.fromkeys(("guess", "propose", "match", "map", "infer", "auto"), "suggest"),
    **dict.fromkeys(("rulesets", "catalog", "recipes", "schema"), "rules"),
    **dict.fromkeys(("help", "usage"), "--help"),
    **dict.fromkeys(("version",), "--version"),
}
"""Commands: what is tried, and the command."""


def tell_option(name: str, known: Collection[str], command: str) -> str:
    """What to write for an option that is not there; nothing where it is no known guess."""
    answer = OPTIONS.get(name.partition("=")[0], "")
    if answer == _PLAN and command == "plan":
        return "leave it out: `plan` writes nothing"
    if command == "suggest" and name.partition("=")[0] == "--into":
        return "the destination stands behind the source: `ckptsurgeon suggest SRC DST`"
    if command == "diff" and name.partition("=")[0] in ("--into", "--against"):
        return "B stands behind A: `ckptsurgeon diff A B`"
    if command == "diff" and answer == _DROP:
        return "write --only PATTERN for what is looked at, or -e 'keep: KEY' for what is not"
    if command == "check" and name in ("-r", "--rules"):
        return "rule files stand alone: `ckptsurgeon check RULES`"
    word = answer.split(" ")[0].rstrip(",")
    return f"write {answer}" if answer and (word in known or not word.startswith("-")) else ""


def tell_extra(command: str, extra: str) -> str:
    """What a word too many may have been meant for."""
    quoted = shlex.quote(extra)
    if "->" in extra and command not in ("inspect", "verify", "invert"):
        return f"a rule is given by -e {quoted}"
    if command == "inspect":
        keys = f"keys are chosen by `--only {quoted}`"
        return f"{keys}; it looks at one checkpoint at a time, and `diff` compares two"
    if extra == "-":
        stream = "a stream is named by its option, `-r -`"
        return f"{stream}; a rule wants quotes, `-e 'A -> B'`: the shell takes its `>` for a file"
    if extra in KINDS_OF_FINDING or (command == "verify" and extra.isidentifier()):
        return f"each kind has an --allow of its own: `--allow {extra}`"
    if command == "suggest":
        return f"the rule file is given by `-o {quoted}`"
    if command in ("invert", "probe"):
        return f"the output is given by `-o {quoted}`"
    if command == "verify":
        against = f"a second checkpoint by `--against {quoted}`"
        return f"the network is given by `--model {quoted}`, {against}"
    if command in ("plan", "transplant", "explain", "diff"):
        if extra.endswith(RULE_FILES):
            return f"rules are given by `-r {quoted}`"
        if command == "diff":
            return "two are compared, A and B; of several outputs each is ALIAS=PATH"
        what = f"the destination is given by `--into {quoted}`"
        output = f", the output by `-o {quoted}`" if command == "transplant" else ""
        saved = f", a saved plan by `--plan {quoted}`" if extra.endswith(".json") else ""
        source = shlex.quote(extra if "=" in extra else f"{_name_of(extra)}={extra}")
        return f"{what}{output}{saved}, a further source by `--source {source}`"
    return "it takes no further word"


def _name_of(path: str) -> str:
    """An alias for a file: its name without what no alias may have."""
    name = "".join(char for char in Path(path).stem if char.isalnum() or char == "_")
    return name if name.isidentifier() and name != "dst" else "other"
