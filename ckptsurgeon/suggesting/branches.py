"""Keys that are the other side's but for what stands before them: prefixes, twins, towers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ckptsurgeon.drafting.steps import Degree, Step, move
from ckptsurgeon.keys import has_digits, prefixes_of, without_integers
from ckptsurgeon.suggesting.folding import HOLE
from ckptsurgeon.suggesting.lists import TURNED_LIST, compare_names, may_be_turned
from ckptsurgeon.suggesting.names import EMPTY, cut_leaf, words_of
from ckptsurgeon.suggesting.roles import NETWORKS, has_attention, is_twin
from ckptsurgeon.suggesting.units import Specs

DEEPEST = 4
"""Pieces of a prefix."""

MOST_PREFIXES = 6
"""Prefixes of one rest; one of more is what lists have in each item."""

LEAST_KEYS, LEAST_WORDS = 3, 2
"""Keys that a prefix must explain, and words in them that say more than that they are layers."""

RIVAL = 0.8
"""The share of a prefix's keys that another must explain to be as good."""

SOME = 0.2
"""The share from which on another may be meant, of which the most is lacking."""

MOST_BRANCHES = 12

Prefixes = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Branch:
    """Keys under one prefix that are those under another."""

    prefixes: Prefixes
    keys: Mapping[str, str]
    """Source keys by target keys."""


def equal_keys(source: Specs, target: Specs) -> tuple[dict[str, str], set[str]]:
    """Keys of one name and shape on both sides, and those of them whose numbers may be shifted."""
    same = [
        key for key, spec in target.items() if key in source and source[key].shape == spec.shape
    ]
    forms = {without_integers(key, HOLE) for key in same}
    doubtful = _shifted(source, target, forms)
    lists = _lists_of_others(source, target)
    shifted = {
        key
        for key in same
        if (without_integers(key, HOLE), target[key].shape) in doubtful
        or any(one in lists for one in _lists_around(without_integers(key, HOLE)))
    }
    return {key: key for key in same if key not in shifted}, shifted


def _shifted(source: Specs, target: Specs, forms: Collection[str]) -> set[tuple[str, object]]:
    """The families that the two sides have with other integers."""
    found: tuple[dict[tuple[str, object], set[str]], ...] = (defaultdict(set), defaultdict(set))
    for side, specs in zip(found, (source, target), strict=True):
        for key, spec in specs.items():
            form = without_integers(key, HOLE)
            if form in forms and HOLE in form:
                side[form, spec.shape].add(key)
    return {one for one in found[0].keys() & found[1].keys() if found[0][one] != found[1][one]}


def _lists_of_others(source: Specs, target: Specs) -> set[str]:
    """The forms of blocks of which the two sides have other items."""
    found: tuple[dict[str, set[str]], ...] = (defaultdict(set), defaultdict(set))
    for side, specs in zip(found, (source, target), strict=True):
        for block in {key.rpartition(".")[0].rpartition(".")[0] for key in specs}:
            for prefix in (*prefixes_of(block), block):
                if has_digits(prefix.rpartition(".")[2]):
                    side[without_integers(prefix, HOLE)].add(prefix)
    return {form for form in found[0].keys() & found[1].keys() if found[0][form] != found[1][form]}


def _lists_around(form: str) -> Iterator[str]:
    """The lists that a form is in, whose items are more than layers."""
    module = form.rpartition(".")[0]
    return (prefix for prefix in prefixes_of(module) if HOLE in prefix.rpartition(".")[2])


# --- prefixes -------------------------------------------------------------------------------------


