"""Deterministic inputs for the benchmarks: payments of 10 columns, and registers of 110 fields.

    python benchmarks/generate.py payments 1000000 out.csv
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

CHUNK = 200_000
BAD = 0.005  # rows whose amount is no number
DOUBLED = 0.005  # rows that repeat the key of an earlier row, later in time
NAMES = (
    "payment_id", "account", "counterparty", "amount", "currency", "booked_on", "value_date", "status", "reference",
    "updated_at",
)  # fmt: skip


def _padded(prefix: str, numbers: np.ndarray, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), width, "0")
    return pc.binary_join_element_wise(pa.scalar(prefix), digits, "")


def payments(rows: int, path: Path, seed: int = 7, bad_share: float = BAD) -> None:
    """`rows` payments with a header; a share has a bad amount, half a percent repeats a key, later in time."""
    random = np.random.default_rng(seed)
    schema = pa.schema([(name, pa.string()) for name in NAMES])
    options = csv.WriteOptions(quoting_style="none", include_header=False)
    with path.open("wb") as file:
        file.write((",".join(NAMES) + "\n").encode())
    with path.open("ab") as file, csv.CSVWriter(file, schema, write_options=options) as out:
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            number = np.arange(start, start + count)
            again = (random.random(count) < DOUBLED) & (number > 0)
            key = np.where(again, random.integers(0, np.maximum(number, 1)), number)
            cents = random.integers(1, 10**8, count)
            amount = pc.binary_join_element_wise(_padded("", cents // 100, 1), _padded("", cents % 100, 2), ".")
            bad = pa.array(random.random(count) < bad_share)
            amount = pc.if_else(bad, pc.binary_join_element_wise(pa.scalar("x"), amount, ""), amount)
            day = pc.cast(pa.array(random.integers(19_700, 19_790, count).astype("int32")), pa.int32())
            date = pc.cast(pc.cast(day, pa.date32()), pa.string())
            seconds = random.integers(0, 80_000, count) + np.where(again, 6_000, 0)
            stamp = pa.array(seconds * 1_000_000 + 1_704_067_200_000_000, pa.timestamp("us"))
            columns = [
                _padded("P", key, 10),
                _padded("DE", random.integers(0, 400_000, count), 18),
                _padded("FR", random.integers(0, 1_000_000, count), 18),
                amount,
                pa.array(np.array(["EUR", "USD", "GBP"])[random.integers(0, 3, count)]),
                date,
                date,
                pa.array(np.array(["NEW", "BOOKED", "REJECTED"])[random.integers(0, 3, count)]),
                _padded("invoice ", number, 9),
                pc.strftime(stamp, "%Y-%m-%dT%H:%M:%S"),
            ]
            columns[-1] = pc.utf8_slice_codeunits(columns[-1], 0, 19)
            out.write_table(pa.table([pc.cast(c, pa.string()) for c in columns], schema=schema))


def registers(rows: int, path: Path, template: Path) -> None:
    """A register of `rows` applications: the template's records repeated, each with a loan identifier of its own."""
    lines = template.read_text().splitlines()
    control, records = lines[0].split("|"), [line.split("|") for line in lines[1:]]
    control[12] = str(rows)
    with path.open("w") as out:
        out.write("|".join(control) + "\n")
        for number in range(rows):
            record = list(records[number % len(records)])
            record[2] = f"{record[1]}{number:023d}"
            out.write("|".join(record) + "\n")


if __name__ == "__main__":
    kind, size, target = sys.argv[1:4]
    if kind == "payments":
        payments(int(size), Path(target))
    else:
        registers(int(size), Path(target), Path(sys.argv[4]))
