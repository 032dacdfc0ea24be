"""Keys that differ in front alone: `module.conv1.weight` and `conv1.weight`, told as one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.keys import INTEGER
from ckptsurgeon.language.patterns import write_literal
from ckptsurgeon.report.suggestions.exact import exact_globs
from ckptsurgeon.report.suggestions.model import Degree, Keys, Open, Specs, Suggestion
from ckptsurgeon.report.suggestions.writing import alias_prefix, arrow, quoted, sayable

SAMPLE = 100
"""Keys from which prefixes are guessed; every guess is then counted over all keys."""

_NAME = re.compile(r"[\w.-]+")
"""A prefix that can stand in double quotes as it is."""

_ITEM = re.compile(r"(?<![^.])[0-9]+(?![^.])")
"""An integer that is a whole piece: the number of an item."""

DEEPEST = 12
CANDIDATES = 6
MOST_LINES = 6


@dataclass(frozen=True, slots=True)
class Change:
    """A prefix of a source's keys that is another one (or none) in the destination.

    `pairs` leads from spare to missing keys; `candidates` is how many spare keys have the prefix.
    `sure` says that nothing else explains as much.
    """

    alias: str
    old: str
    new: str
    pairs: Mapping[str, str]
    candidates: int
    sure: bool = False

    @property
    def degree(self) -> Degree:
        return Degree.SURE if self.sure else Degree.LIKELY

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
    Where items of one list are left on both sides, they are counted from elsewhere.
    """
    changes = [_count(alias, old, new, spare, missing) for old, new in _guesses(spare, missing)]
    best = max(changes, key=lambda change: len(change.pairs), default=None)
    if best is None:
        return None
    number = len(best.pairs)
    alike = sum(spare[u].shape == missing[m].shape for u, m in best.pairs.items())
    enough = number >= share * min(len(spare), len(missing))
    if not (2 <= number <= 2 * alike and 2 * number >= best.candidates and enough):
        return None
    cuts = [
        _cuts_list(best.pairs, best.old, spare),
        _cuts_list(best.pairs.values(), best.new, missing),
    ]
    if all(cuts):
        return None
    return replace(best, sure=not any(cuts) and _is_sure(best, changes))


def _count(alias: str, old: str, new: str, spare: Specs, missing: Specs) -> Change:
    having = [key for key in spare if key.startswith(old)]
    pairs = {key: new + key[len(old) :] for key in having if new + key[len(old) :] in missing}
    return Change(alias, old, new, pairs, len(having))


# --- what is sure ---------------------------------------------------------------------------------


def _is_sure(best: Change, changes: Sequence[Change]) -> bool:
    """Whether the names leave no other reading, as two towers would, or an item of a list."""
    integers = [INTEGER.findall(prefix) for prefix in (best.old, best.new)]
    if all(integers) and integers[0] != integers[1]:
        return False
    rivals = (one for one in changes if one != best and 2 * len(one.pairs) >= len(best.pairs))
    return _tells(best) and not any(_differ(best, one) for one in rivals)


def _tells(change: Change) -> bool:
    """Whether most of the names that stay tell more than a last piece."""
    tails = [key[len(change.old) :].split(".") for key in change.pairs]
    telling = sum(sum(not piece.isdecimal() for piece in tail) > 1 for tail in tails)
    return telling > 1 and 2 * telling >= len(tails)


def _differ(one: Change, other: Change) -> bool:
    """Whether they lead a key elsewhere, or give a key from elsewhere."""
    back = {key: origin for origin, key in one.pairs.items()}
    return any(
        one.pairs.get(origin, key) != key or back.get(key, origin) != origin
        for origin, key in other.pairs.items()
    )


def _cuts_list(found: Collection[str], prefix: str, keys: Iterable[str]) -> bool:
    """Whether some items of a list of modules, of the keys, were found and others weren't."""
    known = set(found)
    forms = {_ITEM.sub("0", key) for key in known}
    left = (key for key in keys if key not in known and key.startswith(prefix))
    return any(_ITEM.sub("0", key) in forms for key in left)


# --- what is likely -------------------------------------------------------------------------------


def _guesses(spare: Specs, missing: Specs) -> list[tuple[str, str]]:
    """The likeliest changes, by the longest endings that a sample shares with missing keys."""
    sample = list(spare)[:: max(1, len(spare) // SAMPLE)]
    endings: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for key in sample:
        for ending in _endings(key):
            endings.setdefault((ending, spare[key].shape), []).append(key)
    endings = {ending: likes[:CANDIDATES] for ending, likes in endings.items()}
    longest: dict[str, tuple[int, list[str]]] = {}
    for key, spec in missing.items():
        for ending in _endings(key):
            if likes := endings.get((ending, spec.shape)):
                size = len(ending)
                likes[:] = [like for like in likes if _keep_longest(longest, like, key, size)]
    votes = Counter(
        (like[:-size], key[:-size])
        for like, (size, found) in longest.items()
        for key in found
        if like != key
    )
    return [change for change, _ in votes.most_common(CANDIDATES)]


def _keep_longest(
    longest: dict[str, tuple[int, list[str]]], like: str, key: str, size: int
) -> bool:
    """Keeps the key, and tells whether another with so long an ending would be kept as well."""
    known = longest.get(like, (0, []))
    if size > known[0]:
        known = longest[like] = (size, [])
    if size < known[0] or len(known[1]) == CANDIDATES:
        return False
    known[1].append(key)
    return True


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
    if (
        not change.sure
        or change.new
        or change.alias
        or keys.staged
        or not _NAME.fullmatch(change.old)
    ):
        return False
    known = keys.sources.get("", {})
    having = [key for key in known if key.startswith(change.old)]
    collides = any(key[len(change.old) :] in known for key in having)
    return len(having) == change.candidates and not collides


def strip_suggestion(change: Change) -> Suggestion:
    """The strip that takes the prefix off."""
    return Suggestion(_sentence(change), f'source: {{strip: ["{change.old}"]}}')


def rename_suggestion(change: Change, still: Open, keys: Keys) -> Suggestion:
    """The arrow, or the few, that change the prefix of the keys that no rule took.

    Where they are few, those of other shapes are left to what makes them fit.
    """
    spare, missing = still.spare.get(change.alias, {}), still.missing
    untaken = [key for key in keys.untaken(change.alias) if key.startswith(change.old)]
    alias = alias_prefix(change.alias)
    old, new = (write_literal(prefix) if prefix else "" for prefix in (change.old, change.new))
    sides = [(f"{alias}{old}**", f"{new}**")]
    if any(key not in change.pairs for key in untaken):
        cut = len(change.old)
        fit = [old for old, new in change.pairs.items() if spare[old].shape == missing[new].shape]
        globs = exact_globs([k[cut:] for k in fit], [k[cut:] for k in untaken])
        if len(globs) <= MOST_LINES or any(key not in spare for key in untaken):
            sides = [(f"{alias}{old}{glob.source}", f"{new}{glob.target}") for glob in globs]
    return Suggestion(_sentence(change), _arrows(change, sides), change.degree)


def _arrows(change: Change, sides: Sequence[tuple[str, str]]) -> str:
    if len(sides) > MOST_LINES or not all(sayable(p) for p in (change.old, change.new) if p):
        return ""
    return "\n".join(arrow(source, target) for source, target in sides)


def _sentence(change: Change) -> str:
    where = f" of source {quoted(change.alias)}" if change.alias else ""
    return f"{len(change.pairs):,} of {change.candidates:,} keys{where} match after {change.how}"
