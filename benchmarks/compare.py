"""Whether two tables hold the same rows and values: a time counts only when they do."""

from __future__ import annotations

from pathlib import Path

import duckdb
from deltalake import DeltaTable
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from processing.frame import INGEST_DATE


def same_rows(ours: Path, theirs: Path, key: str) -> None:
    """SystemExit that names the first column that differs. Compared are the columns both have, by key.

    The platform's own are left out: a record's id and batch are of its delivery.
    """
    # Through Arrow's own file system: deltalake's may abort the interpreter as it ends.
    tables = {
        name: DeltaTable(str(path)).to_pyarrow_dataset(filesystem=SubTreeFileSystem(str(path), LocalFileSystem()))
        for name, path in (("a", ours), ("b", theirs))
    }
    common = [c for c in tables["b"].schema.names if c in tables["a"].schema.names]
    columns = [c for c in common if not c.startswith("_") and c != INGEST_DATE]
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    for name, dataset in tables.items():
        connection.register(name, dataset)
    counts = connection.execute("select (select count(*) from a), (select count(*) from b)").fetchone()
    if counts is None or counts[0] != counts[1]:
        raise SystemExit(f"{ours.name}: {counts} rows")
    differing = ", ".join(
        f"count(*) filter (where cast(a.{c} as varchar) is distinct from cast(b.{c} as varchar)) as {c}"
        if not c.endswith("_at")
        else f"count(*) filter (where epoch_us(a.{c}) is distinct from epoch_us(b.{c})) as {c}"
        for c in columns
    )
    query = f"select count(*) as joined, {differing} from a join b using ({key})"  # noqa: S608 - names of our own columns
    result = connection.execute(query)
    names = [d[0] for d in result.description or ()]
    row = result.fetchone() or ()
    found = dict(zip(names, row, strict=True))
    if found.pop("joined") != counts[0] or any(found.values()):
        raise SystemExit(f"{ours.name}: rows differ: {found}")
