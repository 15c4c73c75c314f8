"""The typed tree that expressions compile to. Every operand that needs a cast has an explicit `cast` call in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from pipeline_xml.types import DataType


@dataclass(frozen=True, slots=True)
class Literal:
    type: DataType
    value: str | bool | int | float | Decimal | date | datetime | None


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """`dataset` is empty except in a join condition."""

    name: str
    type: DataType
    dataset: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """A bound value: `runDate`, `businessDate` or a job parameter; its value is known only when the pipeline runs."""

    name: str
    type: DataType


@dataclass(frozen=True, slots=True)
class Call:
    """A listed function or operator, by its canonical name (`add`, `and`, `in`, `case`, `cast`, `substring`, …)."""

    function: str
    arguments: tuple[Tree, ...]
    type: DataType


Tree = Literal | ColumnRef | Binding | Call


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression: its text as written, its typed tree, and the columns it reads."""

    text: str
    tree: Tree
    columns: frozenset[str]

    @property
    def type(self) -> DataType:
        return self.tree.type

    @property
    def bindings(self) -> frozenset[str]:
        """The bound values it reads, businessDate among them."""
        return frozenset(_bindings(self.tree))


def _bindings(tree: Tree) -> Iterator[str]:
    if isinstance(tree, Binding):
        yield tree.name
    elif isinstance(tree, Call):
        for argument in tree.arguments:
            yield from _bindings(argument)
