"""Sealed payloads opened: the exact bytes of rejected records, and their cells by column as the reader reads them.

Nothing opened here leaves the process but through `reveal` (audited), masks, and sealed changes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.contract import Field
from pipeline_xml.model import CsvSource, FileSource
from processing.keys import unseal_all
from processing.scan_result import Scan
from processing.shapes import shape
from publishing.lake import Lake
from publishing.ledger import LandedFile
from resources.quarantine_key import quarantine_key
from stewardship.refused import Refused

DELIVERY = 24  # letters of a record id that name its file's delivery
HIDDEN = "***"
CELL = "cell:"  # before a field's name, which may be any text
SEALED = ("record_id", "batch_id", "raw", "key_id")  # the columns of entries that are needed here


@dataclass(frozen=True, slots=True)
class Cells:
    """`rows`: an Arrow table of `record_id`, `batch_id` and `cell:<field>`, a text or null; in no given order.

    `ragged`: ids of records of the wrong width, whose cells belong to no column: all null.
    """

    rows: Any
    ragged: frozenset[str]


def fields(pipeline: CheckedPipeline) -> tuple[Field, ...]:
    """The columns that a correction may name, as their texts are read: of a file the contract's fields; of a table its
    columns, whose values have neither codes nor a format of their own any more.
    """
    contract = pipeline.driving.contract
    if isinstance(pipeline.driving.source, FileSource):
        return contract.fields
    return tuple(replace(field, codes=(), format=None) for field in contract.columns)


def null_values(pipeline: CheckedPipeline) -> tuple[str, ...]:
    """The texts that mean null in a cell."""
    source = pipeline.driving.source
    return source.null_values if isinstance(source, FileSource) else ("",)


def masked(field: Field, text: str | None) -> str | None:
    """What a steward sees of a value: its shape, of a classified field not even that."""
    if text is None:
        return None
    return HIDDEN if field.classification else shape(text)


class Payloads:
    """Opens payloads of one pipeline; files are looked up once."""

    def __init__(self, lake: Lake, pipeline: CheckedPipeline) -> None:
        self._lake, self._pipeline = lake, pipeline
        self._key = quarantine_key(lake.settings)
        self._files: dict[str, dict[str, LandedFile]] = {}

    def opened(self, entries: Any) -> Any:
        """The payload of each entry (an Arrow table of SEALED), a binary array; SealBroken names a record that does not
        open."""
        raw, key_ids, records = (entries[name].combine_chunks() for name in ("raw", "key_id", "record_id"))
        return unseal_all(raw, self._key.value, key_ids, records)

    def texts(self, entries: Any) -> list[str]:
        """The payloads as text, for a person; what the encoding cannot say is shown as a replacement sign."""
        if not isinstance(self._pipeline.driving.source, FileSource):
            return [payload.decode() for payload in self.opened(entries).to_pylist()]
        found = []
        both = zip(entries["batch_id"].to_pylist(), entries["record_id"].to_pylist(), strict=True)
        for payload, (batch, record) in zip(self.opened(entries).to_pylist(), both, strict=True):
            file = self._file(batch, record)
            found.append(payload.decode(Scan.of(file.facts).encoding if file else "utf-8", "replace"))
        return found

    def cells(self, entries: Any, only: Sequence[Field] | None = None) -> Cells:
        """The cells of each entry (an Arrow table of SEALED), of all fields or of some."""
        payloads = self.opened(entries)
        wanted = fields(self._pipeline) if only is None else only
        if isinstance(self._pipeline.driving.source, FileSource):
            return self._of_files(entries, payloads, wanted)
        return self._of_rows(entries, payloads, wanted)

    def _of_files(self, entries: Any, payloads: Any, wanted: Sequence[Field]) -> Cells:
        """Parsed as the reader parses a range: the records of each file, one after the other."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        deliveries = pc.utf8_slice_codeunits(entries["record_id"], 0, DELIVERY)
        units = pc.binary_join_element_wise(entries["batch_id"], deliveries, ":")
        coded = units.combine_chunks().dictionary_encode()
        if len(coded.dictionary) == 1:
            rows, odd = self._of_file(entries, payloads, wanted)
            return Cells(rows, frozenset(odd))
        parts, ragged = [], set()
        indices = coded.indices.to_numpy()
        for number in range(len(coded.dictionary)):
            places = np.flatnonzero(indices == number)
            chosen = pa.array(places)
            part, odd = self._of_file(entries.take(chosen), payloads.take(chosen), wanted)
            parts.append(part)
            ragged |= odd
        return Cells(pa.concat_tables(parts), frozenset(ragged)) if parts else Cells(self._empty(), frozenset())

    def _of_file(self, entries: Any, payloads: Any, wanted: Sequence[Field]) -> tuple[Any, set[str]]:
        import numpy as np
        import pyarrow as pa

        from processing.formats import column_names, parse_payloads
        from processing.read_parse import RecordCountError

        source, contract = self._pipeline.driving.source, self._pipeline.driving.contract
        assert isinstance(source, FileSource)  # noqa: S101 - the caller chose by kind
        file = self._file(entries["batch_id"][0].as_py(), entries["record_id"][0].as_py())
        encoding = source.encoding if isinstance(source, CsvSource) else "utf-8"
        scan = Scan.of(file.facts) if file is not None else Scan(0, 0, 0, 0, (), encoding)
        names = column_names(scan, source, contract)
        name = file.name if file is not None else self._pipeline.key
        try:
            only = [field.name for field in wanted if field.name in names]
            parsed = parse_payloads(payloads, scan, names, source, name, only)
        except RecordCountError as error:
            raise Refused(f"{name}: its records cannot be split into cells under the definition of today") from error
        odd = [place for place, _ in parsed.broken]
        sound = np.ones(len(payloads), bool)
        sound[odd] = False
        take = pa.array(np.cumsum(sound) - 1, mask=~sound)
        columns = {"record_id": entries["record_id"], "batch_id": entries["batch_id"]}
        for field in wanted:
            at = parsed.columns.schema.get_field_index(field.name)
            texts = parsed.columns.column(at) if at >= 0 else pa.nulls(len(payloads) - len(odd), pa.string())
            columns[CELL + field.name] = texts.take(take) if odd else texts
        return pa.table(columns), set(entries["record_id"].take(pa.array(odd, pa.int64())).to_pylist())

    def _of_rows(self, entries: Any, payloads: Any, wanted: Sequence[Field]) -> Cells:
        import pyarrow as pa

        rows = [json.loads(payload, parse_float=Decimal) for payload in payloads.to_pylist()]
        columns = {"record_id": entries["record_id"], "batch_id": entries["batch_id"]}
        for field in wanted:
            columns[CELL + field.name] = pa.array([_text(row.get(field.name), field) for row in rows], pa.string())
        return Cells(pa.table(columns), frozenset())

    def _empty(self) -> Any:
        import pyarrow as pa

        names = ["record_id", "batch_id", *(CELL + field.name for field in fields(self._pipeline))]
        return pa.table({name: pa.array([], pa.string()) for name in names})

    def _file(self, batch_id: str, record_id: str) -> LandedFile | None:
        if batch_id not in self._files:
            with self._lake.ledger.read() as session:
                found = session.scalars(select(LandedFile).where(LandedFile.batch_id == batch_id)).all()
            self._files[batch_id] = {file.delivery_key[:DELIVERY]: file for file in found}
        return self._files[batch_id].get(record_id[:DELIVERY])


def _text(value: Any, field: Field) -> str | None:
    """A value of a JSON payload as the text that its type reads."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if field.type.kind == "decimal":  # written with an exponent where Python does, which no cell may
        return format(Decimal(str(value)), "f")
    return str(value)


def cells_by_record(cells: Cells) -> dict[str, dict[str, str | None]]:
    """{record id: {field: text}}"""
    names = [name for name in cells.rows.column_names if name.startswith(CELL)]
    return {row["record_id"]: {n.removeprefix(CELL): row[n] for n in names} for row in cells.rows.to_pylist()}
