"""A landing zone as a plain connection: what lies there, and its bytes. Nothing is ever changed in a zone.

Four of them keep one contract (tests/zone_contract.py): a local folder, memory, SFTP and S3.

    ZoneUnreachable        the server does not answer, or stopped answering in the middle (transient)
    TooSlow                of it: bytes come, and fewer than SLOWEST over SLOW_SECONDS of waiting
    ZoneRefused            it answers and does not let us in: key, host key, name of a folder or bucket (permanent)
    ChangedWhileRead       the file is not the one that was seen any more (transient: it is looked at again)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from resources.failures import Outside, Transient

T = TypeVar("T")
CHUNK = 4 * 1024 * 1024
PATIENCE = 30.0  # seconds without an answer, or without a byte, after which a server counts as hung
SLOWEST = 4096  # bytes a second: as long as more come, a copy goes on, however long it takes
SLOW_SECONDS = 60.0  # of waiting for bytes, after which fewer are told


class ZoneUnreachable(Outside, Transient):
    """The server of a zone does not answer, refuses connections for now, or fell silent."""


class TooSlow(ZoneUnreachable):
    """The server of a zone gives bytes, and so few that it would never end. What came is kept: the next run goes on."""


class ZoneRefused(Outside):
    """The server of a zone answers, and something has to be put right by a person before it lets us in."""


class ChangedWhileRead(Outside, Transient):
    """The file in the zone is not the one that was claimed any more."""


class Pace:
    """How fast the bytes of one file come. Only waiting counts: who reads may take his time."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._waited, self._bytes = 0.0, 0

    def await_bytes(self, ask: Callable[[], T], size: Callable[[T], int]) -> T:
        """What `ask` answers, of which `size` says how many bytes it is; TooSlow."""
        began = time.monotonic()
        found = ask()
        self._waited += time.monotonic() - began
        self._bytes += size(found)
        if self._waited >= SLOW_SECONDS:
            if self._bytes < SLOWEST * self._waited:
                rate = self._bytes / self._waited
                raise TooSlow(f"{self._place}: it gives {rate:,.0f} bytes a second; what came is kept, try it again")
            self._waited, self._bytes = 0.0, 0
        return found


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file as it stands in its zone now.

    `name` is what it is called there, always printable as UTF-8; `uri` finds it again, `size` is in bytes. `version`
    differs whenever the zone can tell that the content may: mtime and inode, mtime, or etag and time. `modified` is in
    seconds since 1970 by the clock of the zone. `regular` is False for a folder, a socket, a link that leaves the zone.
    `occurrence` no zone knows: it is the ledger's count of the name's comings.
    """

    name: str
    uri: str
    size: int
    version: str
    modified: float
    regular: bool = True
    occurrence: int = 0


class Zone(Protocol):
    """One folder, or one prefix of a bucket; folders below it are not looked into."""

    def entries(self) -> Iterator[Sighting]:
        """Everything that lies there now, in any order. ZoneUnreachable, ZoneRefused."""
        ...

    def find(self, name: str) -> Sighting | None:
        """What lies there under a name now. ZoneUnreachable, ZoneRefused."""
        ...

    def read(self, seen: Sighting, start: int = 0) -> Iterator[bytes]:
        """The bytes of a file from `start` on, in pieces of at most CHUNK bytes.

        ChangedWhileRead unless all of them are of what was seen; FileNotFoundError where it is gone; OSError with
        words in `strerror` where it may not be read; ZoneUnreachable where the server is lost.
        """
        ...

    def close(self) -> None:
        """Lets go of the connection; whoever is in the middle of `read` is done."""
        ...


def printable(name: bytes) -> str:
    """A name as it can be stored and shown: bytes that are no UTF-8 are written as \\xff."""
    return name.decode("utf-8", "backslashreplace")
