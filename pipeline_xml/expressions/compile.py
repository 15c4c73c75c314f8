"""Compiles the text of an expression into the typed tree, against the columns there are.

    text ── dialect.parse ──▶ syntax ── allow-list, names, types ──▶ tree     every problem found, none raised

Nothing that is not listed here or in the registry passes: the tree is all an engine ever sees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sqlglot import exp

from pipeline_xml.expressions import functions
from pipeline_xml.expressions.codes import (
    ARGUMENT_COUNT,
    ARGUMENT_TYPE,
    REFUSED_CONSTRUCT,
    TOO_LARGE,
    UNKNOWN_BINDING,
    UNKNOWN_COLUMN,
    UNKNOWN_FUNCTION,
    Refused,
)
from pipeline_xml.expressions.dialect import SyntaxProblem, parse
from pipeline_xml.expressions.literals import moment, number
from pipeline_xml.expressions.signature import Function
from pipeline_xml.expressions.size import size_of
from pipeline_xml.expressions.tree import Binding, Call, ColumnRef, Expression, Literal, Tree
from pipeline_xml.location import Location
from pipeline_xml.nested import UNSEEN
from pipeline_xml.problems import Problems, nearest
from pipeline_xml.types import BOOLEAN, DATE, NESTED, STRING, DataType, parse_type

DEEPEST_TREE = 100
BINDINGS: Mapping[str, DataType] = {"businessDate": DATE, "runDate": DATE}

_BINARY: Mapping[type[exp.Expr], str] = {
    exp.EQ: "eq",
    exp.NEQ: "ne",
    exp.LT: "lt",
    exp.LTE: "le",
    exp.GT: "gt",
    exp.GTE: "ge",
    exp.NullSafeEQ: "null_safe_eq",
    exp.Add: "add",
    exp.Sub: "subtract",
    exp.Mul: "multiply",
    exp.Div: "divide",
    exp.Mod: "remainder",
    exp.RegexpLike: "matches",
}
_CHAINS: Mapping[type[exp.Expr], str] = {exp.And: "and", exp.Or: "or", exp.DPipe: "concat"}


def compile_expression(
    text: str,
    scope: Mapping[str, DataType],
    where: Location,
    problems: Problems,
    bindings: Mapping[str, DataType] | None = None,
    datasets: Mapping[str, Mapping[str, DataType]] | None = None,
) -> Expression | None:
    """The compiled expression, or None after every problem found was reported (codes LK210 to LK218).

    `scope` are the columns by name. `datasets` (join conditions) are the columns of each dataset for `dataset.column`;
    a bare name then means the only dataset that has it. `bindings` are job parameters beside businessDate and runDate.
    `where` is the place of the text's first character; problems point into it while the text is on one line.
    """
    walk = _Walk(text, scope, where, problems, {**BINDINGS, **(bindings or {})}, datasets or {})
    try:
        tree = walk.tree(parse(text), 0)
    except SyntaxProblem as problem:
        problems.error(problem.code, f"expression: {problem.message}", walk.place(problem.offset), hint=problem.hint)
        return None
    except RecursionError:
        problems.error(TOO_LARGE, "expression: nested too deeply", where)
        return None
    if tree is None:
        return None
    if not size_of(tree).fits:
        problems.error(
            TOO_LARGE, "expression: too large once it is computed", where, hint="split it into several <column>s"
        )
        return None
    return Expression(text, tree, frozenset(walk.columns))


def compile_condition(
    text: str,
    scope: Mapping[str, DataType],
    where: Location,
    problems: Problems,
    bindings: Mapping[str, DataType] | None = None,
    datasets: Mapping[str, Mapping[str, DataType]] | None = None,
) -> Expression | None:
    """As `compile_expression`, and the result must be boolean."""
    compiled = compile_expression(text, scope, where, problems, bindings, datasets)
    if compiled is not None and compiled.type != BOOLEAN:
        problems.error(
            ARGUMENT_TYPE,
            f"expression: a condition must be boolean, this is {compiled.type}",
            where,
            hint="write a comparison, such as x = 1 or x is not null",
        )
        return None
    return compiled


class _Walk:
    """One pass over a syntax tree. `columns` collects what was read."""

    def __init__(
        self,
        text: str,
        scope: Mapping[str, DataType],
        where: Location,
        problems: Problems,
        bindings: Mapping[str, DataType],
        datasets: Mapping[str, Mapping[str, DataType]],
    ) -> None:
        self.text, self.scope, self.where, self.problems = text, scope, where, problems
        self.bindings, self.datasets = bindings, datasets
        self.columns: set[str] = set()
        self._special: Mapping[type[exp.Expr], Callable[[exp.Expr, int], Tree | None]] = {
            exp.Paren: lambda node, depth: self.tree(node.this, depth),
            exp.Column: self._column,
            exp.Placeholder: self._binding,
            exp.Literal: self._literal,
            exp.RawString: lambda node, depth: Literal(STRING, str(node.this)),
            exp.Boolean: lambda node, depth: Literal(BOOLEAN, bool(node.this)),
            exp.Null: lambda node, depth: Literal(STRING, None),
            exp.Neg: lambda node, depth: self._call("negate", node, [node.this], depth),
            exp.Not: self._not,
            exp.Is: self._is,
            exp.NullSafeNEQ: lambda node, depth: self._negated(
                self._call("null_safe_eq", node, [node.this, node.expression], depth)
            ),
            exp.Between: lambda node, depth: self._call(
                "between", node, [node.this, node.args["low"], node.args["high"]], depth
            ),
            exp.In: self._in,
            exp.Like: lambda node, depth: self._like(node, None, depth),
            exp.Escape: lambda node, depth: self._like(node.this, node.expression, depth),
            exp.Case: self._case,
            exp.Cast: self._cast,
            exp.TryCast: self._cast,
            exp.Anonymous: self._function,
        }

    def place(self, offset: int | None) -> Location:
        """The place of a character of the text. What XML writes as an entity is longer in the file than in the text."""
        if not offset or "\n" in self.text:
            return self.where
        before = self.text[:offset]
        wider = 3 * before.count("<") + 4 * before.count("&")
        return Location(self.where.file, self.where.line, self.where.column + offset + wider)

    def _at(self, node: exp.Expr) -> Location:
        starts = [n.meta["start"] for n in node.walk() if "start" in n.meta]
        return self.place(min(starts) if starts else None)

    def _error(self, refused: Refused, node: exp.Expr) -> None:
        self.problems.error(
            refused.code, f"expression: {refused.message}", self._at(node), valid=refused.valid, hint=refused.hint
        )

    def tree(self, node: exp.Expr, depth: int) -> Tree | None:
        """The typed tree of a node, or None after a problem."""
        if depth > DEEPEST_TREE:
            raise SyntaxProblem(
                f"deeper than {DEEPEST_TREE} operations", 0, TOO_LARGE, "split it into several <column>s"
            )
        if type(node) in _BINARY:
            return self._call(_BINARY[type(node)], node, [node.this, node.expression], depth)
        if type(node) in _CHAINS:
            return self._call(_CHAINS[type(node)], node, _chain(node), depth)
        special = self._special.get(type(node))
        if special is None:
            what = type(node).__name__
            self._error(
                Refused(REFUSED_CONSTRUCT, f"{what} is not part of the language", hint="see docs/expressions.md"), node
            )
            return None
        return special(node, depth)

    def _call(self, name: str, node: exp.Expr, operands: list[exp.Expr], depth: int) -> Tree | None:
        """A call of the registry's function `name`, after all its arguments; reports the problems of each."""
        arguments = [self.tree(operand, depth + 1) for operand in operands]
        compiled = tuple(a for a in arguments if a is not None)
        if len(compiled) < len(arguments):
            return None
        return self._build(functions.registry()[name], node, operands, compiled)

    def _build(
        self, function: Function, node: exp.Expr, operands: list[exp.Expr], arguments: tuple[Tree, ...]
    ) -> Tree | None:
        if len(arguments) < function.least or (function.most is not None and len(arguments) > function.most):
            takes = (
                str(function.least)
                if function.most == function.least
                else f"{function.least} to {function.most or 'any'}"
            )
            self._error(
                Refused(ARGUMENT_COUNT, f"{function.written} takes {takes} arguments, not {len(arguments)}"), node
            )
            return None
        try:
            return function.build(arguments)
        except Refused as refused:
            about = refused.argument if refused.argument is not None and refused.argument < len(operands) else None
            if refused.message.startswith("is "):  # said of an argument
                refused.message = f"argument {(about or 0) + 1} of {function.written} {refused.message}"
            self._error(refused, node if about is None else operands[about])
            return None

    def _function(self, node: exp.Expr, depth: int) -> Tree | None:
        name = str(node.this)
        if name.lower() == "if":
            return self._if(node, depth)
        function = functions.named(name)
        if function is not None:
            return self._call(function.name, node, list(node.expressions), depth)
        try:
            functions.refuse_known(name)
            near = nearest(name.lower(), functions.written_names())
            raise Refused(
                UNKNOWN_FUNCTION,
                f"unknown function '{name}'",
                valid=functions.written_names(),
                hint=f"Did you mean {near}?" if near else "see docs/expressions.md",
            )
        except Refused as refused:
            self._error(refused, node)
        for operand in node.expressions:
            self.tree(operand, depth + 1)
        return None

    def _column(self, node: exp.Expr, depth: int) -> Tree | None:
        if not isinstance(node.this, exp.Identifier) or node.args.get("db"):
            self._error(Refused(REFUSED_CONSTRUCT, "a column is named by itself or as dataset.column"), node)
            return None
        name, dataset = str(node.name), str(node.args["table"].name) if node.args.get("table") else ""
        try:
            return self._resolve(name, dataset)
        except Refused as refused:
            self._error(refused, node)
            return None

    def _resolve(self, name: str, dataset: str) -> ColumnRef:
        if dataset:
            if dataset not in self.datasets:
                known = tuple(self.datasets)
                hint = _suggest(dataset, known) if known else f"here a column is named alone: {name}"
                raise Refused(UNKNOWN_COLUMN, f"unknown dataset '{dataset}'", valid=known, hint=hint)
            columns = self.datasets[dataset]
            if name not in columns:
                hint = _suggest(name, tuple(columns))
                raise Refused(
                    UNKNOWN_COLUMN, f"unknown column '{name}' of '{dataset}'", valid=tuple(columns), hint=hint
                )
            self.columns.add(f"{dataset}.{name}")
            return ColumnRef(name, _plain(name, columns[name]), dataset)
        if name in self.scope:
            self.columns.add(name)
            return ColumnRef(name, _plain(name, self.scope[name]))
        owners = [d for d, columns in self.datasets.items() if name in columns]
        if len(owners) == 1:
            return self._resolve(name, owners[0])
        if owners:
            choices = tuple(f"{d}.{name}" for d in owners)
            raise Refused(
                UNKNOWN_COLUMN, f"column '{name}' is in several datasets", valid=choices, hint="name the dataset"
            )
        valid = (*self.scope, *(f"{d}.{c}" for d, columns in self.datasets.items() for c in columns))
        functions.refuse_known(name)  # current_date is written without parentheses
        raise Refused(UNKNOWN_COLUMN, f"unknown column '{name}'", valid=valid, hint=_suggest(name, valid))

    def _binding(self, node: exp.Expr, depth: int) -> Tree | None:
        name = str(node.this or "")
        if name in self.bindings:
            return Binding(name, self.bindings[name])
        valid = tuple(self.bindings)
        hint = _suggest(name, valid)
        found = re.search(rf":{re.escape(name)}\b", self.text)  # the parser keeps no place of it
        where = self.place(found.start() if found else None)
        message = f"expression: unknown bound value ':{name}'"
        self.problems.error(UNKNOWN_BINDING, message, where, valid=valid, hint=hint)
        return None

    def _literal(self, node: exp.Expr, depth: int) -> Tree | None:
        if node.args["is_string"]:
            return Literal(STRING, str(node.this))
        return self._constant(node, lambda: number(str(node.this)))

    def _constant(self, node: exp.Expr, make: Callable[[], Literal]) -> Tree | None:
        try:
            return make()
        except Refused as refused:
            self._error(refused, node)
            return None

    def _negated(self, tree: Tree | None) -> Tree | None:
        return None if tree is None else Call("not", (tree,), BOOLEAN)

    def _not(self, node: exp.Expr, depth: int) -> Tree | None:
        inner = node.this
        if isinstance(inner, exp.Is) and isinstance(inner.expression, exp.Null):
            return self._call("is_not_null", node, [inner.this], depth)
        return self._call("not", node, [inner], depth)

    def _is(self, node: exp.Expr, depth: int) -> Tree | None:
        if isinstance(node.expression, exp.Null):
            return self._call("is_null", node, [node.this], depth)
        return self._call("null_safe_eq", node, [node.this, node.expression], depth)

    def _in(self, node: exp.Expr, depth: int) -> Tree | None:
        if set(k for k, v in node.args.items() if v) - {"this", "expressions"}:
            self._error(Refused(REFUSED_CONSTRUCT, "a subquery is not part of the language", hint="use <lookup>"), node)
            return None
        return self._call("in", node, [node.this, *node.expressions], depth)

    def _like(self, node: exp.Expr, escape: exp.Expr | None, depth: int) -> Tree | None:
        if not isinstance(node, exp.Like):
            self._error(Refused(REFUSED_CONSTRUCT, "only `like` takes an escape"), node)
            return None
        operands = [node.this, node.expression, *([escape] if escape is not None else [])]
        found = self._call("like", node, operands, depth)
        return self._negated(found) if node.args.get("negate") else found

    def _if(self, node: exp.Expr, depth: int) -> Tree | None:
        operands = list(node.expressions)
        if len(operands) != 3:
            self._error(Refused(ARGUMENT_COUNT, f"if(condition, a, b) takes 3 arguments, not {len(operands)}"), node)
            return None
        return self._call("case", node, operands, depth)

    def _case(self, node: exp.Expr, depth: int) -> Tree | None:
        operands: list[exp.Expr] = []
        for branch in node.args["ifs"]:
            condition = branch.this
            if node.this is not None:
                condition = exp.EQ(this=node.this, expression=branch.this)
            operands += [condition, branch.args["true"]]
        operands.append(node.args.get("default") or exp.Null())
        return self._call("case", node, operands, depth)

    def _cast(self, node: exp.Expr, depth: int) -> Tree | None:
        tree = self.tree(node.this, depth + 1)
        try:
            target = parse_type(node.args["to"].sql(dialect="spark"))
        except ValueError as error:
            self._error(Refused(ARGUMENT_TYPE, str(error)), node)
            return None
        if tree is None:
            return None
        if not isinstance(node, exp.TryCast) and isinstance(tree, Literal):  # date '2020-01-31'
            return self._constant(node, lambda: moment(str(tree.value), target))
        name = "try_cast" if node.args.get("safe") else "cast"
        return self._build(functions.registry()[name], node, [node.this], (tree, Literal(target, None)))


def _plain(name: str, kind: DataType) -> DataType:
    if kind == NESTED:
        raise Refused(ARGUMENT_TYPE, f"'{name}' {UNSEEN}")
    return kind


def _chain(node: exp.Expr) -> list[exp.Expr]:
    """The operands of a and b and c, which sqlglot nests to the left, from left to right."""
    operands: list[exp.Expr] = []
    current = node
    while type(current) is type(node):
        operands.append(current.expression)
        current = current.this
    return [current, *reversed(operands)]


def _suggest(name: str, valid: tuple[str, ...]) -> str:
    same = [v for v in valid if v.lower() == name.lower()]
    found = same[0] if same else nearest(name, valid)
    return f"Did you mean {found}?" if found else ""
