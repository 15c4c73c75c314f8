"""CSV exports of published rows: written aside, then named by a manifest that goes in last and refuses an older one."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from sqlalchemy import select

from pipeline_xml.checked import CheckedTarget, FilesTarget, RowOrder
from pipeline_xml.model import CsvTarget
from processing import frame as f
from publishing import failpoints
from publishing.durable import write_whole
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.targets import Publication, Superseded, replaces_unit, unit_name
from resources.durable import make_folder
from resources.lake_table import DataFile

MANIFEST = "_manifest.json"
_ENDINGS = {"parquet": ".parquet", "orc": ".orc"}
_PACKED = {"gzip": ".csv.gz", "bzip2": ".csv.bz2", "none": ".csv"}


class ExportExists(Exception):
    """Mode `error`, and an export of another batch stands there."""


def export_folder(lake: Lake, app: str, target: CsvTarget, batch: Batch) -> Path:
    """The folder of an export; %Y %m %d are the business date's."""
    return lake.application_path(app, batch.business_date.strftime(target.path))


def require_place(lake: Lake, app: str, target: CsvTarget, given: Publication) -> None:
    """ExportExists where a second export may not be; asked before any target takes a row."""
    folder = export_folder(lake, app, target, given.batch)
    known = read_manifest(folder) if target.mode == "error" else None
    if known is not None and _others(known["parts"], given):
        raise ExportExists(f"{folder} holds an export of another batch; mode=\"error\" forbids a second")


def _others(parts: Sequence[Mapping[str, Any]], given: Publication) -> list[Any]:
    """The parts of an export that are no work of this batch or of a replay of its records."""
    return [part for part in parts if part["batch"] not in (given.batch.id, *given.replays)]


def _read_before(lake: Lake, target: CheckedTarget, parts: Sequence[Any], batch: Batch) -> Sequence[Any]:
    """The parts of earlier readings of the same rows of a table, and of their replays. None of what is added."""
    if target.target.mode != "append" or not replaces_unit(target, batch):
        return []
    with lake.ledger.read() as session:
        known = {each.id: each for each in session.scalars(select(Batch).where(Batch.pipeline == batch.pipeline))}

    def same(part: Mapping[str, Any]) -> bool:
        found = known.get(part["batch"])
        found = known.get((found.window or {}).get("source", found.id)) if found is not None else None
        return found is not None and replaces_unit(target, found) and unit_name(target, found) == unit

    unit = unit_name(target, batch)
    return [part for part in parts if same(part)]


def export_csv(
    lake: Lake, app: str, target: CheckedTarget, files: Sequence[DataFile], given: Publication
) -> int | None:
    """Writes the rows once; the number of rows written, None where this attempt's export stands there already."""
    chosen = target.target
    assert isinstance(chosen, CsvTarget)  # noqa: S101 - the caller chose by kind
    folder = export_folder(lake, app, chosen, given.batch)
    known = read_manifest(folder)
    ours = {"batch": given.batch.id, "attempt": given.manifest.attempt}
    parts: list[dict[str, Any]] = known["parts"] if known else []
    if any(p["batch"] == given.batch.id and p["attempt"] >= given.manifest.attempt for p in parts):
        _remove_unnamed(folder, parts)
        return None
    others = _others(parts, given)
    if others and chosen.mode == "ignore":
        return 0
    replaced = others if chosen.mode == "overwrite" else _read_before(lake, target, others, given.batch)
    if any(p["arrival"] > given.batch.arrival for p in replaced):
        raise Superseded(f"a newer export stands in {folder}")
    make_folder(folder)
    ending = _ENDINGS.get(chosen.kind) or _PACKED[chosen.compression]
    name = f"part-{given.batch.id}-{given.manifest.attempt:04d}{ending}"
    rows = _write(folder, name, target, given.staged, files)
    part = {**ours, "arrival": given.batch.arrival, "file": name, "rows": rows, "run": given.run_id}
    kept = [p for p in others if p not in replaced] if chosen.mode == "append" else []
    failpoints.reached("export.written")
    _replace(folder, {"business_date": given.batch.business_date.isoformat(), "parts": [*kept, part]})
    failpoints.reached("export.published")
    _remove_unnamed(folder, [*kept, part])
    return rows


def remove_export(folder: Path, batches: Collection[str]) -> None:
    """Takes the parts of these batches out of an export: the manifest first, then the files that it names no more."""
    known = read_manifest(folder)
    if known is None:
        return
    parts = [part for part in known["parts"] if part["batch"] not in batches]
    if len(parts) < len(known["parts"]):
        _replace(folder, {**known, "parts": parts})
    _remove_unnamed(folder, parts)


