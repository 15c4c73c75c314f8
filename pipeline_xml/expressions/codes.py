"""The codes of everything that can be wrong with an expression, and the exception that carries one to the compiler."""

from __future__ import annotations

from collections.abc import Mapping

SYNTAX = "LK210"
UNKNOWN_COLUMN = "LK211"
UNKNOWN_FUNCTION = "LK212"
ARGUMENT_COUNT = "LK213"
ARGUMENT_TYPE = "LK214"
REFUSED_CONSTRUCT = "LK215"
REFUSED_PATTERN = "LK216"
UNKNOWN_BINDING = "LK217"
TOO_LARGE = "LK218"

EXPRESSION_CODES: Mapping[str, str] = {
    SYNTAX: "An expression must be one Spark SQL expression that can be parsed.",
    UNKNOWN_COLUMN: "A column named in an expression must exist in its dataset; names are case-sensitive.",
    UNKNOWN_FUNCTION: "An expression may use only the functions of docs/expressions.md.",
    ARGUMENT_COUNT: "A function must get as many arguments as it takes.",
    ARGUMENT_TYPE: "An argument must have a type that the function takes; a cast that is written converts.",
    REFUSED_CONSTRUCT: "An expression has no subqueries, statements, windows, aggregates, stars, arrays or intervals.",
    REFUSED_PATTERN: "A regular expression or a date format must mean the same on every engine.",
    UNKNOWN_BINDING: "A bound value (:name) must be businessDate, runDate or a parameter that is declared.",
    TOO_LARGE: "An expression must stay within the limits of length, depth and size.",
}


class Refused(Exception):
    """One finding about one node. `argument` is the index of the argument it is about, None for the call itself."""

    def __init__(
        self, code: str, message: str, *, argument: int | None = None, valid: tuple[str, ...] = (), hint: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.argument = argument
        self.valid = valid
        self.hint = hint
