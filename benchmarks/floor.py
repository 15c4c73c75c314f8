"""The floor under any loader: copy, sha256, pyarrow.csv read, zstd Parquet write; nothing typed, nothing checked.

python benchmarks/floor.py payments.csv OUT_FOLDER [delimiter]
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from pathlib import Path

import pyarrow.csv as pc
import pyarrow.parquet as pq

CHUNK = 4 * 1024 * 1024


def main(path: Path, out: Path, delimiter: str) -> None:
    began = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    digest = hashlib.sha256()
    with path.open("rb") as source, (out / "copy").open("wb") as copy:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            copy.write(chunk)
    options = pc.ReadOptions(skip_rows=1, autogenerate_column_names=True) if delimiter == "|" else None
    reader = pc.open_csv(str(out / "copy"), options, pc.ParseOptions(delimiter=delimiter))
    rows = 0
    with pq.ParquetWriter(out / "rows.parquet", reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    print(f"{rows} rows, {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ",")
