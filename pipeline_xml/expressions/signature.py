"""What an entry of the registry of functions is, and the words its type rules are made of.

`build` takes the typed arguments and returns the typed call, with a cast around every argument that needs one,
or raises `Refused`. The engine's half of each stands in `processing/emit*.py` under the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline_xml.expressions.codes import ARGUMENT_TYPE, Refused
from pipeline_xml.expressions.coercion import require
from pipeline_xml.expressions.tree import Call, Literal, Tree
from pipeline_xml.types import BOOLEAN, DATE, DOUBLE, INT, STRING, TIMESTAMP, DataType, decimal

Arguments = tuple[Tree, ...]

# The columns of all examples, of the documentation and of the tests.
EXAMPLE_SCOPE: Mapping[str, DataType] = {
    "country": STRING,
    "name": STRING,
    "active": BOOLEAN,
    "count": INT,
    "amount": decimal(18, 2),
    "rate": DOUBLE,
    "opened": DATE,
    "closed": DATE,
    "seen": TIMESTAMP,
}


@dataclass(frozen=True, slots=True)
class Function:
    """One entry. `name` is the tree's canonical word, `aliases` other names it is called by.

    `most` None means any number of arguments. `weight` is how often an argument stands in what is emitted, which bounds
    the size of an expression; `fails` says whether a call of it can have a reason of its own. `example` compiles over
    the columns of `EXAMPLE_SCOPE`.
    """

    name: str
    group: str
    written: str
    doc: str
    example: str
    build: Callable[[Arguments], Tree]
    least: int = 1
    most: int | None = 1
    aliases: tuple[str, ...] = ()
    weight: int | Callable[[Call], int] = 1
    operator: bool = False
    fails: bool | Callable[[Call], bool] = False

    def repeats(self, call: Call) -> int:
        return self.weight if isinstance(self.weight, int) else self.weight(call)

    def can_fail(self, call: Call) -> bool:
        return self.fails if isinstance(self.fails, bool) else self.fails(call)

    @property
    def names(self) -> tuple[str, ...]:
        """The names it may be called by in a text; an operator without aliases has none."""
        return self.aliases if self.operator else (self.name, *self.aliases)


def signature(name: str, returns: DataType, *kinds: str | tuple[str, ...]) -> Callable[[Arguments], Tree]:
    """The rule of a function whose arguments have fixed kinds; a last kind ending in `…` repeats."""

    def build(arguments: Arguments) -> Tree:
        out = []
        for index, tree in enumerate(arguments):
            wanted = kinds[min(index, len(kinds) - 1)]
            out.append(require(tree, index, *([wanted] if isinstance(wanted, str) else wanted)))
        return Call(name, tuple(out), returns)

    return build


def constant_text(arguments: Arguments, index: int, what: str) -> str:
    """The text of a literal argument; what decides how a function works must be known before it runs."""
    tree = arguments[index]
    if not isinstance(tree, Literal) or not isinstance(tree.value, str) or tree.type.kind != "string":
        raise Refused(ARGUMENT_TYPE, f"{what} must be written as text in quotes", argument=index)
    return tree.value


def constant_number(arguments: Arguments, index: int, what: str, low: int, high: int) -> int:
    tree = arguments[index]
    if not isinstance(tree, Literal) or isinstance(tree.value, bool) or not isinstance(tree.value, int):
        raise Refused(ARGUMENT_TYPE, f"{what} must be written as a whole number", argument=index)
    if not low <= tree.value <= high:
        raise Refused(ARGUMENT_TYPE, f"{what} is {tree.value}; it must be from {low} to {high}", argument=index)
    return tree.value
