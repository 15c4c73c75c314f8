"""Folders for cells in clear that last as long as what is computed in them, whatever becomes of the process.

    staged/.private/<name>     the folder's path below `staged`; locked as long as its process lives

The lock is the kernel's, and goes with a process that is killed: whoever opens the lake next removes its folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from resources.durable import fsync

_LOCKS = ".private"


@contextmanager
def private_folder(staged: Path, folder: Path) -> Iterator[Path]:
    """A new folder below `staged` for this process alone, removed with the block."""
    lock = staged / _LOCKS / uuid.uuid4().hex
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(lock) as file:
        file.write(str(folder.relative_to(staged)))
        file.flush()
        os.fsync(file.fileno())
        fsync(lock.parent)
        try:
            folder.mkdir(mode=0o700, parents=True)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


@contextmanager
def _locked(lock: Path) -> Iterator[IO[str]]:
    """A new file with its lock. A sweep may take a file away between its making and its locking: then another."""
    while True:
        with lock.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if lock.exists() and lock.stat().st_ino == os.fstat(file.fileno()).st_ino:
                yield file
                return


def sweep_private(staged: Path) -> None:
    """Removes the folders of processes that are gone; those of others stay."""
    root = staged / _LOCKS
    if not root.is_dir():
        return
    for lock in root.iterdir():
        with contextlib.suppress(FileNotFoundError), lock.open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            named = (staged / file.read()).resolve()
            if named != staged.resolve() and named.is_relative_to(staged.resolve()):
                shutil.rmtree(named, ignore_errors=True)
            lock.unlink(missing_ok=True)
