"""A landing zone in memory: what the contract of zones is told on, and tests of looking and claiming play with."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field

from resources.zone import CHUNK, ChangedWhileRead, Sighting, ZoneUnreachable


@dataclass(slots=True)
class MemoryZone:
    """Files by name. `down` makes it fail like a server that is gone; `closed` are names that may not be read."""

    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    down: str | None = None
    _writes: int = 0

    def put(self, name: str, content: bytes) -> None:
        self._writes += 1
        self.files[name] = (content, self._writes)

    def remove(self, name: str) -> None:
        del self.files[name]

    def entries(self) -> Iterator[Sighting]:
        self._up()
        for name in sorted(self.files, key=lambda n: hash((n, self._writes))):  # in no order that could be relied on
            yield self._sighting(name)

    def find(self, name: str) -> Sighting | None:
        self._up()
        return self._sighting(name) if name in self.files else None

    def read(self, seen: Sighting, start: int = 0) -> Iterator[bytes]:
        while True:
            self._up()
            if seen.name in self.closed:
                raise PermissionError(errno.EACCES, "Permission denied", seen.uri)
            if seen.name not in self.files:
                raise FileNotFoundError(errno.ENOENT, "No such file", seen.uri)
            content, version = self.files[seen.name]
            if str(version) != seen.version:
                raise ChangedWhileRead("the file changed while it was copied; it is taken once it stays as it is")
            if start >= len(content):
                return
            yield content[start : start + CHUNK]
            start += CHUNK

    def close(self) -> None:
        """Holds nothing open."""

    def _up(self) -> None:
        if self.down is not None:
            raise ZoneUnreachable(self.down)

    def _sighting(self, name: str) -> Sighting:
        content, version = self.files[name]
        return Sighting(name, f"memory://{name}", len(content), str(version), float(version))
