"""The entries of a `table`, and what reports say of them."""

from __future__ import annotations

from ckptsurgeon.errors import ExpressionError, PlanError, Problem
from ckptsurgeon.language.expressions import Expression
from ckptsurgeon.language.rules import Entry, Listing, Table
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.varying import table_of
from ckptsurgeon.plans.graph import Lines, RuleInfo


def listing_of(written: Table, vars: Vars) -> Listing:
    """The entries of a table; raises PlanError where a var gives none."""
    if isinstance(written.entries, Listing):
        return written.entries
    try:
        found = table_of(written.entries, Scope({}, vars))
    except ExpressionError as error:
        raise PlanError([Problem(f"table: {error}", written.place, error.help)]) from None
    line, file = written.place.line, written.place.file
    return Listing(tuple(Entry(old, new, line) for old, new in found.items()), file)


def table_info(number: int, rule: CompiledRule, written: Table, listing: Listing) -> RuleInfo:
    """What reports say of a table, with the line of each key."""
    before, after = written.before
    lines = Lines(
        listing.file,
        {before + one.old: one.line for one in listing.entries},
        {after + one.new: one.line for one in listing.entries if one.new is not None},
    )
    return RuleInfo(number, rule.group, "move", table_text(written), rule.place, lines=lines)


def table_text(written: Table) -> str:
    """A table on one line, for reports."""
    behind = f" behind {' -> '.join(written.before)}" if any(written.before) else ""
    if isinstance(written.entries, Expression):
        return f"table: {written.entries}{behind}"
    listing = written.entries
    count = f"{len(listing.entries):,} {'entry' if len(listing.entries) == 1 else 'entries'}"
    of = f" of {listing.file}" if listing.file != written.place.file else ""
    return f"table: {count}{of}{behind}"
