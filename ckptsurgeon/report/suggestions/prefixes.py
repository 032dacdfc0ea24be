"""Keys that differ in front alone: `module.conv1.weight` and `conv1.weight`, told as one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.report.suggestions.exact import exact_globs
from ckptsurgeon.report.suggestions.model import Keys, Specs, Suggestion
from ckptsurgeon.report.suggestions.writing import arrow, escaped, quoted, sayable

SAMPLE = 100
"""Keys from which prefixes are guessed; every guess is then counted over all keys."""

_NAME = re.compile(r"[\w.-]+")
"""A prefix that can stand in double quotes as it is."""

DEEPEST = 12
CANDIDATES = 6
MOST_LINES = 6


@dataclass(frozen=True, slots=True)
class Change:
    """A prefix of a source's keys that is another one (or none) in the destination.

    `pairs` leads from spare to missing keys; `candidates` is how many spare keys have the prefix.
    """

    alias: str
    old: str
    new: str
    pairs: Mapping[str, str]
    candidates: int

    @property
    def how(self) -> str:
        """`removing …`, `adding …` or `replacing … by …`."""
        if not self.new:
            return f"removing {quoted(self.old)}"
        if not self.old:
            return f"adding {quoted(self.new)}"
        return f"replacing {quoted(self.old)} by {quoted(self.new)}"


def find_change(alias: str, spare: Specs, missing: Specs, share: float) -> Change | None:
    """The prefix change that explains most spare keys, where it explains enough of them.

    It must explain two keys, half of those with the prefix, and `share` of the spare or missing.
    """
    changes = [_count(alias, old, new, spare, missing) for old, new in _guesses(spare, missing)]
    best = max(changes, key=lambda change: len(change.pairs), default=None)
    if best is None:
        return None
    number = len(best.pairs)
    alike = sum(spare[u].shape == missing[m].shape for u, m in best.pairs.items())
    enough = number >= share * min(len(spare), len(missing))
    return best if 2 <= number <= 2 * alike and 2 * number >= best.candidates and enough else None


def _count(alias: str, old: str, new: str, spare: Specs, missing: Specs) -> Change:
    having = [key for key in spare if key.startswith(old)]
    pairs = {key: new + key[len(old) :] for key in having if new + key[len(old) :] in missing}
    return Change(alias, old, new, pairs, len(having))


def _guesses(spare: Specs, missing: Specs) -> list[tuple[str, str]]:
    """The likeliest changes, by the longest endings that a sample shares with missing keys."""
    sample = list(spare)[:: max(1, len(spare) // SAMPLE)]
    endings: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for key in sample:
        for ending in _endings(key):
            endings.setdefault((ending, spare[key].shape), []).append(key)
    longest: dict[str, tuple[int, list[str]]] = {}
    for key, spec in missing.items():
        for ending in _endings(key):
            for like in endings.get((ending, spec.shape), ())[:CANDIDATES]:
                _keep_longest(longest, like, key, len(ending))
    votes = Counter(
        (like[:-size], key[:-size])
        for like, (size, found) in longest.items()
        for key in found
        if like != key
    )
    return [change for change, _ in votes.most_common(CANDIDATES)]


def _keep_longest(
    longest: dict[str, tuple[int, list[str]]], like: str, key: str, size: int
) -> None:
    known = longest.get(like, (0, []))
    if size > known[0]:
        longest[like] = (size, [key])
    elif size == known[0] and len(known[1]) < CANDIDATES:
        known[1].append(key)


def _endings(key: str) -> Iterator[str]:
    """The key, then what stands behind its dots, longest first."""
    yield key
    at = key.find(".")
    for _ in range(DEEPEST):
        if at < 0:
            return
        yield key[at + 1 :]
        at = key.find(".", at + 1)


# --- as text --------------------------------------------------------------------------------------


def strips(change: Change, keys: Keys) -> bool:
    """Whether `source: {strip: …}` says the change: nothing but spare keys has the prefix."""
    if change.new or change.alias or keys.staged or not _NAME.fullmatch(change.old):
        return False
    known = keys.sources.get("", {})
    having = [key for key in known if key.startswith(change.old)]
    collides = any(key[len(change.old) :] in known for key in having)
    return len(having) == change.candidates and not collides


def strip_suggestion(change: Change) -> Suggestion:
    """The strip that takes the prefix off."""
    return Suggestion(_sentence(change), f'source: {{strip: ["{change.old}"]}}')


def rename_suggestion(change: Change, spare: Specs, keys: Keys) -> Suggestion:
    """The arrow, or the few, that change the prefix of the keys that no rule took."""
    untaken = [key for key in keys.untaken(change.alias) if key.startswith(change.old)]
    alias = f"{escaped(change.alias)}::" if change.alias else ""
    old, new = (escaped(prefix) if prefix else "" for prefix in (change.old, change.new))
    tails = ["**"] if all(key in spare for key in untaken) else None
    if tails:
        sides = [(f"{alias}{old}**", f"{new}**")]
    else:
        cut = len(change.old)
        globs = exact_globs([k[cut:] for k in change.pairs], [k[cut:] for k in untaken])
        sides = [(f"{alias}{old}{glob.source}", f"{new}{glob.target}") for glob in globs]
    return Suggestion(_sentence(change), _arrows(change, sides))


def _arrows(change: Change, sides: Sequence[tuple[str, str]]) -> str:
    if len(sides) > MOST_LINES or not all(sayable(p) for p in (change.old, change.new) if p):
        return ""
    return "\n".join(arrow(source, target) for source, target in sides)


def _sentence(change: Change) -> str:
    where = f" of source {quoted(change.alias)}" if change.alias else ""
    return f"{len(change.pairs):,} of {change.candidates:,} keys{where} match after {change.how}"
