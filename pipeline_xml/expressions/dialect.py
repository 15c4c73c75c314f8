"""Text to sqlglot's syntax tree: Spark's grammar, but without any function of its own, and within limits.

sqlglot rewrites the functions it knows (date_sub becomes an addition of a negative). Here it knows none, so every call
arrives with its name and arguments as written, and the registry alone decides what exists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import ParseError, TokenError
from sqlglot.parsers.spark import SparkParser
from sqlglot.tokenizer_core import Token, TokenType

from pipeline_xml.expressions.codes import SYNTAX, TOO_LARGE

LONGEST_TEXT = 20_000
MOST_TOKENS = 4_000
DEEPEST = 50
LONGEST_PREFIX = 20  # not not not …, - - - …

_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END}
_PREFIX = {TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = set("\\'\"nrtb0%_")


class SyntaxProblem(Exception):
    """The text is no expression. `offset` counts from 0; None where it is not known."""

    def __init__(self, message: str, offset: int | None = None, code: str = SYNTAX, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.code = code
        self.hint = hint


def _only(parsers: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: parsers[name] for name in names}


class Language(Spark):
    """Spark's grammar; a quote inside text is doubled (SQL) or follows a backslash (Spark)."""

    class Tokenizer(Spark.Tokenizer):
        STRING_ESCAPES: ClassVar[list[str]] = ["\\", "'"]

    class Parser(SparkParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = _only(SparkParser.FUNCTION_PARSERS, "CAST", "TRY_CAST")
        NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = _only(SparkParser.NO_PAREN_FUNCTION_PARSERS, "CASE")
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}


@lru_cache(maxsize=4096)
def parse(text: str) -> exp.Expr:
    """The syntax tree of exactly one expression, to be read only; raises `SyntaxProblem`, and nothing else.

    Remembered by text: a rule pack is compiled for each pipeline that it is for, and many rules read alike.
    """
    if len(text) > LONGEST_TEXT:
        raise SyntaxProblem(f"longer than {LONGEST_TEXT} characters", 0, TOO_LARGE)
    if not text.strip():
        raise SyntaxProblem("the expression is empty", 0)
    dialect = Language()
    try:
        tokens = dialect.tokenize(text)
        _limits(tokens)
        _escapes(tokens, text)
        statements = dialect.parser().parse(tokens, text)
    except TokenError as error:
        raise SyntaxProblem("a quote or a comment is not closed", None) from error
    except ParseError as error:
        raise _syntax(error, text) from error
    except RecursionError as error:
        raise SyntaxProblem("nested too deeply", 0, TOO_LARGE) from error
    found = [s for s in statements if s is not None]
    if len(found) != 1:
        raise SyntaxProblem("an expression, not a sequence of statements", 0, hint="leave out the ;")
    return found[0]


def _limits(tokens: list[Token]) -> None:
    if len(tokens) > MOST_TOKENS:
        raise SyntaxProblem(f"more than {MOST_TOKENS} words and signs", 0, TOO_LARGE, "split it into several <column>s")
    depth = prefix = 0
    for token in tokens:
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        prefix = prefix + 1 if token.token_type in _PREFIX else 0
        if depth > DEEPEST or prefix > LONGEST_PREFIX:
            raise SyntaxProblem(f"nested more than {DEEPEST} deep", token.start, TOO_LARGE)


def _escapes(tokens: list[Token], text: str) -> None:
    """A backslash that would vanish: Spark reads '\\d' as 'd', which no author of a regular expression means."""
    for token in tokens:
        if token.token_type != TokenType.STRING:
            continue
        for match in _ESCAPE.finditer(text, token.start, token.end):
            if match[1] not in _ESCAPES:
                raise SyntaxProblem(
                    f"the backslash of \\{match[1]} would be lost",
                    match.start(),
                    hint=f"write r'…\\{match[1]}…' (text as it stands) or '\\\\{match[1]}'",
                )


def _syntax(error: ParseError, text: str) -> SyntaxProblem:
    first = error.errors[0] if error.errors else {}
    near = str(first.get("highlight") or "")
    column = first.get("col")
    offset = max(0, int(column) - len(near)) if column and "\n" not in text else None
    if "query" in str(first.get("description", "")).lower():
        return SyntaxProblem("an expression, not a statement", offset)
    return SyntaxProblem(f"not understood at '{near}'" if near else "ends before it is complete", offset)
