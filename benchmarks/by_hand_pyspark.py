"""What an engineer would write for the payments by hand, in PySpark for the same engine; no accounting, no contract.

    python benchmarks/by_hand_pyspark.py sail|spark payments.csv OUT_FOLDER
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc

from benchmarks.commit_files import commit_files
from resources.engine import open_engine

NAMES = (
    "payment_id", "account", "counterparty", "amount", "currency", "booked_on", "value_date", "status", "reference",
    "updated_at",
)  # fmt: skip
RANGE = 8 * 1024 * 1024


def ranges(path: Path) -> list[tuple[int, int]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.readline()
        stops = [file.tell()]
        for at in range(RANGE, size, RANGE):
            file.seek(at)
            file.readline()
            stops.append(file.tell())
    stops = sorted({*stops, size})
    return list(itertools.pairwise(stops))


def hmac_column(column: Any, key: bytes) -> Any:
    """HMAC-SHA-256 with the engine's own functions; the key stands in the plan, as such scripts have it."""
    from pyspark.sql import functions as F

    padded = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner, outer = bytes(b ^ 0x36 for b in padded).hex(), bytes(b ^ 0x5C for b in padded).hex()
    message = F.sha2(F.concat(F.unhex(F.lit(inner)), column.cast("binary")), 256)
    return F.sha2(F.concat(F.unhex(F.lit(outer)), F.unhex(message)), 256)


def read_sail(session: Any, path: Path) -> Any:
    def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start, end in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
                with path.open("rb") as file:
                    file.seek(start)
                    data = file.read(end - start)
                reader = pc.open_csv(
                    pa.BufferReader(data),
                    pc.ReadOptions(column_names=list(NAMES), use_threads=False, block_size=4 << 20),
                    pc.ParseOptions(quote_char=False),
                    pc.ConvertOptions(column_types={n: pa.string() for n in NAMES}),
                )
                yield from reader

    parts = session.createDataFrame(ranges(path), "s long, e long").repartition(os.cpu_count() or 1)
    return parts.mapInArrow(parse, ", ".join(f"{n} string" for n in NAMES))


def main(engine_name: str, path: Path, out: Path) -> None:
    began = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    key = os.environ["BENCH_MASK_KEY"].encode()
    with open_engine(engine_name) as engine:
        from pyspark.sql import Window
        from pyspark.sql import functions as F

        session = engine.session
        if engine_name == "sail":
            raw = read_sail(session, path)
        else:
            raw = session.read.csv(str(path), header=True, schema=", ".join(f"{n} string" for n in NAMES))
        typed = raw.select(
            "payment_id",
            hmac_column(F.col("account"), key).alias("account"),
            hmac_column(F.col("counterparty"), key).alias("counterparty"),
            F.col("amount").try_cast("decimal(18,2)").alias("amount"),
            "currency",
            F.col("booked_on").try_cast("date").alias("booked_on"),
            F.col("value_date").try_cast("date").alias("value_date"),
            "status",
            "reference",
            F.col("updated_at").try_cast("timestamp").alias("updated_at"),
            F.col("amount").alias("raw_amount"),
        )
        good = (
            F.col("payment_id").isNotNull()
            & F.col("amount").isNotNull()
            & F.col("booked_on").isNotNull()
            & F.col("updated_at").isNotNull()
            & F.col("currency").isin("EUR", "USD", "GBP")
            & F.col("status").isin("NEW", "BOOKED", "REJECTED")
        )
        typed = typed.withColumn("split", F.when(good, "good").otherwise("bad"))
        typed.write.partitionBy("split").parquet(str(out / "stage"))
        staged = session.read.parquet(str(out / "stage" / "split=good")).drop("raw_amount")
        doubled = staged.groupBy("payment_id").count().where("count > 1").select("payment_id")
        suspects = staged.join(doubled, ["payment_id"], "left_semi").select("payment_id", "updated_at", "reference")
        order = Window.partitionBy("payment_id").orderBy(F.col("updated_at").desc(), F.col("reference").desc())
        losers = suspects.withColumn("n", F.row_number().over(order)).where("n > 1").select("payment_id", "reference")
        losers.write.parquet(str(out / "losers"))
        kept = staged.join(session.read.parquet(str(out / "losers")), ["payment_id", "reference"], "left_anti")
        kept.write.parquet(str(out / "kept"))
    rows = commit_files(out / "kept", out / "table")
    rejected = commit_files(out / "stage" / "split=bad", out / "rejected")
    print(f"{rows} rows, {rejected} rejected, {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
