"""A folder of this machine as a landing zone, or the files that wildcards name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from resources.zone import CHUNK, ChangedWhileRead, Sighting, printable

_SCHEME = "file://"


@dataclass(frozen=True, slots=True)
class LocalZone:
    """The entries of a folder. One that is not there yet is empty: the sender makes it."""

    folder: Path

    def entries(self) -> Iterator[Sighting]:
        if not self.folder.is_dir():
            return
        root = self.folder.resolve()
        with os.scandir(self.folder) as found:
            for entry in found:
                if sighting := _sighting(Path(entry.path), os.fsencode(entry.name), root):
                    yield sighting

    def find(self, name: str) -> Sighting | None:
        path = self.folder / name
        return _sighting(path, os.fsencode(name), self.folder.resolve()) if path.parent == self.folder else None

    def read(self, seen: Sighting, start: int = 0) -> Iterator[bytes]:
        return _read(seen, start)

    def close(self) -> None:
        """Holds nothing open."""


@dataclass(frozen=True, slots=True)
class WildcardZone:
    """The files that a path with wildcards names; called by what comes after its last folder without one."""

    path: Path

    def _fixed(self) -> Path:
        parts = list(self.path.parts[:-1])
        wild = next((n for n, part in enumerate(parts) if any(sign in part for sign in "*?[")), len(parts))
        return Path(*parts[:wild])

    def entries(self) -> Iterator[Sighting]:
        fixed = self._fixed()
        for path in fixed.glob(str(self.path.relative_to(fixed))):
            if sighting := _sighting(path, os.fsencode(path.relative_to(fixed)), None):
                yield sighting

    def find(self, name: str) -> Sighting | None:
        path = self._fixed() / name
        return None if ".." in Path(name).parts else _sighting(path, os.fsencode(name), None)

    def read(self, seen: Sighting, start: int = 0) -> Iterator[bytes]:
        return _read(seen, start)

    def close(self) -> None:
        """Holds nothing open."""


def _sighting(path: Path, name: bytes, root: Path | None) -> Sighting | None:
    """None of what is gone again, and of a link to nothing: it is looked at on the next tick."""
    try:
        found = path.stat()
        # Who may write into a zone may not have every file read that this user may read.
        inside = root is None or not path.is_symlink() or path.resolve().is_relative_to(root)
    except OSError:
        return None
    regular = stat.S_ISREG(found.st_mode) and inside
    return Sighting(printable(name), _uri(path), found.st_size, _version(found), found.st_mtime, regular)


def _version(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns}:{found.st_ino}"


def _uri(path: Path) -> str:
    """The path itself where it is text; else a quoted file URI, because no ledger stores it otherwise."""
    raw = os.fsencode(path)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return _SCHEME + quote_from_bytes(raw)


def _path(uri: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix(_SCHEME)))) if uri.startswith(_SCHEME) else Path(uri)


def _read(seen: Sighting, start: int) -> Iterator[bytes]:
    # Without waiting: a pipe that took the place of the file would be waited at for ever.
    descriptor = os.open(_path(seen.uri), os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb", buffering=0) as inp:
        _same(descriptor, seen)
        inp.seek(start)
        while chunk := inp.read(CHUNK):
            yield chunk
        _same(descriptor, seen)


def _same(descriptor: int, seen: Sighting) -> None:
    found = os.fstat(descriptor)
    if (found.st_size, _version(found)) != (seen.size, seen.version):
        raise ChangedWhileRead("the file changed while it was copied; it is taken once it stays as it is")
