"""The payments by hand with DuckDB and deltalake.

python benchmarks/by_hand_duckdb.py payments.csv OUT_FOLDER
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

import duckdb

from benchmarks.commit_files import commit_files

QUERY = """
create table staged as
select payment_id,
       {hash_account} as account,
       {hash_counterparty} as counterparty,
       try_cast(amount as decimal(18,2)) as amount, currency,
       try_cast(booked_on as date) as booked_on, try_cast(value_date as date) as value_date,
       status, reference, try_cast(updated_at as timestamp) as updated_at
from read_csv('{path}', header=true, all_varchar=true, quote='', delim=',')
"""
GOOD = """payment_id is not null and amount is not null and booked_on is not null and updated_at is not null
 and currency in ('EUR','USD','GBP') and status in ('NEW','BOOKED','REJECTED')"""


def hmac_sql(column: str, key: bytes) -> str:
    padded = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner, outer = bytes(b ^ 0x36 for b in padded).hex(), bytes(b ^ 0x5C for b in padded).hex()
    return f"sha256(unhex('{outer}') || unhex(sha256(unhex('{inner}') || {column}::blob)))"


def main(path: Path, out: Path) -> None:
    began = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    key = os.environ["BENCH_MASK_KEY"].encode()
    hashes = {f"hash_{c}": hmac_sql(c, key) for c in ("account", "counterparty")}
    connection = duckdb.connect()
    connection.execute("set threads = 2")
    connection.execute(QUERY.format(path=path, **hashes))
    (out / "kept").mkdir()
    (out / "bad").mkdir()
    options = "(format parquet, compression zstd)"
    connection.execute(
        f"""copy (select * from staged where {GOOD}
            qualify row_number() over (partition by payment_id order by updated_at desc, reference desc) = 1)
            to '{out}/kept/part.parquet' {options}"""  # noqa: S608 - a benchmark's own paths
    )
    connection.execute(f"copy (select * from staged where not coalesce({GOOD}, false)) to '{out}/bad/part.parquet' {options}")  # noqa: S608,E501
    rows, rejected = commit_files(out / "kept", out / "table"), commit_files(out / "bad", out / "rejected")
    print(f"{rows} rows, {rejected} rejected, {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
