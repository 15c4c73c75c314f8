"""Runs of jobs that have not told their end: a file a run, locked as long as its process lives.

    running/<app>/<job>/<run id>

The lock is the kernel's and goes with a process that is killed: whoever looks next finds the file without it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "running"


@contextmanager
def running(data: Path, app: str, job: str, run_id: str) -> Iterator[Callable[[], None]]:
    """Marks a run of this process as going on; what is yielded says that its end is told.

    Without that the mark stays, for others to find.
    """
    mark = data / FOLDER / app / job / run_id
    mark.parent.mkdir(parents=True, exist_ok=True)
    with mark.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield lambda: mark.unlink(missing_ok=True)


def abandoned(data: Path, app: str, job: str) -> Iterator[str]:
    """The ids of the job's runs whose process is gone, each held while the caller tells its end.

    One that the caller got through is found no more; one in which he raised is found again.
    """
    folder = data / FOLDER / app / job
    for mark in sorted(folder.iterdir()) if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError), mark.open("r") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if not mark.exists() or mark.stat().st_ino != os.fstat(held.fileno()).st_ino:
                continue  # another who looked has just told it
            yield mark.name
            mark.unlink(missing_ok=True)
