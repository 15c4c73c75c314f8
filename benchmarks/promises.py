"""What the promises cost, each against its limit; part of `make bench`.

    protocol    the product over its own computation written bare (benchmarks/bare.py), whole processes
    rejected    a batch of which every row is rejected over one of which none is
    ids         opening a table with 100,000 transaction ids, and looking one up
    page        a page of one batch among 1,000 batches and a million quarantined records
    replay      correcting 100,000 records in bulk, approving and replaying them, over loading them right at first;
                whole processes like the others, and beside it the same within one process that is warm
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks.compare import same_rows
from benchmarks.generate import payments

ROUNDS = 3
ENGINE = "sail"
console = Console(width=120)
Timed = Callable[[list[str], int], float]  # best wall seconds of some runs of a module as a process
Printed = Callable[[list[str]], list[str]]  # the words that it prints at last


def told(what: str, ours: float, limit: float, unit: str, detail: str) -> None:
    """One line: what was measured, and whether it keeps its limit."""
    colour = "green" if ours <= limit else "red"
    console.print(f"{what}: [{colour}]{ours:.2f} {unit}[/] (at most {limit} {unit}; {detail})", highlight=False)


def alternating(timed: Timed, ours: list[str], theirs: list[str]) -> tuple[float, float]:
    """The best of some runs each, taken in turn: what else the machine does disturbs both."""
    pairs = [(timed(ours, 1), timed(theirs, 1)) for _ in range(ROUNDS)]
    return min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)


def protocol(work: Path, rows: int, timed: Timed) -> None:
    path, lake, bare = work / "large.csv", work / "lake", work / "bare"
    if not path.exists():
        payments(rows, path)
    ours, theirs = alternating(
        timed,
        ["benchmarks.product", ENGINE, "bench/payments", str(lake), str(path)],
        ["benchmarks.bare", ENGINE, str(path), str(bare)],
    )
    same_rows(lake / "applications" / "bench" / "staging" / "payments", bare / "table", "payment_id")
    told(f"protocol, {rows:,} rows", ours / theirs, 1.2, "x", f"{ours:.1f} s, bare {theirs:.1f} s")


def rejected(work: Path, rows: int, timed: Timed) -> None:
    good, bad = work / "good.csv", work / "bad.csv"
    payments(rows, good, bad_share=0)
    payments(rows, bad, bad_share=2)
    product = ["benchmarks.product", ENGINE, "bench/payments", str(work / "lake")]
    ours, theirs = alternating(timed, [*product, str(bad)], [*product, str(good)])
    told(f"every row rejected, {rows:,} rows", ours / theirs, 1.5, "x", f"{ours:.1f} s, none {theirs:.1f} s")


def ids(number: int = 100_000) -> None:
    """As a table of that many deliveries has them: some commits after the last checkpoint."""
    import pyarrow as pa

    from resources.lake_table import LakeTable

    with tempfile.TemporaryDirectory(prefix="datalake-ids-") as folder:
        table = LakeTable(Path(folder))
        table.open_or_create(pa.schema([("a", pa.string())]), (), "ids")
        for start in range(0, number, 1000):
            table.snapshot().commit([], [], {f"f:{n:064x}": 1 for n in range(start, start + 1000)}, {})
        table.snapshot()._table.create_checkpoint()
        for extra in range(50):
            table.snapshot().commit([], [], {f"b:{extra:032x}": 1}, {})
        opened, looked = [], []
        for _ in range(9):
            began = time.perf_counter()
            snapshot = table.snapshot()
            opened.append(time.perf_counter() - began)
            if snapshot.transaction(f"f:{number // 2:064x}") != 1:
                raise SystemExit("a transaction id is gone")
            looked.append(time.perf_counter() - began)
    detail = f"{median(opened):.3f} s before the first look"
    told(f"a table with {number:,} transaction ids, opened and asked", median(looked), 0.3, "s", detail)


def page(work: Path, printed: Printed) -> None:
    first, second = (float(word) for word in printed(["benchmarks.way_back", "page", str(work / "page")]))
    detail = f"the page after it {second * 1000:.0f} ms"
    told("a page of one batch of 1,000, a million records quarantined", first * 1000, 100, "ms", detail)


def replay(work: Path, rows: int, timed: Timed, printed: Printed) -> None:
    lake, fresh, good = work / "replayed", work / "fresh", work / "good.csv"
    payments(rows, good, bad_share=0)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        timed(["benchmarks.way_back", "reject", str(lake), str(rows)], 1)
        ours.append(timed(["benchmarks.way_back", "correct", str(lake)], 1))
        theirs.append(timed(["benchmarks.way_back", "load", str(fresh), str(good)], 1))
    tables = [root / "applications" / "bench" / "staging" / "payments" for root in (lake, fresh)]
    same_rows(tables[0], tables[1], "payment_id")
    detail = f"{min(ours):.1f} s, loaded {min(theirs):.1f} s"
    told(f"{rows:,} records corrected and replayed", min(ours) / min(theirs), 2, "x", detail)
    warm, load = (float(w) for w in printed(["benchmarks.way_back", "replay", str(lake), str(rows)]))
    detail = f"{warm:.2f} s, loaded {load:.2f} s"
    console.print(f"  within one process that is warm: {warm / load:.2f} x ({detail})", highlight=False)
