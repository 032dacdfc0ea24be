"""What `learn` found, as text that ends with what matters, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ckptsurgeon.cutting import list_some
from ckptsurgeon.drafting.steps import Degree
from ckptsurgeon.keys import fold_keys
from ckptsurgeon.render.columns import Aligned, Palette
from ckptsurgeon.render.terminal import safe, safe_sentence
from ckptsurgeon.render.view import CLEAN, View
from ckptsurgeon.specs import plural
from ckptsurgeon.wording import choose, tell_more

if TYPE_CHECKING:  # which imports NumPy
    from ckptsurgeon.learning.learned import Learned

VERSION = 1

MEANINGS = {
    Degree.PROVED: "equal element for element",
    Degree.SAMPLED: "equal on samples",
    Degree.NEAR: "computed, and equal but for rounding",
    Degree.SURE: "the values fit several tensors, and names and neighbours leave one",
    Degree.LIKELY: "the values fit several tensors: see the lines with CHECK",
}
"""What each degree says of the tensors that have it."""


def render_learned(found: Learned, *, width: int, color: bool, verbose: bool = False) -> str:
    """What was learned, without the rules, as text that ends in a newline."""
    view = View(width, Palette(color), verbose, CLEAN)
    paint = view.palette.bad if found.exit_code else view.palette.good
    return view.page(
        view.align(list(_head(found)), ""),
        view.align(list(_degrees(found)), "  "),
        _listed("likely", "a `# CHECK` stands before their rules", found.likely, view),
        _listed(
            "unexplained", "no rule was found that makes their values", found.unexplained, view
        ),
        _listed("unreadable", "without values that can be read", list(found.unreadable), view),
        _listed("dropped", "no rule reads these source tensors", found.dropped, view),
        [paint(safe(found.bottom_line))],
        _advice(found),
    )


def _head(found: Learned) -> Iterator[Aligned]:
    yield Aligned(("source", safe(found.source)), "")
    yield Aligned(("converted", safe(found.converted)), "")


def _degrees(found: Learned) -> Iterator[Aligned]:
    for degree, count in found.counts.items():
        yield Aligned((degree.value, plural(count, "tensor")), MEANINGS[degree])


def _listed(title: str, meaning: str, keys: Sequence[str], view: View) -> list[str]:
    if not keys:
        return []
    names = list(keys) if view.verbose else [str(box) for box in fold_keys(keys)]
    limit = len(names) if view.verbose else view.limits.section
    shown = [f"  {safe(name)}" for name in names[:limit]]
    more = [f"  ... {len(names) - limit:,} more ({tell_more()})"] if len(names) > limit else []
    head = f"{view.palette.bold(title)}  {plural(len(keys), 'tensor')}: {safe_sentence(meaning)}"
    return [head, *shown, *more]


def _advice(found: Learned) -> list[str]:
    """The next step where values leave something open."""
    lines: list[str] = []
    if found.failed:
        lines += [
            f"example {number}: not made there: {safe(list_some(keys, MOST_NAMES))}"
            for number, keys in enumerate(found.misses, 1)
            if keys
        ]
    if found.once:
        names = safe(list_some(found.once, MOST_NAMES))
        ways = choose(
            "`--example S2 D2` of another size, or `--config`", "`examples=` or `config=`"
        )
        lines.append(f"seen at one size: {names}; where others differ, these rules are wrong")
        lines.append(f"whether they are constants or sizes, {ways} tells")
    if found.asked:
        ways = choose("--config or --set", "`config=` or `variables=`")
        names = safe(list_some(found.asked, MOST_NAMES))
        lines.append(f"{names}: other in each example, and in no shape: {ways} must say it")
    if found.likely or Degree.SURE in found.counts:
        lines.append(
            "values that all differ leave no doubt: run the conversion on what `probe` writes"
        )
    return lines


MOST_NAMES = 6
"""Numbers that are named."""


def learned_json(found: Learned) -> str:
    """What was learned as one JSON object: versioned, complete, pure ASCII."""
    told: dict[str, Any] = {
        "version": VERSION,
        "clean": not found.exit_code,
        "exit_code": found.exit_code,
        "bottom_line": found.bottom_line,
        "source": found.source,
        "converted": found.converted,
        "rules": found.text(),
        "rule_count": found.rule_count,
        "failed_examples": found.failed,
        "misses": [list(keys) for keys in found.misses],
        "seen_once": list(found.once),
        "asked": list(found.asked),
        "counts": {degree.value: count for degree, count in found.counts.items()},
        "degrees": {key: degree.value for key, degree in found.degrees.items()},
        "unexplained": list(found.unexplained),
        "unreadable": {key: spec.what for key, spec in found.unreadable.items()},
        "dropped": list(found.dropped),
    }
    return json.dumps(told, indent=1) + "\n"
