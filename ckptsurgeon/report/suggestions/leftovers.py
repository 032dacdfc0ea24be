"""Keys with no likeness on the other side: kept, made anew, or dropped."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ckptsurgeon.report.suggestions.exact import exact_globs
from ckptsurgeon.report.suggestions.model import Keys, Specs, Suggestion
from ckptsurgeon.report.suggestions.writing import escaped, quoted, rule_lines, sayable, scalar
from ckptsurgeon.specs import TensorSpec, human_bytes

MOST_PATTERNS = 12
COUNTER = "num_batches_tracked"

STRANGERS = (
    "no key of the destination is in the source under any likely name:"
    " is it the right checkpoint, and the right `root` in it?"
)

FILLS = {COUNTER: "zeros", "running_mean": "zeros", "running_var": "ones", "bias": "zeros"}
"""What torch's own modules start from, by a key's last name."""


def missing_suggestions(missing: Specs, keys: Keys) -> Iterator[Suggestion]:
    """BatchNorm's lone counters from zero; for all else the destination's own, or new values."""
    counters = _counters(missing)
    if counters:
        lines = "\n".join(_init_lines(counters, keys))
        yield Suggestion(f"{_number(counters)} a counter of BatchNorm: start from zero", lines)
    others = {key: spec for key, spec in missing.items() if key not in counters}
    if others:
        verb = "keep the destination's own" if keys.has_values else "make them anew"
        sentence = (
            f"{_number(others)} not in the source under any likely name: {verb}{_odd(others)}"
        )
        yield Suggestion(sentence, "\n".join(keep_lines(others, keys)))


def _counters(missing: Specs) -> Specs:
    """The counters that are missing alone: the rest of their modules is there."""
    modules = {key.rpartition(".")[0] for key in missing if not key.endswith(f".{COUNTER}")}
    return {
        key: spec
        for key, spec in missing.items()
        if key.endswith(f".{COUNTER}") and key.rpartition(".")[0] not in modules
    }


def _number(specs: Specs) -> str:
    if len(specs) == 1:
        return f"{quoted(next(iter(specs)))} is"
    return f"{len(specs):,} keys such as {quoted(next(iter(specs)))} are"


def keep_lines(specs: Specs, keys: Keys) -> list[str]:
    """`- keep: …`, or `- init: …` where the destination has no values to keep."""
    if not keys.has_values:
        return list(_init_lines(specs, keys))
    globs = exact_globs(specs, keys.destination)[:MOST_PATTERNS]
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
            return [f"**.{escaped(name)}"]
    return [glob.source for glob in exact_globs(found, keys.destination)[:MOST_PATTERNS]]


def fill_of(key: str, spec: TensorSpec) -> str:
    """What a key without a source starts from: a norm's weight is of ones, a matrix is drawn."""
    name = key.rpartition(".")[2]
    if name in FILLS or not spec.floating:
        return FILLS.get(name, "zeros")
    if len(spec.shape) > 1:
        return "normal"
    return "ones" if name == "weight" else "zeros"


def unused_suggestion(alias: str, spare: Specs, keys: Keys, lost: bool = False) -> Suggestion:
    """The drop of keys that nothing takes; `lost` if they may be what is missing."""
    globs = exact_globs(spare, keys.sources.get(alias, ()))
    name = f"{escaped(alias)}::" if alias else ""
    them = "it" if len(spare) == 1 else "them"
    told = _lost(spare) if lost else f"{_number(spare)} in the source alone: drop {them}"
    if len(globs) > MOST_PATTERNS and not alias and len(list(keys.untaken(""))) == len(spare):
        told = told if lost else f"{_number(spare)} taken by no rule: drop them all"
        return Suggestion(told, "unmatched: drop")
    shown = [name + glob.source for glob in globs[:MOST_PATTERNS]]
    rest = f" ({MOST_PATTERNS} of {len(globs):,} patterns)" if len(globs) > len(shown) else ""
    text = rule_lines("drop", shown) if shown else ""
    return Suggestion(f"{told}{rest}{_odd(spare)}", text)


def _lost(spare: Specs) -> str:
    size = human_bytes(sum(spec.nbytes for spec in spare.values()))
    return (
        f"{_number(spare)} in the source alone and as large as what is missing:"
        f" a drop loses {size} of trained weights, look first whether they belong together"
    )


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What no suggestion settled, parted: `rivals` are as large as keys of the other side."""

    spare: Mapping[str, Specs]
    spare_rivals: Mapping[str, Specs]
    missing: Specs
    missing_rivals: Specs


def part_leftovers(spare: Mapping[str, Specs], missing: Specs, also: Collection[str]) -> Leftovers:
    """The leftovers with those apart that have as many elements; `also` are rivals anyhow."""
    ours = {s.count for specs in spare.values() for s in specs.values() if _trained(s)}
    common = ours & {spec.count for spec in missing.values() if _trained(spec)}

    def rivals(specs: Specs, meant: bool) -> Specs:
        return {
            key: spec
            for key, spec in specs.items()
            if (key in also or (_trained(spec) and spec.count in common)) is meant
        }

    return Leftovers(
        {alias: found for alias, specs in spare.items() if (found := rivals(specs, False))},
        {alias: found for alias, specs in spare.items() if (found := rivals(specs, True))},
        rivals(missing, False),
        rivals(missing, True),
    )


def _trained(spec: TensorSpec) -> bool:
    return spec.floating and spec.count > 1


def _odd(specs: Specs) -> str:
    """How many keys have names that no rule can spell."""
    number = sum(not sayable(key) for key in specs)
    return f"; {number:,} can't be spelled in a rule: match them by `*` or `re:`" if number else ""