def find_branches(
    source: Specs, target: Specs, taken: Iterable[str] = ()
) -> Iterator[tuple[Branch, Degree, str]]:
    """Branches of the target's keys, the largest first, each with its degree and a remark.

    `taken` are source keys that other target keys are given already.
    """
    rests, items = _rests(source), _items(target)
    waiting = dict(target)
    used = set(taken)
    has_halves = _has_halves(source) or _has_halves(target)
    for _ in range(MOST_BRANCHES):
        found = _pair_prefixes(rests, waiting, source, items)
        best = max(filter(_is_telling, found.values()), key=_worth, default=None)
        if best is None:
            return
        chosen, degree, remark = _settle(best, found, has_halves)
        if degree is not Degree.OPEN:
            chosen = _without_shifted(chosen, source, target)
        if not used.isdisjoint(chosen.keys.values()) and degree is not Degree.OPEN:
            degree, remark = Degree.LIKELY, "the same weights a second time"
        yield chosen, degree, remark
        used.update(chosen.keys.values())
        for key in best.keys:
            del waiting[key]


def _cuts(key: str) -> Iterator[tuple[str, str]]:
    """A key's prefixes, each with the rest."""
    at = 0
    yield "", key
    for _ in range(DEEPEST):
        at = key.find(".", at) + 1
        if not at:
            return
        yield key[:at], key[at:]


def _items(specs: Specs) -> set[str]:
    """The prefixes that end in items of lists: there are others of other integers."""
    forms: dict[str, set[str]] = defaultdict(set)
    for key in specs:
        for prefix, _ in _cuts(key):
            if has_digits(prefix):
                forms[without_integers(prefix, HOLE)].add(prefix)
    return {one for some in forms.values() if len(some) > 1 for one in some}


def _rests(specs: Specs) -> dict[str, list[str]]:
    """The prefixes that stand before each rest of a key."""
    items = _items(specs)
    found: dict[str, list[str]] = defaultdict(list)
    for key in specs:
        for prefix, rest in _cuts(key):
            if prefix not in items:
                found[rest].append(prefix)
    return found


def _pair_prefixes(
    rests: Mapping[str, list[str]], waiting: Specs, source: Specs, items: Collection[str]
) -> dict[Prefixes, Branch]:
    found: dict[Prefixes, dict[str, str]] = defaultdict(dict)
    for key, spec in waiting.items():
        for to, rest in _cuts(key):
            prefixes = rests.get(rest, ())
            if len(prefixes) > MOST_PREFIXES or to in items:
                continue
            for prefix in prefixes:
                if prefix != to and source[prefix + rest].shape == spec.shape:
                    found[prefix, to][key] = prefix + rest
    return {pair: Branch(pair, keys) for pair, keys in found.items()}


def _worth(branch: Branch) -> tuple[float, int]:
    """How much a branch explains; of equal ones the one with the longer rests."""
    one, other = branch.prefixes
    near = 1 + compare_names(one, other) / 4
    return len(branch.keys) * near, -len(one) - len(other)


def _is_telling(branch: Branch) -> bool:
    words: set[str] = set()
    to = len(branch.prefixes[1])
    for key in branch.keys:
        module = cut_leaf(key)[0][to:]
        words.update(word for word in words_of(module) if not word.isdecimal())
    return len(branch.keys) >= LEAST_KEYS and len(words) >= LEAST_WORDS


