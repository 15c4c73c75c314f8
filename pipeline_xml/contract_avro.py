"""An Avro record schema becomes a Contract: primitives, logical types, unions with null, arrays, records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.contract_codes import BAD_TYPE, NOT_A_RECORD, check_fields, check_keys
from pipeline_xml.json_text import Path as Keys
from pipeline_xml.nested import ITEM, Nested
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
    from pipeline_xml.contract_read import text_of, texts

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
        field = _field(schema, ("fields", index), item)
        if field is not None:
            fields.append(field)
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


def _field(schema: SchemaFile, at: Keys, item: Mapping[str, Any]) -> Field | None:
    from pipeline_xml.contract_read import annotated, holding

    kind = item.get("type")
    options = kind if isinstance(kind, list) else [kind]
    named = [o for o in options if o != "null"]
    one = named[0] if len(named) == 1 else None
    doc = item.get("doc")
    base = Field(item["name"], STRING, "null" in options, doc if isinstance(doc, str) else "")
    if isinstance(one, dict) and one.get("type") in ("array", "record"):
        nested = _nested(schema, (*at, "type", *((options.index(one),) if isinstance(kind, list) else ())), one)
        return base if nested is None else holding(base, nested)
    found = _type(one)
    if found is None:
        valid = (
            *_PRIMITIVES, "bytes with decimal", *(logical for _, logical in _LOGICAL), "enum", "array", "record",
            "[null, type]",
        )  # fmt: skip
        where = schema.place(*at, "type")
        BAD_TYPE.report(schema.problems, f"the type of '{item['name']}' cannot be a column", where, valid)
        return None
    field = annotated(schema, at, {k: v for k, v in item.items() if k.startswith("x-")}, replace(base, type=found))
    symbols = one.get("symbols", ()) if isinstance(one, dict) and one.get("type") == "enum" else ()
    return replace(field, constraints=Constraints(enum=tuple(str(s) for s in symbols)))


def _nested(schema: SchemaFile, at: Keys, written: Mapping[str, Any]) -> Nested | None:
    """What stands in an array or a record; None after a problem."""
    from pipeline_xml.contract_read import inner

    many = written["type"] == "array"
    inside, here = (written.get("items"), (*at, "items")) if many else (written, at)
    if not (isinstance(inside, dict) and inside.get("type") == "record"):
        if not many or (isinstance(inside, dict) and inside.get("type") == "array"):
            BAD_TYPE.report(schema.problems, "the items of an array are no arrays", schema.place(*here))
            return None
        item = inner(schema, here, _field(schema, at, {"name": ITEM, "type": inside}))
        return Nested(many, (item,)) if item else None
    listed = inside.get("fields")
    if not isinstance(listed, list) or not all(isinstance(f, dict) and isinstance(f.get("name"), str) for f in listed):
        BAD_TYPE.report(schema.problems, "a record needs fields, each with a name and a type", schema.place(*here))
        return None
    places = [(*here, "fields", index) for index in range(len(listed))]
    fields = [inner(schema, place, _field(schema, place, f)) for place, f in zip(places, listed, strict=True)]
    return Nested(many, tuple(f for f in fields if f is not None))


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
