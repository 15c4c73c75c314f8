"""Rejected rows of a lake table, opened from the quarantine and typed again: what a replay of them reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.contract import Field
from processing import frame as f
from processing.keys import unseal
from publishing.lake import Lake
from resources.quarantine_key import quarantine_key


class PayloadUnreadable(Exception):
    """A sealed row that is no row of the contract any more (permanent): the contract's types changed since."""


def write_payload_rows(lake: Lake, pipeline: CheckedPipeline, folder: Path, records: Any) -> tuple[str, int]:
    """(path, rows) of a Parquet file with these records (an Arrow array of ids) as their table had them."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    snapshot = lake.quarantine(pipeline.key).snapshot()
    wanted = ds.field("record_id").isin(records)
    names = ["record_id", "raw", "key_id", "business_date", "sender", "arrival", "source_file", "source_record"]
    entries = snapshot.dataset().to_table(columns=names, filter=wanted).combine_chunks()
    key = quarantine_key(lake.settings)
    texts = [
        json.loads(unseal(raw, key.value, key_id, record), parse_float=Decimal)
        for record, raw, key_id in zip(
            entries["record_id"].to_pylist(), entries["raw"].to_pylist(), entries["key_id"].to_pylist(), strict=True
        )
    ]
    columns = {column.name: _typed(texts, column) for column in pipeline.driving.contract.columns}
    identity = {
        f.RECORD_ID: "record_id", f.BUSINESS_DATE: "business_date", f.SENDER: "sender", f.ARRIVAL: "arrival",
        f.SOURCE_FILE: "source_file", f.SOURCE_RECORD: "source_record",
    }  # fmt: skip
    table = pa.table(columns | {name: entries[stored] for name, stored in identity.items()})
    order = pc.sort_indices(table[f.RECORD_ID])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rows.parquet"
    pq.write_table(table.take(order), path)
    return str(path), table.num_rows


def _typed(rows: Sequence[dict[str, Any]], column: Field) -> Any:
    import pyarrow as pa

    from processing.validate_types import convert

    texts = pa.array([_text(row.get(column.name)) for row in rows], pa.string())
    typed, wrong = convert(texts, column.type)
    if len(wrong):
        raise PayloadUnreadable(f"{len(wrong)} sealed rows hold no {column.type} in {column.name}; discard them")
    return typed


def _text(value: Any) -> str | None:
    """A value of the payload as the text that its type reads."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and "E" in value.upper():
        try:  # a decimal whose digits Python wrote with an exponent; any other text stays as it is
            return format(Decimal(value), "f") if Decimal(value).is_finite() else value
        except ArithmeticError:
            return value
    if isinstance(value, Decimal):
        return format(value, "f")
    return None if value is None else str(value)
