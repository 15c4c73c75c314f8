"""An Avro record schema becomes a Contract: primitive fields, their logical types, and unions with null."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.contract_codes import BAD_TYPE, NOT_A_RECORD, check_fields, check_keys
from pipeline_xml.types import BIGINT, BOOLEAN, DATE, DOUBLE, INT, STRING, TIMESTAMP, DataType, decimal

if TYPE_CHECKING:
    from pipeline_xml.contract_read import SchemaFile

_PRIMITIVES: Mapping[str, DataType] = {
    "string": STRING,
    "boolean": BOOLEAN,
    "int": INT,
    "long": BIGINT,
    "float": DOUBLE,
    "double": DOUBLE,
}
_LOGICAL: Mapping[tuple[str, str], DataType] = {
    ("int", "date"): DATE,
    ("long", "timestamp-millis"): TIMESTAMP,
    ("long", "timestamp-micros"): TIMESTAMP,
    ("string", "uuid"): STRING,
}


def avro_contract(schema: SchemaFile, name: str) -> Contract | None:
    """The contract of a parsed `.avsc`; attributes Avro does not know are ignored, as Avro says, except ours (x-…)."""
    from pipeline_xml.contract_read import annotated, text_of, texts

    document, problems = schema.value, schema.problems
    if (
        not isinstance(document, dict)
        or document.get("type") != "record"
        or not isinstance(document.get("fields"), list)
    ):
        NOT_A_RECORD.report(problems, "not an Avro record with fields", schema.where)
        return None
    fields: list[Field] = []
    places = {}
    for index, item in enumerate(document["fields"]):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            NOT_A_RECORD.report(problems, "a field needs a name and a type", schema.place("fields", index))
            continue
        found = _field(schema, index, item)
        if found is not None:
            field = annotated(schema, ("fields", index), {k: v for k, v in item.items() if k.startswith("x-")}, found)
            fields.append(replace(field, constraints=found.constraints))
            places[field.name] = schema.place("fields", index, "name")
    contract = Contract(
        name=text_of(document, "name") or name,
        fields=tuple(fields),
        where=schema.where,
        primary_key=texts(schema, ("x-primaryKey",), document.get("x-primaryKey", [])),
        order_by=texts(schema, ("x-orderBy",), document.get("x-orderBy", [])),
        version=str(document.get("x-version", "1")),
        description=text_of(document, "doc"),
        owner=text_of(document, "x-owner"),
    )
    check_fields(contract, places, problems)
    check_keys(
        contract, [str(i.get("name")) for i in document["fields"] if isinstance(i, dict)], schema.place, problems
    )
    return contract


def _field(schema: SchemaFile, index: int, item: Mapping[str, Any]) -> Field | None:
    kind = item.get("type")
    options = kind if isinstance(kind, list) else [kind]
    named = [o for o in options if o != "null"]
    constraints = Constraints()
    found: DataType | None = None
    if len(named) == 1:
        found = _type(named[0])
        if isinstance(named[0], dict) and named[0].get("type") == "enum":
            constraints = Constraints(enum=tuple(str(s) for s in named[0].get("symbols", ())))
    if found is None:
        valid = (*_PRIMITIVES, "bytes with decimal", *(logical for _, logical in _LOGICAL), "enum", "[null, type]")
        where = schema.place("fields", index, "type")
        BAD_TYPE.report(schema.problems, f"the type of '{item['name']}' cannot be a column", where, valid)
        return None
    doc = item.get("doc")
    return Field(item["name"], found, "null" in options, doc if isinstance(doc, str) else "", constraints)


def _type(written: Any) -> DataType | None:
    if isinstance(written, str):
        return _PRIMITIVES.get(written)
    if not isinstance(written, dict):
        return None
    kind, logical = written.get("type"), written.get("logicalType")
    if kind == "enum":
        return STRING
    if kind in ("bytes", "fixed") and logical == "decimal":
        precision, scale = written.get("precision"), written.get("scale", 0)
        if isinstance(precision, int) and isinstance(scale, int) and 1 <= precision <= 38 and 0 <= scale <= precision:
            return decimal(precision, scale)
        return None
    if isinstance(kind, str) and isinstance(logical, str) and (kind, logical) in _LOGICAL:
        return _LOGICAL[(kind, logical)]
    return _PRIMITIVES.get(kind) if isinstance(kind, str) else None
