"""A schema file becomes a Contract: JSON Schema (draft-07, the part that a record needs) or Avro, by its ending.

What this version would not enforce is refused, never ignored: a keyword that looks like a constraint and checks nothing
is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.contract_codes import (
    BAD_CONSTRAINT,
    BAD_JSON,
    BAD_KEY,
    BAD_NAME,
    BAD_TYPE,
    NOT_A_RECORD,
    UNKNOWN_KEYWORD,
    check_fields,
    check_keys,
    misfits,
    refused_pattern,
)
from pipeline_xml.json_text import Path as Keys
from pipeline_xml.json_text import read_json_file
from pipeline_xml.location import Location
from pipeline_xml.nested import ITEM, Nested
from pipeline_xml.problems import Problems
from pipeline_xml.types import BOOLEAN, DATE, DOUBLE, INT, STRING, TIMESTAMP, DataType, parse_type

_ROOT = (
    "title", "description", "type", "required", "properties", "x-version", "x-owner", "x-primaryKey", "x-orderBy",
    "$schema", "$id", "$comment", "additionalProperties", "examples",
)  # fmt: skip
_FIELD = (
    "type", "format", "description", "title", "enum", "pattern", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minLength", "maxLength", "x-type", "x-format", "x-codes", "x-classification",
    "$comment", "examples",
)  # fmt: skip
_LIST = ("type", "items", "description", "title", "$comment", "examples")
_OBJECT = ("type", "properties", "required", "description", "title", "additionalProperties", "$comment", "examples")
_TYPES: Mapping[str, DataType] = {"string": STRING, "integer": INT, "number": DOUBLE, "boolean": BOOLEAN}
_FORMATS: Mapping[str, DataType] = {"date": DATE, "date-time": TIMESTAMP}


class SchemaFile:
    """A parsed schema file: its value, and places of its keys."""

    def __init__(self, value: Any, places: Mapping[Keys, Location], where: Location, problems: Problems) -> None:
        self.value, self.places, self.where, self.problems = value, places, where, problems

    def place(self, *keys: str | int) -> Location:
        """The place of the key, or of the nearest parent that has one."""
        while keys:
            if keys in self.places:
                return self.places[keys]
            keys = keys[:-1]
        return self.where


def read_contract(path: Path, file: str, problems: Problems) -> Contract | None:
    """The contract of a `.json` or `.avsc` file, or None after problems; `file` is its name in problems."""
    from pipeline_xml.contract_avro import avro_contract

    read = read_json_file(path, file, problems, BAD_JSON)
    if read is None:
        return None
    value, places = read
    schema = SchemaFile(value, places, Location(file), problems)
    before = problems.error_count
    found = avro_contract(schema, path.stem) if path.suffix == ".avsc" else _json_contract(schema, path.stem)
    return found if problems.error_count == before else None


def _json_contract(schema: SchemaFile, name: str) -> Contract | None:
    document, problems = schema.value, schema.problems
    if not isinstance(document, dict) or document.get("type") != "object":
        NOT_A_RECORD.report(problems, 'not an object schema: "type" must be "object"', schema.where)
        return None
    properties = document.get("properties")
    if not isinstance(properties, dict) or not properties:
        NOT_A_RECORD.report(problems, 'a record schema needs "properties"', schema.place("properties"))
        return None
    known_keywords(schema, (), document, _ROOT)
    required = texts(schema, ("required",), document.get("required", []))
    for index, field in enumerate(required):
        if field not in properties:
            where = schema.place("required", index)
            BAD_KEY.report(problems, f"required field '{field}' is not in properties", where, tuple(properties))
    fields = tuple(
        _json_field(schema, ("properties", key), key, value, key in required) for key, value in properties.items()
    )
    good = tuple(f for f in fields if f is not None)
    contract = Contract(
        name=text_of(document, "title") or name,
        fields=good,
        where=schema.where,
        primary_key=texts(schema, ("x-primaryKey",), document.get("x-primaryKey", [])),
        order_by=texts(schema, ("x-orderBy",), document.get("x-orderBy", [])),
        version=str(document.get("x-version", "1")),
        description=text_of(document, "description"),
        owner=text_of(document, "x-owner"),
    )
    places = {f.name: schema.place("properties", f.name) for f in good}
    check_fields(contract, places, problems)
    check_keys(contract, properties, schema.place, problems)
    return contract


def text_of(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key, "")
    return found if isinstance(found, str) else ""


def known_keywords(schema: SchemaFile, at: Keys, value: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in value:
        if key not in known:
            hint = "what is not enforced is refused; say it in description"
            UNKNOWN_KEYWORD.report(schema.problems, f"unknown keyword '{key}'", schema.place(*at, key), known, hint)


def texts(schema: SchemaFile, at: Keys, value: Any) -> tuple[str, ...]:
    """A list of texts; numbers become the text they were written as."""
    if isinstance(value, list) and all(isinstance(v, str | int | Decimal) and not isinstance(v, bool) for v in value):
        return tuple(str(v) for v in value)
    BAD_CONSTRAINT.report(schema.problems, f"'{at[-1]}' must be a list of texts", schema.place(*at))
    return ()


def _json_field(schema: SchemaFile, at: Keys, name: str, value: Any, required: bool) -> Field | None:
    if not isinstance(value, dict):
        BAD_TYPE.report(schema.problems, f"the schema of '{name}' must be an object", schema.place(*at))
        return None
    kinds = value.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    named = [k for k in kinds if k != "null"] if isinstance(kinds, list) else []
    nullable = not required or "null" in (kinds if isinstance(kinds, list) else ())
    if named in (["object"], ["array"]):
        nested = _nested(schema, at, value, named[0] == "array")
        held = Field(name, STRING, nullable, text_of(value, "description"))
        return held if nested is None else holding(held, nested)
    known_keywords(schema, at, value, _FIELD)
    if len(named) != 1 or named[0] not in _TYPES:
        valid = (*_TYPES, "array", "object", '["string", "null"]')
        message = f"the type of '{name}' cannot be used: one type is needed"
        BAD_TYPE.report(schema.problems, message, schema.place(*at, "type"), valid)
        return None
    kind = _column_type(schema, at, value, named[0])
    if kind is None:
        return None
    return annotated(schema, at, value, Field(name, kind, nullable, text_of(value, "description")))


def _nested(schema: SchemaFile, at: Keys, value: Mapping[str, Any], many: bool) -> Nested | None:
    """What stands in a list (`items`) or an object (`properties`); None after a problem."""
    known_keywords(schema, at, value, _LIST if many else _OBJECT)
    inside: Any = value
    here = at
    if many:
        inside, here = value.get("items"), (*at, "items")
        if not isinstance(inside, dict) or inside.get("type") == "array":
            where = schema.place(*here)
            BAD_TYPE.report(schema.problems, f"'items' of '{at[-1]}' says what one item is, and that is no list", where)
            return None
        if inside.get("type") != "object":
            item = inner(schema, here, _json_field(schema, here, ITEM, inside, required=True))
            return Nested(many, (item,)) if item else None
        known_keywords(schema, here, inside, _OBJECT)
    properties = inside.get("properties")
    if not isinstance(properties, dict) or not properties:
        BAD_TYPE.report(schema.problems, f"'{at[-1]}' needs properties", schema.place(*here))
        return None
    required = texts(schema, (*here, "required"), inside.get("required", []))
    for index, name in enumerate(required):
        if name not in properties:
            where = schema.place(*here, "required", index)
            BAD_KEY.report(schema.problems, f"required field '{name}' is not in properties", where, tuple(properties))
    fields = []
    for name, each in properties.items():
        place = (*here, "properties", name)
        fields.append(inner(schema, place, _json_field(schema, place, name, each, name in required)))
    return Nested(many, tuple(f for f in fields if f is not None))


def inner(schema: SchemaFile, at: Keys, field: Field | None) -> Field | None:
    """A field inside another, held against what a field there can be."""
    if field is None:
        return None
    if field.name != ITEM and (not field.name or "." in field.name):
        message = f"'{field.name}' cannot stand in a path, which has dots between names"
        BAD_NAME.report(schema.problems, message, schema.place(*at))
    if field.codes:
        message = f"x-codes of '{field.name}': inside a list or an object no column stands beside it"
        BAD_CONSTRAINT.report(schema.problems, message, schema.place(*at, "x-codes"))
    for message in misfits(field):
        BAD_CONSTRAINT.report(schema.problems, f"{message} ('{field.name}')", schema.place(*at))
    return field


def holding(field: Field, nested: Nested) -> Field:
    """The field with what stands in it, as grave as the gravest of that."""
    return replace(field, nested=nested, classification=nested.classification())


def _column_type(schema: SchemaFile, at: Keys, value: Mapping[str, Any], written: str) -> DataType | None:
    kind = _TYPES[written]
    form = value.get("format")
    if form is not None:
        if written != "string" or form not in _FORMATS:
            where = schema.place(*at, "format")
            BAD_TYPE.report(
                schema.problems, f"format '{form}' of '{at[-1]}' is not a column type", where, tuple(_FORMATS)
            )
            return None
        kind = _FORMATS[form]
    if "x-type" not in value:
        return kind
    try:
        return parse_type(str(value["x-type"]))
    except ValueError as error:
        BAD_TYPE.report(schema.problems, f"x-type of '{at[-1]}': {error}", schema.place(*at, "x-type"))
        return None


def annotated(schema: SchemaFile, at: Keys, value: Mapping[str, Any], field: Field) -> Field:
    """The field with its constraints, codes, format and classification."""
    classification = value.get("x-classification")
    if classification is not None and classification not in ("pii", "secret"):
        where = schema.place(*at, "x-classification")
        BAD_CONSTRAINT.report(
            schema.problems, f"x-classification of '{field.name}' is unknown", where, ("pii", "secret")
        )
    codes = texts(schema, (*at, "x-codes"), value["x-codes"]) if "x-codes" in value else ()
    if "x-codes" in value and not codes:
        BAD_CONSTRAINT.report(schema.problems, f"x-codes of '{field.name}' is empty", schema.place(*at, "x-codes"))
    form = value.get("x-format")
    if form is not None and not isinstance(form, str):
        where = schema.place(*at, "x-format")
        BAD_CONSTRAINT.report(schema.problems, f"x-format of '{field.name}' must be a text", where)
    return replace(
        field,
        constraints=_constraints(schema, at, value),
        codes=codes,
        format=form if isinstance(form, str) else None,
        classification=classification if isinstance(classification, str) else None,
    )


def _constraints(schema: SchemaFile, at: Keys, value: Mapping[str, Any]) -> Constraints:
    def number(key: str) -> Decimal | None:
        found = value.get(key)
        if found is None or (isinstance(found, int | Decimal) and not isinstance(found, bool)):
            return None if found is None else Decimal(found)
        BAD_CONSTRAINT.report(schema.problems, f"{key} of '{at[-1]}' must be a number", schema.place(*at, key))
        return None

    def whole(key: str) -> int | None:
        found = value.get(key)
        if found is None or (isinstance(found, int) and not isinstance(found, bool) and found >= 0):
            return found
        BAD_CONSTRAINT.report(schema.problems, f"{key} of '{at[-1]}' must be a whole number", schema.place(*at, key))
        return None

    return Constraints(
        enum=_enum(schema, (*at, "enum"), value["enum"]) if "enum" in value else (),
        pattern=_pattern(schema, (*at, "pattern"), value["pattern"]) if "pattern" in value else None,
        minimum=number("minimum"),
        maximum=number("maximum"),
        exclusive_minimum=number("exclusiveMinimum"),
        exclusive_maximum=number("exclusiveMaximum"),
        min_length=whole("minLength"),
        max_length=whole("maxLength"),
    )


def _pattern(schema: SchemaFile, at: Keys, value: Any) -> str | None:
    if not isinstance(value, str):
        BAD_CONSTRAINT.report(schema.problems, f"pattern of '{at[-2]}' must be a text", schema.place(*at))
        return None
    refusal = refused_pattern(value)
    if refusal is not None:
        BAD_CONSTRAINT.report(schema.problems, f"{refusal} ('{at[-2]}')", schema.place(*at))
    return value


def _enum(schema: SchemaFile, at: Keys, value: Any) -> tuple[str, ...]:
    """The values as a file has them: true and 1.50 as written; null says nothing about a text."""
    if isinstance(value, list):
        spelled = [("true" if v else "false") if isinstance(v, bool) else v for v in value if v is not None]
        if spelled and all(isinstance(v, str | int | Decimal) for v in spelled):
            return tuple(str(v) for v in spelled)
    BAD_CONSTRAINT.report(schema.problems, "enum must be a list of texts, numbers or booleans", schema.place(*at))
    return ()
