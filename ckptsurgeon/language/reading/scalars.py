"""Single values out of nodes: text, truth, numbers, expressions, dtypes, and lists of these."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from ckptsurgeon.errors import ExpressionError, PatternError, RulesetError, nearest
from ckptsurgeon.language.expressions import Expression, Value, kind_of, parse_expression
from ckptsurgeon.language.problems import MAX_SHOWN, Problems, shown, suggestion, told, wrong
from ckptsurgeon.language.reading.expression_guesses import find_expression
from ckptsurgeon.language.yaml.nodes import Broken, Mapping, Node, Scalar, Sequence
from ckptsurgeon.language.yaml.nodes import kind_of as kind_of_node
from ckptsurgeon.specs import BITS, DTYPE_NAMES

Item = TypeVar("Item")

DTYPE_CODES = {
    **{name: code for code, name in DTYPE_NAMES.items()},
    "byte": "U8",
    "char": "I8",
    "short": "I16",
    "int": "I32",
    "long": "I64",
    "half": "F16",
    "float": "F32",
    "double": "F64",
    "fp16": "F16",
    "fp32": "F32",
    "fp64": "F64",
}
"""What torch and NumPy call the codes of safetensors: understood, to say the code."""


def unlike(node: Node, wanted: str, help: str = "") -> RulesetError:
    """The error for a node of another kind than the one that is wanted."""
    if isinstance(node, Broken):
        return told()
    return wrong(node.place, f"{wanted} is wanted, found {kind_of_node(node)}", help)


def scalar(node: Node, wanted: str) -> Scalar:
    """The node itself, which must be one text that is not null."""
    if not isinstance(node, Scalar) or node.null:
        raise unlike(node, wanted)
    return node


def text(node: Node) -> str:
    """A text as written: `1.10` and `no` are what they look like."""
    return scalar(node, "text").text


def word(node: Node) -> str:
    """A text that is not empty."""
    found = scalar(node, "text")
    if not found.text.strip():
        raise wrong(found.place, "an empty text where one is wanted")
    return found.text


def boolean(node: Node) -> bool:
    if not isinstance(node, Scalar) or node.truth is None:
        is_1_1 = isinstance(node, Scalar) and node.text.lower() in ("yes", "no", "on", "off")
        raise unlike(node, "true or false", "only `true` and `false` are truth" if is_1_1 else "")
    return node.truth


def choice(words: Iterable[str]) -> Callable[[Node], str]:
    """A reader of one of these words."""
    known = tuple(words)

    def read(node: Node) -> str:
        found = scalar(node, f"one of {', '.join(known)}")
        if found.text not in known:
            message = f"unknown word {shown(found.text)}; one of {', '.join(known)} is wanted"
            raise wrong(found.place, message, nearest(found.text, known))
        return found.text

    return read


def dtype(node: Node) -> str:
    """A code of safetensors."""
    found = scalar(node, "a dtype such as F32")
    if found.text in BITS:
        return found.text
    raise wrong(found.place, f"unknown dtype {shown(found.text)}", near_dtype(found.text))


def near_dtype(name: str) -> str:
    """What was meant by a name that is no dtype's code."""
    code = find_dtype(name)
    return f"did you mean {code!r}?" if code else suggestion(name.upper(), BITS)


def find_dtype(name: str) -> str:
    """The code of a dtype that has another name elsewhere; empty for what is none."""
    plain = name.removeprefix("torch.").removeprefix("np.").lower()
    return DTYPE_CODES.get(plain) or (plain.upper() if plain.upper() in BITS else "")


def destination_or_dtype(node: Node) -> str:
    """A code, or the word `destination`."""
    if isinstance(node, Scalar) and node.text == "destination":
        return node.text
    return dtype(node)


def expression(node: Node) -> Expression:
    """A condition or formula; raises RulesetError at the character that is wrong."""
    return parsed(scalar(node, "an expression"), _expression)


def _expression(text: str) -> Expression:
    """The expression, which is worked out once if it has no names, so that it says what fails."""
    try:
        found = parse_expression(text)
    except ExpressionError as error:
        help = find_expression(text) or error.help
        raise ExpressionError(str(error), error.column, help) from None
    constant(found)
    return found


