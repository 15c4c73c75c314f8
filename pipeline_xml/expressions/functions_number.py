"""Arithmetic and numbers.

Whole numbers: + - * % and unary minus compute in bigint. Decimals: + - * % are exact, in the type that holds every
possible result (add: one more digit before the point; multiply: digits and scales add up); where that needs more than
38 digits the expression is refused, and a cast says what is meant. / always gives double.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from pipeline_xml.expressions.codes import ARGUMENT_TYPE, Refused
from pipeline_xml.expressions.coercion import DIGITS, as_decimal, cast_to, decimal_union, is_null, require
from pipeline_xml.expressions.signature import Arguments, Function, constant_number
from pipeline_xml.expressions.tree import Call, Literal, Tree
from pipeline_xml.types import BIGINT, DOUBLE, INT, DataType, decimal

_NUMBERS = ("double", "decimal", "bigint", "int")
_WORDS = {"add": "+", "subtract": "-", "multiply": "*", "remainder": "%"}


def _numbers(arguments: Arguments) -> list[Tree]:
    out = [require(a, i, *_NUMBERS) for i, a in enumerate(arguments)]
    typed = [t for t in out if not is_null(t)]
    # The word null takes the type of the other side.
    return [Literal(typed[0].type, None) if is_null(t) and typed else t for t in out]


def _exact(name: str, left: DataType, right: DataType) -> DataType:
    """The decimal type that holds every result."""
    if name == "multiply":
        precision, scale = left.precision + right.precision, left.scale + right.scale
    elif name == "remainder":
        union = decimal_union((left, right))
        precision, scale = union.precision, union.scale
        if precision + 2 * scale + 2 > DIGITS:  # the room in which emit_number computes it without a point
            raise Refused(
                ARGUMENT_TYPE,
                f"{left} % {right} needs more than {DIGITS} digits on its way",
                hint="cast an operand to a smaller decimal",
            )
    else:
        scale = max(left.scale, right.scale)
        precision = max(left.precision - left.scale, right.precision - right.scale) + scale + 1
    if precision + (name == "multiply") > DIGITS:  # Spark adds a digit to a product, and drops decimals for it
        raise Refused(
            ARGUMENT_TYPE,
            f"{left} {_WORDS[name]} {right} may need {precision} digits; a decimal holds {DIGITS}",
            hint="cast an operand to a smaller decimal",
        )
    return decimal(max(precision, 1), scale)


def _arithmetic(name: str, doc: str) -> Function:
    def build(arguments: Arguments) -> Tree:
        left, right = _numbers(arguments)
        kinds = {left.type.kind, right.type.kind}
        if "double" in kinds:
            return Call(name, (cast_to(left, DOUBLE), cast_to(right, DOUBLE)), DOUBLE)
        if "decimal" in kinds:
            one, two = as_decimal(left), as_decimal(right)
            result = _exact(name, one, two)
            if name != "multiply":  # same scale on both sides, so that engines have nothing to widen
                both = decimal_union((one, two))
                one = two = both
            return Call(name, (cast_to(left, one), cast_to(right, two)), result)
        return Call(name, (cast_to(left, BIGINT), cast_to(right, BIGINT)), BIGINT)

    def fails(call: Call) -> bool:
        return call.type.kind != "decimal" or name == "remainder"

    word = _WORDS[name]
    aliases = ("mod",) if name == "remainder" else ()
    return Function(
        name, "Arithmetic", f"a {word} b", doc, f"amount {word} 3", build, 2, 2, aliases, operator=True, fails=fails
    )


def _bigint(call: Call) -> bool:
    return call.type.kind == "bigint"


def _divide(arguments: Arguments) -> Tree:
    left, right = _numbers(arguments)
    return Call("divide", (cast_to(left, DOUBLE), cast_to(right, DOUBLE)), DOUBLE)


def _signed(name: str) -> Callable[[Arguments], Tree]:
    """Negating and abs: Spark rounds a decimal of more than 34 digits there, without a word."""

    def build(arguments: Arguments) -> Tree:
        tree = require(arguments[0], 0, *_NUMBERS)
        if tree.type.kind == "decimal" and tree.type.precision > 34:
            hint = f"cast it to decimal(34,{min(tree.type.scale, 34)})"
            raise Refused(ARGUMENT_TYPE, f"is {tree.type}; it takes at most 34 digits", argument=0, hint=hint)
        return (
            Call(name, (tree,), tree.type) if tree.type.kind != "int" else Call(name, (cast_to(tree, BIGINT),), BIGINT)
        )

    return build


def _negate(arguments: Arguments) -> Tree:
    tree = arguments[0]
    if isinstance(tree, Literal) and isinstance(tree.value, (int, float, Decimal)) and tree.type.numeric:
        # A minus before a Decimal would round it to 28 digits.
        return Literal(tree.type, tree.value.copy_negate() if isinstance(tree.value, Decimal) else -tree.value)
    return _signed("negate")(arguments)


def _round(arguments: Arguments) -> Tree:
    tree = require(arguments[0], 0, *_NUMBERS)
    digits = constant_number(arguments, 1, "the number of digits", 0, 15) if len(arguments) > 1 else 0
    if tree.type.kind in ("int", "bigint"):
        return tree
    places = Literal(INT, digits)
    if tree.type.kind == "double":
        return Call("round", (tree, places), DOUBLE)
    precision, scale = tree.type.precision, tree.type.scale
    if digits >= scale:
        return tree
    return Call("round", (tree, places), decimal(min(DIGITS, precision - scale + digits + 1), digits))


def _whole(name: str) -> Callable[[Arguments], Tree]:
    def build(arguments: Arguments) -> Tree:
        tree = require(arguments[0], 0, *_NUMBERS)
        if tree.type.kind in ("int", "bigint"):
            return cast_to(tree, BIGINT)
        if tree.type.kind == "double":
            return Call(name, (tree,), BIGINT)
        if tree.type.scale == 0:
            return tree
        return Call(name, (tree,), decimal(tree.type.precision - tree.type.scale + 1, 0))

    return build


def _sign(arguments: Arguments) -> Tree:
    return Call("sign", (require(arguments[0], 0, *_NUMBERS),), INT)


FUNCTIONS = (
    _arithmetic("add", "Sum."),
    _arithmetic("subtract", "Difference. Days between dates: datediff."),
    _arithmetic("multiply", "Product."),
    Function(
        "divide",
        "Arithmetic",
        "a / b",
        "Quotient, always a double; division by zero rejects the record.",
        "amount / 3",
        _divide,
        2,
        2,
        operator=True,
        fails=True,
    ),
    _arithmetic("remainder", "What is left of a division, with the sign of a; by zero it rejects the record."),
    Function(
        "negate", "Arithmetic", "-a", "The same with the other sign.", "-amount", _negate, operator=True, fails=_bigint
    ),
    Function("abs", "Numbers", "abs(a)", "Without the sign.", "abs(amount)", _signed("abs"), weight=3, fails=_bigint),
    Function("sign", "Numbers", "sign(a)", "-1, 0 or 1.", "sign(amount)", _sign, aliases=("signum",), weight=3),
    Function(
        "round",
        "Numbers",
        "round(a, digits)",
        "Rounded half away from zero to 0..15 digits after the point (0 if left out).",
        "round(amount, 1)",
        _round,
        1,
        2,
        weight=lambda call: 6 if call.type.kind == "double" else 1,
    ),
    Function(
        "floor",
        "Numbers",
        "floor(a)",
        "The greatest whole number not above it.",
        "floor(rate)",
        _whole("floor"),
        fails=_bigint,
    ),
    Function(
        "ceil",
        "Numbers",
        "ceil(a)",
        "The smallest whole number not below it.",
        "ceil(rate)",
        _whole("ceil"),
        aliases=("ceiling",),
        fails=_bigint,
    ),
)
