"""What can be wrong with a contract, and the checks that both dialects share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.expressions.codes import Refused
from pipeline_xml.expressions.patterns import portable_pattern
from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import code
from pipeline_xml.system_columns import SYSTEM_COLUMNS

BAD_JSON = code("LK401", "The schema file is not JSON, or has a key twice.")
NOT_A_RECORD = code("LK402", "The schema does not describe a record: an object with properties, or an Avro record.")
UNKNOWN_KEYWORD = code("LK403", "A keyword of the schema that is not enforced here. It is refused rather than ignored.")
BAD_TYPE = code(
    "LK404",
    """The type of a field is none of string, boolean, int, bigint, decimal(p,s), double, date, timestamp, nor a list or
    an object of these.""",
)
BAD_CONSTRAINT = code(
    "LK405", "A constraint that does not fit the field's type, contradicts another or cannot be read."
)
BAD_KEY = code(
    "LK406", "A field named in required, x-primaryKey or x-orderBy does not exist, or a key field may be null."
)
BAD_NAME = code(
    "LK407", "A field's name cannot be a column: not a name, twice (letter case is ignored), or one of the platform's."
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_FORMAT = re.compile(r"(yyyy|MM|dd|HH|mm|ss|[ T/.:\-]|'[A-Za-z ]')+\Z")
_OF_TEXT = ("pattern", "min_length", "max_length")
_OF_NUMBERS = ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum")


def check_fields(contract: Contract, places: Mapping[str, Location], problems: Problems) -> None:
    """Names, and constraints against types."""
    seen: dict[str, str] = {}
    for field in contract.fields:
        where = places[field.name]
        names = (field.name, field.code_column) if field.codes else (field.name,)
        if not _NAME.match(field.name):
            BAD_NAME.report(problems, f"'{field.name}' is not a column name: letters, digits and _", where)
        for name in names:
            if name.lower() in SYSTEM_COLUMNS:
                BAD_NAME.report(problems, f"'{name}' is a column of the platform", where)
            if name.lower() in seen:
                text = f"'{name}' and '{seen[name.lower()]}' would be the same column"
                BAD_NAME.report(
                    problems, text, where, hint="names differ by more than letter case; x-codes adds <field>_code"
                )
            seen[name.lower()] = name
        for message in misfits(field):
            BAD_CONSTRAINT.report(problems, f"{message} ('{field.name}')", where)


def misfits(field: Field) -> Iterable[str]:
    """What of a field's constraints does not fit its type."""
    c = field.constraints
    if field.type.kind != "string" and any(getattr(c, name) is not None for name in _OF_TEXT):
        yield f"pattern, minLength and maxLength need a string, not {field.type}"
    if not field.type.numeric and any(getattr(c, name) is not None for name in _OF_NUMBERS):
        yield f"minimum and maximum need a number, not {field.type}"
    if c.minimum is not None and c.maximum is not None and c.minimum > c.maximum:
        yield "minimum is greater than maximum"
    if c.min_length is not None and c.max_length is not None and c.min_length > c.max_length:
        yield "minLength is greater than maxLength"
    if field.format is not None and (field.type.kind not in ("date", "timestamp") or not _FORMAT.match(field.format)):
        yield "x-format needs a date or timestamp, and is made of yyyy MM dd HH mm ss and separators"
    yield from _enum_misfits(field, c)


def _enum_misfits(field: Field, c: Constraints) -> Iterable[str]:
    if field.type.numeric:
        for value in c.enum:
            if not re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", value):
                yield f"enum has '{value}', which is no {field.type}; a code that stands for a value belongs in x-codes"
                return


def refused_pattern(pattern: str) -> str | None:
    """Why a regular expression cannot be used on every engine, or None."""
    try:
        portable_pattern(pattern)
    except Refused as refused:
        return refused.message
    return None


def check_keys(contract: Contract, names: Iterable[str], place: Callable[..., Location], problems: Problems) -> None:
    """x-primaryKey and x-orderBy name fields; a key is never null."""
    valid = tuple(names)
    fields = {f.name: f for f in contract.fields}
    for keyword, listed in (("x-primaryKey", contract.primary_key), ("x-orderBy", contract.order_by)):
        for index, name in enumerate(listed):
            if name not in valid:
                BAD_KEY.report(problems, f"{keyword}: unknown field '{name}'", place(keyword, index), valid)
            elif keyword == "x-primaryKey" and name in fields and fields[name].nullable:
                hint = "a field is nullable unless it is in required"
                BAD_KEY.report(problems, f"x-primaryKey: '{name}' may be null", place(keyword, index), hint=hint)
            if name in fields and fields[name].nested is not None:
                message = f"{keyword}: '{name}' holds {fields[name].nested}, which is no key and has no order"
                BAD_KEY.report(problems, message, place(keyword, index))
