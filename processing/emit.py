"""A typed expression becomes a column of the engine: its value, and the reason where a record has none.

    emit(expression, column, bindings) -> Emitted(value, problem)

The engines overflow, divide and cast differently, or raise in the middle of a batch. What is emitted does neither:
every operation that can fail has a test beside it, and where it fails the value is null and `problem` says why. Reasons
follow the reading order: what stands behind a false `and`, a true `or` or in a branch not taken gives none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from pipeline_xml.expressions.tree import Binding, ColumnRef, Expression, Literal, Tree
from pipeline_xml.types import DataType
from processing import emit_cast, emit_date, emit_logic, emit_number, emit_text
from processing.emitted import Emitted, Emitter, Part, finished

if TYPE_CHECKING:
    from pyspark.sql import Column

__all__ = ["EMITTERS", "Emitted", "UnboundValue", "emit"]

EMITTERS: Mapping[str, Emitter] = {
    **emit_logic.EMITTERS,
    **emit_number.EMITTERS,
    **emit_text.EMITTERS,
    **emit_date.EMITTERS,
    **emit_cast.EMITTERS,
}


class UnboundValue(Exception):
    """A bound value of the expression was not given, or is not of its type; says its name, never its value."""


@dataclass(frozen=True, slots=True)
class _Scope:
    column: Callable[[str, str], Column]
    bindings: Mapping[str, object]


def emit(
    expression: Expression, column: Callable[[str, str], Column], bindings: Mapping[str, object] | None = None
) -> Emitted:
    """`value` is exactly of the expression's type; `problem` None where nothing in it can fail.

    `column(dataset, name)` gives the engine's column; dataset is empty except in a join condition. `bindings` are the
    values of `:name`. Raises `UnboundValue`.
    """
    return finished(_emit(expression.tree, _Scope(column, bindings or {})))


def _emit(tree: Tree, scope: _Scope) -> Part:
    if isinstance(tree, Literal):
        return Part(literal(tree.type, tree.value))
    if isinstance(tree, ColumnRef):
        return Part(scope.column(tree.dataset, tree.name))
    if isinstance(tree, Binding):
        return Part(_bound(tree, scope.bindings))
    arguments = [_emit(a, scope) for a in tree.arguments]
    return EMITTERS[tree.function](tree, arguments)


def literal(data_type: DataType, value: object) -> Column:
    """A constant of exactly that type. Decimals and moments go as text: their own literals lose type or time zone."""
    from pyspark.sql import functions as F

    if isinstance(value, Decimal):
        value = format(value, "f")
    elif isinstance(value, datetime):
        value = value.isoformat(sep=" ")
    elif isinstance(value, date):
        value = value.isoformat()
    return F.lit(value).cast(str(data_type))


_PYTHON: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "int": (int,),
    "bigint": (int,),
    "decimal": (Decimal, int),
    "double": (float, int),
    "date": (date,),
    "timestamp": (datetime,),
}


def _bound(binding: Binding, bindings: Mapping[str, object]) -> Column:
    if binding.name not in bindings:
        raise UnboundValue(f":{binding.name} has no value; given: {', '.join(sorted(bindings)) or 'none'}")
    value = bindings[binding.name]
    kind = binding.type.kind
    fits = value is None or isinstance(value, _PYTHON[kind])
    if not fits or (isinstance(value, bool) and kind != "boolean") or (isinstance(value, datetime) and kind == "date"):
        raise UnboundValue(f":{binding.name} must be {binding.type}, it is a {type(value).__name__}")
    return literal(binding.type, value)
