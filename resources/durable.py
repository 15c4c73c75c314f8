"""What must be on the disk before the next effect: files, the names of files in folders, commits of tables."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote


def fsync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it that are missing; their names are on the disk."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    fsync(path.parent)


def sync_commit(root: Path, version: int) -> None:
    """Waits until a commit of a Delta table is on the disk: the files that it adds, their names, its entry of the log.

    The library does not wait for the disk. What the journal and the ledger say of a commit is there at once: a machine
    that loses its power must not forget the commit and remember that it was made.
    """
    log = root / "_delta_log"
    with suppress(FileNotFoundError):  # somebody cleaned the log, or the files, in the meantime
        entry = log / f"{version:020d}.json"
        actions = [json.loads(line) for line in entry.read_text(encoding="utf-8").splitlines()]
        added = [root / unquote(action["add"]["path"]) for action in actions if "add" in action]
        for path in (*added, *dict.fromkeys(path.parent for path in added), entry, log):
            fsync(path)