def _settle(
    best: Branch, found: Mapping[Prefixes, Branch], has_halves: bool
) -> tuple[Branch, Degree, str]:
    """The branch to take, where others would be as good."""
    own, to = best.prefixes
    rivals = [one for one in found.values() if one is not best and _rivals(one, best)]
    near = _count_common(own, to)
    equal = [one for one in rivals if _count_common(*one.prefixes) >= near]
    sources = [one for one in equal if one.prefixes[1] == to]
    towers = [one for one in equal if one.prefixes[0] == own]
    if sources:
        return _choose_twin(best, sources)
    if towers:
        others = ", ".join(sorted({one.prefixes[1] for one in towers}))
        return best, Degree.LIKELY, f"{others}** would take the same weights"
    if rivals and _words(own) != _words(to):
        others = ", ".join(sorted({" -> ".join(one.prefixes) for one in rivals}))
        return best, Degree.LIKELY, f"told by its name: {others} would fit as well"
    partly = [one for one in found.values() if one is not best and _rivals(one, best, SOME)]
    if partly and _words(own) != _words(to):
        others = ", ".join(sorted({one.prefixes[0] for one in partly}))
        return best, Degree.LIKELY, f"{others}** has some of these, too"
    left, right = _words(own) - _words(to), _words(to) - _words(own)
    several = left and right and not (left | right) <= PLAIN
    one_sided = left | right
    half = has_halves and not HALVES.isdisjoint(one_sided)
    if several or half or not NETWORKS.isdisjoint(one_sided):
        return best, Degree.LIKELY, f"{own}** and {to}** may be two networks"
    if may_be_turned(own, to) and _is_list(best) and not has_attention(best.keys):
        return best, Degree.LIKELY, TURNED_LIST
    return best, Degree.SURE, ""


HALVES = frozenset({"encoder", "decoder"})
"""Words for the halves of a network: where a side has both, what lacks the word may be either."""


def _has_halves(specs: Specs) -> bool:
    """Whether there are lists of layers in an encoder, and in a decoder."""
    forms = {without_integers(key, HOLE).partition(HOLE)[0] for key in specs if has_digits(key)}
    return {word for form in forms for word in words_of(form)} >= HALVES


def _is_list(branch: Branch) -> bool:
    """Whether the prefix is that of a list."""
    at = len(branch.prefixes[1])
    return all(key[at : at + 1].isdecimal() for key in branch.keys)


PLAIN = frozenset({"transformer", "trunk", "visual", "body", "features", "layers", "blocks", "h"})
"""Words for a network as a whole: where these alone differ, no other network is meant."""


def _count_common(one: str, other: str) -> int:
    """How many words two prefixes have in common that tell something."""
    return len(_words(one) & _words(other))


def _words(prefix: str) -> set[str]:
    """The words of a prefix that tell something."""
    return set(words_of(prefix)) - EMPTY


def _rivals(one: Branch, best: Branch, share: float = RIVAL) -> bool:
    """Whether a branch leads from another prefix, or to another, and explains such a share."""
    (own, to), (mine, mine_to) = one.prefixes, best.prefixes
    if own == mine:
        return len(one.keys) >= share * len(best.keys)
    if to != mine_to:
        return False
    return len(one.keys.keys() & best.keys.keys()) >= share * len(best.keys)


def _choose_twin(best: Branch, rivals: list[Branch]) -> tuple[Branch, Degree, str]:
    """The raw one of two sets of weights, where one follows the other; else none."""
    raw = [one for one in (best, *rivals) if not is_twin(one.prefixes[0])]
    others = [one for one in (best, *rivals) if one not in raw]
    if len(raw) == 1 and others:
        told = ", ".join(f"{one.prefixes[0]}**" for one in others)
        return raw[0], Degree.LIKELY, f"{told} has weights for these, too"
    told = " or ".join(sorted(f"{one.prefixes[0]}**" for one in (best, *rivals)))
    return best, Degree.OPEN, f"{told}?"


def _without_shifted(branch: Branch, source: Specs, target: Specs) -> Branch:
    """The branch but for keys whose numbers may be shifted."""
    own, to = branch.prefixes
    mine = {key[len(own) :]: spec for key, spec in source.items() if key.startswith(own)}
    theirs = {key[len(to) :]: spec for key, spec in target.items() if key.startswith(to)}
    _, shifted = equal_keys(mine, theirs)
    keys = {key: one for key, one in branch.keys.items() if key[len(to) :] not in shifted}
    return Branch(branch.prefixes, keys)


def steps_of_branch(branch: Branch, degree: Degree, remark: str) -> list[Step]:
    """The renames of a branch."""
    return [move(source, target, degree, remark) for target, source in branch.keys.items()]
