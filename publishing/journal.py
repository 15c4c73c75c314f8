"""The journal: immutable files beside raw, from which the ledger can be made again.

A file is written once, under its final name only when it is whole and on the disk. Writing the same content again is
no error, so a retry may repeat any step; other content under the same name is refused.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

from resources.durable import fsync, make_folder


class Journal:
    """`root` is `<lake>/journal`; names are relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, content: dict[str, Any]) -> dict[str, Any]:
        """Writes an entry once and returns what stands there. The first writer wins."""
        path = self.root / name
        make_folder(path.parent)
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with aside.open("w", encoding="utf-8") as out:
                json.dump(content, out, indent=1, sort_keys=True, default=str)
                out.flush()
                os.fsync(out.fileno())
            os.link(aside, path)  # fails where the name exists: never replaces an entry
        except FileExistsError:
            return self.read(name)
        finally:
            aside.unlink(missing_ok=True)
        fsync(path.parent)
        return self.read(name)

    def read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / name).read_text(encoding="utf-8"))
        return found

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()


def batch_entry(pipeline: str, batch_id: str) -> str:
    return f"{pipeline}/{batch_id}/batch.json"


def attempt_entry(pipeline: str, batch_id: str, attempt: int, what: str) -> str:
    """what: opened, manifest, outcome."""
    return f"{pipeline}/{batch_id}/attempt-{attempt:04d}.{what}.json"
