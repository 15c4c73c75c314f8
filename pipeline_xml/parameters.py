"""Parameters of jobs: typed values that a run gives and expressions read as `:name`.

A pipeline may be in several jobs, and run alone; a parameter means the same to it everywhere: its declarations agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from pipeline_xml.checked import BoundValue
from pipeline_xml.model import JobPipeline, Parameter
from pipeline_xml.types import DATE, DataType, parse_type

RUN_DATE = "runDate"
RESERVED = (RUN_DATE, "businessDate")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}\Z")
_BOUNDS = {"int": 2**31, "bigint": 2**63}
_FORMS = {
    "string": "any text",
    "boolean": "true or false",
    "int": "a whole number such as 12",
    "bigint": "a whole number such as 12",
    "decimal": "a number such as 12.50, with the digits of its type",
    "double": "a number such as 12.5 or 1e3",
    "date": "a date such as 2024-12-31",
    "timestamp": "a moment such as 2024-12-31 10:11:12 (UTC)",
}


def parameter_value(text: str, kind: DataType) -> object:
    """The value that `text` writes: str, bool, int, Decimal, float, date or datetime. ValueError says the form."""
    try:
        found = _READ[kind.kind](text, kind)
    except (ValueError, InvalidOperation):
        found = None
    if found is None:
        raise ValueError(f"no {kind}; valid: {_FORMS[kind.kind]}")
    return found


def _whole(text: str, kind: DataType) -> object:
    limit = _BOUNDS[kind.kind]
    return value if _WHOLE.match(text) and -limit <= (value := int(text)) < limit else None


def _decimal(text: str, kind: DataType) -> object:
    value = Decimal(text)
    if not value.is_finite() or not text.isascii():
        return None
    exact = value.quantize(Decimal(1).scaleb(-kind.scale))
    return exact if exact == value and abs(exact) < Decimal(10) ** (kind.precision - kind.scale) else None


def _double(text: str, _kind: DataType) -> object:
    value = float(text)
    return value if text.isascii() and abs(value) < float("inf") else None


def _moment(text: str, _kind: DataType) -> object:
    value = datetime.fromisoformat(text)
    return value if value.tzinfo is None and len(text) in (10, 19, 26) else None


_READ = {
    "string": lambda text, _kind: text,
    "boolean": lambda text, _kind: {"true": True, "false": False}.get(text.lower()),
    "int": _whole,
    "bigint": _whole,
    "decimal": _decimal,
    "double": _double,
    "date": lambda text, _kind: date.fromisoformat(text) if len(text) == 10 else None,
    "timestamp": _moment,
}


def declared(jobs: Iterable[JobPipeline], pipeline: str) -> dict[str, Parameter]:
    """The parameters of the jobs that run a pipeline, as a fallback too, by name; of several the first."""
    found: dict[str, Parameter] = {}
    for job in jobs:
        if any(pipeline in (ref.id, ref.fallback) for ref in job.refs):
            for parameter in job.parameters:
                found.setdefault(parameter.name, parameter)
    return found


def parameter_type(parameter: Parameter) -> DataType:
    """Its type; string where what is written is none, which a rule of jobs reports."""
    try:
        return parse_type(parameter.type)
    except ValueError:
        return DataType("string")


def bound_value(name: str, parameters: Mapping[str, Parameter]) -> BoundValue:
    """What a run has to find out for the name that an expression reads."""
    if name == RUN_DATE:
        return BoundValue(RUN_DATE, DATE)
    return BoundValue(name, parameter_type(parameters[name]), parameters[name].default)
