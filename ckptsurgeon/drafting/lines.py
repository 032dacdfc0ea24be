"""Arrows as lines of a rule file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ckptsurgeon.drafting.arrows import Arrow
from ckptsurgeon.drafting.names import Names, formula_text
from ckptsurgeon.drafting.steps import Call, Size, UnitKind, Value
from ckptsurgeon.drafting.units import (
    Capture,
    Choice,
    Formula,
    Number,
    Open,
    Star,
    Unit,
    Units,
    cut_list,
    text_of,
)
from ckptsurgeon.errors import Place
from ckptsurgeon.language.patterns.pieces import Word, write_literal
from ckptsurgeon.language.yaml.nodes import Scalar
from ckptsurgeon.language.yaml.quoting import quoted
from ckptsurgeon.language.yaml.writing import write_key_text, written
from ckptsurgeon.ops import OPS
from ckptsurgeon.ops.indexing import Slice, index_text


def line_of(arrow: Arrow, before: tuple[Units, Units] = ((), ())) -> str:
    """The rule of an arrow, without what a `within` has before its patterns."""
    names = Names(arrow)
    sources = _patterns(arrow.source[len(before[0]) :], "source", names)
    targets = _patterns(arrow.target[len(before[1]) :], "target", names)
    if arrow.unit is not None:
        return _unit_line(arrow.unit, sources, targets)
    if not arrow.target:
        return f"drop: {_one_or_list(sources)}"
    if not arrow.source:
        return f"keep: {_one_or_list(targets)}"
    sources = [f"{one}{index_text(arrow.index) if arrow.index else ''}" for one in sources]
    options = list(_options(arrow, names))
    calls = [_call(call, arrow, names) for call in arrow.calls]
    if len(sources) > 1 or len(targets) > 1:
        words = [f"from: {_one_or_list(sources, True)}", f"to: {_one_or_list(targets, True)}"]
        return f"{{{', '.join((*words, *options, *_ops_word(calls)))}}}"
    rule = write_key_text(f"{sources[0]} -> {targets[0]}")
    if options:
        return f"{rule}: {{{', '.join((*options, *_ops_word(calls)))}}}"
    return f"{rule}: {_ops(calls)}" if calls else rule


def _unit_line(unit: UnitKind, sources: Sequence[str], targets: Sequence[str]) -> str:
    """A rule for modules: its word, what each source is, and where they go if not to the first."""
    name, words, parameters = unit
    given = list(zip(words, sources, strict=True))
    if targets[0] != sources[0]:
        given.append(("to", targets[0]))
    told = [f"{word}: {_scalar(one, inside=True)}" for word, one in given]
    told += [f"{word}: {value}" for word, value in parameters]
    return f"{name}: {{{', '.join(told)}}}"


def _one_or_list(texts: Sequence[str], inside: bool = False) -> str:
    shown = [_scalar(text, inside=inside or len(texts) > 1) for text in texts]
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"


def _scalar(text: str, *, inside: bool) -> str:
    return written(Scalar(text, Place("", 1, 1), plain=True), inside=inside)


def _options(arrow: Arrow, names: Names) -> Iterator[str]:
    if arrow.pick is not None:
        place, taken = arrow.pick
        yield f"pick: {{{names.of_place(place)}: [{', '.join(map(str, taken))}]}}"
    if arrow.reuse:
        yield "reuse: true"


# --- patterns -------------------------------------------------------------------------------------


def _patterns(units: Units, side: str, names: Names) -> list[str]:
    """The texts of the patterns of one side."""
    return ["".join(_texts(one, side, names)) for one in cut_list(units)]


def pattern_text(units: Units, side: str, arrow: Arrow) -> str:
    """A part of an arrow's pattern, as the prefix of a `within`."""
    return "".join(_texts(units, side, Names(arrow)))


def _texts(units: Sequence[Unit], side: str, names: Names) -> Iterator[str]:
    literal: list[Unit] = []
    for unit in units:
        if isinstance(unit, str | Number):
            literal.append(unit)
            continue
        yield _literal(literal)
        literal = []
        yield _capture(unit, side, names)
    yield _literal(literal)


def _literal(units: Sequence[Unit]) -> str:
    """Text that means itself; the `::` of an alias stays."""
    alias, sign, key = text_of(units).rpartition("::")
    plain = re.sub(r"(\s)", r"\\\1", write_literal(key)) if key else ""
    return f"{alias}{sign}{plain}"


def _capture(unit: Unit, side: str, names: Names) -> str:
    if isinstance(unit, Star):
        return "**" if unit.path else "*"
    if isinstance(unit, Formula):
        return f"<{formula_text(unit, names)}{_width(unit.width)}>"
    if isinstance(unit, Capture):
        return f"<{names.of_place(unit.place)}{_width(unit.width)}>"
    if isinstance(unit, Choice):
        name = names.of_choice(unit)
        return f"<{name}:{_words(unit.words)}>" if side == "source" else f"<{name}>"
    if isinstance(unit, Open):
        name = names.of_open(side, unit.dim)
        if unit.words:
            return f"<{name}:{_words(tuple((word, word) for word in unit.words))}>"
        return f"<{name}{_width(unit.width)}>"
    raise TypeError(f"{unit!r} is no capture")


def _width(width: int) -> str:
    return f":0{width}" if width else ""


def _words(words: Sequence[tuple[str, str]]) -> str:
    return "|".join(str(Word(left, right)) for left, right in words)


# --- ops ------------------------------------------------------------------------------------------


def _ops_word(calls: Sequence[str]) -> list[str]:
    return [f"ops: {_ops(calls)}"] if calls else []


def _ops(calls: Sequence[str]) -> str:
    if len(calls) == 1:
        return calls[0]
    return f"[{', '.join(calls)}]"


def _call(call: Call, arrow: Arrow, names: Names) -> str:
    """An op as a rule has it: its word alone, or with its parameters."""
    written = _slice if call.op == Slice.name else _value
    given = [(name, written(value)) for name, value in call.parameters]
    side = _side(call)
    if isinstance(call.over, str):
        given.append(("over", call.over))
    elif call.over is not None and (_opens(arrow, side) > 1 or _is_mixed(arrow)):
        given.append(("over", names.of_open(side, call.over)))
    if not given:
        return call.op
    first = OPS[call.op].first
    if len(given) == 1 and given[0][0] == first:
        return f"{{{call.op}: {given[0][1]}}}"
    return f"{{{call.op}: {{{', '.join(f'{name}: {value}' for name, value in given)}}}}}"


def _side(call: Call) -> str:
    return "target" if OPS[call.op].arity.value == "split" else "source"


def _is_mixed(arrow: Arrow) -> bool:
    """Whether a rule opens dims and closes others, so that each op says which."""
    arities = {OPS[call.op].arity for call in arrow.calls if call.over is not None}
    return len(arities) > 1


def _opens(arrow: Arrow, side: str) -> int:
    """How many dims of the grid a side of the rule has open."""
    units = arrow.source if side == "source" else arrow.target
    return len({unit.dim for unit in units if isinstance(unit, Open)})


def _slice(index: Value) -> str:
    """What an index takes, without its brackets."""
    assert isinstance(index, tuple)  # as the op has it
    return quoted(index_text(index).strip("[]"))


def _value(value: Value) -> str:
    if isinstance(value, Size):
        return value.name
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if value.isidentifier() or value.isdigit() else quoted(value)
    return repr(value)
