"""What many pipelines cost, each against its limit; part of `make bench`.

    check       `lake check` on 5,000 pipelines in 25 applications, a whole process
    start       `lake run` of one pipeline with nothing to do, in an application of 200 over an application of one

`python -m benchmarks.at_scale check ROOT` and `… start ROOT LAKE` are the processes that are timed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.definitions import write
from benchmarks.promises import alternating, told

APPLICATIONS, PIPELINES = 25, 200
CHECK_SECONDS, START_RATIO = 20.0, 1.3
Timed = Callable[[list[str], int], float]


def check(work: Path, timed: Timed) -> None:
    root = work / "thousands"
    write(root, APPLICATIONS, PIPELINES)
    found = timed(["benchmarks.at_scale", "check", str(root)], 2)
    told(f"lake check, {APPLICATIONS * PIPELINES:,} pipelines", found, CHECK_SECONDS, "s", "a whole process")


def start(work: Path, timed: Timed) -> None:
    many, one = (_start(work, size) for size in (PIPELINES, 1))
    for arguments in (many, one):  # the first run of a lake makes its ledger and Dagster's storage
        timed(arguments, 1)
    ours, theirs = alternating(timed, many, one)
    detail = f"{ours:.1f} s over {theirs:.1f} s, nothing to do, no engine started"
    told(f"start of a run, {PIPELINES} pipelines over one", ours / theirs, START_RATIO, "x", detail)


def _start(work: Path, size: int) -> list[str]:
    root, lake = work / f"of{size}", work / f"lake{size}"
    write(root, 1, size)
    (lake / "landing").mkdir(parents=True)
    return ["benchmarks.at_scale", "start", str(root), str(lake)]


def _lake(arguments: list[str], root: str, data: str) -> None:
    os.environ.pop("DAGSTER_HOME", None)
    os.environ |= {"DATALAKE_CONFIG": root, "DATALAKE_DATA": data}
    sys.argv = ["lake", *arguments]
    from command_line.main import run

    run()


if __name__ == "__main__":
    if sys.argv[1] == "check":
        _lake(["check"], sys.argv[2], "/nowhere")
    else:
        _lake(["run", "app000/feed0000"], sys.argv[2], sys.argv[3])
