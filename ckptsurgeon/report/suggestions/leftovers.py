"""Keys with no likeness on the other side: kept, made anew, or dropped.

Only what is surely untrained is settled; of all else it is said how, in comments.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptsurgeon.language.patterns import write_literal
from ckptsurgeon.report.suggestions.exact import exact_globs
from ckptsurgeon.report.suggestions.model import Degree, Keys, Specs, Suggestion
from ckptsurgeon.report.suggestions.untrained import COUNTER, lone_buffers
from ckptsurgeon.report.suggestions.writing import (
    alias_prefix,
    quoted,
    rule_lines,
    sayable,
    scalar,
)
from ckptsurgeon.specs import TensorSpec, human_bytes

MOST_PATTERNS = 12

STRANGERS = (
    "no key of the destination is in the source under any likely name:"
    " is it the right checkpoint, and the right `root` in it?"
)

TAKEN = (
    "in the source, and taken or dropped there by a rule: where both names are wanted, give that"
    " rule both targets, `{from: A, to: [A, B]}`; if not"
)

FILLS = {COUNTER: "zeros", "running_mean": "zeros", "running_var": "ones", "bias": "zeros"}
"""What torch's own modules start from, by a key's last name."""


def missing_suggestions(missing: Specs, keys: Keys) -> Iterator[Suggestion]:
    """Counters from zero, other buffers as the destination has them; all else is to be looked for.

    A destination without values has no indexes to keep, and zeros would be wrong ones.
    """
    buffers = lone_buffers(missing)
    counters = {key: spec for key, spec in buffers.items() if key.endswith(f".{COUNTER}")}
    if counters:
        lines = "\n".join(_init_lines(counters, keys))
        yield Suggestion(f"{_number(counters)} a counter of BatchNorm: start from zero", lines)
    others = {key: spec for key, spec in buffers.items() if key not in counters}
    if others and keys.has_values:
        sentence = f"{_number(others)} not trained: keep the destination's own{_odd(others)}"
        yield Suggestion(sentence, "\n".join(keep_lines(others, keys)))
    settled = buffers if keys.has_values else counters
    rest = {key: spec for key, spec in missing.items() if key not in settled}
    theirs = {} if keys.staged else keys.sources.get("", {})
    unread = {key: spec for key, spec in rest.items() if not theirs.get(key, True)}
    taken = {key: spec for key, spec in rest.items() if theirs.get(key, False)}
    strange = {key: spec for key, spec in rest.items() if key not in theirs}
    verb = "keep the destination's own" if keys.has_values else "make them anew"
    for specs, why in (
        (unread, "unreadable in the source: if it can't be saved in another way"),
        (taken, TAKEN),
        (strange, "not in the source under any likely name: if nothing of it fits"),
    ):
        if specs:
            sentence = f"{_number(specs)} {why}, {verb}{_odd(specs)}"
            yield Suggestion(sentence, "\n".join(keep_lines(specs, keys)), Degree.OPEN)


def _number(specs: Specs) -> str:
    if len(specs) == 1:
        return f"{quoted(next(iter(specs)))} is"
    return f"{len(specs):,} keys such as {quoted(next(iter(specs)))} are"


def keep_lines(specs: Specs, keys: Keys) -> list[str]:
    """`- keep: …`, or `- init: …` where the destination has no values to keep."""
    if not keys.has_values:
        return list(_init_lines(specs, keys))
    globs = exact_globs(specs, keys.destination, most=MOST_PATTERNS)
    return [rule_lines("keep", [glob.source for glob in globs])] if globs else []


def _init_lines(specs: Specs, keys: Keys) -> Iterator[str]:
    by_fill: dict[str, list[str]] = {}
    for key, spec in specs.items():
        by_fill.setdefault(fill_of(key, spec), []).append(key)
    for fill, found in by_fill.items():
        for pattern in _init_patterns(found, keys):
            yield f"- init: {{to: {scalar(pattern, flow=True)}, fill: {fill}}}"


def _init_patterns(found: list[str], keys: Keys) -> list[str]:
    """`**.num_batches_tracked` where all such keys are meant, else patterns for these alone."""
    name = found[0].rpartition(".")[2]
    if len(found) > 1 and all(key.endswith(f".{name}") for key in found):
        same = sum(key.endswith(f".{name}") for key in keys.destination)
        if same == len(found):
            return [f"**.{write_literal(name)}"]
    return [glob.source for glob in exact_globs(found, keys.destination, most=MOST_PATTERNS)]


def fill_of(key: str, spec: TensorSpec) -> str:
    """What a key without a source starts from: a norm's weight is of ones, a matrix is drawn."""
    name = key.rpartition(".")[2]
    if name in FILLS or not spec.floating:
        return FILLS.get(name, "zeros")
    if len(spec.shape) > 1:
        return "normal"
    return "ones" if name == "weight" else "zeros"


def unused_suggestions(alias: str, spare: Specs, keys: Keys) -> Iterator[Suggestion]:
    """The drop of keys that nothing takes, as a comment where they may be trained."""
    shared = {key: spec for key, spec in spare.items() if key in keys.shared.get(alias, ())}
    if shared:
        told = f"{_number(shared)} tied in the source to what is taken: a drop loses nothing"
        yield _drop(told, alias, shared, keys, Degree.LIKELY)
    spare = {key: spec for key, spec in spare.items() if key not in shared}
    buffers = lone_buffers(spare)
    if buffers:
        told = f"{_number(buffers)} in the source alone and not trained: drop"
        yield _drop(told, alias, buffers, keys, Degree.SURE)
    rest = {key: spec for key, spec in spare.items() if key not in buffers}
    if rest:
        size = human_bytes(sum(spec.nbytes for spec in rest.values()))
        place = f"left over in {alias}" if alias else "in the source alone"
        told = f"{_number(rest)} {place}: a drop would lose {size}"
        yield _drop(told, alias, rest, keys, Degree.OPEN)


def _drop(told: str, alias: str, spare: Specs, keys: Keys, degree: Degree) -> Suggestion:
    globs = exact_globs(spare, keys.sources.get(alias, ()), most=MOST_PATTERNS + 1)
    name = alias_prefix(alias)
    all_left = not alias and len(list(keys.untaken(""))) == len(spare)
    if len(globs) > MOST_PATTERNS and all_left and degree is Degree.OPEN:
        return Suggestion(told, "unmatched: drop", degree)
    shown = [name + glob.source for glob in globs[:MOST_PATTERNS]]
    rest = f" (the first {MOST_PATTERNS} patterns)" if len(globs) > len(shown) else ""
    text = rule_lines("drop", shown) if shown else ""
    return Suggestion(f"{told}{rest}{_odd(spare)}", text, degree)


def _odd(specs: Specs) -> str:
    """How many keys have names that no rule can spell."""
    number = sum(not sayable(key) for key in specs)
    return f"; {number:,} can't be spelled in a rule: match them by `*` or `re:`" if number else ""
