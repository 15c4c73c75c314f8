"""Schema files become contracts: types, nullability, constraints, codes; from JSON Schema and from Avro."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_xml.contract import Contract
from pipeline_xml.contract_read import read_contract
from pipeline_xml.json_text import JsonError, read_json
from pipeline_xml.problems import Problems

AVRO = Path(__file__).parents[1] / "data" / "avro"
SCHEMA = {
    "title": "payments",
    "type": "object",
    "x-version": "2",
    "x-owner": "payments@example.com",
    "x-primaryKey": ["id"],
    "x-orderBy": ["at"],
    "required": ["id", "at"],
    "properties": {
        "id": {"type": "integer", "x-type": "bigint", "description": "the key"},
        "at": {"type": "string", "format": "date-time"},
        "day": {"type": ["string", "null"], "format": "date", "x-format": "yyyyMMdd"},
        "amount": {"type": "number", "x-type": "decimal(18,2)", "minimum": 0.10, "exclusiveMaximum": 5},
        "age": {"type": "integer", "x-codes": ["NA", 8888], "maximum": 120},
        "paid": {"type": "boolean", "enum": [True]},
        "kind": {"type": "string", "enum": ["a", "b"], "minLength": 1, "maxLength": 3, "x-classification": "pii"},
    },
}


def read(tmp_path: Path, schema: object) -> tuple[Contract | None, list[str]]:
    path = tmp_path / "payments.json"
    path.write_text(json.dumps(schema))
    problems = Problems()
    return read_contract(path, "payments.json", problems), [p.code for p in problems.found]


def test_json_schema_becomes_a_contract(tmp_path: Path) -> None:
    contract, codes = read(tmp_path, SCHEMA)
    assert contract is not None and codes == []
    assert (contract.name, contract.version, contract.owner) == ("payments", "2", "payments@example.com")
    assert (contract.primary_key, contract.order_by) == (("id",), ("at",))
    assert [(f.name, str(f.type), f.nullable) for f in contract.columns] == [
        ("id", "bigint", False),
        ("at", "timestamp", False),
        ("day", "date", True),
        ("amount", "decimal(18,2)", True),
        ("age", "int", True),
        ("age_code", "string", True),
        ("paid", "boolean", True),
        ("kind", "string", True),
    ]
    by_name = {f.name: f for f in contract.fields}
    assert by_name["day"].format == "yyyyMMdd"
    assert by_name["amount"].constraints.minimum == Decimal("0.1")
    assert by_name["amount"].constraints.exclusive_maximum == Decimal(5)
    assert by_name["age"].codes == ("NA", "8888")
    assert by_name["paid"].constraints.enum == ("true",)
    assert by_name["kind"].classification == "pii"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "integer", "pattern": "1"}, "LK405"),
        ({"type": "string", "pattern": 1}, "LK405"),
        ({"type": "string", "pattern": "a("}, "LK405"),
        ({"type": "string", "pattern": "(a{100}){100}"}, "LK405"),
        ({"type": "string", "format": "date", "x-format": 1}, "LK405"),
        ({"type": "integer", "enum": ["NA"]}, "LK405"),
        ({"type": "integer", "minimum": "1"}, "LK405"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "LK405"),
        ({"type": "string", "maxLength": -1}, "LK405"),
        ({"type": "string", "x-format": "yyyyMMdd"}, "LK405"),
        ({"type": "string", "x-classification": "private"}, "LK405"),
        ({"type": "string", "x-codes": []}, "LK405"),
        ({"type": "string", "multipleOf": 2}, "LK403"),
        ({"type": ["string", "integer"]}, "LK404"),
        ({"type": "string", "format": "email"}, "LK404"),
        ({"type": "number", "x-type": "decimal(39,2)"}, "LK404"),
        ("string", "LK404"),
    ],
)
def test_what_cannot_be_enforced_is_refused(tmp_path: Path, change: object, code: str) -> None:
    contract, codes = read(tmp_path, {"type": "object", "properties": {"field": change}})
    assert contract is None
    assert codes == [code]


def test_avro_record_becomes_a_contract() -> None:
    problems = Problems()
    contract = read_contract(AVRO / "purchase.avsc", "purchase.avsc", problems)
    assert contract is not None and problems.found == ()
    assert [(f.name, str(f.type), f.nullable) for f in contract.fields] == [
        ("id", "bigint", False),
        ("item_type", "string", False),
        ("quantity", "bigint", False),
        ("price_per_unit", "decimal(4,2)", False),
    ]


def test_avro_unions_enums_and_our_annotations(tmp_path: Path) -> None:
    path = tmp_path / "a.avsc"
    fields = [
        {"name": "id", "type": "string"},
        {"name": "kind", "type": {"type": "enum", "name": "k", "symbols": ["A", "B"]}, "x-codes": ["NA"]},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}], "x-classification": "pii"},
        {"name": "many", "type": {"type": "map", "values": "string"}},
    ]
    path.write_text(json.dumps({"type": "record", "name": "r", "fields": fields, "x-primaryKey": ["id"]}))
    problems = Problems()
    assert read_contract(path, "a.avsc", problems) is None
    assert [p.code for p in problems.found] == ["LK404"]
    path.write_text(json.dumps({"type": "record", "name": "r", "fields": fields[:3], "x-primaryKey": ["id"]}))
    contract = read_contract(path, "a.avsc", Problems())
    assert contract is not None
    kind, day = contract.fields[1:]
    assert (kind.constraints.enum, kind.codes) == (("A", "B"), ("NA",))
    assert (str(day.type), day.nullable, day.classification) == ("date", True, "pii")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(_JSON, st.sampled_from([None, 2]))
def test_json_is_read_as_json_reads_it(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    found, places = read_json(text, "x.json")
    assert found == value
    for path, where in places.items():
        if path and isinstance(path[-1], str):
            line = text.split("\n")[where.line - 1]
            assert line[where.column - 1 :].startswith(json.dumps(path[-1]))


@given(st.text(st.sampled_from('{}[]",:01eE.-+tn \n\\u'), max_size=20))
def test_what_json_refuses_is_refused(text: str) -> None:
    try:
        expected = json.loads(text, parse_float=Decimal)
    except ValueError:
        with pytest.raises(JsonError):
            read_json(text, "x.json")
    else:
        assert read_json(text, "x.json")[0] == expected
