"""The closed set of column types of contracts and expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["string", "boolean", "int", "bigint", "decimal", "double", "date", "timestamp", "nested"]
KINDS: tuple[Kind, ...] = ("string", "boolean", "int", "bigint", "decimal", "double", "date", "timestamp")

_DECIMAL = re.compile(r"decimal\((\d{1,2}),\s*(\d{1,2})\)\Z")


@dataclass(frozen=True, slots=True)
class DataType:
    """A type; `precision` and `scale` only for decimal (1..38, 0..precision)."""

    kind: Kind
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind

    @property
    def numeric(self) -> bool:
        return self.kind in ("int", "bigint", "decimal", "double")


STRING = DataType("string")
BOOLEAN = DataType("boolean")
INT = DataType("int")
BIGINT = DataType("bigint")
DOUBLE = DataType("double")
DATE = DataType("date")
TIMESTAMP = DataType("timestamp")
NESTED = DataType("nested")  # in the scope of an expression: what holds a list or an object, and is none of the others


def decimal(precision: int, scale: int) -> DataType:
    """decimal(p,s); ValueError outside 1..38 and 0..p."""
    if not (1 <= precision <= 38 and 0 <= scale <= precision):
        raise ValueError(f"decimal({precision},{scale}): precision is 1..38, scale 0..precision")
    return DataType("decimal", precision, scale)


def parse_type(text: str) -> DataType:
    """`string`, `decimal(18,2)`, … ; ValueError names the valid types."""
    text = text.strip().lower()
    if match := _DECIMAL.match(text):
        return decimal(int(match[1]), int(match[2]))
    for kind in KINDS:
        if text == kind and kind != "decimal":
            return DataType(kind)
    valid = "string, boolean, int, bigint, decimal(p,s), double, date, timestamp"
    raise ValueError(f"unknown type '{text}'; valid: {valid}")
