"""Contract types as Arrow types, in one place."""

from __future__ import annotations

import pyarrow as pa

from pipeline_xml.types import BIGINT, BOOLEAN, DATE, DOUBLE, INT, STRING, TIMESTAMP, DataType, decimal


def contract_type(found: pa.DataType) -> DataType | None:
    """The contract type of a column of a table; None where contracts have none of the kind."""
    if pa.types.is_decimal(found):
        return decimal(found.precision, found.scale)
    kinds = (
        (BOOLEAN, pa.types.is_boolean(found)),
        (INT, pa.types.is_integer(found) and found.bit_width <= 32 and found != pa.uint32()),
        (BIGINT, pa.types.is_integer(found) and found != pa.uint64()),
        (DOUBLE, pa.types.is_floating(found)),
        (DATE, pa.types.is_date(found)),
        (TIMESTAMP, pa.types.is_timestamp(found)),
        (STRING, pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)),
    )
    return next((kind for kind, fits in kinds if fits), None)


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
