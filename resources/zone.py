"""A landing zone as a plain connection: what lies there, and its bytes. Nothing is ever changed in a zone.

Four of them keep one contract (tests/zone_contract.py): a local folder, memory, SFTP and S3.

    ZoneUnreachable        the server does not answer, or stopped answering in the middle (transient)
    ZoneRefused            it answers and does not let us in: key, host key, name of a folder or bucket (permanent)
    ChangedWhileRead       the file is not the one that was seen any more (transient: it is looked at again)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from resources.failures import Outside, Transient

CHUNK = 4 * 1024 * 1024
PATIENCE = 30.0  # seconds without an answer, or without a byte, after which a server counts as hung


class ZoneUnreachable(Outside, Transient):
    """The server of a zone does not answer, refuses connections for now, or fell silent."""


class ZoneRefused(Outside):
    """The server of a zone answers, and something has to be put right by a person before it lets us in."""


class ChangedWhileRead(Outside, Transient):
    """The file in the zone is not the one that was claimed any more."""


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
