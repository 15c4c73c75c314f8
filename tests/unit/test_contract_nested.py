"""Lists and objects of a contract: read from JSON Schema and Avro, seen by <flatten> alone, with types before a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.contract import Contract
from pipeline_xml.contract_read import read_contract
from pipeline_xml.load import load_catalog
from pipeline_xml.problems import DefinitionError, Problem, Problems
from processing.transformations import registry
from processing.validate import validate
from stewardship.cell_texts import must_be
from tests.step_plans import write

LINE: dict[str, Any] = {
    "type": "object",
    "required": ["sku"],
    "properties": {
        "sku": {"type": "string", "maxLength": 3},
        "qty": {"type": "integer", "minimum": 1},
        "price": {"type": "object", "properties": {"amount": {"type": "number", "x-type": "decimal(8,2)"}}},
        "due": {"type": "string", "format": "date", "x-format": "dd.MM.yyyy"},
        "tags": {"type": "array", "items": {"type": "string", "x-classification": "pii"}},
    },
}
PROPERTIES: dict[str, Any] = {
    "id": {"type": "string"},
    "lines": {"type": "array", "items": LINE},
    "who": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
    "days": {"type": "array", "items": {"type": "string", "format": "date"}},
}
SCHEMA: dict[str, Any] = {"type": "object", "required": ["id", "who"], "properties": PROPERTIES}
HOLDS = "list of {sku string, qty int, price {amount decimal(8,2)}, due date, tags list of string}"


def read(tmp_path: Path, schema: object, name: str = "s.json") -> tuple[Contract | None, list[Problem]]:
    (tmp_path / name).write_text(json.dumps(schema))
    problems = Problems()
    return read_contract(tmp_path / name, name, problems), list(problems.found)


def test_json_schema_says_what_stands_inside(tmp_path: Path) -> None:
    contract, problems = read(tmp_path, SCHEMA)
    assert contract is not None and problems == []
    assert [(f.name, str(f.nested or f.type), f.nullable, f.classification) for f in contract.fields] == [
        ("id", "string", False, None),
        ("lines", HOLDS, True, "pii"),
        ("who", "{name string}", False, None),
        ("days", "list of date", True, None),
    ]
    assert {str(f.type) for f in contract.fields} == {"string"}, "carried as the text of its JSON"


def test_avro_says_the_same(tmp_path: Path) -> None:
    price = {"type": "record", "name": "p", "fields": [
        {"name": "amount", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}]},
    ]}  # fmt: skip
    line = {"type": "record", "name": "l", "fields": [
        {"name": "sku", "type": "string"},
        {"name": "qty", "type": ["null", "int"]},
        {"name": "price", "type": ["null", price]},
        {"name": "due", "type": ["null", {"type": "int", "logicalType": "date"}], "x-format": "dd.MM.yyyy"},
        {"name": "tags", "type": ["null", {"type": "array", "items": "string"}]},
    ]}  # fmt: skip
    fields = [
        {"name": "id", "type": "string"},
        {"name": "lines", "type": ["null", {"type": "array", "items": line}]},
        {"name": "who", "type": {"type": "record", "name": "w", "fields": [{"name": "name", "type": "string"}]}},
        {"name": "days", "type": ["null", {"type": "array", "items": {"type": "int", "logicalType": "date"}}]},
    ]
    contract, problems = read(tmp_path, {"type": "record", "name": "r", "fields": fields}, "s.avsc")
    assert contract is not None and problems == []
    assert [(f.name, str(f.nested or f.type), f.nullable) for f in contract.fields] == [
        ("id", "string", False), ("lines", HOLDS, True), ("who", "{name string}", False),
        ("days", "list of date", True),
    ]  # fmt: skip
    lines = contract.fields[1].nested
    assert lines is not None
    assert [(f.name, f.nullable, f.format) for f in lines.fields][:4] == [
        ("sku", False, None), ("qty", True, None), ("price", True, None), ("due", True, "dd.MM.yyyy"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "array"}, "LK404"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, "LK404"),
        ({"type": "array", "items": {"type": "object"}}, "LK404"),
        ({"type": "array", "minItems": 1, "items": {"type": "string"}}, "LK403"),
        ({"type": "array", "items": {"type": "object", "required": ["b"], "properties": {"a": LINE}}}, "LK406"),
        ({"type": "object", "properties": {"a.b": {"type": "string"}}}, "LK407"),
        ({"type": "object", "properties": {"a": {"type": "integer", "x-codes": ["NA"]}}}, "LK405"),
        ({"type": "object", "properties": {"a": {"type": "integer", "pattern": "1"}}}, "LK405"),
    ],
)
def test_what_cannot_stand_inside_is_refused(tmp_path: Path, change: object, code: str) -> None:
    contract, problems = read(tmp_path, {"type": "object", "properties": {"field": change}})
    assert contract is None
    assert [p.code for p in problems] == [code]


def test_a_list_is_no_key(tmp_path: Path) -> None:
    keyed = {**SCHEMA, "required": ["lines"], "x-primaryKey": ["lines"], "x-orderBy": ["days"]}
    _, problems = read(tmp_path, keyed)
    assert [p.code for p in problems] == ["LK406", "LK406"]


def judged(tmp_path: Path, **cells: str | None) -> list[tuple[str, str]]:
    """(rule, code) of one record."""
    contract, _ = read(tmp_path, SCHEMA)
    assert contract is not None
    row: Mapping[str, str | None] = {"id": "1", "who": '{"name":"a"}', **cells}
    _, found = validate(pa.RecordBatch.from_pylist([row], pa.schema([(name, pa.string()) for name in row])), contract)
    return [(e["rule"], e["code"]) for e in found.array(1).to_pylist()[0] or ()]


@pytest.mark.parametrize(
    ("lines", "reasons"),
    [
        (None, []),
        ("[]", []),
        ('[{"sku":"abc","qty":2,"price":{"amount":1.10},"due":"31.01.2024","tags":["x"]},{"sku":"d"}]', []),
        ("{}", ["contract.lines.type"]),
        ("[1, null]", ["contract.lines.type"]),
        ("[", ["contract.lines.type"]),
        ("NaN", ["contract.lines.type"]),
        ('[{"sku":"a","sku":"b"}]', ["contract.lines.type"]),
        ('[{"qty":1}]', ["contract.lines.sku.required"]),
        ('[{"sku":"a","colour":"red"}]', ["contract.lines.unknown_field"]),
        ('[{"sku":"long"},{"sku":"longer"}]', ["contract.lines.sku.maxLength"]),
        ('[{"sku":"a","qty":0}]', ["contract.lines.qty.minimum"]),
        ('[{"sku":"a","qty":1.5}]', ["contract.lines.qty.type"]),
        ('[{"sku":"a","qty":[1]}]', ["contract.lines.qty.type"]),
        ('[{"sku":"a","price":5}]', ["contract.lines.price.type"]),
        ('[{"sku":"a","price":{"amount":"dear"}}]', ["contract.lines.price.amount.type"]),
        ('[{"sku":"a","due":"2024-01-31"}]', ["contract.lines.due.type"]),
        ('[{"sku":"a","tags":["x",null]}]', ["contract.lines.tags.required"]),
    ],
)
def test_each_item_is_held_against_the_contract(tmp_path: Path, lines: str | None, reasons: list[str]) -> None:
    assert [rule for rule, _ in judged(tmp_path, lines=lines)] == reasons


def test_objects_and_lists_of_values(tmp_path: Path) -> None:
    assert judged(tmp_path, who="{}") == [("contract.who.name.required", "required")]
    assert judged(tmp_path, who=None) == [("contract.who.required", "required")]
    assert judged(tmp_path, who='["a"]') == [("contract.who.type", "type")]
    assert judged(tmp_path, days='["2024-02-29","2023-02-29",{}]') == [("contract.days.type", "type")]


def pipeline(tmp_path: Path, steps: str) -> CheckedPipeline:
    """Of a json source `s`; DefinitionError where the steps are wrong."""
    write(tmp_path, steps, SCHEMA)
    document = tmp_path / "applications/app/staging/pipelines/p.xml"
    document.write_text(document.read_text().replace('<csv id="s"', '<json id="s"').replace("*.csv", "*.json"))
    found = load_catalog(tmp_path, registry()).pipeline("app", "p")
    assert found is not None
    return found


def test_flatten_has_its_types_from_the_contract(tmp_path: Path) -> None:
    steps = """<select source="s" columns="id, lines"/>
      <rename source="s" columns="lines=bought"/>
      <flatten source="s" column="bought">
        <column name="sku"/><column name="amount" path="price.amount"/><column name="due"/><column name="tags"/>
      </flatten>
      <flatten source="s" column="tags" onEmpty="drop"><column name="tag" path="."/></flatten>"""
    first, second = pipeline(tmp_path, steps).steps[-2:]
    assert [(c.name, str(c.nested or c.type), c.classification) for c in first.output.columns] == [
        ("id", "string", None), ("sku", "string", None), ("amount", "decimal(8,2)", None), ("due", "date", None),
        ("tags", "list of string", "pii"),
    ]  # fmt: skip
    assert [(c.name, str(c.type), c.classification) for c in second.output.columns][-1] == ("tag", "string", "pii")
    assert second.output.columns[-1].origins == {("s", "lines")}


FLAT = '<flatten source="s" column="lines"><column name="sku"/></flatten><select source="s" columns="id, sku"/>'


@pytest.mark.parametrize(
    ("steps", "code", "told"),
    [
        ("", "LK412", "'lines' of 's' holds"),
        ('<deduplicate source="s" keys="lines"/>' + FLAT, "LK304", "into which only <flatten> looks"),
        ('<mask source="s" columns="who" strategy="redact"/>' + FLAT, "LK304", "into which only <flatten> looks"),
        ('<sort source="s" orderBy="days"/>' + FLAT, "LK304", "into which only <flatten> looks"),
        ('<filter source="s" condition="lines is not null"/>' + FLAT, "LK214", "into which only <flatten> looks"),
        ('<derive source="s"><column name="n" expression="length(lines)"/></derive>' + FLAT, "LK214",
         "into which only <flatten> looks"),
        ('<cast source="s"><column name="who" type="string"/></cast>' + FLAT, "LK304", "into which only <flatten>"),
        (FLAT.replace('name="sku"', 'name="sku" path="skew"'), "LK204", "there is no 'skew' in lines, which holds"),
        (FLAT.replace('name="sku"', 'name="sku" path="tags.x"'), "LK204", "there is no 'tags.x' in lines"),
        (FLAT.replace('name="sku"', 'name="sku" type="string"'), "LK302", "the contract says what sku is: string"),
        ('<flatten source="s" column="days"><column name="d" path="e"/></flatten><select source="s" columns="id, d"/>',
         "LK204", "there is no 'e' in days, which holds list of date"),
    ],
)  # fmt: skip
def test_what_else_would_look_into_a_list_is_refused(tmp_path: Path, steps: str, code: str, told: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        pipeline(tmp_path, steps or '<rename source="s" columns="id=key"/>')
    first = next(p for p in refused.value.problems if p.severity == "error")
    assert (first.code, told in first.message) == (code, True), first


def test_a_steward_is_told_what_a_list_must_be(tmp_path: Path) -> None:
    contract, _ = read(tmp_path, SCHEMA)
    assert contract is not None
    assert must_be(contract.fields[3]) == "days must be JSON, list of date, and each item as its contract says"
