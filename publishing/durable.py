"""Files that are under their names only once they are whole and on the disk."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from resources.durable import fsync


def write_whole(path: Path, content: bytes) -> None:
    """Puts a file under its name only when it is whole and on the disk; one that stands there is replaced."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with aside.open("xb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    fsync(path.parent)
