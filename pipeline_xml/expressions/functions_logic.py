"""Comparison, logic, nulls and choices."""

from __future__ import annotations

from pipeline_xml.expressions.codes import ARGUMENT_TYPE, REFUSED_PATTERN, Refused
from pipeline_xml.expressions.coercion import cast_to, common_type, is_null, meet, require
from pipeline_xml.expressions.patterns import like_pattern, portable_pattern
from pipeline_xml.expressions.signature import Arguments, Function, constant_text
from pipeline_xml.expressions.tree import Call, Literal, Tree
from pipeline_xml.types import BOOLEAN, INT, STRING


def _comparison(name: str, ordered: bool) -> Function:
    words = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "null_safe_eq": "<=>"}
    docs = {
        "eq": "Equal; null where a side is null. Also `==`.",
        "ne": "Not equal; null where a side is null. Also `!=`.",
        "lt": "Smaller. Text compares by code points, false before true is not defined.",
        "le": "Smaller or equal.",
        "gt": "Greater.",
        "ge": "Greater or equal.",
        "null_safe_eq": "Equal, where two nulls are equal; never null. `a is not distinct from b` is the same.",
    }

    def build(arguments: Arguments) -> Tree:
        sides = meet(arguments)
        if ordered and sides[0].type.kind == "boolean":
            raise Refused(ARGUMENT_TYPE, "is boolean; booleans have no order", argument=0, hint="write = or <>")
        return Call(name, sides, BOOLEAN)

    written, example = f"a {words[name]} b", f"amount {words[name]} 100"
    return Function(name, "Comparison", written, docs[name], example, build, 2, 2, operator=True)


def _between(arguments: Arguments) -> Tree:
    sides = meet(arguments)
    if sides[0].type.kind == "boolean":
        raise Refused(ARGUMENT_TYPE, "is boolean; booleans have no order", argument=0)
    return Call("between", sides, BOOLEAN)


def _in(arguments: Arguments) -> Tree:
    return Call("in", meet(arguments), BOOLEAN)


def _like(arguments: Arguments) -> Tree:
    """The pattern becomes the regular expression that it means."""
    text = require(arguments[0], 0, "string")
    pattern = constant_text(arguments, 1, "the pattern of like")
    escape = constant_text(arguments, 2, "the escape character") if len(arguments) > 2 else "\\"
    if len(escape) != 1:
        raise Refused(REFUSED_PATTERN, "like: the escape is one character", argument=2)
    return Call("like", (text, Literal(STRING, like_pattern(pattern, escape))), BOOLEAN)


def _matches(arguments: Arguments) -> Tree:
    text = require(arguments[0], 0, "string")
    pattern = portable_pattern(constant_text(arguments, 1, "a regular expression"))
    return Call("matches", (text, Literal(STRING, pattern)), BOOLEAN)


def _logic(name: str) -> Function:
    docs = {
        "and": "True where all are true, false where one is false, else null. Read from left to right.",
        "or": "True where one is true, false where all are false, else null. Read from left to right.",
        "not": "The opposite; null stays null. Also `!`.",
    }

    def build(arguments: Arguments) -> Tree:
        return Call(name, tuple(require(a, i, "boolean") for i, a in enumerate(arguments)), BOOLEAN)

    if name == "not":
        return Function("not", "Logic", "not a", docs[name], "not active", build, operator=True)
    example = f"active {name} amount > 0"
    return Function(name, "Logic", f"a {name} b", docs[name], example, build, 2, None, operator=True)


def _is_null(name: str) -> Function:
    def build(arguments: Arguments) -> Tree:
        return Call(name, arguments, BOOLEAN)

    negated = name == "is_not_null"
    words = "is not null" if negated else "is null"
    doc = f"Whether the value is {'there' if negated else 'missing'}; never null."
    alias = ("isnotnull",) if negated else ("isnull",)
    return Function(name, "Nulls", f"a {words}", doc, f"country {words}", build, aliases=alias, operator=True)


