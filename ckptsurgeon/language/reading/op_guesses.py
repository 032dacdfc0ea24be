"""Ops as other languages write them, with what they are given: `chunk(3, dim=1)`, `{mul: 2}`.

Only what means the same here is an answer, and each is read before it is given: what a help says to
write is a rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as List

from msgspec import Struct

from ckptsurgeon.errors import Place, RulesetError
from ckptsurgeon.language.reading.scalars import find_dtype
from ckptsurgeon.language.synonyms import find_word, fold_word
from ckptsurgeon.language.yaml.nodes import Mapping, Node, Scalar, Sequence, is_null
from ckptsurgeon.language.yaml.writing import LONGEST_LINE, written
from ckptsurgeon.ops import OPS, Arity

Entry = tuple[Scalar, Node]

LONGEST_CALL = 100
"""Longest text that is looked at for a call."""

_CALL = re.compile(
    r"\.?(?:torch\.|np\.|x\.|t\.)?(?P<name>[A-Za-z]\w*)"
    r"(?:[\[(]+(?P<inner>[^()\[\]]*)[\])]+|(?P<rest>\s+\w+|(?:\s+-?[\d.]+)+)|)"
)

_CHAIN = re.compile(r"\.?([A-Za-z]\w*(?:\([^()]*\))?)(?:\s*(?:[,;|]|\bthen\b)\s*|\s+|(?=\.)|$)")
"""One op of several in one text, with what stands between it and the next."""

_ALIKE = (
    *("cat", "concatenate", "view", "resize", "swapaxes", "swapdims", "transposed", "t"),
    *("rows", "unbind", "reverse", "einops"),
)
"""Ops of other names that take what ours take."""

MOST_PARAMETERS = 12
"""Words of a mapping that is looked at for a call."""

_TENSORS = ("x", "t", "w", "v", "self", "tensor", "weight")
"""What the tensor is called in a call that is given it first."""

_OTHERWISE = ("split", "pad", "repeat", "roll")
"""Ops whose first parameter is another than that of the functions of this name in torch."""

_CHUNKS = ("chunk", "tensor_split", "array_split")
_CASTS = ("cast", "astype", "dtype", "convert", "type", "to")


class Call(Struct, frozen=True):
    """An op that somebody wrote: its name in lower case, and what it is given."""

    name: str
    place: Place
    given: tuple[Node, ...] = ()
    named: tuple[Entry, ...] = ()
    is_call: bool = False
    """Whether it was written as a call: `split(2)`, `split 2`."""

    def scalar(self, text: str) -> Scalar:
        return Scalar(text, self.place, plain=True)

    def op(self, name: str, value: Node | None) -> Node:
        """The node of an op of ours."""
        word = self.scalar(name)
        return word if value is None else Mapping(((word, value),), self.place)

    def parameters(self, entries: List[tuple[str, Node]]) -> Mapping:
        return Mapping(tuple((self.scalar(name), node) for name, node in entries), self.place)


def find_op(entries: List[tuple[Scalar, Node | None]], read: Callable[[Node], object]) -> str:
    """The next step where a name, or the words of a mapping, are an op written otherwise.

    Nothing unless `read` can read what it says to write.
    """
    (key, value), *_ = entries
    if len(entries) > MOST_PARAMETERS:
        return ""
    if value is None:
        meant = meant_ops(key, read)
    else:
        meant = _first_read(_meanings(_call_of(entries)), read)
    line = written(meant) if meant is not None else ""
    return f"write `{line}`" if 0 < len(line) <= LONGEST_LINE else ""


def meant_ops(key: Scalar, read: Callable[[Node], object]) -> Node | None:
    """The op, or the list of ops, that a text is; None where it is none that can be read."""
    if len(key.text) > LONGEST_CALL:
        return None
    own = [key] if key.text in OPS else []
    chain = _chain_of(key, read)
    others = (*_by_number(key), *_meanings(_call_of([(key, None)])))
    return chain or _first_read((*own, *others), read)


def _first_read(meanings: Iterable[Node], read: Callable[[Node], object]) -> Node | None:
    """The first of some meanings that can be read."""
    for meant in meanings:
        try:
            read(meant)
        except RulesetError:
            continue
        return meant
    return None


def _chain_of(key: Scalar, read: Callable[[Node], object]) -> Node | None:
    """Several ops in one text as a list: `transpose, flip`, `transpose(0, 1).flip(0)`."""
    ops, at, text = list[Node](), 0, key.text.strip()
    while at < len(text) <= LONGEST_CALL:
        found = _CHAIN.match(text, at)
        if found is None:
            return None
        word = Scalar(found[1], key.place, plain=True)
        own = [word] if word.text in OPS else []
        meant = _first_read((*own, *_meanings(_call_of([(word, None)]))), read)
        if meant is None:
            return None
        ops.append(meant)
        at = found.end()
    return Sequence(tuple(ops), key.place) if len(ops) > 1 else None


def _call_of(entries: List[tuple[Scalar, Node | None]]) -> Call:
    """The first entry as a call, the others as what it is given by name."""
    (key, value), *others = entries
    found = _CALL.fullmatch(key.text.strip()) if len(key.text) <= LONGEST_CALL else None
    if value is None and found is not None:
        return _of_text(found, key.place)
    given = () if value is None else (value,)
    rest = tuple((word, node) for word, node in others if node is not None)
    if given and rest and all(is_null(node) for _, node in rest):  # `{transpose: 0, 1}`
        numbers = tuple(Scalar(word.text, word.place, plain=True) for word, _ in rest)
        return Call(fold_word(key.text), key.place, (*given, *numbers))
    return Call(fold_word(key.text), key.place, given, rest)


def _of_text(found: re.Match[str], place: Place) -> Call:
    """`chunk(3, dim=1)`, `concat 1`."""
    items = found["rest"].split() if found["rest"] else (found["inner"] or "").split(",")
    items = [one.strip() for one in items]
    if len(items) > 1 and items[0] in _TENSORS:
        items = items[1:]
    pairs = [one.partition("=")[::2] for one in items if "=" in one]
    given = tuple(Scalar(one, place, plain=True) for one in items if one and "=" not in one)
    named = tuple(
        (Scalar(word.strip(), place), Scalar(value.strip(), place, plain=True))
        for word, value in pairs
    )
    is_call = found["inner"] is not None or found["rest"] is not None
    return Call(fold_word(found["name"]), place, given, named, is_call)


_BY_NUMBER = re.compile(r"(?:x\s*)?(?P<sign>[-+*/])\s*(?P<number>\d+(?:\.\d*)?)")
_SIGNS = {"*": ("scale", ""), "/": ("scale", "1 / "), "+": ("shift", ""), "-": ("shift", "-")}


def _by_number(key: Scalar) -> Iterator[Node]:
    """`x * 2`, `/ 2`."""
    found = _BY_NUMBER.fullmatch(key.text) if len(key.text) <= LONGEST_CALL else None
    if found is not None:
        name, before = _SIGNS[found["sign"]]
        call = Call(name, key.place)
        yield call.op(name, call.scalar(f"{before}{found['number']}"))


def _meanings(call: Call) -> Iterator[Node]:
    """What a call may mean, the likeliest first."""
    yield from _casts(call)
    yield from _numbers(call)
    if call.name in _CHUNKS and call.given:
        names = zip(("parts", "dim"), call.given, strict=False)
        named = [(_parameter(word.text), node) for word, node in call.named]
        yield call.op("split", call.parameters([*names, *named]))
    if call.name == "narrow" and (index := _narrow(call)):
        yield call.op("slice", Scalar(index, call.place))
    if call.name == "index_select" and len(call.given) == 1:
        yield call.op("take", call.given[0])
    if call.name == "index_select" and len(call.given) == 2:
        dim, rows = call.given
        listed = rows if isinstance(rows, Sequence) else Sequence((rows,), call.place)
        yield call.op("take", call.parameters([("indices", listed), ("dim", dim)]))
    if call.is_call and call.name in _OTHERWISE and call.given:
        return
    name = find_word(call.name, OPS) if call.name in _ALIKE else call.name
    if name in OPS:
        yield from _alike(call, name)


def _casts(call: Call) -> Iterator[Node]:
    """`half`, `bf16`, `{to: float16}`."""
    values = (*call.given, *(node for word, node in call.named if word.text == "dtype"))
    value = values[0] if len(values) == 1 == len(call.given) + len(call.named) else None
    named = value.text if isinstance(value, Scalar) and call.name in _CASTS else ""
    if named or not (call.given or call.named) or _is_true(value):
        code = find_dtype(named or call.name)
        if code:
            yield call.op("cast", call.scalar(code))


def _numbers(call: Call) -> Iterator[Node]:
    """`{mul: 2}`, `{div: 2}`, `{plus: 1}`, `neg`."""
    value = call.given[0] if len(call.given) == 1 and not call.named else None
    if call.name in ("neg", "negate") and not call.named and (value is None or _is_true(value)):
        yield call.op("scale", call.scalar("-1"))
    if not isinstance(value, Scalar) or value.null:
        return
    text = value.text if re.fullmatch(r"[\w.]+", value.text) else f"({value.text})"
    if call.name in ("mul", "multiply", "factor", "times"):
        yield call.op("scale", call.scalar(value.text))
    if call.name in ("div", "divide"):
        yield call.op("scale", call.scalar(f"1 / {text}"))
    if call.name in ("plus", "offset", "add_scalar") or (call.name == "add" and value.numeric):
        yield call.op("shift", call.scalar(value.text))
    if call.name in ("sub", "subtract", "minus"):
        yield call.op("shift", call.scalar(f"-{text}"))


def _narrow(call: Call) -> str:
    """The slice of torch's `narrow(dim, start, length)`; empty where it is not all there."""
    given = call.given
    items = given[0].items if len(given) == 1 and isinstance(given[0], Sequence) else given
    texts = [one.text for one in items if isinstance(one, Scalar) and one.text.isdecimal()]
    if len(texts) != 3 or len(items) != 3 or len("".join(texts)) > 20:
        return ""
    dim, start, length = map(int, texts)
    return ", ".join([":"] * dim + [f"{start}:{start + length}"]) if dim < 10 else ""


