"""The contract of the registers, read and applied by plain Python: the second opinion on what the product does.

It shares nothing with the product: the JSON of the contract is data, and every rule below was written from HMDA's
filing instructions and JSON Schema, with the standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
LAR = PROJECT / "config/applications/mortgage/staging/schemas/lar.json"

_INTEGER = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")

Value = str | int | Decimal | date | None


def load(path: Path = LAR) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def records(path: Path, encoding: str = "utf-8") -> list[list[str]]:
    """All records of a register, the control record first. The feed has no quoting: a field ends at the pipe."""
    return [line.split("|") for line in path.read_text(encoding=encoding).splitlines()]


def cell(field: Mapping[str, Any], required: bool, text: str) -> tuple[Value, str | None, list[str]]:
    """The typed value, the code that stands in its place, and the kinds of violation: type, enum, pattern, …"""
    if text == "":
        return None, None, ["required"] if required else []
    if text in field.get("x-codes", ()):
        return None, text, []
    value = _typed(field, text)
    if value is None:
        return None, None, ["type"]
    return value, None, _violations(field, text, value)


def _kind(field: Mapping[str, Any]) -> str:
    types = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return next(str(kind) for kind in types if kind != "null")


def _typed(field: Mapping[str, Any], text: str) -> Value:
    kind = _kind(field)
    if kind == "integer":
        return int(text) if _INTEGER.fullmatch(text) and abs(int(text)) < 2**31 else None
    if kind == "number":
        try:
            return Decimal(text) if _NUMBER.fullmatch(text) else None
        except InvalidOperation:
            return None
    if field.get("format") == "date":
        parts = _DATE.fullmatch(text)
        try:
            return date(int(parts[1]), int(parts[2]), int(parts[3])) if parts else None
        except ValueError:
            return None
    return text


def _violations(field: Mapping[str, Any], text: str, value: Value) -> list[str]:
    found = []
    if "enum" in field and value not in field["enum"]:
        found.append("enum")
    if "pattern" in field and not re.search(field["pattern"], text):
        found.append("pattern")
    if "maxLength" in field and len(text) > field["maxLength"]:
        found.append("maxLength")
    if isinstance(value, int | Decimal):
        if "minimum" in field and value < field["minimum"]:
            found.append("minimum")
        if "exclusiveMinimum" in field and value <= field["exclusiveMinimum"]:
            found.append("exclusiveMinimum")
    return found


def typed_row(contract: Mapping[str, Any], cells: Sequence[str]) -> tuple[dict[str, Value], list[tuple[str, str]]]:
    """The typed columns of a record with their `_code` columns, and its (column, kind) violations in field order."""
    row: dict[str, Value] = {}
    violations: list[tuple[str, str]] = []
    required = set(contract["required"])
    for (name, field), text in zip(contract["properties"].items(), cells, strict=True):
        row[name], code, kinds = cell(field, name in required, text)
        if "x-codes" in field:
            row[f"{name}_code"] = code
        violations += [(name, kind) for kind in kinds]
    return row, violations