def _case(arguments: Arguments) -> Tree:
    """condition, value, condition, value, …, otherwise: always an odd number."""
    conditions = [require(a, i, "boolean") for i, a in enumerate(arguments[:-1]) if i % 2 == 0]
    values = (*arguments[1:-1:2], arguments[-1])
    try:
        target = common_type(values)
    except Refused as refused:
        if refused.argument is not None:
            refused.argument = min(refused.argument * 2 + 1, len(arguments) - 1)
        refused.message = f"the branches differ: {refused.message.replace('do not compare', 'have no common type')}"
        raise
    cast = [cast_to(v, target) for v in values]
    pairs = [tree for pair in zip(conditions, cast[:-1], strict=True) for tree in pair]
    return Call("case", (*pairs, cast[-1]), target)


def _nullif(arguments: Arguments) -> Tree:
    left, right = meet(arguments)
    return Call("nullif", (left, right), left.type)


def _extreme(name: str) -> Function:
    def build(arguments: Arguments) -> Tree:
        out = meet(arguments)
        if out[0].type.kind == "boolean":
            raise Refused(ARGUMENT_TYPE, "is boolean; booleans have no order", argument=0)
        return Call(name, out, out[0].type)

    doc = f"The {name} of the values that are there; null where none is."
    return Function(name, "Nulls", f"{name}(a, b, …)", doc, f"{name}(opened, closed)", build, 2, None)


def _coalesce(arguments: Arguments) -> Tree:
    out = meet(arguments)
    return Call("coalesce", out, out[0].type)


def _count_present(arguments: Arguments) -> Tree:
    for index, tree in enumerate(arguments):
        if is_null(tree):
            raise Refused(ARGUMENT_TYPE, "is the word null, which is never present", argument=index)
    return Call("count_present", arguments, INT)


FUNCTIONS = (
    *(
        _comparison(n, n not in ("eq", "ne", "null_safe_eq"))
        for n in ("eq", "ne", "lt", "le", "gt", "ge", "null_safe_eq")
    ),
    Function(
        "between",
        "Comparison",
        "a between low and high",
        "Whether low <= a and a <= high. Also `not between`.",
        "amount between 1 and 100.50",
        _between,
        3,
        3,
        operator=True,
        weight=2,
    ),
    Function(
        "in",
        "Comparison",
        "a in (b, c, …)",
        "Whether a equals one of them; null where a is null, or where none equals and one is null. Also `not in`.",
        "country in ('DE', 'FR')",
        _in,
        2,
        None,
        operator=True,
    ),
    Function(
        "like",
        "Comparison",
        "a like 'pattern'",
        "Whether the whole text fits: % is any text, _ one character, \\\\ (or `escape 'c'`) makes the next one plain.",
        "country like 'D%'",
        _like,
        2,
        3,
        operator=True,
    ),
    Function(
        "matches",
        "Comparison",
        "matches(a, r'pattern')",
        "Whether the regular expression is found in the text; ^ and $ anchor it. Also `a rlike r'pattern'`.",
        "country rlike r'^[A-Z]{2}$'",
        _matches,
        2,
        2,
        ("regexp_like", "rlike", "regexp"),
    ),
    _logic("and"),
    _logic("or"),
    _logic("not"),
    _is_null("is_null"),
    _is_null("is_not_null"),
    Function(
        "coalesce",
        "Nulls",
        "coalesce(a, b, …)",
        "The first that is not null.",
        "coalesce(country, 'unknown')",
        _coalesce,
        2,
        None,
        ("nvl", "ifnull"),
        weight=2,
    ),
    Function(
        "nullif",
        "Nulls",
        "nullif(a, b)",
        "a, but null where it equals b.",
        "nullif(country, '')",
        _nullif,
        2,
        2,
        weight=2,
    ),
    _extreme("greatest"),
    _extreme("least"),
    Function(
        "count_present",
        "Nulls",
        "count_present(a, b, …)",
        "How many of them are not null.",
        "count_present(country, opened, closed) >= 2",
        _count_present,
        1,
        None,
    ),
    Function(
        "case",
        "Choices",
        "case when c then a … else b end",
        "The value of the first condition that is true; without else, null. Also `case x when 1 …` and `if(c, a, b)`.",
        "case when amount > 100 then 'large' else 'small' end",
        _case,
        3,
        None,
        operator=True,
        weight=lambda call: 2 if call.type.kind == "boolean" else 1,  # Sail repeats conditions there
    ),
)
