"""Contract types as Arrow types, in one place."""

from __future__ import annotations

import pyarrow as pa

from pipeline_xml.types import DataType


def arrow_type(type_: DataType) -> pa.DataType:
    """The Arrow type of a contract type; timestamps are microseconds in UTC."""
    if type_.kind == "decimal":
        return pa.decimal128(type_.precision, type_.scale)
    return {
        "string": pa.string(),
        "boolean": pa.bool_(),
        "int": pa.int32(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }[type_.kind]