def parsed(
    node: Scalar, parse: Callable[[str], Item], text: str | None = None, column: int = 0
) -> Item:
    """What a parser gives for a scalar, or for a part of it that begins at a column.

    Raises RulesetError at the character that is wrong.
    """
    try:
        return parse(node.text if text is None else text)
    except (ExpressionError, PatternError) as error:
        raise wrong(node.at(column + error.column), str(error), error.help) from None


def constant(expression: Expression) -> Value | None:
    """The value of an expression that needs no names; None for any other."""
    return expression.evaluate({}) if not expression.names else None


def number(node: Node) -> int | float | Expression:
    """A number, or an expression that will give one."""
    found = scalar(node, "a number or an expression")
    if found.numeric:
        return found.number()
    if found.truth is not None:
        raise unlike(node, "a number or an expression")
    formula = expression(found)
    value = constant(formula)
    if value is None:
        return formula
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(found.place, f"a number is wanted, found {kind_of(value)} ({value!r})")
    return value


def integer(node: Node) -> int | Expression:
    """An integer, or an expression that will give one."""
    value = number(node)
    if isinstance(value, float):
        raise wrong(node.place, f"an integer is wanted, found {value}")
    return value


def count(node: Node) -> int | Expression:
    """An integer of 0 or more, or an expression."""
    value = integer(node)
    if isinstance(value, int) and value < 0:
        raise wrong(node.place, f"a count of 0 or more is wanted, found {value}")
    return value


def each(node: Node, read: Callable[[Node], Item], wanted: str, help: str = "") -> tuple[Item, ...]:
    """What the reader gives for each entry of a list that has one at least."""
    problems = Problems()
    found = readable(node, read, wanted, help, problems)
    problems.raise_if_any()
    return found


def readable(
    node: Node, read: Callable[[Node], Item], wanted: str, help: str, problems: Problems
) -> tuple[Item, ...]:
    """As `each`, of those entries that can be read; the problems of the others are kept."""
    if not isinstance(node, Sequence):
        raise unlike(node, f"a list of {wanted}", find_list(node) or help)
    if not node.items:
        raise wrong(node.place, f"an empty list; {wanted} are wanted")
    return tuple(problems.gather(read, node.items))


_BETWEEN = re.compile(r"\s*[,;]\s*|(?<=\d)\s*[x\N{MULTIPLICATION SIGN}]\s*(?=\d)|\s+")
"""What other languages write between the items of a list, and between sizes."""


def find_list(node: Node) -> str:
    """The next step where a text is a list as other languages write it: `(2, 10)`, `2x10`."""
    inner = node.text.strip("()<>{} ")[:MAX_SHOWN] if isinstance(node, Scalar) else ""
    items = _BETWEEN.split(inner.removesuffix(","))
    is_list = len(items) > 1 and all(re.fullmatch(r"[-\w]+", item) for item in items)
    return f"write `[{', '.join(items)}]`" if is_list else ""


def one_or_each(node: Node, read: Callable[[Node], Item], wanted: str) -> tuple[Item, ...]:
    """As `each`, where one alone may stand without a list."""
    return each(node, read, wanted) if isinstance(node, Sequence) else (read(node),)


def sizes(node: Node) -> tuple[int | Expression, ...]:
    """A shape: a list of integers from 0 up, or expressions; `[]` is the shape of a scalar."""
    if isinstance(node, Sequence) and not node.items:
        return ()
    return each(node, count, "sizes")


def table(node: Node, read: Callable[[Node], Item], wanted: str, help: str = "") -> dict[str, Item]:
    """What the reader gives for each value of a mapping that has one at least."""
    if not isinstance(node, Mapping):
        raise unlike(node, wanted, help)
    if not node.entries:
        raise wrong(node.place, f"an empty mapping; {wanted} is wanted")
    problems = Problems()
    found = problems.gather(lambda entry: (entry[0].text, read(entry[1])), node.entries)
    problems.raise_if_any()
    return dict(found)
