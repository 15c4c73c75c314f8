"""The boundary scan of a Parquet file: its footer says how many rows each row group holds, before any is read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from pipeline_xml.contract import Contract
from pipeline_xml.nested import Nested
from processing.scan_head import check_header
from processing.scan_result import Finding, Range, Scan


class ParquetScanner:
    """Feed it the file while it is copied, and give it the copy at the end."""

    transcodes = False

    def __init__(self, contract: Contract, accepts_nothing: bool = False) -> None:
        self._contract, self._accepts_nothing = contract, accepts_nothing
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        self._size += len(chunk)
        return chunk

    def finish(self, path: Path | None = None) -> Scan:
        """`path` is the whole file."""
        if path is None:
            raise ValueError("a Parquet file is scanned from its end")
        try:
            with pq.ParquetFile(path) as file:
                metadata, schema = file.metadata, file.schema_arrow
                rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
                total = metadata.num_rows
        except (pa.ArrowInvalid, OSError):
            # Arrow's message may quote the data.
            found: tuple[Finding, ...] = ()
            if not self._size and not self._accepts_nothing:
                found = (Finding("empty_file", "the file holds no record", None, 0),)
            elif self._size:
                found = (Finding("not_parquet", "the file is no Parquet file, or its end is missing", None, 0),)
            return Scan(0, self._size, 0, self._size, (), "utf-8", findings=found)
        findings = check_header(tuple(schema.names), self._contract)
        for column in schema:
            declared = next((field for field in self._contract.fields if field.name == column.name), None)
            if declared is not None and not _fits(column.type, declared.nested):
                wanted = "its values are single ones" if declared.nested is None else f"it holds {declared.nested}"
                text = f"the column {column.name} is {column.type}, and by its contract {wanted}"
                findings.append(Finding("column_type", text))
        if sum(rows) != total:
            findings.append(Finding("row_count", f"the footer counts {total} rows, its row groups {sum(rows)}"))
        ranges, first = [], 1
        for group, count in enumerate(rows):
            if count:
                ranges.append(Range(group, group + 1, first, count))
                first += count
        return Scan(
            records=total,
            size=self._size,
            data_start=0,
            data_end=self._size,
            ranges=tuple(ranges),
            encoding="utf-8",
            header=tuple(schema.names),
            nul=True,
            findings=tuple(findings),
        )


def _fits(kind: pa.DataType, nested: Nested | None) -> bool:
    """Whether a column is of the shape that its field declares; what stands inside is held against it item by item."""
    if nested is None:
        return _scalar(kind)
    return bool(pt.is_list(kind) or pt.is_large_list(kind) if nested.many else pt.is_struct(kind))


def _scalar(kind: pa.DataType) -> bool:
    kind = kind.value_type if pt.is_dictionary(kind) else kind
    tests = (
        pt.is_boolean, pt.is_integer, pt.is_floating, pt.is_decimal, pt.is_string, pt.is_large_string,
        pt.is_string_view, pt.is_date, pt.is_timestamp, pt.is_null,
    )  # fmt: skip
    return any(test(kind) for test in tests)