def _remove_unnamed(folder: Path, parts: Sequence[Mapping[str, Any]]) -> None:
    """Parts that the manifest does not name: replaced ones, and what a killed run had written before it named them."""
    named = {part["file"] for part in parts}
    for path in folder.glob("part-*"):
        if path.name not in named:
            path.unlink(missing_ok=True)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    path = folder / MANIFEST
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(folder: Path, name: str, target: CheckedTarget, staged: Path, files: Sequence[DataFile]) -> int:
    """In the order of the dataset's sort. Without one groups are sorted by all columns, so that the same ones make the
    same bytes, and records stay as they were staged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chosen, columns = target.target, list(target.dataset.names)
    assert isinstance(chosen, CsvTarget)  # noqa: S101 - the caller chose by kind
    ordered = target.dataset.order is not None or not target.dataset.per_record
    ties = [f.ARRIVAL, f.SOURCE_RECORD] if target.dataset.per_record else []
    parts: Iterator[Any] = (
        _with_partition(pq.ParquetFile(staged / item.path).read(), item).select([*columns, *(ties if ordered else [])])
        for item in files
    )
    if ordered and files:
        parts = iter([_sorted(pa.concat_tables(parts), target.dataset.order, ties or columns).select(columns)])
    aside = folder / f".{name}.{uuid.uuid4().hex}"
    write = _csv if chosen.kind == "csv" else _tables
    try:
        with aside.open("xb") as plain:
            rows = write(plain, target, parts)
            plain.flush()
            os.fsync(plain.fileno())
        aside.replace(folder / name)
    finally:
        aside.unlink(missing_ok=True)
    return rows


def _csv(plain: IO[bytes], target: CheckedTarget, parts: Iterable[Any]) -> int:
    import pyarrow.csv as pc

    chosen, rows = target.target, 0
    assert isinstance(chosen, CsvTarget)  # noqa: S101 - the caller chose by kind
    options = pc.WriteOptions(include_header=False, delimiter=chosen.delimiter)
    with _compressed(plain, chosen.compression) as out:
        if chosen.header:
            out.write((chosen.delimiter.join(f'"{c}"' for c in target.dataset.names) + "\n").encode())
        for part in parts:
            pc.write_csv(part, out, options)
            rows += part.num_rows
    return rows


def _tables(plain: IO[bytes], target: CheckedTarget, parts: Iterable[Any]) -> int:
    """Parquet or ORC, compressed by zstd, whatever the engine; of the dataset's types also where there is no row."""
    import pyarrow as pa
    import pyarrow.orc
    import pyarrow.parquet

    from processing.arrow_types import arrow_type

    schema = pa.schema([(c.name, arrow_type(c.type)) for c in target.dataset.columns])
    rows = pa.concat_tables([schema.empty_table(), *(part.cast(schema) for part in parts)])
    if isinstance(target.target, FilesTarget) and target.target.format == "orc":
        pyarrow.orc.write_table(rows, plain, compression="zstd")
    else:
        pyarrow.parquet.write_table(rows, plain, compression="zstd")
    return int(rows.num_rows)


def _sorted(rows: Any, order: RowOrder | None, ties: Sequence[str]) -> Any:
    import pyarrow.compute as pc

    direction = "descending" if order is not None and order.descending else "ascending"
    first = order.columns if order is not None else ()
    placement = "at_start" if order is not None and order.nulls_first else "at_end"
    keys = [(c, direction, placement) for c in first] + [(c, "ascending", "at_end") for c in ties if c not in first]
    return rows.take(pc.sort_indices(rows, sort_keys=keys))


def _with_partition(rows: Any, item: DataFile) -> Any:
    import pyarrow as pa

    for key, value in item.partition.items():
        if key not in rows.column_names:
            rows = rows.append_column(key, pa.array([value] * rows.num_rows, pa.string()))
    return rows


def _compressed(plain: IO[bytes], compression: str) -> IO[bytes]:
    if compression == "gzip":
        # No name and no time in the header: the same rows make the same bytes.
        return gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0)  # type: ignore[return-value]
    if compression == "bzip2":
        return bz2.BZ2File(plain, "wb")
    return open(os.dup(plain.fileno()), "wb")  # noqa: PTH123 - a second handle, so that closing it leaves `plain` open


def _replace(folder: Path, content: dict[str, Any]) -> None:
    write_whole(folder / MANIFEST, json.dumps(content, indent=1, sort_keys=True).encode())
