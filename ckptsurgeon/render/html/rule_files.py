"""The rule files of a plan as a page shows them: line by line, with what each rule did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath

from markupsafe import escape

from ckptsurgeon.cutting import cut_middle
from ckptsurgeon.plans.fates import Fate
from ckptsurgeon.plans.graph import RuleInfo
from ckptsurgeon.render.accounting import find_dropped
from ckptsurgeon.render.html.rows import RuleLink
from ckptsurgeon.render.terminal import safe
from ckptsurgeon.render.view import place_text
from ckptsurgeon.report.report import Report
from ckptsurgeon.specs import plural
from ckptsurgeon.visible import visible

MOST_TEXT = 700_000
"""Characters of all rule files of a page, as they stand in it."""

OF_A_LINE = 200
"""Characters of a line's markup."""

MOST_FILES = 40

LONGEST_LINE = 300

Spot = tuple[str, int]
"""A file and a line of it."""


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A line of a rule file; `number` is that of its rule's place in the page, if it has one.

    `told` says what the rules there did.
    """

    at: int
    text: str
    number: int | None = None
    told: str = ""

    @property
    def rule(self) -> str:
        """The line without its comment."""
        return self.text[: _comment_begins(self.text)]

    @property
    def comment(self) -> str:
        """What is said behind a `#`."""
        return self.text[_comment_begins(self.text) :]


def _comment_begins(text: str) -> int:
    """Where a comment begins as YAML has it: at a `#` behind a blank, outside of quotes."""
    quote = ""
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and text[at - 1 : at] in ("", " "):
            return at
    return len(text)


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A rule file, or the rules that were given in another way.

    `is_whole` says that it is all that stands there, and not the rules alone. `left_out` lines are
    not shown.
    """

    name: str
    lines: tuple[RuleLine, ...]
    is_whole: bool
    left_out: int


class RuleLinks:
    """The places of a plan's rules, numbered in order."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._numbers: dict[Spot, int] = {}
        self._by_text: dict[str, int] = {}
        self._names = _shorten({rule.place.file for rule in report.rules})
        for rule in report.rules:
            number = self._numbers.setdefault(_spot(rule), len(self._numbers))
            self._by_text.setdefault(place_text(rule), number)
            if rule.lines is not None:
                self._by_text.setdefault(rule.lines.file, number)

    def link(self, rule: RuleInfo | None, text: str) -> RuleLink | None:
        """The link to a rule whose place is told by a text; None where there is no rule."""
        if not text:
            return None
        number = self._numbers.get(_spot(rule)) if rule else self._find(text)
        return RuleLink(self._name(*text.rpartition(":")[::2]), number)

    def _name(self, file: str, line: str | int) -> str:
        """`rules.yaml:4`, without the folders where that is clear."""
        return safe(f"{self._names.get(file, file)}:{line}")

    def _find(self, text: str) -> int | None:
        return self._by_text.get(text, self._by_text.get(text.rpartition(":")[0]))

    def named(self, numbers: Collection[int]) -> list[tuple[str | int, str]]:
        """Places that rules stand at, with their numbers and how they are called."""
        spots = self._numbers.items()
        return [(at, self._name(*spot)) for spot, at in spots if at in numbers]

    def files(self) -> list[RuleFile]:
        """The files in the order in which their rules stand, as far as there is room."""
        told, texts, files = self._told(), self._report.rule_texts, list[RuleFile]()
        room = MOST_TEXT
        names = dict.fromkeys([*(file for file, _ in self._numbers), *texts])
        for name in islice(names, MOST_FILES):
            files.append(self._file(name, texts.get(name), told, room))
            room -= sum(map(_cost, files[-1].lines))
        return files

    def _file(self, name: str, text: str | None, told: Mapping[int, str], room: int) -> RuleFile:
        lines = list(self._own(name) if text is None else enumerate(text.splitlines(), 1))
        made = (self._line(name, at, line, told) for at, line in lines)
        shown = tuple(_fit(made, room))
        return RuleFile(safe(name), shown, text is not None, len(lines) - len(shown))

    def _own(self, name: str) -> Iterator[tuple[int, str]]:
        """The rules' own texts by their lines, where no file is at hand."""
        texts: dict[int, list[str]] = {}
        for rule in self._report.rules:
            if rule.place.file == name:
                texts.setdefault(rule.place.line, []).append(rule.text)
        return ((line, "; ".join(dict.fromkeys(own))) for line, own in sorted(texts.items()))

    def _line(self, name: str, at: int, text: str, told: Mapping[int, str]) -> RuleLine:
        number = self._numbers.get((name, at))
        shown = cut_middle(text, LONGEST_LINE, LONGEST_LINE // 2, visible)
        return RuleLine(at, shown, number, "" if number is None else told.get(number, ""))

    def _told(self) -> dict[int, str]:
        """What the rules of each place did: `gives 5 tensors`, `drops 2 tensors`.

        What those of an earlier stage give is no output, so what they take is told.
        """
        counted = {
            "takes": self._count_taken_early(),
            "gives": self._count_given(),
            "drops": self._count_dropped(),
        }
        texts: dict[int, list[str]] = {}
        for verb, counts in counted.items():
            for number, tensors in counts.items():
                texts.setdefault(number, []).append(f"{verb} {plural(tensors, 'tensor')}")
        return {number: ", ".join(own) for number, own in texts.items()}

    def _count_given(self) -> Counter[int]:
        outputs, counts = self._report.rows.outputs, Counter[int]()
        for kinds in self._report.kinds.values():
            for kind in kinds:
                rule = outputs.rules[kind.keys[0]]
                if rule is not None:
                    counts[self._numbers[_spot(rule)]] += len(kind.keys)
        return counts

    def _count_taken_early(self) -> Counter[int]:
        counts: Counter[int] = Counter()
        tables = self._report.fates.tables
        last = max((table.stage for table in tables), default=0)
        for table in tables:
            if table.stage < last:
                for claim in table.claims.values():
                    if claim.fate is Fate.TAKEN and claim.rule is not None:
                        counts[self._numbers[_spot(claim.rule)]] += 1
        return counts

    def _count_dropped(self) -> Counter[int]:
        counts: Counter[int] = Counter()
        for fate in find_dropped(self._report):
            rule = fate.dropper
            if rule is not None and _spot(rule) in self._numbers:
                counts[self._numbers[_spot(rule)]] += 1
        return counts


def _fit(lines: Iterable[RuleLine], room: int) -> Iterator[RuleLine]:
    """The first lines that have room in a page."""
    for line in lines:
        room -= _cost(line)
        if room < 0:
            return
        yield line


def _cost(line: RuleLine) -> int:
    """About how many characters of a page the line takes."""
    return OF_A_LINE + len(escape(line.text))


def _shorten(files: Collection[str]) -> dict[str, str]:
    """The files' own names, where no two have one."""
    names = {file: PurePath(file).name or file for file in files}
    return names if len(set(names.values())) == len(names) else {}


def _spot(rule: RuleInfo) -> Spot:
    return rule.place.file, rule.place.line
