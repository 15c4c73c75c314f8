"""Which types meet, and in which type: numeric widening becomes an explicit cast, anything else is refused.

Integers meet in bigint, an integer and a decimal in a decimal that holds both, anything with a double in double, a date
and a timestamp in timestamp. Text never becomes a number, nor a number text, without a cast that is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from pipeline_xml.expressions.codes import ARGUMENT_TYPE, Refused
from pipeline_xml.expressions.tree import Call, ColumnRef, Literal, Tree
from pipeline_xml.types import BIGINT, DOUBLE, TIMESTAMP, DataType, decimal

DIGITS = 38
_INTEGER_DIGITS = {"int": 10, "bigint": 19}


def is_null(tree: Tree) -> bool:
    """Whether it is the bare word null, which takes the type of its neighbours."""
    return isinstance(tree, Literal) and tree.value is None


def is_constant(tree: Tree) -> bool:
    """Whether it reads no column: an engine computes it once, while it plans."""
    return not isinstance(tree, ColumnRef) and (
        not isinstance(tree, Call) or all(is_constant(a) for a in tree.arguments)
    )


def as_decimal(tree: Tree) -> DataType:
    """The smallest decimal type that holds an int, bigint or decimal; a literal counts its own digits."""
    if tree.type.kind == "decimal":
        return tree.type
    if isinstance(tree, Literal) and isinstance(tree.value, int):
        return decimal(len(str(abs(tree.value))), 0)
    return decimal(_INTEGER_DIGITS[tree.type.kind], 0)


def cast_to(tree: Tree, target: DataType) -> Tree:
    """`tree` as `target`; a literal is converted at once where nothing can be lost."""
    if tree.type == target:
        return tree
    if isinstance(tree, Literal):
        if tree.value is None:
            return Literal(target, None)
        if isinstance(tree.value, int) and not isinstance(tree.value, bool):
            if target.kind == "bigint":
                return Literal(target, tree.value)
            if target.kind == "double" and abs(tree.value) < 2**53:
                return Literal(target, float(tree.value))
            if target.kind == "decimal" and abs(tree.value) < 10 ** (target.precision - target.scale):
                return Literal(target, Decimal(tree.value))
    return Call("cast", (tree,), target)


def decimal_union(types: Sequence[DataType]) -> DataType:
    """The decimal that holds every value of all; refused beyond 38 digits."""
    scale = max(t.scale for t in types)
    whole = max(t.precision - t.scale for t in types)
    if whole + scale > DIGITS:
        raise Refused(
            ARGUMENT_TYPE,
            f"{' and '.join(str(t) for t in types)} meet in no decimal of {DIGITS} digits",
            hint="cast one of them to a smaller decimal",
        )
    return decimal(max(whole + scale, 1), scale)


def common_type(trees: Sequence[Tree]) -> DataType:
    """The type in which all of `trees` meet. Refused with the cast to write where there is none."""
    typed = [t for t in trees if not is_null(t)]
    if not typed:
        return trees[0].type
    kinds = {t.type.kind for t in typed}
    first = typed[0].type
    if len(kinds) == 1 and first.kind != "decimal":
        return first
    if all(t.type.numeric for t in typed):
        if "double" in kinds:
            return DOUBLE
        if "decimal" in kinds:
            return decimal_union([as_decimal(t) for t in typed])
        return BIGINT
    if kinds == {"date", "timestamp"}:
        return TIMESTAMP
    other = next(t for t in typed if not meets(first, t.type))
    raise Refused(
        ARGUMENT_TYPE,
        f"{first} and {other.type} do not compare",
        argument=trees.index(other),
        hint=_advice(first, other),
    )


def meets(one: DataType, other: DataType) -> bool:
    return one.kind == other.kind or (one.numeric and other.numeric) or {one.kind, other.kind} == {"date", "timestamp"}


def _advice(first: DataType, other: Tree) -> str:
    """The cast to write: the side that is text becomes the other's type; a literal is written as a literal."""
    if other.type.kind == "string" and isinstance(other, Literal):
        if first.kind in ("date", "timestamp"):
            return f"write {first.kind} '{other.value}'"
        return f"write the value without quotes, or cast(… as {first})"
    if first.kind == "string":
        return f"write cast(… as {other.type}) around the {first}, or cast(… as string) around the {other.type}"
    return f"write cast(… as {first}) around the {other.type}"


def meet(trees: Sequence[Tree]) -> tuple[Tree, ...]:
    """All of `trees`, cast to the type in which they meet."""
    target = common_type(trees)
    return tuple(cast_to(t, target) for t in trees)


def lossless(source: DataType, target: DataType) -> bool:
    """Whether every value of `source` has a place in `target` (that there is such a cast is asked elsewhere)."""
    if source.kind == "string":
        return target.kind == "string"
    if source.kind in _INTEGER_DIGITS and target.kind in _INTEGER_DIGITS:
        return _INTEGER_DIGITS[source.kind] <= _INTEGER_DIGITS[target.kind]
    if target.kind == "decimal" and source.kind != "double":
        digits = _INTEGER_DIGITS.get(source.kind, source.precision - source.scale)
        room = target.precision - target.scale
        return digits < room or (digits == room and target.scale >= source.scale)  # rounding may add a digit
    return target.kind not in _INTEGER_DIGITS and target.kind != "decimal"


def require(tree: Tree, index: int, *kinds: str) -> Tree:
    """`tree` if its type is one of `kinds`; the word null takes the first of them."""
    if is_null(tree):
        return tree if tree.type.kind in kinds else Literal(DataType(kinds[0]), None)  # type: ignore[arg-type]  # kinds are Kind words
    if tree.type.kind not in kinds:
        wanted = kinds[0]
        hint = f"write cast(… as {wanted})" if wanted not in ("boolean", "decimal") else ""
        if wanted == "boolean":
            hint = "write a comparison, such as x = 1 or x is not null"
        raise Refused(ARGUMENT_TYPE, f"is {tree.type}; it takes {' or '.join(kinds)}", argument=index, hint=hint)
    return tree
