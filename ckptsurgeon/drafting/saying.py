"""Whether a rule can name a key: what a file of rules can't hold costs itself alone."""

from __future__ import annotations

import re

from ckptsurgeon.drafting.arrows import Arrow
from ckptsurgeon.drafting.lines import line_of
from ckptsurgeon.drafting.units import cut_key
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.language.patterns.parsing import MAX_TEXT
from ckptsurgeon.language.rules import Drop
from ckptsurgeon.language.rulesets import parse_ruleset

_PLAIN = re.compile(r"[\w./-]*\w")


def is_sayable(key: str, *, remarked: bool = False) -> bool:
    """Whether a pattern can mean just this key, which has no alias before it.

    `remarked` says that a comment stands behind it on its line.
    """
    if len(key) > MAX_TEXT or "\n" in key:
        return False
    if _PLAIN.fullmatch(key) and "->" not in key and key.lower() != "null":
        return True
    line = line_of(Arrow(cut_key(key), ()))
    try:
        text = f"format: 1\nrules:\n  - {line}{'  # remark' if remarked else ''}\n"
        (rule,) = parse_ruleset(text, "rules.yaml").stages[0].rules
    except CkptSurgeonError:
        return False
    return isinstance(rule, Drop) and [one.pattern.literal for one in rule.sources] == [key]
