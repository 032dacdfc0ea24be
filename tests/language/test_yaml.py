"""What is not a rule file at all, and what is meant to hurt: refused, located, and quickly."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from endless import ending

from ckptsurgeon.errors import Problem, RulesetError
from ckptsurgeon.language.rulesets import load_ruleset, parse_ruleset

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefghij", "bcdefghijk", strict=True)
)
MERGES = "x: &x {a: 1}\n" + "".join(
    f"y{n}: &y{n}\n  <<: [{', '.join([f'*y{n - 1}' if n else '*x'] * 20)}]\n" for n in range(12)
)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (LAUGHS + "format: 1\nrules: *k\n", 1, "anchor"),
        (MERGES + "format: 1\nrules: *y11\n", 1, "anchor"),
        ("[" * 100_000, 1, "levels of lists"),
        ("{a: " * 100_000, 1, "levels of lists"),
        ("- " * 100_000, 1, "levels of lists"),
        ("format: 1\nrules: [" + "*a," * 200_000 + "]", 2, "alias"),
        ("format: 1\nrules: [" + '"a\\.b",' * 100_000 + "]", 2, "backslash"),
        ("format: 1\nrules:\n" + "  - @x\n" * 60_000, 3, "no meaning to YAML"),
        ("format: 1\nrules:\n" + "  - a -> b: *x\n" * 50_000, 3, "alias"),
        ("format: 1\nrules:\n" + "  - x: 1\n" * 40_000, 3, "unknown word"),
        ("format: 1\nrules:\n" + "  - x: 1\n" * 80_000, 3, "a list of 80000 rules; at most 50000"),
        (
            "format: 1\nvars: {" + ", ".join(f"v{n}: v{n + 1}" for n in range(20_000)) + "}",
            2,
            "vars",
        ),
        ("format: 1\nrules:\n  - " + "a" * 5000 + " -> b", 3, "at most 4096"),
        ("format: 1\nrules:\n  - a -> b: {stack: " + "9" * 100_000 + "}", 3, "beyond 2**63"),
        ("format: 1\nrules:\n  - a -> b: {where: '" + "(" * 900 + "'}", 3, "levels of brackets"),
        ("\0" * 500, 1, "U+0000"),
        ("format: 1\nrules:\n  - a\x1b[31m -> b", 3, "U+001B"),
        ("format: 1\nrules:\n  - a\u202e -> b", 3, "U+202E"),
        ("x" * (2**20 + 1), 1, "at most 1048576"),
    ],
)
def test_hostile_yaml(text: str, line: int, told: str) -> None:
    with ending(), pytest.raises(RulesetError) as caught:
        parse_ruleset(text, "r.yaml")
    assert told in str(caught.value)
    assert caught.value.problems[0].place
    assert caught.value.problems[0].place.line == line
    assert "\x1b" not in str(caught.value)
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "place", "told"),
    [
        (b"format: 1\nabout: \xff\n", "2:8", "not UTF-8"),
        ("format: 1\n".encode("utf-16"), "1:1", "not UTF-8"),
        (b"", "1:1", "an empty rule file"),
        (b"# nothing\n", "1:1", "an empty rule file"),
        (b" " * (2**20 + 1), "1:1", "at most 1048576"),
    ],
)
def test_bytes_that_are_no_rule_file(data: bytes, place: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(data)
    with pytest.raises(RulesetError, match=told) as caught:
        load_ruleset(path)
    assert str(caught.value).startswith(f"{path}:{place}: ")


def test_windows_line_ends_and_a_byte_order_mark() -> None:
    text = "\ufeffformat: 1\r\nrules:\r\n  - a -> b: transpoze\r\n"
    with pytest.raises(RulesetError) as caught:
        parse_ruleset(text, "r.yaml")
    (problem,) = caught.value.problems
    assert problem.place
    assert (problem.place.line, problem.place.column) == (3, 13)
    assert problem.place.text == "  - a -> b: transpoze"


def test_columns_count_characters() -> None:
    with pytest.raises(RulesetError) as caught:
        parse_ruleset("format: 1\nrules:\n  - é.ü[ -> x\n", "r.yaml")
    assert str(caught.value.problems[0].place) == "r.yaml:3:8"


SEEDS = [
    path.read_text(encoding="utf-8")
    for path in sorted(Path(__file__).parent.glob("reading/**/*.yaml"))
]
PIECES = "*&!|>%@`'\"#{}[],:-?<=\\/ \n\t~.0n"


@pytest.mark.parametrize("seed", range(300))
def test_spoilt_files_are_told_or_read(seed: int) -> None:
    random = Random(seed)
    text = random.choice(SEEDS)
    for _ in range(random.randint(1, 8)):
        at = random.randrange(len(text))
        text = (
            text[:at]
            + random.choice(PIECES) * random.randint(0, 2)
            + text[at + random.randint(0, 3) :]
        )
    problems = _problems(text)
    assert problems is None or problems
    assert all(problem.place and str(problem) for problem in problems or ())


def _problems(text: str) -> tuple[Problem, ...] | None:
    """What is told of a text; None where it can be read."""
    try:
        parse_ruleset(text, "r.yaml")
    except RulesetError as error:
        return error.problems
    return None
