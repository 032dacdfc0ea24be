"""Steps in, a rule file out: generalised as far as it still makes just these steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from ckptsurgeon.drafting.arrows import Arrow, arrows_of
from ckptsurgeon.drafting.blocks import Block, Entry, fold
from ckptsurgeon.drafting.captures import share_captures
from ckptsurgeon.drafting.checking import Ground, Trial
from ckptsurgeon.drafting.covering import cover
from ckptsurgeon.drafting.files import Head, write_file
from ckptsurgeon.drafting.joining import join_endings, join_leaves, join_words
from ckptsurgeon.drafting.leaving import few_of
from ckptsurgeon.drafting.ordering import order, spare
from ckptsurgeon.drafting.steps import Step, drop, taken_by


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule file, and its rules in order."""

    text: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """What a rule file has around its rules, what they are tried on, and which keys they leave.

    With `copies`, keys that no rule takes keep their names. `footer` are lines behind the rules,
    `left` source keys that no rule is to take, `kept` steps that no rule says, as keys keep their
    names.
    """

    head: Head
    ground: Ground
    copies: bool = True
    footer: Sequence[str] = ()
    left: Collection[str] = ()
    kept: Sequence[Step] = ()

    def write(self, entries: Sequence[Entry]) -> Draft:
        """The draft of these rules."""
        return Draft(write_file(self.head, entries, self.footer), tuple(entries))


def draft(steps: Sequence[Step], task: Task, trials: Sequence[Trial] = ()) -> Draft | None:
    """The shortest rule file of those tried that makes these steps; None where none does.

    What is told of `trials` is drafted with the steps, and must hold there.
    """
    expected = task.ground.expect([*steps, *task.kept])
    together = list(dict.fromkeys([*steps, *(step for one in trials for step in one.steps)]))
    ways: list[Callable[[], list[Entry] | None]] = [
        *(partial(way.entries, together, task.copies, task.left) for way in _WAYS),
        partial(_literal, together),
    ]
    for write in ways:
        entries = write()
        if entries is not None:
            found = task.write(entries)
            holds = task.ground.holds(found.text, expected)
            if holds and all(one.holds(found.text) for one in trials):
                return found
    return None


def draft_most(
    steps: Sequence[Step],
    head: Head,
    ground: Ground,
    *,
    copies: bool = True,
    footer: Sequence[str] = (),
    left: Collection[str] = (),
    kept: Sequence[Step] = (),
    trials: Sequence[Trial] = (),
) -> tuple[Draft, list[Step]]:
    """The draft of all steps that one file can hold, and those that it can't.

    Where trials don't hold, the file is that of the steps alone.
    """
    task = Task(head, ground, copies, footer, few_of(left), kept)
    found = draft(steps, task, trials)
    if found is None and trials:
        found = draft(steps, task)
    return _draft_part(steps, task) if found is None else (found, [])


def _draft_part(steps: Sequence[Step], task: Task) -> tuple[Draft, list[Step]]:
    """The draft of as many steps as are found by halves, and the others."""
    held: list[Step] = []
    unheld: list[Step] = []
    waiting = [list(steps)]
    best = task.write(())
    while waiting:
        some = waiting.pop()
        tried = [*held, *some]
        if task.ground.destination is None:  # where there is one, what isn't given stays open
            tried = _with_drops(tried, steps)
        found = draft(tried, task)
        if found is not None:
            held, best = [*held, *some], found
        elif len(some) > 1:
            half = len(some) // 2
            waiting += [some[half:], some[:half]]
        else:
            unheld += some
    return best, unheld


def _with_drops(some: Sequence[Step], steps: Sequence[Step]) -> list[Step]:
    """Some of the steps, and drops of what the others read."""
    used = taken_by(some)
    left = dict.fromkeys(key for step in steps for key in step.sources.keys if key not in used)
    return [*some, *(drop(key) for key in left)]


def count_rules(entries: Sequence[Entry]) -> int:
    """How many rules there are, those in blocks one by one."""
    return sum(len(entry.arrows) if isinstance(entry, Block) else 1 for entry in entries)


# --- ways -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Way:
    """How rules are generalised: which of the means are used; without any, as the steps are.

    `apart` says that no pattern takes keys of another, where else the order of rules decides.
    """

    shares: bool = True
    words: bool = True
    stars: bool = True
    apart: bool = False

    def entries(
        self, steps: Sequence[Step], copies: bool, left: Collection[str]
    ) -> list[Entry] | None:
        """The rules that say the steps; None where no order of them does."""
        arrows = arrows_of(steps, left, apart=self.apart)
        if arrows is None:
            return None
        deep = [arrow for arrow in arrows if arrow.is_deep]
        shallow = [arrow for arrow in arrows if not arrow.is_deep]
        ordered = order(spare(self._generalise(shallow, copies, left), left))
        return None if ordered is None else [*deep, *fold(ordered)]

    def _generalise(
        self, arrows: Sequence[Arrow], copies: bool, left: Collection[str]
    ) -> list[Arrow]:
        found = spare(join_endings(share_captures(arrows)), left) if self.shares else list(arrows)
        if self.stars:
            found = cover(join_leaves(found), copies=copies, left=left)
        return join_words(found) if self.words else found


_WAYS = (
    _Way(),
    _Way(shares=False),
    _Way(shares=False, apart=True),
    _Way(shares=False, words=False),
    _Way(shares=False, words=False, stars=False),
)
"""How rules are generalised, from the shortest on."""


def _literal(steps: Sequence[Step]) -> list[Entry] | None:
    """A rule for each step."""
    ordered = order([arrow for step in steps for arrow in arrows_of([step]) or ()])
    return None if ordered is None else list(ordered)
