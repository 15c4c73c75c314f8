"""What transformations say about a definition before any engine starts: the code, the place, the valid values."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_xml.types import BIGINT, DOUBLE, STRING, decimal
from tests.step_plans import FIRST_LINE, checked, contract, problems

SOURCE = contract(
    {
        "id": {"type": "string"},
        "n": {"type": "integer"},
        "big": {"type": "integer", "x-type": "bigint"},
        "price": {"type": "number", "x-type": "decimal(10,2)"},
        "wide": {"type": "number", "x-type": "decimal(30,2)"},
        "rate": {"type": "number"},
        "ssn": {"type": "string", "x-classification": "pii"},
        "day": {"type": "string", "format": "date"},
    },
    required=["id"],
)
_NAMES = {"code": {"type": "string"}, "name": {"type": "string"}}
CODES = (contract(_NAMES, required=["code"], **{"x-primaryKey": ["code"]}), "code,name\n")


def told(tmp_path: Path, steps: str, **rest: object) -> list[tuple[str, str]]:
    """Code and the text that stands at the problem's place."""
    lines = ["", *[""] * (FIRST_LINE - 1), *steps.splitlines()]
    found = []
    for problem in problems(tmp_path, steps, SOURCE, **rest):
        text = lines[problem.where.line][problem.where.column - 1 :]
        found.append((problem.code, text))
    return found