def _alike(call: Call, name: str) -> Iterator[Node]:
    """An op of ours with the same parameters, alone or by name."""
    first = OPS[name].first
    if call.named:
        given = [(first, one) for one in call.given if first][:1]
        named = [(_parameter(word.text, name), node) for word, node in call.named]
        if len(call.given) <= 1 and len(dict([*given, *named])) == len(given) + len(named):
            yield call.op(name, call.parameters([*given, *named]))
    elif len(call.given) > 1:
        yield call.op(name, Sequence(call.given, call.place))
    elif not call.given or _is_true(call.given[0]):
        yield call.op(name, None)
    elif OPS[name].arity is Arity.JOIN and _is_name(call.given[0]):
        yield call.op(name, call.parameters([("over", call.given[0])]))
    else:
        yield call.op(name, call.given[0])
        yield call.op(name, Sequence(call.given, call.place))


def _parameter(word: str, name: str = "split") -> str:
    """A parameter of an op by its name, or by one that it has elsewhere."""
    fields = OPS[name].__struct_fields__
    return word if word in fields else find_word(word, fields) or word


def op_node(name: Scalar, value: Node) -> Node:
    """An op with what it is given; nothing, or `true`, is the op alone."""
    alone = is_null(value) or (isinstance(value, Scalar) and value.truth is True)
    return name if alone else Mapping(((name, value),), name.place)


def _is_name(node: Node) -> bool:
    return isinstance(node, Scalar) and node.text.isidentifier()


def _is_true(node: Node | None) -> bool:
    return isinstance(node, Scalar) and node.truth is True
