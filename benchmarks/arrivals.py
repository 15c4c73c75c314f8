"""From a file that lies there to its run, and many small files against one; part of `make bench`.

    started   Dagster's daemon over a local zone (poll PT2S, settle PT1S): from the last byte of a file to the moment
              that Dagster notes for the start of its run, less the second of settling; the median of some files. In it
              are the sensor's next tick with its looks, the queue, and the start of the run's process
    many      1,000 files of 1,000 rows over one file of the same rows, whole runs as processes

`python -m benchmarks.arrivals started FOLDER` is the process that is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.compare import same_rows
from benchmarks.generate import payments
from benchmarks.promises import ENGINE, alternating, console, told
from benchmarks.zones import define

FILES, ROWS, DROPPED = 1_000, 1_000, 7
SETTLES = 1.0  # seconds
PATIENCE = 180.0
PROJECT = Path(__file__).resolve().parent.parent
Timed = Callable[[list[str], int], float]
Printed = Callable[[list[str]], list[str]]


def started(work: Path, printed: Printed) -> None:
    found = [float(word) for word in printed(["benchmarks.arrivals", "started", str(work)])]
    console.print(
        f"from the last byte to a started run, settling taken off: {found[0]:.2f} s, the median of {DROPPED} files "
        f"({found[1]:.2f} to {found[2]:.2f} s; asked for after {found[3]:.2f} s; no limit is set)",
        highlight=False,
    )


def many(work: Path, timed: Timed) -> None:
    whole, parts = work / "million.csv", work / "thousand"
    payments(FILES * ROWS, whole)
    parts.mkdir()
    with whole.open("rb") as rows:
        header = rows.readline()
        for number in range(FILES):
            lines = [rows.readline() for _ in range(ROWS)]
            (parts / f"part{number:04d}.csv").write_bytes(header + b"".join(lines))
    lakes = work / "many", work / "one"
    product = ["benchmarks.product", ENGINE, "bench/payments"]
    ours, theirs = alternating(
        timed, [*product, str(lakes[0]), *sorted(map(str, parts.iterdir()))], [*product, str(lakes[1]), str(whole)]
    )
    tables = [lake / "applications" / "bench" / "staging" / "payments" for lake in lakes]
    same_rows(tables[0], tables[1], "payment_id")
    detail = f"{ours:.1f} s, one file {theirs:.1f} s"
    told(f"{FILES:,} files of {ROWS:,} rows over one file", ours / theirs, 1.5, "x", detail)


def _started(folder: Path) -> None:
    """Prints median, least and greatest seconds to a started run, and the median until the run was asked for."""
    config, data = folder / "config", folder / "lake"
    landing = data / "landing"
    landing.mkdir(parents=True)
    define(config, {"type": "local", "uri": "landing", "poll": "PT2S", "settle": f"PT{SETTLES:.0f}S"})
    os.environ |= {"DATALAKE_CONFIG": str(config), "DATALAKE_DATA": str(data)}
    from dagster import DagsterInstance

    from datalake_assets.instance import home
    from resources.settings import Settings

    os.environ["DAGSTER_HOME"] = str(home(Settings.from_environment()))
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", str(PROJECT / "workspace.yaml")]
    with (folder / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=subprocess.STDOUT)
    try:
        with DagsterInstance.get() as instance:
            _one_run(instance, landing, 0)  # the daemon is up, everything was imported once
            found = [_one_run(instance, landing, number) for number in range(1, DROPPED + 1)]
    finally:
        daemon.terminate()
        daemon.wait(30)
    starts, asked = [each[0] for each in found], [each[1] for each in found]
    print(f"{median(starts):.3f} {min(starts):.3f} {max(starts):.3f} {median(asked):.3f}")


def _one_run(instance, landing: Path, number: int) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """(seconds from the last byte to the start of the file's run, to its record), both less the settling."""
    before = len(instance.get_run_records())
    (landing / f"file{number}.csv").write_text(f"id,v\n{number},1\n")
    last_byte = time.time()
    while time.time() - last_byte < PATIENCE:
        records = instance.get_run_records()
        if len(records) == before + 1 and records[0].dagster_run.is_finished:
            if not records[0].dagster_run.is_success:
                raise SystemExit(f"the run of file {number} failed")
            return (
                records[0].start_time - last_byte - SETTLES,
                records[0].create_timestamp.timestamp() - last_byte - SETTLES,
            )
        time.sleep(0.2)
    raise SystemExit(f"no run of file {number} within {PATIENCE:.0f} s; see {landing.parent.parent / 'daemon.log'}")


if __name__ == "__main__":
    _started(Path(sys.argv[2]))