@pytest.mark.parametrize(
    ("step", "code", "place"),
    [
        ('<deduplicate source="s" keys="id,nn" keep="first"/>', "LK204", 'nn"'),
        ('<deduplicate source="s" keys="id" keep="latest"/>', "LK305", 'latest"'),
        ('<deduplicate source="s" keys="id" losers="kill"/>', "LK302", 'kill"'),
        ('<deduplicate source="t" keys="id"/>', "LK301", 't"'),
        ('<mask source="s" columns="ssn" strategy="tokenize"/>', "LK308", 'tokenize"'),
        ('<mask source="s" columns="ssn" strategy="hash"/>', "LK308", 'hash"'),
        ('<mask source="s" columns="ssn,ssn" strategy="redact"/>', "LK309", "ssn,ssn"),
        ('<mask source="s" columns="rate" strategy="redact" keepLast="4"/>', "LK304", 'rate"'),
        ('<mask source="s" columns="ssn" strategy="hash" secretRef="K" keepLast="4"/>', "LK302", '4"'),
        ('<mask source="s" columns="ssn" strategy="hash" secretRef="K" algorithm="aes-siv"/>', "LK302", 'aes-siv"'),
        ('<mask source="s" columns="ssn" strategy="redact" algorithm="aes-gcm"/>', "LK302", 'aes-gcm"'),
        ('<aggregate source="s" groupBy="id" metrics="count:c,median:n"/>', "LK302", 'median:n"'),
        ('<aggregate source="s" groupBy="id" metrics="sum:id"/>', "LK304", 'sum:id"'),
        ('<aggregate source="s" groupBy="id" metrics="sum:wide"/>', "LK304", 'sum:wide"'),
        ('<aggregate source="s" groupBy="rate" metrics="count:c"/>', "LK304", 'rate"'),
        ('<aggregate source="s" groupBy="id" metrics="count:id"/>', "LK303", 'count:id"'),
        ('<aggregate source="s" groupBy="id" metrics="count:c" window="daily"/>', "LK307", 'daily"'),
        ('<aggregate source="s" groupBy="id" metrics="count:c" timeColumn="day"/>', "LK307", 'day"'),
        ('<aggregate source="s" groupBy="id" metrics="count:c" timeColumn="n" window="daily"/>', "LK304", 'n"'),
        ('<aggregate source="s" groupBy="id" metrics="count:c" timeColumn="day" window="dayly"/>', "LK302", 'dayly"'),
        ('<aggregate source="s" groupBy="id" metrics="count:c" timeColumn="day" rolling="P1M"/>', "LK302", 'P1M"'),
        ('<aggregate source="s" groupBy="id" metrics="count:c" rollup="yes"/>', "LK302", 'yes"'),
        ('<lookup source="s" reference="codes" outputFields="name"/>', "LK305", 'codes"'),
        ('<lookup source="s" reference="codes" outputFields="nam" on="id=code"/>', "LK204", 'nam"'),
        ('<lookup source="s" reference="codes" outputFields="name" on="n=code"/>', "LK304", 'n=code"'),
        ('<lookup source="s" reference="codes" outputFields="name" on="id=cod"/>', "LK204", 'id=cod"'),
        ('<filter source="s" condition="n + 1"/>', "LK304", 'n + 1"'),
        ('<derive source="s"><column name="x" expression="n" type="integer"/></derive>', "LK304", 'integer"'),
        ('<derive source="s"><column name="Price" expression="n"/></derive>', "LK303", 'Price"'),
        ('<aggregate source="s" groupBy="id" metrics="count:c,sum:n:C"/>', "LK303", 'sum:n:C"'),
        ('<derive source="s"><column name="ingest_date" expression="n"/></derive>', "LK303", 'ingest_date"'),
        ('<rename source="s" columns="id=key,nn=m"/>', "LK204", 'nn=m"'),
        ('<rename source="s" columns="id=N"/>', "LK303", 'id=N"'),
        ('<rename source="s" columns="id=a,id=b"/>', "LK309", 'id=b"'),
        ('<rename source="s" columns="id"/>', "LK302", 'id"'),
        ('<select source="s" columns="id,nn"/>', "LK204", 'nn"'),
        ('<select source="s" columns=","/>', "LK307", ',"'),
        ('<cast source="s"/>', "LK307", "<cast"),
        ('<cast source="s"><column name="id" type="integer"/></cast>', "LK304", 'integer"'),
        ('<cast source="s"><column name="id" type="int" format="yyyy"/></cast>', "LK302", 'yyyy"'),
        ('<cast source="s"><column name="id" type="date" format="yyyy\'; x"/></cast>', "LK216", "yyyy'; x"),
        ('<cast source="s" onInvalid="drop"><column name="id" type="int"/></cast>', "LK302", 'drop"'),
        ('<sort source="s" orderBy="nn"/>', "LK204", 'nn"'),
        ('<flatten source="s" column="id"/>', "LK307", "<flatten"),
        ('<flatten source="s" column="n"><column name="x"/></flatten>', "LK304", 'n"'),
        ('<flatten source="s" column="id"><column name="n"/></flatten>', "LK303", 'n"'),
        ('<flatten source="s" column="id"><column name="x" type="date" format="dd/yy"/></flatten>', "LK302", 'dd/yy"'),
        ('<flatten source="s" column="id"><column name="x" expression="n"/></flatten>', "LK332", 'n"/>'),
        ('<derive source="s"><column name="x" expression="n" path="a"/></derive>', "LK332", 'a"'),
        ('<union sources="s"/>', "LK307", 's"'),
        ('<union sources="s,t"/>', "LK301", 't"'),
        ('<filter source="s" condition="n = 1" as="t"/><union sources="s,t"/>', "LK311", 't"'),
        ('<merge sources="s,s" keys="id"/>', "LK309", 's,s"'),
        ('<join left="s" right="s" condition="s.id = s.id"/>', "LK302", 's" condition'),
        ('<join left="s" right="t" condition="s.id = t.id"/>', "LK301", 't" condition'),
    ],
)
def test_a_mistake_is_told_at_its_word(tmp_path: Path, step: str, code: str, place: str) -> None:
    found = told(tmp_path, step, lookups={"codes": CODES})
    assert [c for c, _ in found] == [code]
    assert found[0][1].startswith(place)


