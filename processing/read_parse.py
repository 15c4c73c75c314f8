"""One range of a csv file as string columns, with every record at its place: none lost, none moved."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.csv as pc

from pipeline_xml.model import CsvSource
from processing.scan_result import Range, Scan
from processing.scan_spans import record_spans
from processing.validate_errors import Entry


class RecordCountError(Exception):
    """The parser and the boundary scan disagree on the records of a file; nothing of it may be used."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """`columns`: the records that have cells, in order. `broken`: the others, (place in the range from 0, why)."""

    columns: pa.RecordBatch
    broken: tuple[tuple[int, Entry], ...]


def parse_range(
    data: bytes,
    part: Range,
    scan: Scan,
    names: Sequence[str],
    source: CsvSource,
    source_file: str,
    only: Sequence[str] | None = None,
) -> Parsed:
    """`data` are the bytes of the range. Null texts become null. RecordCountError names the file.

    With `only`, some of the names, the other columns are left out.
    """
    if scan.comments:
        starts, stops = record_spans(data, source, scan)
        # A line end after the last record too, or a last blank record would be no line at all.
        data = b"".join(data[a:b] + b"\n" for a, b in zip(starts.tolist(), stops.tolist(), strict=True))
    if scan.encoding != "utf-8" and not data.isascii():
        data = data.decode(scan.encoding).encode("utf-8")
    if data.startswith(codecs.BOM_UTF8):
        data = codecs.BOM_UTF8 + data  # the parser would take it for a byte order mark; here it is the first cell's
    ragged: list[tuple[int, int]] = []

    def wrong_width(row: pc.InvalidRow) -> str:
        # With one thread the number counts every record of the block, skipped ones too, but no blank lines.
        ragged.append((row.number - 1, row.actual_columns))
        return "skip"

    # Quotes that do not occur cost the parser its fast path.
    quoted = source.quote is not None and source.quote.encode("ascii") in data
    try:
        table = pc.read_csv(
            pa.BufferReader(data),
            pc.ReadOptions(column_names=list(names), use_threads=False, block_size=len(data) + 1),
            pc.ParseOptions(
                delimiter=source.delimiter,
                quote_char=source.quote if quoted else False,
                double_quote=True,
                escape_char=source.escape if source.escape and source.escape != source.quote else False,
                newlines_in_values=quoted or source.escape is not None,
                ignore_empty_lines=not scan.blank_records,
                invalid_row_handler=wrong_width,
            ),
            pc.ConvertOptions(
                column_types={name: pa.string() for name in names},
                include_columns=None if only is None else list(only),
                null_values=list(source.null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        # Arrow's message may quote the data.
        raise RecordCountError(f"{source_file}: records from {part.first_record} on cannot be parsed") from None
    found = table.num_rows + len(ragged)
    if found != part.records:
        raise RecordCountError(
            f"{source_file}: from record {part.first_record} on the parser found {found} records, "
            f"the boundary scan counted {part.records}"
        )
    batches = table.combine_chunks().to_batches()
    columns = batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)
    return Parsed(columns, tuple((place, _ragged(len(names), cells)) for place, cells in ragged))


@lru_cache(maxsize=256)
def _ragged(width: int, cells: int) -> Entry:
    return Entry("record.ragged", None, "ragged", f"the record must have {width} fields and has {cells}")
