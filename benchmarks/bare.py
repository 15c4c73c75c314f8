"""The product's own computation of the payments, written bare: the floor under what accounting may cost.

The same reading, typing, checks and steps by the same code, the same Parquet split by status, one Delta commit. No raw
copy, no hash, no ledger, journal, manifest, counts or quarantine. Ranges are found by counting line ends.

    python -m benchmarks.bare sail|spark payments.csv OUT_FOLDER
"""

from __future__ import annotations

import shutil
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.commit_files import commit_files
from benchmarks.product import definitions
from pipeline_xml.load import load_catalog
from processing import frame as f
from processing.compute import Tools, record_frame, stamp
from processing.read import RawFile, read_records
from processing.scan_result import Range, Scan
from processing.step import Runtime
from processing.transformations import registry
from resources.engine import open_engine
from resources.secrets import SecretResolver

RANGE = 8 * 1024 * 1024


def ranges(path: Path) -> Scan:
    """What the readers need of a scan, for a file without quotes."""
    size = path.stat().st_size
    found: list[Range] = []
    with path.open("rb") as file:
        header = tuple(file.readline().decode().rstrip("\n").split(","))
        start = at = file.tell()
        first = 1
        while at < size:
            data = file.read(RANGE) + file.readline()
            records = data.count(b"\n")
            found.append(Range(at, at + len(data), first, records))
            at, first = at + len(data), first + records
    return Scan(first - 1, size, start, size, tuple(found), "utf-8", header=header)


def main(engine_name: str, path: Path, out: Path) -> None:
    began = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    catalog = load_catalog(definitions(out.with_name(out.name + "-config")), registry())
    pipeline = catalog.pipeline("bench", "payments")
    assert pipeline is not None  # noqa: S101 - it stands in this folder
    now = datetime.now(UTC)
    raw = RawFile(str(path), "0" * 24, 1, path.name, now.date(), ranges(path))
    with open_engine(engine_name) as engine:
        session = engine.session

        def materialise(rows: Any) -> Any:
            folder = out / "checkpoints" / uuid.uuid4().hex
            rows.write.option("compression", "snappy").parquet(str(folder))
            return session.read.parquet(str(folder))

        source, contract = pipeline.driving.source, pipeline.driving.contract
        runtime = Runtime(session, engine.name, now.date(), now.date(), SecretResolver(None))
        rows = read_records(session, source, contract, [raw])  # type: ignore[arg-type]
        rows = record_frame(pipeline, rows, {}, Tools(registry(), runtime, materialise))
        columns = [c for c in dict.fromkeys((*rows.columns, *f.STAMPED)) if c != f.STATUS]
        rows = stamp(rows, "bare", now).select(*columns, f.STATUS)
        rows.write.partitionBy(f.STATUS).parquet(str(out / "records"))
    count = commit_files(out / "records" / f"{f.STATUS}={f.ACCEPTED}", out / "table")
    print(f"{count} rows, {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