def test_an_unknown_column_names_those_there_are_and_the_nearest(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '<deduplicate source="s" keys="prise"/>', SOURCE)
    assert problem.valid == ("id", "n", "big", "price", "wide", "rate", "ssn", "day")
    assert problem.hint == "Did you mean price?"


@pytest.mark.parametrize(
    ("attributes", "code", "place"),
    [
        ('condition="s.id = o.id"', "LK303", 'o" condition'),
        ('condition="s.id = o.nope" rightPrefix="o_"', "LK211", 'o.nope"'),
        ('condition="s.rate = o.rate" rightPrefix="o_"', "LK304", "s.rate"),
        ('condition="s.n &gt; o.n" rightPrefix="o_"', "LK307", "s.n"),
        ('condition="s.n + o.n" rightPrefix="o_"', "LK304", "s.n"),
        ('condition="s.id = o.id and s.big / 2 = o.rate" rightPrefix="o_"', "LK310", "s.id"),
        ('condition="s.id = o.id" rightPrefix="1_"', "LK303", '1_"'),
    ],
)
def test_a_mistake_of_a_join_is_told_at_its_word(tmp_path: Path, attributes: str, code: str, place: str) -> None:
    other = f'<rename source="s" columns="day=d" as="o"/><join left="s" right="o" {attributes}/>'
    found = told(tmp_path, other)
    assert found[0][0] == code
    assert found[0][1].startswith(place)


def test_all_mistakes_of_a_step_come_at_once(tmp_path: Path) -> None:
    step = '<aggregate source="s" groupBy="x,y" metrics="sum:id,median:n"/>'
    assert [code for code, _ in told(tmp_path, step)] == ["LK204", "LK204", "LK304", "LK302"]


def test_types_lineage_and_classification_go_through_the_steps(tmp_path: Path) -> None:
    steps = """<derive source="s"><column name="both" expression="concat(id, ssn)"/>
      <column name="again" expression="upper(both)"/></derive>
      <mask source="s" columns="ssn" strategy="redact"/>
      <aggregate source="s" as="a" groupBy="id" metrics="count:c,sum:n,sum:price:total,avg:price,max:again:m"/>"""
    derive, mask, aggregate = checked(tmp_path, steps, SOURCE).steps
    again = derive.output.column("again")
    assert again is not None
    assert (again.type, again.classification) == (STRING, "pii")
    assert again.origins == {("s", "id"), ("s", "ssn")}
    masked = mask.output.column("ssn")
    assert masked is not None
    assert (masked.type, masked.classification, masked.origins) == (STRING, None, {("s", "ssn")})
    assert aggregate.output.name == "a"
    assert not aggregate.output.per_record
    assert [(c.name, c.type) for c in aggregate.output.columns] == [
        ("id", STRING), ("c", BIGINT), ("sum_n", BIGINT), ("total", decimal(20, 2)),
        ("avg_price", DOUBLE), ("m", STRING),
    ]  # fmt: skip
    largest = aggregate.output.column("m")
    assert largest is not None
    assert largest.classification == "pii"


def test_latest_takes_the_order_of_the_contract(tmp_path: Path) -> None:
    ordered = {**SOURCE, "x-orderBy": ["day", "n"]}
    (plan,) = checked(tmp_path, '<deduplicate source="s" keys="id" keep="latest"/>', ordered).steps
    assert plan.config.order_by == ("day", "n")


def test_sort_holds_until_its_columns_change(tmp_path: Path) -> None:
    steps = """<sort source="s" orderBy="n,id" direction="desc"/><rename source="s" columns="n=m"/>
      <filter source="s" condition="m &gt; 0"/><mask source="s" columns="id" strategy="redact"/>"""
    sort, rename, kept, mask = (plan.output.order for plan in checked(tmp_path, steps, SOURCE).steps)
    assert sort is not None
    assert (sort.columns, sort.descending, sort.nulls_first) == (("n", "id"), True, False)
    assert rename is not None
    assert (rename.columns, kept) == (("m", "id"), rename)
    assert mask is None
