"""What a join's condition says: which columns must be equal, and whether it compares anything more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline_xml.checked import Dataset
from pipeline_xml.expressions import Expression
from pipeline_xml.expressions.functions import registry
from pipeline_xml.expressions.tree import Call, ColumnRef, Tree
from pipeline_xml.rulebook import code
from pipeline_xml.types import BOOLEAN
from processing.transformations.attributes import BY_RECORD, BY_VALUE, INCOMPLETE, WRONG_TYPE, Attributes

CAN_FAIL = code("LK310", "A join's condition compares; what may overflow or fail to cast is derived before it.")


@dataclass(frozen=True)
class Keys:
    """`pairs` are (left column, right column) that must be equal; `more`: the condition has other parts too."""

    condition: Expression
    pairs: tuple[tuple[str, str], ...]
    more: bool


def join_keys(read: Attributes, left: Dataset, right: Dataset) -> Keys | None:
    """The condition compiled and taken apart; None after its problems were reported."""
    where = read.place("condition")
    scopes = {left.name: left.scope, right.name: right.scope}
    condition = read.context.expression(read.text("condition"), {}, where, scopes)
    if condition is None:
        return None
    if condition.type != BOOLEAN:
        read.report(WRONG_TYPE, f"<join condition> is {condition.type}; it must be true or false", where)
        return None
    failing = next((c.function for c in _calls(condition.tree) if registry()[c.function].can_fail(c)), None)
    if failing is not None:
        message = f"<join condition> uses '{failing}', which can fail for a pair of rows"
        read.report(CAN_FAIL, message, where, (), "compute it before with <derive>, and compare the column")
    pairs, more = [], False
    for part in _parts(condition.tree):
        pair = _pair(part, left, right)
        if pair is None:
            more = True
            continue
        pairs.append(pair)
        for name, side in zip(pair, (left, right), strict=True):
            column = side.column(name)
            if column is not None and column.by_record:
                read.report(WRONG_TYPE, f"<join condition>: '{side.name}.{name}' {BY_RECORD}", where, (), BY_VALUE)
        if "double" in (left.scope[pair[0]].kind, right.scope[pair[1]].kind):
            message = f"<join> cannot compare {' with '.join(pair)}: equality of doubles is not exact"
            read.report(WRONG_TYPE, message, where, (), "derive a decimal from each")
    if not pairs:
        message = f"<join condition> needs a column of '{left.name}' that equals one of '{right.name}'"
        hint = f"such as {left.name}.{left.names[0]} = {right.name}.{right.names[0]}"
        read.report(INCOMPLETE, message, where, (), hint)
    return None if read.failed else Keys(condition, tuple(pairs), more)


def _parts(tree: Tree) -> Iterator[Tree]:
    """What a chain of `and` joins."""
    if isinstance(tree, Call) and tree.function == "and":
        for argument in tree.arguments:
            yield from _parts(argument)
    else:
        yield tree


def _pair(tree: Tree, left: Dataset, right: Dataset) -> tuple[str, str] | None:
    """The columns of an equation between the two sides, whatever the order."""
    if not isinstance(tree, Call) or tree.function != "eq":
        return None
    sides = {ref.dataset: ref.name for ref in map(_column, tree.arguments) if ref is not None}
    return (sides[left.name], sides[right.name]) if sides.keys() == {left.name, right.name} else None


def _column(tree: Tree) -> ColumnRef | None:
    """The column itself, or behind a cast between whole numbers and decimals, which keeps values apart."""
    while isinstance(tree, Call) and tree.function == "cast" and tree.type.kind in ("bigint", "decimal"):
        tree = tree.arguments[0]
    return tree if isinstance(tree, ColumnRef) else None


def _calls(tree: Tree) -> Iterator[Call]:
    if isinstance(tree, Call):
        yield tree
        for argument in tree.arguments:
            yield from _calls(argument)
