"""Expressions are compiled or refused, with a code at a place; whatever the text, nothing else happens."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_xml.expressions import Call, Expression, Literal
from pipeline_xml.expressions.codes import EXPRESSION_CODES
from pipeline_xml.expressions.compile import compile_condition, compile_expression
from pipeline_xml.expressions.functions import registry
from pipeline_xml.expressions.signature import EXAMPLE_SCOPE, Function
from pipeline_xml.location import Location
from pipeline_xml.problems import Problem, Problems
from pipeline_xml.types import BIGINT, BOOLEAN, DATE, DOUBLE, INT, STRING, decimal

PROJECT = Path(__file__).resolve().parent.parent.parent
WHERE = Location("app/x.xml", 7, 30)


def compiled(text: str) -> Expression:
    problems = Problems()
    found = compile_expression(text, EXAMPLE_SCOPE, WHERE, problems, {"floor": INT})
    assert found is not None and not problems.found, problems.found
    return found


def refused(text: str) -> tuple[Problem, ...]:
    problems = Problems()
    assert compile_expression(text, EXAMPLE_SCOPE, WHERE, problems) is None
    assert problems.found
    return problems.found


def test_the_tree_has_every_cast() -> None:
    found = compiled("count + amount > 10")
    assert found.columns == {"count", "amount"}
    assert found.type == BOOLEAN
    total = found.tree.arguments[0] if isinstance(found.tree, Call) else None
    assert isinstance(total, Call) and total.function == "add" and total.type == decimal(19, 2)
    assert [a.type for a in total.arguments] == [decimal(18, 2), decimal(18, 2)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("count + 1", BIGINT),
        ("count / 2", DOUBLE),
        ("amount * 1.10", decimal(21, 4)),
        ("amount * rate", DOUBLE),
        ("round(amount)", decimal(17, 0)),
        ("coalesce(count, amount)", decimal(18, 2)),
        ("case when active then 1 end", INT),
        ("if(active, null, opened)", DATE),
        ("country || '!'", STRING),
        (":floor + 1", BIGINT),
        ("null", STRING),
    ],
)
def test_types(text: str, expected: object) -> None:
    assert compiled(text).type == expected


REFUSED_TEXTS = [
    ("amont > 1", "LK211", 30),
    ("amount > 1 and Country = 'DE'", "LK211", 45),
    ("count <> 1 and amont", "LK211", 48),  # < and > stand in the file as &lt;: three more characters
    ("country = 1", "LK214", 40),
    ("count = '1'", "LK214", 38),
    ("opened > '2020-01-01'", "LK214", 39),
    ("count + name", "LK214", 38),
    ("active and count", "LK214", 41),
    ("not name", "LK214", 34),
    ("if(count, 1, 2)", "LK214", 33),
    ("case when active then 1 else 'x' end", "LK214", 59),
    ("active > true", "LK214", 30),
    ("substrin(name, 1)", "LK212", 30),
    ("length()", "LK213", 30),
    ("length(name, name)", "LK213", 30),
    ("if(active, 1)", "LK213", 30),
    ("left(name, -1)", "LK214", 42),
    ("left(name, count)", "LK214", 41),
    ("substring(name, 0)", "LK214", 46),
    ("cast(rate as string)", "LK214", 35),
    ("cast(count as float)", "LK214", 35),
    ("cast(amount as decimal(39,2))", "LK214", 35),
    ("amount * amount * amount", "LK214", 30),
    ("date '2021-02-29'", "LK210", 35),
    ("count +", "LK210", 36),
    ("count count count", "LK210", 42),
    ("count; count", "LK210", 30),
    ("'abc", "LK210", 30),
    (r"name rlike '\d'", "LK210", 42),
    ("", "LK210", 30),
    ("name rlike r'(?=x)'", "LK216", 30),
    ("to_date(name, 'dd/MM/yy')", "LK216", 30),
    ("regexp_replace(name, 'a*', 'b')", "LK216", 51),
    ("name like '10%x' escape '1'", "LK216", 30),
    (":floor > 1", "LK217", 30),
    ("select 1", "LK215", 37),
    ("count in (select 1)", "LK215", 30),
    ("sum(count) over ()", "LK215", 30),
    ("max(count)", "LK215", 30),
    ("count(*)", "LK215", 30),
    ("*", "LK215", 30),
    ("name[0]", "LK215", 30),
    ("interval 1 day", "LK215", 30),
    ("current_date", "LK215", 30),
    ("now()", "LK215", 30),
    ("count & 1", "LK215", 30),
    ("a.b.c", "LK215", 30),
    ("country.name", "LK211", 30),
    ("drop table x", "LK215", 41),
    ("(" * 60 + "1" + ")" * 60, "LK218", 80),
    ("+".join(["count"] * 300), "LK218", 30),
    ("round(" * 5 + "rate" + ")" * 5, "LK218", 30),
    ("not " * 30 + "active", "LK218", 110),
    ("count = not " * 900 + "count", "LK218", 30),
    ("x" * 30_000, "LK218", 30),
]


@pytest.mark.parametrize(("text", "code", "column"), REFUSED_TEXTS)
def test_refused_with_code_and_place(text: str, code: str, column: int) -> None:
    first = refused(text)[0]
    assert (first.code, first.where) == (code, Location("app/x.xml", 7, column))


def test_every_code_is_raised_by_a_case_above() -> None:
    assert {code for _, code, _ in REFUSED_TEXTS} == set(EXPRESSION_CODES)


def test_all_problems_come_at_once() -> None:
    codes = [p.code for p in refused("amont > 1 and foo(name) = 'x' and length(nam) = 'x'")]
    assert codes == ["LK211", "LK212", "LK211"]


def test_an_unknown_column_gets_the_nearest_and_the_list() -> None:
    (problem,) = refused("Amount > 1")
    assert "amount" in problem.hint
    assert problem.valid == tuple(EXAMPLE_SCOPE)


def test_the_advice_is_the_cast_to_write() -> None:
    assert "cast(… as int)" in refused("count = name")[0].hint
    assert "date '2020-01-01'" in refused("opened = '2020-01-01'")[0].hint


def test_places_stay_at_the_start_when_text_has_several_lines() -> None:
    assert refused("count\n  + amont")[0].where == WHERE


def test_join_conditions_name_datasets() -> None:
    datasets = {"a": {"id": INT, "x": STRING}, "b": {"id": INT, "y": STRING}}
    problems = Problems()
    found = compile_condition("a.id = b.id and x = y", {}, WHERE, problems, datasets=datasets)
    assert found is not None and found.columns == {"a.id", "b.id", "a.x", "b.y"}
    for text, valid in (("id = 1", ("a.id", "b.id")), ("c.id = 1", ("a", "b")), ("a.z = 1", ("id", "x"))):
        problems = Problems()
        assert compile_condition(text, {}, WHERE, problems, datasets=datasets) is None
        assert (problems.found[0].code, problems.found[0].valid) == ("LK211", valid)


def test_a_condition_must_be_boolean() -> None:
    problems = Problems()
    assert compile_condition("count + 1", EXAMPLE_SCOPE, WHERE, problems) is None
    assert [p.code for p in problems.found] == ["LK214"]


def test_long_chains_are_flat() -> None:
    tree = compiled(" and ".join(["active"] * 500)).tree
    assert isinstance(tree, Call) and len(tree.arguments) == 500


def test_literals_are_exact() -> None:
    assert compiled("-12345678901234567890123456789012345.678").tree == Literal(
        decimal(38, 3),
        compiled("12345678901234567890123456789012345.678").tree.value.copy_negate(),  # type: ignore[union-attr]  # a decimal literal
    )
    assert compiled("2147483648").type == BIGINT
    assert compiled(r"'it''s \\ \'q\''").tree == Literal(STRING, r"it's \ 'q'")
    assert compiled(r"r'a\d'").tree == Literal(STRING, r"a\d")


@pytest.mark.parametrize("function", registry().values(), ids=lambda f: f.name)
def test_examples_compile(function: Function) -> None:
    assert function.doc.endswith(".") and function.written
    assert function.name in _used(compiled(function.example).tree)


def _used(tree: object) -> set[str]:
    if not isinstance(tree, Call):
        return set()
    return {tree.function}.union(*(_used(a) for a in tree.arguments))


WORDS = (
    "( ) , . : ; ' \" ` [ ] { } + - * / % = <> <=> || not and or case when then else end is null in like rlike between "
    "cast as try_cast int decimal(3,1) count name amount active opened 1 1.5 1e3 'x' r'[' :businessDate coalesce if "
    "select from escape date interval distinct exists any over -- /* */ \\ @ $ # ? ! ~ ^ & | 😀 \0 \n"
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS.split(" ")), max_size=25).map(" ".join)))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    problems = Problems()
    found = compile_expression(text, EXAMPLE_SCOPE, WHERE, problems)
    assert (found is None) == bool(problems.errors)
    assert all(p.code in EXPRESSION_CODES for p in problems.found)


def test_the_documentation_is_what_the_registry_says() -> None:
    pages = runpy.run_path(str(PROJECT / "scripts" / "generate_docs.py"))["PAGES"]
    written = (PROJECT / "docs" / "expressions.md").read_text(encoding="utf-8")
    assert written == pages["expressions.md"](), "run scripts/generate_docs.py"
    assert all(f"`{name}`" in written or f"`{name}(" in written for f in registry().values() for name in f.names)
