"""`make bench`: the product against scripts written by hand, in one run on this machine. Prints ratios; is no test.

python -m benchmarks.run [--rows 5000000] [--engine sail|spark] [--only payments|registers|files|protocol|…]

What the promises cost (benchmarks/promises.py) is measured on Sail, each against its limit.
Time is wall time of whole processes, two runs each, the better counts; "marginal" is the larger size less the smaller,
so that fixed costs (imports, engine start) drop out and stand apart. Outputs are compared before a time counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import arrivals, at_scale, landing, promises
from benchmarks.compare import same_rows
from benchmarks.generate import payments, registers

PROJECT = Path(__file__).resolve().parent.parent
TEMPLATE = PROJECT / "demo" / "registers" / "lar_2020_bank1_1000.txt"
KEY = "a key for benchmarks only"
console = Console(width=120)


@dataclass(frozen=True)
class Timed:
    """Wall seconds and peak memory (GB, the largest single process) of the better of two runs."""

    seconds: float
    memory: float


def environment() -> dict[str, str]:
    return {**os.environ, "BENCH_MASK_KEY": KEY, "PYTHONPATH": str(PROJECT)}


def printed(arguments: list[str]) -> list[str]:
    """The words that a module of this folder prints at last; what else it says is shown."""
    child = [sys.executable, "-m", *arguments]
    said = subprocess.run(child, env=environment(), stdout=subprocess.PIPE, text=True, check=False)
    if said.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{said.stdout[-3000:]}")
    return said.stdout.splitlines()[-1].split()


def timed(arguments: list[str], runs: int = 2) -> Timed:
    """Runs a module of this folder as a process of its own; SystemExit with its output where it fails."""
    best = Timed(float("inf"), 0.0)
    for _ in range(runs):
        with tempfile.TemporaryFile() as output:
            began = time.monotonic()
            child = subprocess.Popen(
                [sys.executable, "-m", *arguments], env=environment(), stdout=output, stderr=subprocess.STDOUT
            )
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - began
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                output.seek(0)
                raise SystemExit(f"{' '.join(arguments)} failed:\n{output.read().decode(errors='replace')[-3000:]}")
        if seconds < best.seconds:
            best = Timed(seconds, usage.ru_maxrss / 1e6)
    return best


def compare(title: str, sizes: tuple[int, int], rows: dict[str, tuple[Timed, Timed]], ours: str) -> None:
    """One table: fixed and marginal time of each contender, and ours as a ratio to each."""
    table = Table(title=title, title_justify="left")
    for name in ("", f"{sizes[0]:,} rows s", f"{sizes[1]:,} rows s", "marginal s", "peak GB", f"{ours} / this"):
        table.add_column(name, justify="left" if not name else "right")
    marginal = {name: max(large.seconds - small.seconds, 0.01) for name, (small, large) in rows.items()}
    for name, (small, large) in rows.items():
        ratio = "" if name == ours else f"{marginal[ours] / marginal[name]:.2f}"
        table.add_row(
            name, f"{small.seconds:.1f}", f"{large.seconds:.1f}", f"{marginal[name]:.1f}", f"{large.memory:.2f}", ratio
        )
    console.print(table)


def contest(
    title: str, inputs: tuple[Path, Path], sizes: tuple[int, int], contenders: dict[str, Callable[[Path], list[str]]]
) -> None:
    ours = next(iter(contenders))
    rows = {name: (timed(make(inputs[0])), timed(make(inputs[1]))) for name, make in contenders.items()}
    compare(title, sizes, rows, ours)


def bench_payments(work: Path, engine: str, large: int) -> None:
    sizes = (large // 5, large)
    inputs = (work / "small.csv", work / "large.csv")
    for size, path in zip(sizes, inputs, strict=True):
        payments(size, path)
    product, hand, duck = work / "lake", work / "hand", work / "duck"
    contenders: dict[str, Callable[[Path], list[str]]] = {
        "datalake": lambda p: ["benchmarks.product", engine, "bench/payments", str(product), str(p)],
        f"by hand, {engine}": lambda p: ["benchmarks.by_hand_pyspark", engine, str(p), str(hand)],
    }
    if engine == "sail":
        contenders["by hand, DuckDB"] = lambda p: ["benchmarks.by_hand_duckdb", str(p), str(duck)]
        contenders["floor"] = lambda p: ["benchmarks.floor", str(p), str(work / "floor")]
    timed(contenders["datalake"](inputs[0]), 1)
    for name, make in list(contenders.items())[1:]:
        if name.startswith("by hand"):
            timed(make(inputs[0]), 1)
            table = hand if "PySpark" in name or engine in name else duck
            same_rows(product / "applications" / "bench" / "staging" / "payments", table / "table", "payment_id")
    console.print("outputs compared: the same rows and values", style="green")
    contest(f"payments, 10 columns, {engine}", inputs, sizes, contenders)


def bench_registers(work: Path, engine: str, large: int) -> None:
    sizes = (large // 25 // 5, large // 25)
    inputs = (work / "small.txt", work / "large.txt")
    for size, path in zip(sizes, inputs, strict=True):
        registers(size, path, TEMPLATE)
    contenders: dict[str, Callable[[Path], list[str]]] = {
        "datalake": lambda p: ["benchmarks.product", engine, "bench/registers", str(work / "lake"), str(p)],
        f"by hand, {engine}": lambda p: ["benchmarks.by_hand_registers", engine, str(p), str(work / "hand")],
    }
    if engine == "sail":
        contenders["by hand, DuckDB"] = lambda p: ["benchmarks.by_hand_registers", "duckdb", str(p), str(work / "duck")]
        contenders["floor"] = lambda p: ["benchmarks.floor", str(p), str(work / "floor"), "|"]
    for name, make in contenders.items():
        if name != "floor":
            timed(make(inputs[0]), 1)
    ours = work / "lake" / "applications" / "bench" / "staging" / "registers"
    for theirs in ("hand", "duck") if engine == "sail" else ("hand",):
        same_rows(ours, work / theirs / "table", "uli")
    console.print("outputs compared: the same rows and values", style="green")
    contest(f"registers, 110 fields, {engine}", inputs, sizes, contenders)


def bench_files(work: Path, engine: str) -> None:
    """20 files of 1,000 rows against a run with nothing to do, and against one file."""
    files = []
    for number in range(20):
        path = work / f"f{number}.csv"
        payments(1000, path, seed=number)
        files.append(str(path))
    product = ["benchmarks.product", engine, "bench/payments", str(work / "lake")]
    idle, many = timed(product), timed([*product, *files])
    console.print(
        f"20 files of 1,000 rows ({engine}): {many.seconds:.1f} s; nothing to do: {idle.seconds:.1f} s; "
        f"difference {many.seconds - idle.seconds:.1f} s"
    )


def seconds(arguments: list[str], runs: int) -> float:
    return timed(arguments, runs).seconds


PROMISES: dict[str, Callable[[Path, int], None]] = {
    "protocol": lambda work, rows: promises.protocol(work, rows, seconds),
    "rejected": lambda work, rows: promises.rejected(work, rows // 5, seconds),
    "ids": lambda work, rows: promises.ids(),
    "page": lambda work, rows: promises.page(work, printed),
    "replay": lambda work, rows: promises.replay(work, rows // 50, seconds, printed),
    "tick": lambda work, rows: landing.tick(work / "tick", printed),
    "copy": lambda work, rows: landing.copy(work / "copy", printed),
    "started": lambda work, rows: arrivals.started(work / "started", printed),
    "many": lambda work, rows: arrivals.many(work, seconds),
    "check": lambda work, rows: at_scale.check(work, seconds),
    "start": lambda work, rows: at_scale.start(work, seconds),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--engine", choices=("sail", "spark"), default="sail")
    parser.add_argument("--only", choices=("payments", "registers", "files", *PROMISES))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="datalake-bench-") as folder:
        work = Path(folder)
        if given.only in (None, "files"):
            bench_files(work, given.engine)
        if given.only in (None, "payments"):
            bench_payments(work, given.engine, given.rows)
        if given.only in (None, "registers"):
            bench_registers(work, given.engine, given.rows)
        for name, measure in PROMISES.items():
            if given.only == name or (given.only is None and given.engine == "sail"):
                measure(work, given.rows)


if __name__ == "__main__":
    main()
