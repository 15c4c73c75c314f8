"""Random expressions over limits and nulls give what a plain reading of their trees in Python gives, on both engines.

The reading below knows nothing of engines: exact integers and decimals, IEEE doubles, and an exception for a reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import pyarrow as pa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline_xml.expressions import Call, ColumnRef, Expression, Literal, Tree
from pipeline_xml.expressions.compile import compile_expression
from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from pipeline_xml.types import BIGINT, BOOLEAN, DOUBLE, INT, DataType, decimal
from processing.emit import emit
from resources.engine import Engine

SCOPE = {"i": INT, "b": BIGINT, "d": decimal(9, 2), "e": decimal(18, 4), "x": DOUBLE, "f": BOOLEAN}
EXACT = Context(prec=100, rounding=ROUND_HALF_UP)
ROWS: list[dict[str, Any]] = [
    {
        "i": 2**31 - 1,
        "b": 2**63 - 1,
        "d": Decimal("9999999.99"),
        "e": Decimal("99999999999999.9999"),
        "x": 1e308,
        "f": True,
    },
    {"i": -(2**31), "b": -(2**63), "d": Decimal("-9999999.99"), "e": Decimal("-0.0001"), "x": -1e308, "f": False},
    {"i": 0, "b": 0, "d": Decimal("0.00"), "e": Decimal("0.0000"), "x": 0.0, "f": None},
    {"i": None, "b": None, "d": None, "e": None, "x": None, "f": None},
    {"i": -1, "b": -1, "d": Decimal("-0.05"), "e": Decimal("2.5000"), "x": -2.5, "f": True},
    {"i": 7, "b": None, "d": Decimal("1.15"), "e": None, "x": 0.1, "f": False},
    {"i": None, "b": 3, "d": None, "e": Decimal("-1.0050"), "x": 1.005, "f": None},
]


class Reason(Exception):
    pass


def read(tree: Tree, row: Mapping[str, Any]) -> Any:
    """The value of a tree, or `Reason`."""
    if isinstance(tree, Literal):
        return fitting(tree.value, tree.type) if isinstance(tree.value, Decimal) else tree.value
    if isinstance(tree, ColumnRef):
        return row[tree.name]
    assert isinstance(tree, Call)
    if tree.function in LAZY:
        return LAZY[tree.function](tree, row)
    values = [read(a, row) for a in tree.arguments]
    if tree.function == "in":
        return _in(values)
    if tree.function in ("greatest", "least"):
        present = [v + 0.0 if isinstance(v, float) else v for v in values if v is not None]
        return (max if tree.function == "greatest" else min)(present) if present else None
    if tree.function in ("is_null", "null_safe_eq", "nullif"):
        first, second = values[0], values[-1]
        if tree.function == "is_null":
            return first is None
        return first == second if tree.function == "null_safe_eq" else (None if first == second else first)
    if any(v is None for v in values):
        return None
    return fitting(STRICT[tree.function](tree, *values), tree.type)


def fitting(value: Any, kind: DataType) -> Any:
    if kind.kind in ("int", "bigint"):
        bits = 31 if kind.kind == "int" else 63
        if not -(2**bits) <= value < 2**bits:
            raise Reason("overflow")
    elif kind.kind == "double" and not math.isfinite(value):
        raise Reason("overflow")
    elif kind.kind == "decimal":
        value = EXACT.quantize(Decimal(value), Decimal(1).scaleb(-kind.scale))
        value = value if value else value.copy_abs()  # there is no negative zero
        if len(value.as_tuple().digits) > kind.precision:
            raise Reason("overflow")
    return value


def _logic(decides: bool) -> Callable[[Call, Mapping[str, Any]], Any]:
    def reading(tree: Call, row: Mapping[str, Any]) -> Any:
        unknown = False
        for argument in tree.arguments:
            value = read(argument, row)
            if value is decides:
                return decides
            unknown = unknown or value is None
        return None if unknown else not decides

    return reading


def _case(tree: Call, row: Mapping[str, Any]) -> Any:
    for condition, value in zip(tree.arguments[:-1:2], tree.arguments[1:-1:2], strict=True):
        if read(condition, row):
            return read(value, row)
    return read(tree.arguments[-1], row)


def _coalesce(tree: Call, row: Mapping[str, Any]) -> Any:
    return next((v for v in (read(a, row) for a in tree.arguments) if v is not None), None)


def _try_cast(tree: Call, row: Mapping[str, Any]) -> Any:
    value = read(tree.arguments[0], row)
    try:
        return None if value is None else fitting(_cast(tree, value), tree.type)
    except Reason:
        return None


def _in(values: list[Any]) -> bool | None:
    if values[0] is None:
        return None
    if values[0] in [v for v in values[1:] if v is not None]:
        return True
    return None if None in values[1:] else False


def _over(tree: Call, left: Any, right: Any) -> Any:
    if right == 0:
        raise Reason("division_by_zero")
    if tree.function == "divide":
        return left / right
    if isinstance(left, float):
        return math.fmod(left, right)
    return (
        EXACT.remainder(left, right)
        if isinstance(left, Decimal)
        else int(math.copysign(1, left)) * (abs(left) % abs(right))
    )


def _scaled(value: float, digits: int) -> int | None:
    scaled = abs(value) * float(10**digits)
    if scaled >= 2.0**52:
        return None
    whole = math.floor(scaled)
    return whole + (scaled - whole >= 0.5)


def _round(tree: Call, value: Any, digits: int) -> Any:
    if isinstance(value, Decimal):
        return value
    whole = _scaled(value, digits)
    return value if whole is None else math.copysign(whole / float(10**digits), value) + 0.0


def _cast(tree: Call, value: Any) -> Any:
    if tree.type.kind == "double":
        return float(value)
    if tree.type.kind in ("int", "bigint"):
        return int(value)
    if not isinstance(value, float):
        return Decimal(value)
    if abs(value) * float(10**tree.type.scale) >= 2.0**53:
        raise Reason("overflow")
    scaled = abs(value) * float(10**tree.type.scale)
    whole = math.floor(scaled) + (scaled - math.floor(scaled) >= 0.5)
    return EXACT.scaleb(Decimal(whole if value >= 0 else -whole), -tree.type.scale)


def _exact(
    decimals: Callable[[Any, Any], Decimal], others: Callable[[Any, Any], Any]
) -> Callable[[Call, Any, Any], Any]:
    return lambda tree, a, b: decimals(a, b) if isinstance(a, Decimal) else others(a, b)


LAZY: Mapping[str, Callable[[Call, Mapping[str, Any]], Any]] = {
    "and": _logic(False), "or": _logic(True), "case": _case, "coalesce": _coalesce, "try_cast": _try_cast,
}  # fmt: skip
STRICT: Mapping[str, Callable[..., Any]] = {
    "add": _exact(EXACT.add, lambda a, b: a + b),
    "subtract": _exact(EXACT.subtract, lambda a, b: a - b),
    "multiply": _exact(EXACT.multiply, lambda a, b: a * b),
    "divide": _over,
    "remainder": _over,
    "negate": lambda tree, a: EXACT.subtract(Decimal(0), a) if isinstance(a, Decimal) else 0 - a,
    "abs": lambda tree, a: abs(a) if not isinstance(a, Decimal) else a.copy_abs(),
    "sign": lambda tree, a: (a > 0) - (a < 0),
    "round": _round,
    "floor": lambda tree, a: math.floor(a),
    "ceil": lambda tree, a: math.ceil(a),
    "cast": _cast,
    "eq": lambda tree, a, b: a == b,
    "ne": lambda tree, a, b: a != b,
    "lt": lambda tree, a, b: a < b,
    "ge": lambda tree, a, b: a >= b,
    "not": lambda tree, a: not a,
}

LEAVES = st.sampled_from(
    ["i", "b", "d", "e", "x", "0", "1", "-3", "1.5", "0.05", "2.5e0", "9223372036854775807", "null"]
)


def _numbers(inner: st.SearchStrategy[str], conditions: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/%"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["-", "abs", "sign", "floor", "ceil", "round"]), inner).map(
            lambda t: f"{t[0]}({t[1]})"
        ),
        inner.map(lambda t: f"round({t}, 1)"),
        st.tuples(st.sampled_from(["coalesce", "nullif", "greatest", "least"]), two).map(
            lambda t: f"{t[0]}({t[1][0]}, {t[1][1]})"
        ),
        st.tuples(
            st.sampled_from(["cast", "try_cast"]),
            inner,
            st.sampled_from(["int", "bigint", "decimal(9,2)", "decimal(20,4)", "double"]),
        ).map(lambda t: f"{t[0]}({t[1]} as {t[2]})"),
        st.tuples(conditions, two).map(lambda t: f"if({t[0]}, {t[1][0]}, {t[1][1]})"),
    )


def _conditions(numbers: st.SearchStrategy[str], inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(numbers, st.sampled_from(["=", "<>", "<", ">=", "<=>"]), numbers).map(lambda t: f"({' '.join(t)})"),
        st.tuples(numbers, numbers, numbers).map(lambda t: f"({t[0]} in ({t[1]}, {t[2]}))"),
        numbers.map(lambda t: f"({t} is null)"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({' '.join(t)})"),
        inner.map(lambda t: f"(not {t})"),
    )


CONDITIONS = st.sampled_from(["f", "(i > 0)", "true", "(b is null)"]).map(lambda t: t.replace("i > 0", "0 < i"))
NUMBERS_1 = _numbers(LEAVES, CONDITIONS)
CONDITIONS_1 = _conditions(LEAVES | NUMBERS_1, CONDITIONS)
NUMBERS_2 = _numbers(LEAVES | NUMBERS_1, CONDITIONS | CONDITIONS_1)
CONDITIONS_2 = _conditions(NUMBERS_1 | NUMBERS_2, CONDITIONS_1)


def _compiled(text: str) -> Expression | None:
    return compile_expression(text, SCOPE, Location("random"), Problems())


TEXTS = st.one_of(NUMBERS_1, NUMBERS_2, CONDITIONS_2).filter(lambda text: _compiled(text) is not None)


# Not shrunk: every try is a query, and the message names each expression that differs.
@settings(max_examples=15, deadline=None, derandomize=True, phases=(Phase.generate,))
@given(texts=st.lists(TEXTS, min_size=25, max_size=25))
def test_random_expressions(engine: Engine, texts: list[str]) -> None:
    from pyspark.sql import functions as F

    expressions = [e for e in map(_compiled, texts) if e is not None]
    kinds = {
        "i": pa.int32(), "b": pa.int64(), "d": pa.decimal128(9, 2), "e": pa.decimal128(18, 4), "x": pa.float64(),
        "f": pa.bool_(),
    }  # fmt: skip
    table = pa.table({name: pa.array([row[name] for row in ROWS], kind) for name, kind in kinds.items()})
    table = table.append_column("n", pa.array(range(len(ROWS)), pa.int32()))
    columns = []
    for index, expression in enumerate(expressions):
        emitted = emit(expression, lambda dataset, name: F.col(name), {})
        problem = F.lit(None).cast("string") if emitted.problem is None else emitted.problem
        columns += [emitted.value.alias(f"v{index}"), problem.alias(f"p{index}")]
    found = engine.session.createDataFrame(table).select("n", *columns).toArrow().sort_by("n").to_pylist()
    wrong = []
    for row, computed in zip(ROWS, found, strict=True):
        for index, expression in enumerate(expressions):
            try:
                expected, reason = read(expression.tree, row), None
            except Reason as stopped:
                expected, reason = None, str(stopped)
            value, problem = computed[f"v{index}"], computed[f"p{index}"]
            if _plain(value) != _plain(expected) or problem != reason:
                wrong.append(f"{expression.text} over {row}: {value!r} {problem}, not {expected!r} {reason}")
    assert not wrong, f"{engine.name}:\n" + "\n".join(wrong)


def _plain(value: Any) -> str:
    """Text that tells types and scales apart, but not -0.0 from 0.0, which are equal everywhere in the language."""
    return repr(value + 0.0 if isinstance(value, float) else value)
